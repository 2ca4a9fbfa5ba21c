"""Makes things go wrong around a federation of real processes, and checks that
its weights are those of a run in one process: no update lost, none counted
twice, none wrong.

  remote_faults.py SCENARIO FEDLB CONFIG [SEED]

A scenario is a function below. The seed of what is random is printed.
"""
import contextlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

FEDLB, CONFIG = sys.argv[2:4]
SEED = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(2**32)
RANDOM = random.Random(SEED)
CLIENTS = 4
# Clients remember momentum and what the compressor left out.
SETTINGS = [
    "dataset.train_size=6000", "dataset.shape=[1,16,16]",
    f"federation.clients={CLIENTS}", f"federation.cohort_size={CLIENTS}",
    "optimizer.lr=0.002", "optimizer.keep_state=true", "compressor.name=topk",
    "compressor.ratio=0.2"]
TIMEOUT = 240


def sets(settings):
    return [word for setting in settings for word in ("--set", setting)]


class Child:
    """A process whose stderr is kept for when it is needed."""

    def __init__(self, name, folder, *arguments, before=(), environment=None):
        self.name = name
        self.log = open(os.path.join(folder, f"{name}.log"), "a+",
                        encoding="utf-8")
        self.process = subprocess.Popen(
            [*before, FEDLB, "train", "--format", "json", *arguments],
            stdout=subprocess.PIPE, stderr=self.log, text=True,
            env={**os.environ, **(environment or {})})

    def kill(self, sent=signal.SIGKILL):
        self.process.send_signal(sent)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def result(self, timeout=TIMEOUT):
        out, _ = self.process.communicate(timeout=timeout)
        if self.process.returncode != 0:
            fail(f"{self.name} exits with {self.process.returncode}:\n"
                 f"{self.stderr()[-3000:]}")
        return json.loads(out)["data"]

    def stderr(self):
        self.log.seek(0)
        return self.log.read()


def fail(message):
    sys.exit(f"seed {SEED}: {message}")


class Federation:
    """A server and client processes in a folder of their own."""

    def __init__(self, folder, settings, connect=None):
        self.folder = folder
        self.settings = SETTINGS + settings
        self.run = os.path.join(folder, "run")
        self.listen = f"unix:{folder}/server"
        self.connect = connect or self.listen
        self.server = None
        self.clients = {}

    def start_server(self, *extra, **how):
        if os.path.exists(os.path.join(self.run, "run.json")):
            what = ["--resume", self.run]
        else:
            # A server that was killed before it wrote its settings.
            subprocess.run(["rm", "-rf", self.run], check=True)
            what = ["-c", CONFIG, "-o", self.run, *sets(self.settings)]
        self.server = Child("server", self.folder, *what, *extra, "--listen",
                            self.listen, **how)

    def start_client(self, *ids, extra=(), **how):
        name = "client-" + "-".join(map(str, ids))
        self.clients[ids] = Child(
            name, self.folder, "-c", CONFIG, *sets(self.settings), *extra,
            "--connect", self.connect, "--client-id", ",".join(map(str, ids)),
            "--state-dir", os.path.join(self.folder, "state"), **how)

    def rounds(self):
        try:
            with open(os.path.join(self.run, "metrics.jsonl"),
                      encoding="utf-8") as log:
                return [json.loads(line) for line in log]
        except (OSError, json.JSONDecodeError):
            return []

    def close(self):
        for child in [self.server, *self.clients.values()]:
            if child is not None:
                child.end()


@contextlib.contextmanager
def federation(settings, connect=None):
    with tempfile.TemporaryDirectory() as folder:
        made = Federation(folder, settings, connect)
        try:
            yield made
        finally:
            made.close()


def reference(settings):
    """The weights of the same run in one process."""
    with tempfile.TemporaryDirectory() as folder:
        alone = [setting for setting in SETTINGS + settings
                 if not setting.startswith("transport.")]
        child = Child("reference", folder, "-c", CONFIG, *sets(alone), "-o",
                      os.path.join(folder, "run"))
        try:
            return child.result()["weights_sha256"]
        finally:
            child.end()


