"""Federated averaging by a hand-written PyTorch loop; one client is SGD."""
import torch

import common


def main():
    args = common.arguments()
    shards = [common.shard(args, i) for i in range(args.clients)]
    model, local = common.Cnn(), common.Cnn()
    timer = common.Timer()
    for _ in range(args.rounds):
        weights = model.state_dict()
        mean = {name: torch.zeros_like(w) for name, w in weights.items()}
        for x, y in shards:
            local.load_state_dict(weights)
            local.train()
            optimizer = torch.optim.SGD(local.parameters(), lr=args.lr)
            common.train_epoch(local, optimizer, x, y, args.batch)
            for name, w in local.state_dict().items():
                mean[name] += w / args.clients
        model.load_state_dict(mean)
    timer.stop()
    common.report(args, torch.__version__, timer, model)


if __name__ == "__main__":
    main()
