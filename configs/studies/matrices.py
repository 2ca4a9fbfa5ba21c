#!/usr/bin/env python3
"""Runs a study of two dimensions and prints its table.

  configs/studies/matrices.py robustness    attacks by rules of aggregation
  configs/studies/matrices.py compression   compressors by batch sizes

Runs that are done already are not run again.
"""
import argparse
import concurrent.futures
import pathlib

from runs import cell, run_once

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]

STOPPED = (7, 9)  # exit codes: too few clients, diverged
HOSTILE = "client_algorithm.clients=[7,8,9]"
ATTACKS = {
    "none": [],
    "sign flip × 4": ["kind=sign_flip", "factor=4"],
    "scaled × 30": ["kind=scale", "factor=30"],
    "noise, σ = 0.3": ["kind=gaussian", "sigma=0.3"],
    "NaN": ["kind=not_a_number"],
    "labels flipped": ["kind=label_flip"],
    "a little, z = 1.5": ["kind=little_is_enough", "z=1.5"],
}
RULES = {
    "mean": ["name=mean"],
    "median": ["name=median"],
    "trimmed mean 0.3": ["name=trimmed_mean", "trim=0.3"],
    "Krum f = 3": ["name=krum", "byzantine=3"],
    "Multi-Krum f = 3": ["name=krum", "byzantine=3", "select=0"],
    "Bulyan f = 1": ["name=bulyan", "byzantine=1"],
    "geometric median": ["name=geometric_median"],
    "norm clipping": ["name=norm_clipping", "max_norm=2"],
    "FLTrust": ["name=fltrust", "trusted_client=0"],
}
COMPRESSORS = {
    "none": ["name=none"],
    "bf16": ["name=half"],
    "int8": ["name=int8"],
    "QSGD, 4 bits": ["name=qsgd", "levels=7"],
    "TernGrad": ["name=terngrad"],
    "EF-sign": ["name=signsgd"],
    "top-k 1 %": ["name=topk", "ratio=0.01"],
    "top-k 0.1 %": ["name=topk", "ratio=0.001"],
    "random-k 1 %": ["name=randomk", "ratio=0.01"],
    "PowerSGD, rank 2": ["name=powersgd", "rank=2"],
}
BATCHES = [16, 64, 256]  # of a client
EXAMPLES, EPOCHS, CLIENTS = 20480, 10, 10


def robustness():
    for rule, settings in RULES.items():
        for attack, hostility in ATTACKS.items():
            sets = [f"aggregator.{s}" for s in settings]
            if hostility:
                sets += ["client_algorithm.name=attack", HOSTILE]
                sets += [f"client_algorithm.{s}" for s in hostility]
            yield rule, attack, sets


def compression():
    for compressor, settings in COMPRESSORS.items():
        for batch in BATCHES:
            rounds = EXAMPLES * EPOCHS // (batch * CLIENTS)
            yield compressor, f"b = {batch}", [
                *(f"compressor.{s}" for s in settings),
                f"batch_policy.batch_size={batch}", f"rounds={rounds}",
                f"evaluation.every_rounds={rounds}",
                f"checkpoint.every_rounds={rounds}"]


def train(fedlb, study, folder, sets):
    command = [fedlb, "train", "-q", "--format", "json", "-c",
               HERE / f"{study}.toml", "-o", folder / "run"]
    for setting in sets:
        command += ["--set", setting]
    return run_once(folder / "result.json", command, STOPPED)


def text_of(results):
    accuracies = [result["data"]["test"]["accuracy"] * 100
                  for result in results if result["status"] == "ok"]
    if not accuracies:
        return "stopped"
    text = cell(accuracies, len(results), "stopped", digits=1)
    sent = results[0]["data"].get("traffic", {}).get("bytes_from_clients")
    return f"{text} ({sent / 2**20:.1f} MiB)" if sent else text


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["robustness", "compression"])
    parser.add_argument("--fedlb", default=ROOT / "build/release/bin/fedlb")
    parser.add_argument("-o", "--output", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("-j", "--jobs", type=int, default=2)
    args = parser.parse_args()
    output = args.output or ROOT / "sweeps" / args.study
    cells = list({"robustness": robustness,
                  "compression": compression}[args.study]())

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = {}
        for number, (row, column, sets) in enumerate(cells):
            for seed in args.seeds:
                folder = output / f"{number}-{seed}"
                futures.setdefault((row, column), []).append(pool.submit(
                    train, args.fedlb, args.study, folder,
                    [*sets, f"seed={seed}"]))
        columns = list(dict.fromkeys(column for _, column, _ in cells))
        print("| |", " | ".join(columns), "|")
        print("|---|" + "---:|" * len(columns))
        for row in dict.fromkeys(row for row, _, _ in cells):
            texts = [text_of([future.result() for future in futures[row, column]])
                     for column in columns]
            print(f"| {row} |", " | ".join(texts), "|", flush=True)


if __name__ == "__main__":
    main()
