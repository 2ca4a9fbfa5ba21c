#!/usr/bin/env python3
"""How well `fedlb profile` predicts what `fedlb train` then takes.

For each model and choice of settings one profile, then one short run per held-out batch
size; prints a Markdown table of the worst and median relative errors of peak
tensor bytes, of the process's VmHWM and of the time of a step.

    tests/benchmarks/profile_accuracy.py build/release/bin/fedlb
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

GRAY = "dataset.shape=[1,28,28]"
COLOUR = "dataset.shape=[3,32,32]"
MODELS = {
    "cnn": [GRAY],
    "resnet18": [COLOUR, "model.width=16"],
    "resnet50": [COLOUR],
    "vgg11": [COLOUR],
    "alexnet": [COLOUR],
    "vit_tiny": [COLOUR],
}
MOMENTUM = ["optimizer.name=sgd", "optimizer.momentum=0.9"]
SETTINGS = {
    "momentum": MOMENTUM,
    "adam": ["optimizer.name=adam"],
    "bf16": ["precision=bf16"] + MOMENTUM,
    "accumulation": ["batch_policy.micro_batch_size=16"] + MOMENTUM,
    "step-mapper": ["gradient_mapper.name=step"] + MOMENTUM,
    "topk": ["compressor.name=topk"] + MOMENTUM,
    # Shapes and classes of images as the paper's Fig. 4b has them.
    "cifar100": ["dataset.classes=100"] + MOMENTUM,
    "caltech101": ["dataset.classes=101", "dataset.shape=[3,224,224]",
                   "dataset.train_size=500"] + MOMENTUM,
}
BATCHES = [1, 3, 5, 12, 24, 48, 100, 200, 350, 700, 900, 1000]
LIMIT = 4 << 30


def settings(model, chosen, rounds, batch):
    sets = ["dataset.name=synthetic", "dataset.train_size=2200",
            "dataset.test_size=16", "federation.clients=1",
            "partitioner.name=iid", "sync_policy.name=bsp",
            f"model.name={model}", f"batch_policy.batch_size={batch}",
            f"rounds={rounds}", f"evaluation.every_rounds={rounds}",
            f"checkpoint.every_rounds={rounds}", "transport.workers=1",
            "optimizer.lr=1e-6"] + MODELS[model] + SETTINGS[chosen]
    return [part for value in sets for part in ("--set", value)]


def run(command):
    """(envelope, VmHWM of the child in bytes)"""
    child = subprocess.Popen(command, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    out, err = child.stdout.read(), child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{err.decode()}")
    return json.loads(out), usage.ru_maxrss * 1024


def step_seconds(run_dir, batch, skip):
    """The median over full batches after the first ones."""
    with open(os.path.join(run_dir, "metrics.jsonl"), encoding="utf-8") as log:
        rounds = [json.loads(line) for line in log]
    before = [0] + [r["samples"] for r in rounds]
    full = [r["round_seconds"] for r, samples in zip(rounds, before)
            if r["samples"] - samples == batch]
    return statistics.median(full[skip:])


def measure(fedlb, model, chosen, args):
    command = [fedlb, "profile", "-q", "--format", "json", "--memory", "4GiB",
               "--max-batch", "1024", "--noise-rounds", "0", "--predict",
               ",".join(map(str, args.batches))]
    if args.memory_only:
        command.append("--memory-only")
    envelope, _ = run(command + settings(model, chosen, 1, 64))
    data = envelope["data"]
    if not args.memory_only:
        # Of three profiles the median, since the machine has better days.
        others = [run(command + settings(model, chosen, 1, 64))[0]
                  for _ in range(2)]
        for i, prediction in enumerate(data["predictions"]):
            if prediction["step_ms"] is None:
                continue
            steps = [prediction["step_ms"]] + [
                o["data"]["predictions"][i]["step_ms"] for o in others]
            prediction["step_ms"] = statistics.median(steps)
    errors = {"memory": [], "memory_small": [], "process": [], "step": []}
    for prediction in data["predictions"]:
        batch = prediction["batch_size"]
        if prediction["memory_bytes"] is None or (
                prediction["memory_bytes"] > LIMIT):
            continue
        rounds = 10  # the resident set grows over the first ones
        if not args.memory_only and prediction["step_ms"]:
            rounds = min(100, max(6, int(1000 / prediction["step_ms"])))
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "run")
            result, hwm = run([fedlb, "train", "-q", "--format", "json", "-o",
                               out] + settings(model, chosen, rounds, batch))
            peak = result["data"]["peak_memory_bytes"]
            key = "memory" if batch >= 8 else "memory_small"
            errors[key].append(
                (abs(prediction["memory_bytes"] / peak - 1), batch))
            errors["process"].append(
                (abs(prediction["process_bytes"] / hwm - 1), batch))
            if not args.memory_only:
                seconds = step_seconds(out, batch, 1 if batch > 200 else 3)
                errors["step"].append(
                    (abs(prediction["step_ms"] / 1000 / seconds - 1), batch))
        if args.verbose:
            print(f"  {model} {chosen} b={batch}: memory "
                  f"{prediction['memory_bytes'] / peak - 1:+.4f}, process "
                  f"{prediction['process_bytes'] / hwm - 1:+.4f}" +
                  ("" if args.memory_only else f", step "
                   f"{prediction['step_ms'] / 1000 / seconds - 1:+.3f}"),
                  file=sys.stderr, flush=True)
    return data, errors


def worst(pairs):
    if not pairs:
        return "-"
    error, batch = max(pairs)
    return f"{100 * error:.2f} % (b={batch})"


def median(pairs):
    if not pairs:
        return "-"
    return f"{100 * statistics.median(error for error, _ in pairs):.1f} %"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fedlb")
    parser.add_argument("--models", nargs="+", choices=MODELS,
                        default=list(MODELS))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS,
                        default=["momentum", "adam"])
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    print("| model | settings | memory, b >= 8 | memory, b < 8 | VmHWM | "
          "step, median | step, worst | probe |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for model in args.models:
        for chosen in args.settings:
            data, errors = measure(args.fedlb, model, chosen, args)
            print(f"| {model} | {chosen} | {worst(errors['memory'])} | "
                  f"{worst(errors['memory_small'])} | "
                  f"{worst(errors['process'])} | {median(errors['step'])} | "
                  f"{worst(errors['step'])} | {data['probe_steps']} steps, "
                  f"{data['probe_seconds']:.1f} s |", flush=True)


if __name__ == "__main__":
    main()
