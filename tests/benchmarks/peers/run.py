#!/usr/bin/env python3
"""Measures fedlb beside a hand-written PyTorch loop, pfl, fluke, FedLab and
Flower: the same images, steps and processors, run after run in turn.

Before the counted repeats every setting of every program runs once; those that
come within 10 % of the best setting of their program are repeated. The tables
go to stdout and, with all runs as JSON, into --output.
"""
import argparse
import dataclasses
import datetime
import json
import math
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import fedlb_peer
import measure
import tables

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TEST_IMAGES = 2000
PROBE_MARGIN = 0.9

# glibc's malloc that neither maps large blocks one by one nor gives memory
# back, as fedlb's own allocator does.
KEEPING_MALLOC = (f"glibc.malloc.mmap_threshold={2**30}"
                  f":glibc.malloc.trim_threshold={2**62}")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One way to run one program."""
    program: str
    threads: int = 1
    workers: int = 1
    malloc: bool = False

    @property
    def name(self):
        return "loop_malloc" if self.malloc else self.program

    @property
    def label(self):
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        one, many = {"fedlb": ("worker", "workers"),
                     "flower": ("actor", "actors")}.get(
                         self.program, ("process", "processes"))
        if self.workers > 1:
            return f"{self.workers} {many}, {threads}"
        return threads if one == "process" else f"1 {one}, {threads}"


@dataclasses.dataclass(frozen=True)
class Scenario:
    title: str
    clients: int
    per_client: int
    rounds: int
    batch: int
    cores: int
    settings: tuple
    targets: tuple

    @property
    def samples(self):
        return self.clients * self.per_client * self.rounds

    @property
    def steps(self):
        return (self.clients * self.rounds
                * math.ceil(self.per_client / self.batch))


ONE_CORE = (
    Setting("fedlb"), Setting("loop"), Setting("loop", malloc=True))
TWO_CORES = (
    Setting("fedlb", workers=2),
    Setting("loop"), Setting("loop", threads=2),
    Setting("loop", malloc=True), Setting("loop", threads=2, malloc=True),
    Setting("pfl"), Setting("pfl", threads=2), Setting("pfl", workers=2),
    Setting("fluke"), Setting("fluke", threads=2),
    Setting("fedlab"), Setting("fedlab", threads=2),
    Setting("flower", workers=2), Setting("flower"),
    Setting("flower", threads=2))
PEERS = ("loop", "pfl", "fluke", "fedlab", "flower")

SCENARIOS = {
    "one_core_b64": Scenario(
        "One core, one training loop, b = 64", 1, 60000, 1, 64, 1, ONE_CORE,
        (tables.Target("speed", 1.2, ("loop",)),)),
    "one_core_b1024": Scenario(
        "One core, one training loop, b = 1024", 1, 60000, 1, 1024, 1, ONE_CORE,
        (tables.Target("speed", 1.4, ("loop",)),)),
    "two_cores_b128": Scenario(
        "Two cores, 10 clients of 6,000 images, 2 rounds, b = 128",
        10, 6000, 2, 128, 2, TWO_CORES,
        (tables.Target("speed", 1.2, PEERS),
         tables.Target("memory", 0.5, PEERS))),
    "two_cores_b1024": Scenario(
        "Two cores, 10 clients of 6,000 images, 2 rounds, b = 1024",
        10, 6000, 2, 1024, 2, TWO_CORES,
        (tables.Target("speed", 1.8, PEERS),
         tables.Target("memory", 0.6, PEERS))),
    "many_clients": Scenario(
        "Two cores, 100 clients of 60 images, 20 rounds, b = 60",
        100, 60, 20, 60, 2, TWO_CORES,
        (tables.Target("speed", 10, ("flower",)),
         tables.Target("speed", 1.5, ("loop", "pfl", "fluke", "fedlab")))),
}


def say(text):
    print(text, file=sys.stderr, flush=True)


def tiny(scenario):
    """The same shape with next to no work, to see whether everything runs."""
    return dataclasses.replace(
        scenario, title=scenario.title + " (tiny: times mean nothing)",
        clients=min(scenario.clients, 4),
        per_client=min(scenario.per_client, 150),
        rounds=min(scenario.rounds, 2), targets=())


class Bench:
    """Where things are: programs, images, the folder of the run in progress."""

    def __init__(self, args):
        self.fedlb = args.fedlb.resolve()
        self.peers = args.peers.resolve()
        self.timeout = args.timeout
        self.tiny = args.tiny
        self.work = self.peers / "work"
        self.home = self.work / "home"
        self.home.mkdir(parents=True, exist_ok=True)

    def python(self, program):
        folder = "torch" if program == "loop" else program
        return self.peers / folder / "bin" / "python"

    def missing(self, program):
        needed = self.fedlb if program == "fedlb" else self.python(program)
        return None if needed.exists() else needed

    def data(self, count):
        """The folder of the images, made once."""
        folder = self.work / f"images-{count}"
        if not folder.exists():
            say(f"writing {count} images to {folder}")
            partial = pathlib.Path(tempfile.mkdtemp(dir=self.work))
            subprocess.run(
                [self.python("loop"), HERE / "data.py", "--out", partial,
                 "--train", str(count), "--test", str(TEST_IMAGES)], check=True)
            partial.rename(folder)
        return folder

    def environment(self, setting):
        # Nothing of the caller's: it would differ from machine to machine.
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8",
            "HOME": str(self.home)}
        if setting.program != "fedlb":
            environment["OMP_NUM_THREADS"] = str(setting.threads)
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        if self.tiny:
            # Waiting threads that spin stand still on a busy machine.
            environment["OMP_WAIT_POLICY"] = "passive"
        if setting.malloc:
            environment["GLIBC_TUNABLES"] = KEEPING_MALLOC
        return environment

    def run(self, setting, scenario, with_pss):
        """Runs once and checks that the work was the work asked for."""
        data = self.data(scenario.clients * scenario.per_client)
        with tempfile.TemporaryDirectory(dir=self.work) as name:
            folder = pathlib.Path(name)
            values = {"data": data, "clients": scenario.clients,
                      "rounds": scenario.rounds, "batch": scenario.batch,
                      "threads": setting.threads, "workers": setting.workers}
            if setting.program == "fedlb":
                command = fedlb_peer.command(self.fedlb, folder, **values)
            else:
                script = {"loop": "torch_loop.py"}.get(
                    setting.program, f"{setting.program}_peer.py")
                command = [str(self.python(setting.program)),
                           str(HERE / script),
                           "--per-client", str(scenario.per_client)]
                for key, value in values.items():
                    command += [f"--{key}", str(value)]
            printed, taken = measure.run(
                command, self.environment(setting), set(range(scenario.cores)),
                folder, self.timeout, with_pss)
        if setting.program == "fedlb":
            told = fedlb_peer.result(printed)
        else:
            told = json.loads(re.findall(r"^RESULT (.*)$", printed, re.M)[-1])
        for key, wanted in (("steps", scenario.steps),
                            ("samples", scenario.samples), ("evaluated", 0)):
            if told[key] != wanted:
                raise measure.Failure(
                    f"{setting.name} did {told[key]} {key}, not {wanted}")
        return {**taken, **told,
                "startup_seconds": taken["wall_seconds"] - told["seconds"],
                "samples_per_second": told["samples"] / told["seconds"]}


def machine(bench):
    """What the figures depend on besides the programs."""
    cpu = re.search(r"model name\s*: (.*)",
                    pathlib.Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    version = "not run"
    if bench.fedlb.exists():
        printed = subprocess.run([bench.fedlb, "--version"], text=True,
                                 capture_output=True).stdout
        version = ", ".join(printed.splitlines())
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "fedlb": version,
        "load_before": os.getloadavg()[0],
    }


def attempt(bench, setting, scenario, runs, failures, kind):
    """One run, recorded and told on stderr."""
    try:
        run = bench.run(setting, scenario, with_pss=kind == "probe")
    except (measure.Failure, ValueError, KeyError, IndexError) as error:
        expected = isinstance(error, measure.Failure)
        cause = str(error) if expected else repr(error)
        failures.append(f"{setting.name} ({setting.label}) {cause}")
        say(f"  FAILED: {failures[-1]}")
        return None
    runs.append({"kind": kind, "name": setting.name, "label": setting.label,
                 "threads": setting.threads, "workers": setting.workers, **run})
    say(f"  {kind:6} {setting.name:12} {setting.label:20} "
        f"{run['samples_per_second']:9.0f} img/s  {run['seconds']:7.2f} s")
    return run


def contenders(settings, speeds):
    """The settings worth repeating: near the best one of their program."""
    best = {}
    for setting, speed in speeds.items():
        best[setting.name] = max(best.get(setting.name, 0), speed)
    return [s for s in settings
            if s in speeds and speeds[s] >= PROBE_MARGIN * best[s.name]]


def run_scenario(bench, scenario, args):
    settings = [s for s in scenario.settings
                if not args.only or s.name in args.only]
    for setting in list(settings):
        if path := bench.missing(setting.program):
            say(f"  no {setting.name}: there is no {path}")
            settings.remove(setting)
    runs, failures = [], []
    surroundings = machine(bench)
    speeds = {}
    for setting in settings:
        if run := attempt(bench, setting, scenario, runs, failures, "probe"):
            speeds[setting] = run["samples_per_second"]
    kept = contenders(settings, speeds)
    for _ in range(args.repeats):
        for setting in kept:
            attempt(bench, setting, scenario, runs, failures, "repeat")
    return {"title": scenario.title, "machine": surroundings, "runs": runs,
            "failures": failures, "cores": scenario.cores,
            "samples": scenario.samples, "steps": scenario.steps,
            "targets": [dataclasses.asdict(t) for t in scenario.targets]}


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--fedlb", type=pathlib.Path, default=ROOT / "build/release/bin/fedlb",
        help="the program to measure (default build/release/bin/fedlb)")
    parser.add_argument(
        "--peers", type=pathlib.Path, default=ROOT / "build/peers",
        help="what setup.sh made (default build/peers)")
    parser.add_argument(
        "--scenario", action="append", metavar="NAME",
        help="run this one, or those that begin with it; repeatable\n"
        + "(default all: " + ", ".join(SCENARIOS) + ")")
    parser.add_argument(
        "--only", action="append", metavar="PROGRAM",
        help="run this program; repeatable (default all: fedlb, loop,\n"
        "loop_malloc, pfl, fluke, fedlab, flower)")
    parser.add_argument("--repeats", type=int, default=5,
                        help="counted runs of each setting (default 5)")
    parser.add_argument("--tiny", action="store_true",
                        help="next to no work: does everything run?")
    parser.add_argument("--timeout", type=float, default=900,
                        help="seconds that one run may take (default 900)")
    parser.add_argument(
        "--output", type=pathlib.Path,
        help="folder of results.json, results.txt and results.md; scenarios\n"
        "in it that are not run again stay (default PEERS/results)")
    args = parser.parse_args()
    names = [n for n in SCENARIOS
             if not args.scenario or n.startswith(tuple(args.scenario))]
    if not names:
        parser.error("no such scenario; have " + ", ".join(SCENARIOS))
    known = {s.name for s in TWO_CORES}
    if unknown := set(args.only or ()) - known:
        parser.error(f"no program {', '.join(sorted(unknown))}; have "
                     + ", ".join(sorted(known)))
    return args, names


def main():
    args, names = parse_arguments()
    bench = Bench(args)
    if bench.missing("loop"):
        sys.exit(f"no PyTorch in {bench.peers}: run {HERE / 'setup.sh'} first")
    measure.adopt_orphans()
    # As Ctrl-C does: what runs is ended first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    output = args.output or bench.peers / ("tiny" if args.tiny else "results")
    output.mkdir(parents=True, exist_ok=True)
    record = output / "results.json"
    results = json.loads(record.read_text()) if record.exists() else {}
    failed = False
    for name in names:
        scenario = tiny(SCENARIOS[name]) if args.tiny else SCENARIOS[name]
        if scenario.cores > os.cpu_count():
            sys.exit(f"{name} needs {scenario.cores} processors")
        say(f"{name}: {scenario.title}")
        # Never on the processors of the program, where there are others.
        others = set(range(scenario.cores, os.cpu_count()))
        os.sched_setaffinity(0, others or set(range(os.cpu_count())))
        results[name] = run_scenario(bench, scenario, args)
        failed = failed or bool(results[name]["failures"])
        ordered = {n: results[n] for n in SCENARIOS if n in results}
        record.write_text(json.dumps(ordered, indent=1) + "\n")
        (output / "results.txt").write_text(tables.text(ordered))
        (output / "results.md").write_text(tables.markdown(ordered))
    print(tables.text({n: results[n] for n in names}), end="")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
