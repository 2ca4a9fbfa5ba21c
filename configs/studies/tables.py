#!/usr/bin/env python3
"""Runs the paper's Tables I and II on Fashion-MNIST and prints them.

BSP against FedAvg per epoch (Table I) and every 250 or 1,000 local steps
(Table II), ten clients, on IID data and with one label per client. All runs of
a model take the same number of samples and steps per client. Runs that are done
already are not run again.
"""
import argparse
import pathlib
import sys

from runs import cell, run_once

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PARTITIONS = {
    "IID": ["partitioner.name=iid"],
    "1 label": ["partitioner.name=labels_per_client",
                "partitioner.labels_per_client=1"],
}
DIVERGED = 9  # the exit code
BATCH = 32
CLIENTS = 10
TRAIN = 60_000


def methods(steps):
    """Config file, settings and rounds of each method, at `steps` per client."""
    per_epoch = -(-TRAIN // CLIENTS // BATCH)
    return {
        "BSP": ("table1.toml", ["sync_policy.name=bsp",
                                "optimizer.keep_state=false",
                                f"evaluation.every_rounds={steps}",
                                f"checkpoint.every_rounds={steps}"], steps),
        "FedAvg, per epoch": ("table1.toml", [], steps // per_epoch),
        "FedAvg, 250 steps": ("table2.toml", [], steps // 250),
        "FedAvg, 1,000 steps": (
            "table2.toml", ["sync_policy.local_steps=1000"], steps // 1000),
    }


def train(args, model, partition, method, seed):
    config, settings, rounds = methods(args.steps)[method]
    key = f"{model}-{partition}-{method}-{seed}-{args.steps}-{args.lr:g}"
    record = args.output / (key.replace(" ", "_").replace(",", "") + ".json")
    command = [str(args.fedlb), "train", "--config", str(HERE / config),
               "--format", "json", "--quiet",
               "--output", str(record.with_suffix(""))]
    for setting in [f"model.name={model}", f"seed={seed}", f"rounds={rounds}",
                    f"optimizer.lr={args.lr}", *PARTITIONS[partition],
                    *settings]:
        command += ["--set", setting]
    envelope = run_once(record, command, [DIVERGED])
    if envelope["exit_code"] == DIVERGED:
        print(f"{key}: diverged", file=sys.stderr, flush=True)
        return None
    accuracy = envelope["data"]["test"]["accuracy"]
    print(f"{key}: {accuracy:.4f} in {envelope['data']['seconds']:.0f} s",
          file=sys.stderr, flush=True)
    return 100 * accuracy


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fedlb", type=pathlib.Path,
                        default=ROOT / "build/release/bin/fedlb")
    parser.add_argument("--models", nargs="+", default=["cnn", "resnet8"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--partitions", nargs="+", default=list(PARTITIONS),
                        choices=list(PARTITIONS))
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--steps", type=int, default=2000,
                        help="optimizer steps of each client (default 2000)")
    parser.add_argument("--output", type=pathlib.Path,
                        default=ROOT / "runs/tables")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    print("| model | data | " + " | ".join(methods(args.steps)) + " |")
    print("|---|---|" + "---:|" * len(methods(args.steps)))
    for model in args.models:
        for partition in args.partitions:
            cells = []
            for method in methods(args.steps):
                accuracies = [train(args, model, partition, method, seed)
                              for seed in args.seeds]
                cells.append(cell([a for a in accuracies if a is not None],
                                  len(accuracies), "diverged", digits=2))
            print(f"| {model} | {partition} | " + " | ".join(cells) + " |",
                  flush=True)


if __name__ == "__main__":
    main()
