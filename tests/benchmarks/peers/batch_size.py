#!/usr/bin/env python3
"""`fedlb profile` beside Lightning's BatchSizeFinder: steps and seconds to look
at batch sizes up to the same largest one, on one core, in turn.

Needs what setup.sh made. Lightning stops at its first failure, which neither
meets here: it learns that the largest size runs, fedlb what every size takes.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MODELS = {
    "cnn": ["model.name=cnn", "dataset.shape=[1,28,28]"],
    "resnet18_w16": ["model.name=resnet18", "model.width=16",
                     "model.stem=imagenet", "dataset.shape=[3,32,32]"],
    "resnet50": ["model.name=resnet50", "model.stem=imagenet",
                 "dataset.shape=[3,32,32]"],
    "vgg11": ["model.name=vgg11", "model.stem=imagenet",
              "dataset.shape=[3,32,32]"],
}
OPTIMIZERS = {
    "momentum": ["optimizer.name=sgd", "optimizer.momentum=0.9"],
    "adam": ["optimizer.name=adam"],
}


def run(command):
    done = subprocess.run(command, capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def profile(fedlb, model, optimizer, largest, more):
    sets = ["dataset.name=synthetic", f"dataset.train_size={3 * largest}",
            "dataset.test_size=16", "federation.clients=1",
            "sync_policy.name=bsp", "transport.workers=1",
            "optimizer.lr=1e-6"] + MODELS[model] + OPTIMIZERS[optimizer]
    data = run([fedlb, "profile", "-q", "--format", "json", "--noise-rounds",
                "0", "--max-batch", str(largest)] + more +
               [part for value in sets for part in ("--set", value)])["data"]
    return {"steps": data["probe_steps"], "seconds": data["probe_seconds"],
            "found": data["largest_safe_batch"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fedlb", default=ROOT / "build/release/bin/fedlb")
    parser.add_argument("--peers", type=pathlib.Path,
                        default=ROOT / "build/peers")
    parser.add_argument("--models", nargs="+", default=["cnn", "resnet18_w16"])
    parser.add_argument("--optimizers", nargs="+", default=["momentum"])
    parser.add_argument("--largest", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print("| model | optimizer | Lightning | fedlb, memory only | fedlb, memory "
          "and time | steps, memory | seconds, both |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for model in args.models:
        for optimizer in args.optimizers:
            taken = {"peer": [], "memory": [], "both": []}
            for _ in range(args.repeats):
                taken["peer"].append(run(
                    [args.peers / "lightning/bin/python",
                     HERE / "lightning_batch_size.py", "--model", model,
                     "--optimizer", optimizer, "--largest",
                     str(args.largest)]))
                taken["memory"].append(profile(
                    args.fedlb, model, optimizer, args.largest,
                    ["--memory-only"]))
                taken["both"].append(profile(
                    args.fedlb, model, optimizer, args.largest, []))

            def middle(who, what):
                return statistics.median(t[what] for t in taken[who])

            def cell(who):
                return (f"{middle(who, 'steps'):.0f} steps, "
                        f"{middle(who, 'seconds'):.2f} s")
            steps = middle("memory", "steps") / middle("peer", "steps")
            seconds = middle("both", "seconds") / middle("peer", "seconds")
            print(f"| {model} | {optimizer} | {cell('peer')} | "
                  f"{cell('memory')} | {cell('both')} | {steps:.2f}x | "
                  f"{seconds:.2f}x |", flush=True)


if __name__ == "__main__":
    main()
