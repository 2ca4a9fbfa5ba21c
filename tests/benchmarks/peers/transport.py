#!/usr/bin/env python3
"""What it costs that clients are processes of their own: the Thrift transport
beside plain TCP, TLS by `openssl s_client` and `s_server`, and Flower's
deployment.

  tests/benchmarks/peers/transport.py --fedlb build/release/bin/fedlb

Everything goes over 127.0.0.1; programs take turns (A B A B). Needs g++ and
xxhash.h for plain TCP, openssl for TLS, and what setup.sh made for Flower.
Prints Markdown tables.
"""
import argparse
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import transport_peers as peers

ROOT = pathlib.Path(__file__).resolve().parents[3]
WARM_UP = 2  # rounds that do not count: memory is new, clients are joining
SMALL_WIDTH = 490  # of two hidden layers
SMALL_PARAMETERS = 246480
SMALL_BYTES = 4 * SMALL_PARAMETERS

DOWN, WORK, UP = (f"transport.{phase}_seconds"
                  for phase in ("download", "work", "upload"))
TO_CLIENTS = "transport.bytes_to_clients"

CONFIG = """\
name = "transport"
rounds = {rounds}

[dataset]
name = "synthetic"
shape = [1, 1, 1]
train_size = 64
test_size = 16

[federation]
clients = {clients}

[model]
name = "mlp"
hidden = [{width}, {width}]

[sync_policy]
name = "bsp"

[batch_policy]
name = "constant"
batch_size = 1

[optimizer]
name = "sgd"
lr = 1e-6

[aggregator]
name = "mean"

[evaluation]
every_rounds = {rounds}

[checkpoint]
every_rounds = {rounds}
keep = 1
"""


class Fedlb:
    """Runs a server and its clients, and reads the server's metrics."""

    def __init__(self, binary, folder):
        self.binary = binary
        self.folder = folder

    def start(self, name, *arguments):
        with open(self.folder / f"{name}.log", "wb") as log:
            return subprocess.Popen(
                [self.binary, "train", "-c", self.folder / "config.toml",
                 "--format", "json", *arguments], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log)

    def fail(self, what):
        logs = "\n".join(path.read_text(errors="replace")[-1000:]
                         for path in sorted(self.folder.glob("*.log")))
        sys.exit(f"{what}:\n{logs}")

    def address(self, server):
        """Where the server listens; it takes a free port."""
        log = self.folder / "server.log"
        while server.poll() is None:
            if found := re.search(r"listening on (\S+)", log.read_text()):
                return found[1]
            time.sleep(0.02)
        self.fail("the server has ended")

    def wait(self, processes):
        """Until all have ended well, or one has not."""
        deadline = time.monotonic() + peers.RUN_SECONDS
        while any(process.poll() is None for process in processes):
            if any(process.returncode for process in processes):
                break  # the others would wait for it
            if time.monotonic() > deadline:
                self.fail("fedlb ran past its time")
            time.sleep(0.1)
        if any(process.returncode for process in processes):
            self.fail("fedlb failed")

    def run(self, width, rounds, layout, tls=None):
        """`layout` holds the clients of each process. The counted rounds."""
        (self.folder / "config.toml").write_text(CONFIG.format(
            width=width, rounds=rounds + WARM_UP,
            clients=sum(map(len, layout))))

        def secured(who):
            return [word for key, file in (tls[who] if tls else {}).items()
                    for word in ("--set", f"transport.{key}_file={file}")]

        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            output = pathlib.Path(name) / "run"
            processes = [self.start("server", "--listen", "127.0.0.1:0", "-o",
                                    output, *secured("server"))]
            try:
                address = self.address(processes[0])
                for k, clients in enumerate(layout):
                    processes.append(self.start(
                        f"client-{k}", "-q", "--connect", address,
                        "--client-id", ",".join(map(str, clients)),
                        *secured("client")))
                self.wait(processes)
            finally:
                for process in processes:
                    process.kill()
                    process.wait()
            with open(output / "metrics.jsonl") as file:
                rows = [row for row in map(json.loads, file)
                        if row["type"] == "round"]
        if any(row["dropped"] for row in rows):
            sys.exit("updates were dropped")
        for before, row in reversed(list(zip(rows, rows[1:]))):
            row[TO_CLIENTS] -= before[TO_CLIENTS]  # a sum until here
        return rows[WARM_UP:]


