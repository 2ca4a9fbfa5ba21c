"""Federated averaging by Flower's deployment: a SuperLink, and a SuperNode for
every client, all processes of their own on this machine. Clients send back what
they got: no training, so that a round is all transport."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

# Flower asks for tasks once a second unless told otherwise.
POLL_VARIABLE = "FLWR_SUPEREXEC_TASK_POLL_INTERVAL"
SECONDS_TO_END = 15

PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "rounds"
version = "1.0.0"
description = "Rounds without training"
license = "Apache-2.0"
dependencies = ["flwr>=1.41"]

[tool.flwr.app]
publisher = "peers"

[tool.flwr.app.components]
serverapp = "rounds.app:server_app"
clientapp = "rounds.app:client_app"

[tool.flwr.app.config]
rounds = 3
clients = 2
floats = 250000
result = ""
"""

APP = '''\
import json
import pathlib
import time

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

client_app = ClientApp()
server_app = ServerApp()


class TimedFedAvg(FedAvg):
    """Notes when a round begins, and how many clients answered it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.times = []
        self.answers = []

    def configure_train(self, *args):
        self.times.append(time.perf_counter())
        return super().configure_train(*args)

    def aggregate_train(self, server_round, replies):
        replies = list(replies)
        self.answers.append(sum(not reply.has_error() for reply in replies))
        return super().aggregate_train(server_round, replies)


@client_app.train()
def train(message, context):
    return Message(RecordDict({
        "arrays": message.content["arrays"],
        "metrics": MetricRecord({"num-examples": 1}),
    }), reply_to=message)


@server_app.main()
def serve(grid, context):
    config = context.run_config
    clients = config["clients"]
    while len(list(grid.get_node_ids())) < clients:
        time.sleep(0.1)
    strategy = TimedFedAvg(
        fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=clients,
        min_available_nodes=clients)
    arrays = ArrayRecord([np.full(config["floats"], 0.5, np.float32)])
    strategy.start(grid=grid, initial_arrays=arrays,
                   num_rounds=config["rounds"])
    times = strategy.times + [time.perf_counter()]
    result = pathlib.Path(config["result"])
    partial = result.with_suffix(".partial")
    partial.write_text(json.dumps({
        "seconds": [b - a for a, b in zip(times, times[1:])],
        "answers": strategy.answers}))
    partial.rename(result)
'''


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def version(python):
    return subprocess.run(
        [python, "-c", "import flwr; print(flwr.__version__)"],
        capture_output=True, text=True, check=True).stdout.strip()


def write_app(folder):
    package = folder / "app/rounds"
    package.mkdir(parents=True, exist_ok=True)
    (folder / "app/pyproject.toml").write_text(PROJECT)
    (package / "__init__.py").write_text("")
    (package / "app.py").write_text(APP)


def wait_until_up(port, process, log):
    for _ in range(300):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"Flower's SuperLink does not come up:\n{tail(log)}")


def tail(log):
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def end(processes):
    """Ends the processes, with those that they have started."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + SECONDS_TO_END
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def measure(python, folder, clients, floats, rounds, poll_seconds, timeout):
    """Seconds of every round."""
    binaries = pathlib.Path(python).absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    write_app(folder)
    port = free_port()
    link = f"127.0.0.1:{port}"
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(
        '[superlink]\ndefault = "here"\n\n[superlink.here]\n'
        f'address = "{link}"\ninsecure = true\n')
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    environment = {
        "PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8",
        "HOME": str(folder), "FLWR_HOME": str(home), "OMP_NUM_THREADS": "1",
        "FLWR_TELEMETRY_ENABLED": "0", POLL_VARIABLE: str(poll_seconds)}
    processes = []

    def start(name, *command):
        with open(folder / f"{name}.log", "wb") as log:
            processes.append(subprocess.Popen(
                [binaries / command[0], *command[1:]], cwd=folder,
                env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True))
        return processes[-1]

    try:
        superlink = start(
            "superlink", "flower-superlink", "--insecure", "--host",
            "127.0.0.1", "--port", str(port),
            "--disable-runtime-dependency-installation")
        log = folder / "superlink.log"
        wait_until_up(port, superlink, log)
        for client in range(clients):
            start(f"supernode-{client}", "flower-supernode", "--insecure",
                  "--superlink", link, "--port", str(free_port()),
                  "--node-config", f"partition-id={client}")
        started = subprocess.run(
            [binaries / "flwr", "run", folder / "app", "here", "--run-config",
             f"rounds={rounds} clients={clients} floats={floats} "
             f"result='{result}'"],
            env=environment, cwd=folder, capture_output=True, text=True)
        if started.returncode != 0:
            raise SystemExit(f"flwr run: {started.stdout}{started.stderr}")
        deadline = time.monotonic() + timeout
        while not result.exists():
            if time.monotonic() > deadline:
                raise SystemExit(f"Flower ran past its time:\n{tail(log)}")
            time.sleep(0.2)
    finally:
        end(processes)
    told = json.loads(result.read_text())
    if told["answers"] != [clients] * rounds:
        raise SystemExit(f"Flower's clients answered {told['answers']}")
    return told["seconds"]
