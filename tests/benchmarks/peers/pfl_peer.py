"""Federated averaging by pfl, in --workers processes that share the cohort."""
import dataclasses
import importlib.metadata
import os
import socket
import subprocess
import sys

import torch
from torch.nn import functional as F

import common


def start_other_workers(count):
    """Starts this program again as the other ranks; pfl finds them through the
    environment, and connects on import."""
    if count == 1 or "PFL_WORKER_RANK" in os.environ:
        return []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ["PFL_WORKER_ADDRESSES"] = ",".join(
        f"127.0.0.1:{port + i}" for i in range(count))
    others = [
        subprocess.Popen([sys.executable, *sys.argv], stdout=subprocess.DEVNULL,
                         env={**os.environ, "PFL_WORKER_RANK": str(rank)})
        for rank in range(1, count)]
    os.environ["PFL_WORKER_RANK"] = "0"
    return others


def federated_averaging():
    """pfl's algorithm without the evaluation of every client's examples before
    and after the first round, which no evaluation_frequency turns off."""
    from pfl.algorithm.federated_averaging import FederatedAveraging

    class TrainingOnly(FederatedAveraging):
        def get_next_central_contexts(self, *args, **kwargs):
            contexts, model, metrics = super().get_next_central_contexts(
                *args, **kwargs)
            if contexts is not None:
                contexts = tuple(
                    dataclasses.replace(c, do_evaluation=False)
                    for c in contexts)
            return contexts, model, metrics

    return TrainingOnly()


class Net(common.Cnn):
    def loss(self, x, y, eval=False):
        self.train(not eval)
        return F.cross_entropy(self(x), y)

    def metrics(self, x, y, eval=True):
        raise NotImplementedError("nothing is evaluated while the clock runs")


def main():
    args = common.arguments()
    os.environ["PFL_PYTORCH_DEVICE"] = "cpu"
    others = start_other_workers(args.workers)

    from pfl.internal.ops import pytorch_ops
    from pfl.internal.ops.selector import set_framework_module
    set_framework_module(pytorch_ops)
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.data.dataset import Dataset
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.sampling import get_user_sampler
    from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
    from pfl.model.pytorch import PyTorchModel

    # Workers share the pages of the images.
    users = {
        i: Dataset(raw_data=list(common.shard(args, i, args.workers > 1)),
                   user_id=str(i))
        for i in range(args.clients)}
    dataset = FederatedDataset(
        make_dataset_fn=users.__getitem__,
        user_sampler=get_user_sampler("minimize_reuse", list(users)))
    net = Net()
    central_optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    model = PyTorchModel(model=net, local_optimizer_create=torch.optim.SGD,
                         central_optimizer=central_optimizer)
    if args.workers > 1:
        torch.distributed.barrier()
    timer = common.Timer()
    federated_averaging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=args.rounds, evaluation_frequency=10**6,
            train_cohort_size=args.clients, val_cohort_size=0),
        backend=SimulatedBackend(training_data=dataset, val_data=dataset),
        model=model,
        model_train_params=NNTrainHyperParams(
            local_num_epochs=1, local_learning_rate=args.lr,
            local_batch_size=args.batch),
        model_eval_params=NNEvalHyperParams(local_batch_size=1024),
        callbacks=[])
    timer.stop()
    timer.steps -= args.rounds  # the central optimizer's
    if args.workers > 1:
        counts = torch.tensor([timer.steps, timer.trained, timer.evaluated])
        torch.distributed.all_reduce(counts)
        timer.steps, timer.trained, timer.evaluated = counts.tolist()
        torch.distributed.destroy_process_group()
    if os.environ.get("PFL_WORKER_RANK", "0") == "0":
        common.report(args, importlib.metadata.version("pfl"), timer, net)
    for other in others:
        if other.wait() != 0:
            sys.exit("another worker failed")


if __name__ == "__main__":
    main()
