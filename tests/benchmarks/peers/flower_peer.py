"""Federated averaging by Flower's simulation on Ray, with --workers actors."""
import importlib.metadata
import os
import shutil
import tempfile

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

import common

ARGS = common.arguments()
client_app = ClientApp()
server_app = ServerApp()
outcome = {}


@client_app.query()
def get_ready(message, context):
    """Loads PyTorch, the model and the images before the clock starts."""
    torch.set_num_threads(ARGS.threads)
    common.Cnn()
    common.load(ARGS.data, "train", mapped=True)
    return Message(RecordDict(), reply_to=message)


@client_app.train()
def train(message, context):
    """One epoch; actors keep the mapped images, nothing else."""
    torch.set_num_threads(ARGS.threads)
    steps, trained = common.Work.steps, common.Work.trained
    client = int(context.node_config["partition-id"])
    x, y = common.shard(ARGS, client, mapped=True)
    model = common.Cnn()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=ARGS.lr)
    common.train_epoch(model, optimizer, x, y, ARGS.batch)
    return Message(RecordDict({
        "arrays": ArrayRecord(model.state_dict()),
        "metrics": MetricRecord({
            "num-examples": len(y),
            "steps": common.Work.steps - steps,
            "trained": common.Work.trained - trained,
        }),
    }), reply_to=message)


def add_up(replies, weighted_by_key):
    """Counts the work of the actors; stands in for averaging their metrics."""
    for reply in replies:
        metrics = reply["metrics"]
        outcome["steps"] = outcome.get("steps", 0) + metrics["steps"]
        outcome["trained"] = outcome.get("trained", 0) + metrics["trained"]
    return MetricRecord({})


@server_app.main()
def serve(grid, context):
    nodes = []
    while len(nodes) < ARGS.clients:
        nodes = list(grid.get_node_ids())
    grid.send_and_receive([
        Message(RecordDict(), dst_node_id=node, message_type="query")
        for node in nodes])
    strategy = FedAvg(
        fraction_train=1.0, fraction_evaluate=0.0,
        min_train_nodes=ARGS.clients, min_available_nodes=ARGS.clients,
        train_metrics_aggr_fn=add_up)
    weights = ArrayRecord(common.Cnn().state_dict())
    timer = common.Timer()
    result = strategy.start(grid=grid, initial_arrays=weights,
                            num_rounds=ARGS.rounds)
    timer.stop()
    timer.steps, timer.trained = outcome["steps"], outcome["trained"]
    outcome["timer"] = timer
    outcome["weights"] = result.arrays.to_torch_state_dict()


def main():
    # A short path: Ray puts sockets into it.
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    try:
        run_simulation(
            server_app=server_app, client_app=client_app,
            num_supernodes=ARGS.clients,
            backend_config={
                "client_resources": {"num_cpus": 1, "num_gpus": 0},
                "init_args": {"num_cpus": ARGS.workers,
                              "include_dashboard": False,
                              "_temp_dir": folder}})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    model = common.Cnn()
    model.load_state_dict(outcome["weights"])
    common.report(ARGS, importlib.metadata.version("flwr"), outcome["timer"],
                  model)


if __name__ == "__main__":
    main()