def check_equal(server, settings):
    """The run ends with the weights of an undisturbed one."""
    result = server.result()
    if result["dropped_updates"] != 0:
        fail(f"{result['dropped_updates']} updates dropped:\n"
             f"{server.stderr()[-3000:]}")
    wanted = reference(settings)
    if result["weights_sha256"] != wanted:
        fail(f"weights {result['weights_sha256']}, alone {wanted}")


def every_while(action, running, low, high):
    """Does something at random times while `running()`."""
    while running():
        time.sleep(RANDOM.uniform(low, high))
        if running():
            action()


def killed_clients():
    """kill -9 of client processes at random moments, 20 times and more."""
    settings = ["rounds=150"]
    kills = 0
    with federation(settings) as made:
        made.start_server()
        for client in range(CLIENTS):
            made.start_client(client)

        def kill_one():
            nonlocal kills
            ids = RANDOM.choice(list(made.clients))
            victim = made.clients[ids]
            if victim.process.poll() is None:
                kills += 1
            victim.end()
            made.start_client(*ids)

        every_while(kill_one, lambda: made.server.process.poll() is None,
                    0.1, 0.4)
        check_equal(made.server, settings)
    print(f"killed clients {kills} times")
    if kills < 20:
        fail("too few to tell")


def killed_server():
    """kill -9 of the server at random moments, 20 times and more."""
    settings = ["rounds=150"]
    kills = 0
    with federation(settings) as made:
        made.start_server()
        for client in range(0, CLIENTS, 2):
            made.start_client(client, client + 1)
        while True:
            time.sleep(RANDOM.uniform(0.3, 1.2))
            if made.server.process.poll() is not None or kills >= 20:
                break
            made.server.end()
            kills += 1
            made.start_server()
        check_equal(made.server, settings)
        for child in made.clients.values():
            child.result(30)
    print(f"killed the server {kills} times")
    if kills < 20:
        fail("too few to tell")


def stopped_client():
    """SIGSTOP for longer than the deadline: the round goes on without the
    client, which is back in a later one; its late update is refused."""
    with federation(["rounds=24", "federation.deadline_seconds=2",
                     "federation.min_cohort=3",
                     "transport.heartbeat_seconds=1"]) as made:
        made.start_server()
        for client in range(CLIENTS):
            made.start_client(client)
        while len(made.rounds()) < 3:
            time.sleep(0.02)
        victim = made.clients[(2,)]
        victim.kill(signal.SIGSTOP)
        before = len(made.rounds())
        while len(made.rounds()) < before + 2:
            time.sleep(0.05)
        victim.kill(signal.SIGCONT)
        result = made.server.result()
        rounds = made.rounds()
        missed = [line for line in rounds if line["survivors"] == 3]
        slow = [line["round_seconds"] for line in rounds]
        if not missed or result["dropped_updates"] != len(missed):
            fail(f"{len(missed)} rounds without it, "
                 f"{result['dropped_updates']} dropped")
        if rounds[-1]["survivors"] != CLIENTS:
            fail("it has not come back")
        if max(slow) > 3:
            fail(f"a round took {max(slow)} s with a deadline of 2 s")
        print(f"missed {len(missed)} of {len(rounds)} rounds; the longest took "
              f"{max(slow):.2f} s")


def late_updates_count():
    """With a staleness bound the late updates of a slow client count."""
    with federation(["rounds=12", "federation.deadline_seconds=0.6",
                     "federation.min_cohort=1", "federation.staleness_bound=3",
                     "dataset.train_size=20000"]) as made:
        made.start_server()
        for client in range(CLIENTS):
            made.start_client(client)
        while not made.rounds():
            time.sleep(0.02)
        slow = made.clients[(1,)]
        while made.server.process.poll() is None:
            slow.kill(signal.SIGSTOP)
            time.sleep(0.4)
            slow.kill(signal.SIGCONT)
            time.sleep(0.03)
        made.server.result()
        late = sum(line["late"] for line in made.rounds())
        print(f"{late:.0f} late updates counted")
        if late < 1:
            fail("no late update counted")