def median_of(rows, *keys):
    """Of the sum of these metrics; a leading - subtracts one."""
    return statistics.median(
        sum(-row[key[1:]] if key[0] == "-" else row[key] for key in keys)
        for row in rows)


def table(header, rows):
    """`header` of the first column, the text, and of the others, numbers."""
    print("| " + " | ".join(header) + " |")
    print("|---|" + "---:|" * (len(header) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def report_throughput(title, rows, others, goal):
    """`others` has by name the seconds down and up of every round; the goal is
    about the first of them."""
    size = median_of(rows, TO_CLIENTS)
    others = {name: [statistics.median(part) for part in zip(*pairs)]
              for name, pairs in others.items()}
    named = next(iter(others))
    down, up = median_of(rows, DOWN), median_of(rows, UP)
    ours = {
        "chunks up": (None, up),
        "chunks": (down, up),
        "with encoding and decoding at the client": (
            None, None, median_of(rows, DOWN, WORK, UP, "-step_seconds")),
        "all of a round": (
            None, None, median_of(rows, "round_seconds", "-step_seconds")),
    }
    # Impossibly fast: the server's clock stops before the bytes have gone.
    untold = down < others[named][0] / 3
    if untold:
        del ours["chunks"]
    print(f"\n{title}: {size / 1e6:.0f} MB down and as many up, medians of "
          f"{len(rows)} rounds; training is not counted\n")
    lines = []
    for name, times in [(f"fedlb, {name}", times)
                        for name, times in ours.items()] + list(others.items()):
        times = list(times)
        if len(times) == 2:
            times.append(sum(times) if None not in times else None)
        lines.append([name] + ["" if s is None else f"{s:.3f}" for s in times]
                     + [f"{2e-6 * size / times[2]:,.0f}" if times[2] else ""])
    table(["", "down s", "up s", "both s", "MB/s"], lines)
    print("\nfedlb's speed as a part of its peers':\n")

    def ratio(mine, theirs):
        mine = list(mine)
        if len(mine) == 3:
            return sum(theirs) / mine[2]
        return (theirs[1] / mine[1] if mine[0] is None
                else sum(theirs) / sum(mine))
    table(["peer", *ours],
          [[name, *(f"{ratio(mine, theirs):.0%}" for mine in ours.values())]
           for name, theirs in others.items()])
    print(f"\nGoal: {goal:.0%} of {named}.")
    if untold:
        print("The server does not tell the seconds of the download, which are "
              "in its work_seconds.")


class Bench:
    def __init__(self, args, folder):
        self.args = args
        self.folder = folder
        self.fedlb = Fedlb(args.fedlb.resolve(), folder)
        # The square between the two hidden layers is nearly all of the model.
        self.width = int((args.megabytes * 1e6 / 4) ** 0.5)
        self.apart = [[k] for k in range(args.clients)]

    def large(self, tls=None):
        return self.fedlb.run(self.width, self.args.rounds, [[0]], tls)

    def tcp(self):
        rows, streams = [], {name: [] for name in peers.STREAMS}
        for _ in range(self.args.repeats):
            rows += self.large()
            size = int(median_of(rows, TO_CLIENTS))
            for name, mode in peers.STREAMS.items():
                streams[name] += peers.stream(self.folder, size,
                                              self.args.rounds, mode)
        report_throughput("Throughput", rows, streams, 0.5)

    def tls(self):
        tls = peers.certificates(self.folder)
        rows, seconds = [], []
        for _ in range(self.args.repeats):
            rows += self.large(tls)
            size = int(median_of(rows, TO_CLIENTS))
            seconds += [peers.openssl_stream(self.folder, tls, size)
                        for _ in range(self.args.rounds)]
        report_throughput(
            "Throughput with mutual TLS", rows,
            {"openssl s_client to s_server": list(zip(seconds, seconds))}, 0.6)

    def overhead(self):
        args = self.args
        rows = {f"{args.clients} processes": [], "one process": []}
        layouts = [self.apart, [list(range(args.clients))]]
        streams = []
        for _ in range(args.repeats):
            for more, layout in zip(rows.values(), layouts):
                more += self.fedlb.run(SMALL_WIDTH, args.small_rounds, layout)
            streams += peers.stream(self.folder, SMALL_BYTES * args.clients,
                                    args.small_rounds, peers.STREAMS[peers.TCP])
        plain = statistics.median(map(sum, streams))
        print(f"\nOverhead: {args.clients} clients, a model of "
              f"{SMALL_BYTES / 1e6:.1f} MB, medians of {len(streams)} rounds "
              "in ms; down, work, training and up are means over the clients\n")
        columns = {
            "round": ["round_seconds"],
            "less work": ["round_seconds", "-" + WORK],
            "less training": ["round_seconds", "-step_seconds"],
            "down": [DOWN], "work": [WORK], "of it training": ["step_seconds"],
            "up": [UP], "server afterwards": ["server_seconds"]}
        table(["clients in", *columns, "of the bytes by " + peers.TCP],
              [[name, *(f"{1e3 * median_of(each, *keys):.1f}"
                        for keys in columns.values()),
                f"{median_of(each, 'round_seconds') / plain:.1f}×"]
               for name, each in rows.items()])
        print(f"\nThe same bytes by {peers.TCP}, one client after another: "
              f"{1e3 * plain:.1f} ms. Goal: 20 ms of overhead.")

    def flower(self):
        args = self.args
        python = args.python.absolute()
        if not python.exists():
            sys.exit(f"no Flower at {python}: run "
                     f"tests/benchmarks/peers/setup.sh first, or give --python")
        ours, theirs = [], []
        for _ in range(args.flower_repeats):
            ours.append(median_of(
                self.fedlb.run(SMALL_WIDTH, args.flower_rounds, self.apart),
                "round_seconds"))
            with tempfile.TemporaryDirectory(dir=self.folder) as name:
                seconds = peers.flower(
                    python, pathlib.Path(name), args.clients, SMALL_PARAMETERS,
                    args.flower_rounds + WARM_UP, args.flower_poll)
            theirs.append(statistics.median(seconds[WARM_UP:]))
        print(f"\nRounds: {args.clients} clients in processes of their own, a "
              f"model of {SMALL_BYTES / 1e6:.1f} MB, no training in Flower; "
              f"medians of {args.flower_repeats} runs of {args.flower_rounds} "
              "rounds\n")
        name = f"Flower {peers.flower_version(python)}, deployment"
        lines = []
        for row, times in (("fedlb", ours), (name, theirs)):
            middle = statistics.median(times)
            lines.append([
                row, f"{middle:.3f} ({min(times):.3f}–{max(times):.3f})",
                f"{1 / middle:.2f}",
                "" if times is ours
                else f"{middle / statistics.median(ours):,.0f}×"])
        table(["", "s a round (runs)", "rounds/s", "fedlb is"], lines)
        print("\nGoal: 5×.")


def main():
    parts = ("tcp", "tls", "overhead", "flower")
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fedlb", type=pathlib.Path,
                        default=ROOT / "build/release/bin/fedlb")
    parser.add_argument("--python", type=pathlib.Path,
                        default=ROOT / "build/peers/flower/bin/python",
                        help="of an environment with Flower")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--rounds", type=int, default=6,
                        help="of the large model, in every run (default 6)")
    parser.add_argument("--small-rounds", type=int, default=50)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--flower-rounds", type=int, default=20)
    parser.add_argument("--flower-repeats", type=int, default=2)
    parser.add_argument("--flower-poll", type=float, default=0.2,
                        help="seconds between two looks for a task (0.2; "
                        "Flower's own default is 1)")
    args = parser.parse_args()
    if not args.fedlb.exists():
        sys.exit(f"no {args.fedlb}; build it, or give --fedlb")
    # As Ctrl-C does: what runs is ended, and the folder removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # In memory where that is possible, so that no disk takes part.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fedlb-transport-",
                                     dir=memory) as name:
        bench = Bench(args, pathlib.Path(name))
        for part in args.only:
            print(f"{part}: load {os.getloadavg()[0]:.1f} on {os.cpu_count()} "
                  "cores", file=sys.stderr, flush=True)
            getattr(bench, part)()
            sys.stdout.flush()


if __name__ == "__main__":
    main()
