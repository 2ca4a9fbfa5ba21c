"""Federated averaging by FedLab's serial trainer, in one process."""
import importlib.metadata

from torch.utils import data

import common
from fedlab.contrib.algorithm.fedavg import (FedAvgSerialClientTrainer,
                                             FedAvgServerHandler)
from fedlab.contrib.dataset.basic_dataset import FedDataset


class Silent:
    def info(self, *_):
        pass


class Shards(FedDataset):
    """Loaders that take a whole batch by its indices: the loader that FedLab's
    own datasets make collates it image by image, which is slower."""

    def __init__(self, args):
        self.shards = [data.TensorDataset(*common.shard(args, i))
                       for i in range(args.clients)]

    def get_dataset(self, id, type="train"):
        return self.shards[id]

    def get_dataloader(self, id, batch_size, type="train"):
        shard = self.shards[id]
        batches = data.BatchSampler(data.RandomSampler(shard), batch_size,
                                    drop_last=False)
        return data.DataLoader(shard, sampler=batches, batch_size=None)


def main():
    args = common.arguments()
    model = common.Cnn()
    server = FedAvgServerHandler(model, args.rounds, 1.0, logger=Silent())
    clients = FedAvgSerialClientTrainer(model, args.clients, logger=Silent())
    clients.setup_dataset(Shards(args))
    clients.setup_optim(1, args.batch, args.lr)
    server.num_clients = clients.num_clients
    timer = common.Timer()
    while not server.if_stop:
        cohort = server.sample_clients()
        clients.local_process(server.downlink_package, cohort)
        for update in clients.uplink_package:
            server.load(update)
    timer.stop()
    common.report(args, importlib.metadata.version("fedlab"), timer,
                  server.model)


if __name__ == "__main__":
    main()
