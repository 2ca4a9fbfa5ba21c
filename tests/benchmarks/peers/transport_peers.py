"""What transport.py measures fedlb against: bytes from one process to another
by plain TCP and by OpenSSL's own programs, and Flower's deployment."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

RUN_SECONDS = 600

# Two processes and one connection. Prints the seconds of both directions once
# per round: from the first byte that is sent to the answer that all have come.
STREAM = r"""
#define XXH_INLINE_ALL
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

constexpr size_t kChunk = 1 << 20;
bool check, keep;

void Exactly(bool ok) {
  if (!ok) {
    perror("stream");
    exit(1);
  }
}

void SendAll(int fd, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t sent = send(fd, at, size, 0);
    Exactly(sent > 0);
    at += sent;
    size -= sent;
  }
}

void ReceiveAll(int fd, void* data, size_t size) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t got = recv(fd, at, size, 0);
    Exactly(got > 0);
    at += got;
    size -= got;
  }
}

void SendStream(int fd, const std::vector<char>& chunk, size_t size) {
  while (size > 0) {
    const size_t length = std::min(size, kChunk);
    SendAll(fd, chunk.data(), length);
    if (check) {
      const XXH64_hash_t sum = XXH3_64bits(chunk.data(), length);
      SendAll(fd, &sum, sizeof(sum));
    }
    size -= length;
  }
}

void ReceiveStream(int fd, std::vector<char>& chunk, size_t size) {
  std::unique_ptr<char[]> all(keep ? new char[size] : nullptr);
  for (size_t done = 0; done < size;) {
    const size_t length = std::min(size - done, kChunk);
    char* to = keep ? all.get() + done : chunk.data();
    ReceiveAll(fd, to, length);
    if (check) {
      XXH64_hash_t sum;
      ReceiveAll(fd, &sum, sizeof(sum));
      Exactly(sum == XXH3_64bits(to, length));
    }
    done += length;
  }
}

int main(int, char** argv) {
  const size_t size = atoll(argv[1]);
  const int rounds = atoi(argv[2]);
  check = strchr(argv[3], 'c') != nullptr;
  keep = strchr(argv[3], 'k') != nullptr;
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  sockaddr* const name = reinterpret_cast<sockaddr*>(&address);
  Exactly(bind(listener, name, length) == 0 && listen(listener, 1) == 0);
  getsockname(listener, name, &length);
  std::vector<char> chunk(kChunk, 'x');
  char mark = 0;
  const pid_t child = fork();
  if (child == 0) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    Exactly(connect(fd, name, length) == 0);
    for (int i = 0; i < rounds; ++i) {
      ReceiveStream(fd, chunk, size);
      SendAll(fd, &mark, 1);
      ReceiveAll(fd, &mark, 1);
      SendStream(fd, chunk, size);
    }
    return 0;
  }
  const int fd = accept(listener, nullptr, nullptr);
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::time_point since) {
    return std::chrono::duration<double>(Clock::now() - since).count();
  };
  for (int i = 0; i < rounds; ++i) {
    Clock::time_point start = Clock::now();
    SendStream(fd, chunk, size);
    ReceiveAll(fd, &mark, 1);
    const double down = seconds(start);
    start = Clock::now();
    SendAll(fd, &mark, 1);
    ReceiveStream(fd, chunk, size);
    printf("%.6f %.6f\n", down, seconds(start));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}
"""
TCP = "plain TCP"
STREAMS = {TCP: "-", "plain TCP, kept in new memory": "k",
           "plain TCP with XXH3 of each MiB": "c",
           "plain TCP with XXH3, kept in new memory": "ck"}

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


def call(command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True,
                          text=True, timeout=RUN_SECONDS, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done.stdout


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def stream(folder, size, rounds, mode):
    """Seconds down and up of every round, without the first."""
    binary = folder / "stream"
    if not binary.exists():
        source = folder / "stream.cc"
        source.write_text(STREAM)
        call(["g++", "-O2", "-std=c++17", "-o", binary, source])
    printed = call([binary, str(size), str(rounds + 1), mode])
    return [tuple(map(float, line.split()))
            for line in printed.splitlines()[1:]]


def certificates(folder):
    """An authority, a server and client 0; files by role and setting."""
    tls = {}
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
           "-nodes"]
    ca = folder / "ca.pem"
    call(["openssl", "req", "-x509", *key, "-subj", "/CN=ca", "-days", "2",
          "-keyout", folder / "ca.key", "-out", ca])
    for who, name in (("server", "IP:127.0.0.1"),
                      ("client", "URI:fedlb:client:0")):
        secret, request, certificate, more = (
            folder / f"{who}.{kind}"
            for kind in ("key", "csr", "pem", "ext"))
        more.write_text(f"subjectAltName={name}\n")
        call(["openssl", "req", *key, "-subj", f"/CN={who}", "-keyout",
              secret, "-out", request])
        call(["openssl", "x509", "-req", "-in", request, "-CA", ca,
              "-CAkey", folder / "ca.key", "-CAcreateserial", "-days",
              "2", "-extfile", more, "-out", certificate])
        tls[who] = {"ca": ca, "certificate": certificate, "key": secret}
    return tls


def openssl_once(tls, file):
    """Seconds from the start of the client to the end of the server."""
    def files(who):
        return ["-CAfile", tls[who]["ca"], "-cert", tls[who]["certificate"],
                "-key", tls[who]["key"], "-verify_return_error", "-quiet"]
    port = free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # The server's input stays open: at its end the server would hang up.
    server = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-naccept",
         "1", "-Verify", "2", *files("server")], stdin=subprocess.PIPE, **quiet)
    try:
        time.sleep(0.3)  # until it listens
        with open(file, "rb") as data:
            start = time.perf_counter()
            # -no_ign_eof, after the -quiet that it takes back: ends with the
            # input.
            subprocess.run(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{port}",
                 "-verify", "2", *files("client"), "-no_ign_eof"], stdin=data,
                check=True, timeout=RUN_SECONDS, **quiet)
        if server.wait(RUN_SECONDS) != 0:
            sys.exit("openssl s_server failed")
        return time.perf_counter() - start
    finally:
        server.kill()
        server.wait()


def openssl_stream(folder, tls, size):
    """Seconds for `size` bytes, less what starting and shaking hands takes."""
    seconds = []
    for length in (size, 1):
        file = folder / f"bytes-{length}"
        if not file.exists():
            file.write_bytes(b"x" * length)
        seconds.append(openssl_once(tls, file))
    return seconds[0] - seconds[1]


def flower_version(python):
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
    sys.exit(f"Flower's SuperLink does not come up:\n{tail(log)}")


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


def flower(python, folder, clients, floats, rounds, poll_seconds):
    """Seconds of every round of federated averaging: a SuperLink, and a
    SuperNode for every client. Clients send back what they get, so that a round
    is all transport."""
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
            sys.exit(f"flwr run: {started.stdout}{started.stderr}")
        deadline = time.monotonic() + 60 * rounds
        while not result.exists():
            if time.monotonic() > deadline:
                sys.exit(f"Flower ran past its time:\n{tail(log)}")
            time.sleep(0.2)
    finally:
        end(processes)
    told = json.loads(result.read_text())
    if told["answers"] != [clients] * rounds:
        sys.exit(f"Flower's clients answered {told['answers']}")
    return told["seconds"]
