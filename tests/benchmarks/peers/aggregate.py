#!/usr/bin/env python3
"""How fast update files are combined: `fedlb aggregate` beside read(2), and
beside NumPy, PyTorch and Flower, which load the files first.

  tests/benchmarks/peers/aggregate.py build/release/bin/fedlb FOLDER

FOLDER takes the files (10 GB for 100 of 100 MB) and keeps them for the next
call. All of them are in the page cache before anything is timed. "s" is the time
of a whole process, and of it "work" what is left without loading libraries.
fedlb verifies digests and writes its result; peers do neither. Needs numpy,
safetensors and xxhash, and torch and flwr for the rows of that name. Prints
Markdown tables.
"""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np

TENSORS = 20


def write_update(path, seed, floats):
    """As fedlb writes update files, with XXH3 of header and data."""
    import xxhash

    rng = np.random.default_rng(seed)
    sizes = [floats // TENSORS] * (TENSORS - 1)
    sizes.append(floats - sum(sizes))
    values = 0.01 * rng.standard_normal(floats, dtype=np.float32)
    data = values.tobytes()
    blank = "0" * 16
    header = {"__metadata__": {
        "fedlb.header_xxh3": blank,
        "fedlb.kind": "delta",
        "fedlb.num_examples": str(100 + seed),
        "fedlb.xxh3": xxhash.xxh3_64_hexdigest(data)}}
    begin = 0
    for i, size in enumerate(sizes):
        header[f"layer{i}.weight"] = {
            "dtype": "F32", "shape": [size],
            "data_offsets": [begin, begin + 4 * size]}
        begin += 4 * size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = xxhash.xxh3_64_hexdigest(text).encode()
    text = text.replace(b'"fedlb.header_xxh3":"' + blank.encode(),
                        b'"fedlb.header_xxh3":"' + digest)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def make_files(folder, count, megabytes):
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"update-{k:03}.safetensors" for k in range(count)]
    floats = int(megabytes * 1e6 / 4)
    for seed, path in enumerate(files):
        if not path.exists() or path.stat().st_size < 4 * floats:
            write_update(path, seed, floats)
    return files


def read_all(files):
    buffer = bytearray(1 << 18)
    start = time.perf_counter()
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - start


def best(repeats, measure):
    return min((measure() for _ in range(repeats)), key=lambda pair: pair[0])


def run(command):
    """Wall time, peak MiB, and what the program printed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"{command} failed")
    return seconds, usage.ru_maxrss / 1024, output


def fedlb(binary, files, rule, threads, sets=()):
    command = [binary, "aggregate", "-q", "--format", "json", "--rule", rule,
               "--threads", str(threads), "-o", "/dev/shm/aggregate.safetensors"]
    for setting in sets:
        command += ["--set", setting]

    def measure():
        wall, peak, output = run(command + [str(path) for path in files])
        return wall, json.loads(output)["data"]["seconds"], peak
    return best(3, measure)


# What a peer does with the files; runs in a process of its own.
def load(files):
    from safetensors.numpy import load_file

    return [load_file(path) for path in files]


def by_column(files, combine):
    updates = load(files)
    return {name: combine(np.stack([update[name] for update in updates]))
            for name in updates[0]}


def trimmed(stack):
    cut = int(0.2 * len(stack))
    return np.sort(stack, axis=0)[cut:len(stack) - cut].mean(axis=0)


def torch_mean(files):
    import torch
    from safetensors.torch import load_file

    updates = [load_file(path) for path in files]
    return {name: torch.stack([update[name] for update in updates]).mean(0)
            for name in updates[0]}


def flower_krum(files):
    from flwr.common import ArrayRecord, RecordDict
    from flwr.serverapp.strategy.multikrum import select_multikrum

    contents = [RecordDict({"arrays": ArrayRecord(list(update.values()))})
                for update in load(files)]
    return select_multikrum(contents, num_malicious_nodes=6,
                            num_nodes_to_select=1)


PEERS = {
    "NumPy mean": lambda files: by_column(files, lambda s: s.mean(axis=0)),
    "PyTorch mean": torch_mean,
    "NumPy median": lambda files: by_column(
        files, lambda s: np.median(s, axis=0)),
    "NumPy trimmed mean": lambda files: by_column(files, trimmed),
    "Flower krum": flower_krum,
}
RULES = {
    "mean": ("mean", (), ("NumPy mean", "PyTorch mean")),
    "median": ("median", (), ("NumPy median",)),
    "trimmed mean": ("trimmed_mean", ("aggregator.trim=0.2",),
                     ("NumPy trimmed mean",)),
    "krum": ("krum", ("aggregator.byzantine=6",), ("Flower krum",)),
}


def run_peer(name, files):
    if name.startswith("PyTorch"):
        import torch  # noqa: F401
    if name.startswith("Flower"):
        import flwr.serverapp.strategy.multikrum  # noqa: F401
    from safetensors.numpy import load_file  # noqa: F401

    start = time.perf_counter()
    PEERS[name](files)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([seconds, peak]))


def peer(name, files):
    def measure():
        wall, _, output = run([sys.executable, __file__, "--peer", name, "-",
                               "-", *map(str, files)])
        return wall, *json.loads(output)
    return best(2, measure)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fedlb")
    parser.add_argument("folder")
    parser.add_argument("paths", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--peer-files", type=int, default=30)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--rules", nargs="*", default=list(RULES))
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        run_peer(args.peer, args.paths)
        return

    files = make_files(pathlib.Path(args.folder), args.files, args.megabytes)
    size = sum(path.stat().st_size for path in files)
    read_all(files)
    seconds = min(read_all(files) for _ in range(3))
    print(f"{len(files)} files, {size / 1e9:.1f} GB; read(2) in blocks of "
          f"256 KiB: {size / seconds / 1e9:.2f} GB/s\n")
    print("| mean | s | work | GB/s | of read(2) | peak MiB | of one file |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for threads in sorted({1, os.cpu_count()}):
        wall, work, peak = fedlb(args.fedlb, files, "mean", threads)
        print(f"| {threads} threads | {wall:.2f} | {work:.2f} | "
              f"{size / work / 1e9:.2f} | {seconds / work:.0%} | {peak:.0f} | "
              f"{peak / (args.megabytes / 1.048576):.1f} |", flush=True)

    files = files[:args.peer_files]
    print(f"\n{len(files)} files\n")
    print("| rule | program | s | work | peak MiB | fedlb is | its work | "
          "of its memory |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for rule in args.rules:
        name, sets, peers = RULES[rule]
        wall, work, peak = fedlb(args.fedlb, files, name, os.cpu_count(), sets)
        print(f"| {rule} | fedlb | {wall:.2f} | {work:.2f} | {peak:.0f} |  |  "
              "|  |", flush=True)
        for program in peers:
            other, its_work, memory = peer(program, files)
            print(f"| {rule} | {program.split()[0]} | {other:.2f} | "
                  f"{its_work:.2f} | {memory:.0f} | {other / wall:.1f}× | "
                  f"{its_work / work:.1f}× | {peak / memory:.2f} |",
                  flush=True)


if __name__ == "__main__":
    main()
