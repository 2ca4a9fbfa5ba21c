"""Federated averaging by fluke: everything in one process, in memory."""
import importlib.metadata

import common
import fluke
from fluke.algorithms.fedavg import FedAVG
from fluke.data import DataContainer, DataSplitter
from fluke.evaluation import ClassificationEval


def splitter(args):
    """The data, dealt out by fluke itself, which copies it."""
    container = DataContainer(*common.load(args.data, "train"),
                              *common.load(args.data, "test"), 10)
    return DataSplitter(container, distribution="iid", client_split=0.0,
                        server_test=True, keep_test=True)


def main():
    args = common.arguments()
    environment = fluke.FlukeENV()
    environment.set_seed(1)
    environment.set_device("cpu")
    environment.set_evaluator(
        ClassificationEval(eval_every=10**6, n_classes=10))
    environment.set_eval_cfg(pre_fit=False, post_fit=False, locals=False,
                             server=False)
    settings = fluke.DDict(
        client=fluke.DDict(
            batch_size=args.batch, local_epochs=1, loss="CrossEntropyLoss",
            persistency=True,
            optimizer=fluke.DDict(name="SGD", lr=args.lr),
            scheduler=fluke.DDict(gamma=1, step_size=1)),
        server=fluke.DDict(weighted=True),
        model=common.Cnn())
    algorithm = FedAVG(args.clients, splitter(args), settings)
    common.load.cache_clear()
    timer = common.Timer()
    algorithm.run(args.rounds, 1.0)
    timer.stop()
    common.report(args, importlib.metadata.version("fluke-fl"), timer,
                  algorithm.server.model)


if __name__ == "__main__":
    main()
