"""fedlb's side of the comparison: its configuration and its result."""
import json

TEMPLATE = """\
name = "peers"
rounds = {rounds}
precision = "fp32"

[dataset]
name = "idx"
train_images = "{data}/train_images.idx"
train_labels = "{data}/train_labels.idx"
test_images = "{data}/test_images.idx"
test_labels = "{data}/test_labels.idx"
mean = 0.0
std = 1.0

[partitioner]
name = "iid"

[federation]
clients = {clients}

[model]
name = "cnn"

[sync_policy]
name = "fedavg"
local_epochs = 1

[batch_policy]
name = "constant"
batch_size = {batch}

[optimizer]
name = "sgd"
lr = 0.05

[aggregator]
name = "mean"

[transport]
name = "inprocess"
workers = {workers}

[execution]
intra_op_threads = {threads}

[evaluation]
every_rounds = {rounds}
batch_size = 64

[checkpoint]
every_rounds = {rounds}
keep = 1
"""


def command(fedlb, folder, **values):
    """The command line of a run that keeps its files in `folder`."""
    config = folder / "fedlb.toml"
    config.write_text(TEMPLATE.format(**values))
    return [str(fedlb), "train", "--config", str(config),
            "--output", str(folder / "run"), "--format", "json"]


def result(printed):
    """The same fields as common.report() gives."""
    data = json.loads(printed)["data"]
    return {
        "seconds": data["seconds"],
        "steps": data["steps"],
        "samples": data["samples"],
        "evaluated": 0,
        "accuracy": data["test"]["accuracy"],
        "tensor_peak_mib": data["peak_memory_bytes"] / 2**20,
    }