class ChaosProxy:
    """A TCP proxy that treats what passes in one of several bad ways."""

    def __init__(self, target, kind):
        self.target = target
        self.kind = kind
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.faults = 0
        self.passed = 0
        self.lock = threading.Lock()
        self.closed = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.closed:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.target)
            except OSError:
                client.close()
                continue
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(source, sink),
                                 daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(65536):
                data = self.treat(data, source, sink)
                if data is None:
                    break
                sink.sendall(data)
            if self.kind == "half_close":
                sink.shutdown(socket.SHUT_WR)
                return
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
                end.close()

    def happens(self, size, every):
        """On average once in `every` bytes."""
        with self.lock:
            self.passed += size
            hit = RANDOM.random() < size / every
            self.faults += hit
            return hit

    def treat(self, data, source, sink):
        kind = self.kind
        if kind == "delay":
            self.happens(1, 1)
            time.sleep(0.02)
        elif kind == "throttle":
            self.happens(1, 1)
            time.sleep(len(data) / 4e6)
        elif kind == "one_byte_writes":
            # The first of a frame, where its length stands.
            self.happens(1, 1)
            for byte in data[:40]:
                sink.sendall(bytes([byte]))
            return data[40:]
        elif kind == "reset" and self.happens(len(data), 4e5):
            sink.sendall(data[:len(data) // 2])
            for end in (source, sink):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               struct.pack("ii", 1, 0))
            return None
        elif kind == "half_close" and self.happens(len(data), 8e5):
            sink.sendall(data[:len(data) // 2])
            return None
        elif kind == "flip" and self.happens(len(data), 1e6):
            flipped = bytearray(data)
            flipped[RANDOM.randrange(len(data))] ^= 1 << RANDOM.randrange(8)
            return bytes(flipped)
        elif kind == "blackhole" and self.happens(len(data), 2.5e6):
            time.sleep(3)
            return None
        return data

    def close(self):
        self.closed = True
        self.listener.close()


def chaos(kind):
    settings = ["rounds=20", "model.hidden=[256]"]
    with federation(settings) as made:
        made.start_server()
        while not os.path.exists(f"{made.folder}/server"):
            time.sleep(0.02)
        proxy = ChaosProxy(f"{made.folder}/server", kind)
        made.connect = proxy.address
        for client in range(0, CLIENTS, 2):
            made.start_client(client, client + 1)
        check_equal(made.server, settings)
        proxy.close()
        print(f"{kind}: {proxy.faults} faults in {proxy.passed / 1e6:.1f} MB")
        if proxy.faults < 3:
            fail("too few to tell")


def chaos_delay():
    chaos("delay")


def chaos_throttle():
    chaos("throttle")


def chaos_one_byte_writes():
    chaos("one_byte_writes")


def chaos_reset():
    chaos("reset")


def chaos_half_close():
    chaos("half_close")


def chaos_flip():
    chaos("flip")


def chaos_blackhole():
    chaos("blackhole")


def link_down():
    """The link between two machines goes down, again and again."""
    settings = ["rounds=16"]
    ends = [f"fedlb-{os.getpid()}-{end}" for end in "ab"]

    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True)

    try:
        try:
            for name in ends:
                ip("netns", "add", name)
            ip("link", "add", "end", "netns", ends[0], "type", "veth", "peer",
               "name", "end", "netns", ends[1])
            for number, name in enumerate(ends, 1):
                ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev",
                   "end")
                ip("-n", name, "link", "set", "end", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"needs root, iproute2 and network namespaces: {error}")
            sys.exit(77)
        with federation(settings) as made:
            made.listen = made.connect = "10.77.0.1:7070"
            inside = [["ip", "netns", "exec", name] for name in ends]
            made.start_server("--insecure", before=inside[0])
            for client in range(0, CLIENTS, 2):
                made.start_client(client, client + 1, extra=["--insecure"],
                                  before=inside[1])
            for seconds in (1, 8, 1):
                rounds = len(made.rounds())
                while len(made.rounds()) < rounds + 3:
                    time.sleep(0.02)
                ip("-n", ends[1], "link", "set", "end", "down")
                time.sleep(seconds)
                if made.server.process.poll() is not None:
                    fail("the run was over too early to tell")
                ip("-n", ends[1], "link", "set", "end", "up")
            check_equal(made.server, settings)
        with federation(["rounds=1000", "federation.deadline_seconds=3",
                         f"federation.min_cohort={CLIENTS}"]) as made:
            made.listen = made.connect = "10.77.0.1:7071"
            made.start_server("--insecure", before=inside[0])
            made.start_client(*range(CLIENTS), extra=["--insecure"],
                              before=inside[1])
            while len(made.rounds()) < 3:
                time.sleep(0.02)
            ip("-n", ends[1], "link", "set", "end", "down")
            start = time.monotonic()
            code = made.server.process.wait(30)
            took = time.monotonic() - start
            print(f"down for good: exit code {code} after {took:.1f} s")
            # The server waits a little for clients to hear that it ends.
            if code != 7 or took > 3 + 3:
                fail(made.server.stderr()[-2000:])
    finally:
        for name in ends:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def clock_jumps():
    """The system's clock jumps by an hour, forth and back: no deadline passes
    earlier or later for it."""
    libraries = [os.path.join(folder, "libfaketime.so.1")
                 for folder, _, names in os.walk("/usr/lib")
                 if "libfaketime.so.1" in names]
    if not libraries:
        print("needs libfaketime")
        sys.exit(77)
    settings = ["rounds=20", "federation.deadline_seconds=30"]
    with federation(settings) as made:
        stamp = os.path.join(made.folder, "clock")

        def jump(offset):
            with open(stamp + ".new", "w", encoding="utf-8") as file:
                file.write(offset)
            os.replace(stamp + ".new", stamp)

        jump("+0")
        fake = {"LD_PRELOAD": libraries[0], "FAKETIME_NO_CACHE": "1",
                "FAKETIME_TIMESTAMP_FILE": stamp,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        made.start_server(environment=fake)
        for client in range(0, CLIENTS, 2):
            made.start_client(client, client + 1, environment=fake)
        jumps = 0
        while made.server.process.poll() is None:
            time.sleep(RANDOM.uniform(0.1, 0.4))
            jump(RANDOM.choice(["+3600", "-3600", "+0"]))
            jumps += 1
        result = made.server.result()
        print(f"the clock jumped {jumps} times")
        if result["dropped_updates"] != 0:
            fail(f"{result['dropped_updates']} updates dropped")
        if jumps < 4:
            fail("too few to tell")


def interrupted_server():
    """SIGTERM to the server, at any moment: a checkpoint and the exit code, in
    time; the run then goes on to the weights that it would have had."""
    settings = ["rounds=20"]
    stops = 0
    with federation(settings) as made:
        made.start_server()
        for client in range(0, CLIENTS, 2):
            made.start_client(client, client + 1)
        while len(made.rounds()) < 15 and stops < 8:
            rounds = len(made.rounds())
            while len(made.rounds()) == rounds:
                time.sleep(0.01)
            time.sleep(RANDOM.uniform(0, 0.3))
            start = time.monotonic()
            made.server.kill(signal.SIGTERM)
            code = made.server.process.wait(30)
            took = time.monotonic() - start
            if code != 143 or took > 10:
                fail(f"exit code {code} after {took:.1f} s")
            stops += 1
            made.server.end()
            made.start_server()
        check_equal(made.server, settings)
        for child in made.clients.values():
            child.result(30)
    print(f"stopped the server {stops} times")


if __name__ == "__main__":
    print("seed", SEED)
    globals()[sys.argv[1]]()
