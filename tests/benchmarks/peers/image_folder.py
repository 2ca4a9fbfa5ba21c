#!/usr/bin/env python3
"""Measures how soon a folder of JPEG images is in memory, scaled and cropped:
fedlb's image_folder beside torchvision's ImageFolder, both in turn, on two
processors.

fedlb's time is that of its whole process, torchvision's begins after the
imports. Needs what setup.sh made. Prints a table; --output keeps it and every
run.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import sys
import tempfile

sys.dont_write_bytecode = True

import measure

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
WORKERS = 2
WANTED_RATIO = 1.5


def fedlb_command(args, folder, command):
    command = [str(args.fedlb), "data", *command, "--format", "json", "--quiet"]
    for key, value in {
            "dataset.name": "image_folder", "dataset.root": folder,
            "dataset.size": args.size, "dataset.decode_threads": WORKERS,
            "dataset.mean": [0.0], "dataset.std": [1.0],
            "federation.clients": 1}.items():
        command += ["--set", f"{key}={value}"]
    return command


def measured(args, command):
    """What a run on the first processors printed and took."""
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1",
                   "LANG": "C.UTF-8", "HOME": "/nonexistent"}
    with tempfile.TemporaryDirectory() as folder:
        return measure.run(command, environment, set(range(WORKERS)), folder,
                           args.timeout, False)


def write_images(args, python, folder):
    """Once; an interrupted copy is made again."""
    if folder.exists():
        return
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    measured(args, [python, "-B", str(HERE / "image_files.py"), "--folder",
                    str(unfinished), "--images", str(args.images)])
    unfinished.rename(folder)


def run(program, args, python, folder):
    if program == "fedlb":
        # The command that needs the least beside the images.
        _, taken = measured(args, fedlb_command(args, folder, ["partition"]))
        return {**taken, "seconds": taken["wall_seconds"]}
    printed, taken = measured(
        args, [python, str(HERE / "image_folder_loop.py"), "--folder",
               str(folder), "--size", str(args.size), "--workers",
               str(WORKERS)])
    return {**taken, **json.loads(re.findall(r"^RESULT (.*)$", printed,
                                             re.M)[-1])}


def table(runs, size, images):
    lines = [f"{images:,} images to {size} x {size}, {WORKERS} processors, "
             f"{len(runs['fedlb'])} runs of each in turn",
             "",
             "| program | images/s (min–max) | s | CPU s | MiB | fedlb is |",
             "|---|---:|---:|---:|---:|---:|"]
    speed = {}
    for program, done in runs.items():
        speeds = [images / r["seconds"] for r in done]
        speed[program] = statistics.median(speeds)
        middle = {key: statistics.median(r[key] for r in done)
                  for key in ("seconds", "cpu_seconds", "peak_rss_mib")}
        ratio = ("" if program == "fedlb" else
                 f"{speed['fedlb'] / speed[program]:.2f}×")
        lines.append(
            f"| {program} | {speed[program]:,.0f} ({min(speeds):,.0f}–"
            f"{max(speeds):,.0f}) | {middle['seconds']:.2f} | "
            f"{middle['cpu_seconds']:.1f} | {middle['peak_rss_mib']:,.0f} | "
            f"{ratio} |")
    ratio = speed["fedlb"] / speed["torchvision"]
    lines += ["", f"Asked for: ≥ {WANTED_RATIO}×: "
              + ("met" if ratio >= WANTED_RATIO else "not met")]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fedlb", type=pathlib.Path,
                        default=ROOT / "build/release/bin/fedlb")
    parser.add_argument("--peers", type=pathlib.Path,
                        default=ROOT / "build/peers")
    parser.add_argument("--data", type=pathlib.Path,
                        default=ROOT / "build/images",
                        help="where the images are kept")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--output", type=pathlib.Path)
    args = parser.parse_args()
    args.fedlb = args.fedlb.resolve()
    python = str(args.peers.absolute() / "fedlab/bin/python")
    folder = args.data.resolve() / f"caltech-{args.images}"
    write_images(args, python, folder)

    # Not counted: it brings the files into the system's cache, and shows that
    # both programs see the same.
    printed, _ = measured(args, fedlb_command(args, folder, ["info"]))
    told = json.loads(printed)["data"]
    peer = run("torchvision", args, python, folder)
    if told["train_examples"] + told["test_examples"] != peer["images"]:
        sys.exit(f"other images: {told}, {peer}")
    if abs(told["mean"] - peer["mean"]) > 0.01:
        sys.exit(f"other pixels: {told['mean']}, {peer['mean']}")

    runs = {"fedlb": [], "torchvision": []}
    for _ in range(args.repeats):
        for program, done in runs.items():
            done.append(run(program, args, python, folder))
            print(f"{program}: {done[-1]['seconds']:.2f} s", file=sys.stderr,
                  flush=True)
    print(table(runs, args.size, peer["images"]))
    if args.output:
        args.output.write_text(json.dumps(
            {"arguments": {k: str(v) for k, v in vars(args).items()},
             "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
