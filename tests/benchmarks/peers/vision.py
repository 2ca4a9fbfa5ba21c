#!/usr/bin/env python3
"""Measures fedlb's vision models beside torchvision's in a PyTorch loop: SGD
steps on 3x32x32 images, one core, both in turn.

Needs what setup.sh made. Prints a table; --output keeps it and every run.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import sys
import tempfile

sys.dont_write_bytecode = True

import measure

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
# fedlb's settings of each model, and the learning rate of both programs.
MODELS = {
    "resnet18_w16": (["model.name=resnet18", "model.width=16",
                      "model.stem=imagenet"], 0.02),
    "resnet50": (["model.name=resnet50", "model.stem=imagenet"], 0.02),
    "vgg11": (["model.name=vgg11", "model.stem=imagenet"], 0.02),
    "vit_tiny": (["model.name=vit_tiny", "model.stem=cifar"], 0.02),
}
IMAGES = 4096


def write_images(python, folder):
    """Ten classes of 3x32x32 floats, once, as .npy for both programs."""
    if (folder / "y_test.npy").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    measure.run(
        [str(python), "-c", f"""
import numpy as np
random = np.random.default_rng(1)
prototypes = random.standard_normal((10, 3, 32, 32), dtype=np.float32)
for split, count in (("train", {IMAGES}), ("test", 256)):
    y = random.integers(0, 10, count)
    x = random.standard_normal((count, 3, 32, 32), dtype=np.float32)
    np.save(f"x_{{split}}.npy", x + prototypes[y])
    np.save(f"y_{{split}}.npy", y)
"""], {"PATH": "/usr/bin:/bin"}, {0}, folder, 120, False)


def fedlb_command(args, data, settings, batch, lr):
    command = [str(args.fedlb), "train", "--format", "json", "--quiet",
               "--output", "run"]
    for key, value in {
            "rounds": 1, "dataset.name": "tensors",
            "dataset.x_train": f"{data}/x_train.npy",
            "dataset.y_train": f"{data}/y_train.npy",
            "dataset.x_test": f"{data}/x_test.npy",
            "dataset.y_test": f"{data}/y_test.npy",
            "federation.clients": 1, "sync_policy.name": "fedavg",
            "sync_policy.local_steps": args.steps, "batch_policy.batch_size": batch,
            "optimizer.lr": lr, "transport.workers": 1,
            "evaluation.batch_size": 32}.items():
        command += ["--set", f"{key}={value}"]
    for setting in settings:
        command += ["--set", setting]
    return command


def run(program, args, data, model, batch):
    settings, lr = MODELS[model]
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1",
                   "LANG": "C.UTF-8", "HOME": str(data)}
    if program == "fedlb":
        command = fedlb_command(args, data, settings, batch, lr)
    else:
        command = [str(args.peers / "fedlab/bin/python"),
                   str(HERE / "vision_loop.py"), "--data", str(data),
                   "--model", model, "--batch", str(batch), "--steps",
                   str(args.steps), "--lr", str(lr)]
    with tempfile.TemporaryDirectory() as folder:
        printed, taken = measure.run(command, environment, {0}, folder,
                                     args.timeout, False)
        if program == "fedlb":
            told = json.loads(printed)["data"]
            told = {"samples_per_second": told["samples_per_second"],
                    "last_loss": told["train"]["loss"]}
        else:
            told = json.loads(re.findall(r"^RESULT (.*)$", printed, re.M)[-1])
    return {**taken, **told}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fedlb", type=pathlib.Path,
                        default=ROOT / "build/release/bin/fedlb")
    parser.add_argument("--peers", type=pathlib.Path,
                        default=ROOT / "build/peers")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=[32, 256])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=900)
    parser.add_argument("--output", type=pathlib.Path)
    args = parser.parse_args()
    args.fedlb, args.peers = args.fedlb.resolve(), args.peers.resolve()
    data = args.peers / "work/vision"
    write_images(args.peers / "torch/bin/python", data)
    os.sched_setaffinity(0, set(range(1, os.cpu_count())) or {0})
    record = []
    lines = ["| model | b | fedlb images/s | loop images/s | ratio | "
             "fedlb MiB | loop MiB | loop's last loss |",
             "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for model in args.models:
        for batch in args.batches:
            runs = {"fedlb": [], "loop": []}
            for _ in range(args.repeats):
                for program, done in runs.items():
                    done.append(run(program, args, data, model, batch))
                    print(f"{model} b={batch} {program}: "
                          f"{done[-1]['samples_per_second']:.1f} images/s",
                          file=sys.stderr, flush=True)
            record.append({"model": model, "batch": batch, "runs": runs})
            speed = {p: statistics.median(r["samples_per_second"] for r in done)
                     for p, done in runs.items()}
            rss = {p: statistics.median(r["peak_rss_mib"] for r in done)
                   for p, done in runs.items()}
            lines.append(
                f"| {model} | {batch} | {speed['fedlb']:.1f} | "
                f"{speed['loop']:.1f} | {speed['fedlb'] / speed['loop']:.2f} | "
                f"{rss['fedlb']:.0f} | {rss['loop']:.0f} | "
                f"{runs['loop'][0]['last_loss']:.3f} |")
    print("\n".join(lines))
    if args.output:
        args.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
