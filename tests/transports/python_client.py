"""Lets clients in Python take part in federations, beside one in C++ and over a
link that breaks, and compares the weights with numpy's.

  python_client.py FEDLB SOURCE_DIR

Exits with 77 where Python lacks thrift or numpy, or the Thrift compiler is not
there.
"""
import contextlib
import importlib.util
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

for module in ("numpy", "thrift", "tomllib"):
    if importlib.util.find_spec(module) is None:
        print(f"skipped: Python has no {module}")
        sys.exit(77)
if shutil.which("thrift") is None:
    print("skipped: no Thrift compiler")
    sys.exit(77)

import numpy as np

FEDLB = sys.argv[1]
SOURCE = pathlib.Path(sys.argv[2])
CLIENT = SOURCE / "configs/clients/python/fedlb_client.py"

CLASSES = 3
TIMEOUT = 100
RANDOM = np.random.default_rng(1)


def sets(**settings):
    return [word for key, value in settings.items()
            for word in ("--set", f"{key.replace('__', '.')}={value}")]


def read_safetensors(data):
    """The arrays of a file of numbers with 32 bits, by name."""
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:start])
    entries.pop("__metadata__", None)
    return {name: np.ndarray(entry["shape"], "<f4", data,
                             start + entry["data_offsets"][0])
            for name, entry in entries.items()}


def write_safetensors(arrays):
    entries, body = {}, b""
    for name, array in arrays.items():
        entries[name] = {"dtype": "F32", "shape": array.shape,
                         "data_offsets": [len(body), len(body) + array.nbytes]}
        body += array.tobytes()
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + body


def examples(count, features):
    y = RANDOM.integers(0, CLASSES, count)
    x = RANDOM.normal(size=(count, features)) + y[:, None]
    return x.astype(np.float32), y


def gradient(weight, bias, x, y):
    """In double precision, one example after another."""
    of_weight, of_bias = np.zeros(weight.shape), np.zeros(bias.shape)
    for example, label in zip(x.astype(np.float64), y):
        scores = np.exp(weight @ example + bias)
        error = scores / scores.sum() - np.eye(CLASSES)[label]
        of_weight += np.outer(error, example) / len(y)
        of_bias += error / len(y)
    return of_weight, of_bias


class Federation:
    """A server and its clients, each a process, in a folder of their own."""

    def __init__(self, stack, name, features, **settings):
        self.stack, self.processes = stack, []
        self.folder = pathlib.Path(stack.enter_context(
            tempfile.TemporaryDirectory(prefix=f"{name}-")))
        self.address = f"unix:{self.folder}/socket"
        self.run_folder = self.folder / "run"
        self.config = self.folder / "config.toml"
        self.config.write_text(
            f'[dataset]\nname = "synthetic"\nshape = [1, 1, {features}]\n'
            f"classes = {CLASSES}\ntrain_size = 60\ntest_size = 20\n"
            '[federation]\nclients = 2\n[model]\nname = "logistic"\n')
        self.server = self.start(
            "server", FEDLB, "train", "-c", self.config, "-o",
            self.run_folder, "--role", "server", "--listen", self.address,
            *sets(**settings))

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "w+", encoding="utf-8")
        process = subprocess.Popen([str(word) for word in command],
                                   stdout=log, stderr=log)
        self.stack.callback(log.close)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        self.processes.append((name, process, log))
        return process

    def start_python(self, client, x, y, *options, address=None):
        data = self.folder / f"client-{client}.npz"
        np.savez(data, x=x, y=y)
        return self.start(
            f"python client {client}", sys.executable, CLIENT, "--connect",
            address or self.address, "--client-id", client, "--data", data,
            *options)

    def wait(self):
        for name, process, log in self.processes:
            try:
                code = process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                code = f"no end after {TIMEOUT} s"
            if code != 0:
                log.seek(0)
                sys.exit(f"{self.folder.name}: {name}: {code}\n{log.read()}")
        metrics = (self.run_folder / "metrics.jsonl").read_text()
        rounds = [json.loads(line) for line in metrics.splitlines()]
        for line in rounds:
            if line["survivors"] != 2:
                sys.exit(f"{self.folder.name}: {line['survivors']} updates "
                         f"count in round {line['round']}, not 2")
        return rounds

    def weights(self):
        file = self.run_folder / "weights.safetensors"
        arrays = read_safetensors(file.read_bytes())
        return arrays["fc.weight"], arrays["fc.bias"]


class BreakingLink:
    """Passes bytes on to a Unix socket, and breaks off after some of them.

    Every connection carries `step` bytes more than the one before.
    """

    def __init__(self, stack, path, target, step):
        self.target, self.limit, self.step, self.breaks = target, 0, step, 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        stack.callback(self.listener.shutdown, socket.SHUT_RDWR)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self.target)
            except OSError:  # the server is not there yet
                near.close()
                continue
            self.limit += self.step
            left = [self.limit]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.pass_on, daemon=True,
                                 args=(source, sink, left)).start()

    def pass_on(self, source, sink, left):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                left[0] -= len(data)
                if left[0] < 0:
                    self.breaks += 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def beside_cpp(stack):
    """One client in C++, and one in Python whose link breaks in mid-transfer.

    The weights fill two chunks.
    """
    features = 100_000
    federation = Federation(stack, "beside-cpp", features, rounds=3,
                            optimizer__lr=0.01)
    federation.start(
        "C++ client", FEDLB, "train", "--role", "client", "--connect",
        federation.address, "--client-id", 0, "--config", federation.config)
    near, far = federation.folder / "link", federation.folder / "socket"
    link = BreakingLink(stack, str(near), str(far), 500_000)
    federation.start_python(1, *examples(20, features), address=f"unix:{near}")
    if len(federation.wait()) != 3:
        sys.exit("beside-cpp: not 3 rounds")
    if link.breaks < 3:
        sys.exit(f"beside-cpp: the link broke only {link.breaks} times")


def same_as_numpy(stack, name, steps, **settings):
    """Two clients with different numbers of examples, all in each batch."""
    features, lr = 7, 0.3
    before = [RANDOM.normal(size=shape).astype(np.float32)
              for shape in ((CLASSES, features), CLASSES)]
    data = [examples(count, features) for count in (11, 32)]
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (folder / "init.safetensors").write_bytes(write_safetensors(
        dict(zip(("fc.weight", "fc.bias"), before))))
    (folder / "tokens").write_text(f"1 {'b' * 20}\n0 {'a' * 20}\n")
    federation = Federation(
        stack, name, features, rounds=1, optimizer__lr=lr,
        batch_policy__batch_size=1000, model__init=folder / "init.safetensors",
        transport__token_file=folder / "tokens", **settings)
    for client, (x, y) in enumerate(data):
        token_file = folder / f"token-{client}"
        token_file.write_text("ab"[client] * 20 + "\n")
        federation.start_python(client, x, y, "--token-file", token_file)
    federation.wait()

    total = sum(len(y) for _, y in data)
    expected = [w.astype(np.float64) for w in before]
    for x, y in data:
        own = [w.astype(np.float64) for w in before]
        for _ in range(steps):
            own = [w - lr * g for w, g in zip(own, gradient(*own, x, y))]
        for mean, w, start in zip(expected, own, before):
            mean += len(y) / total * (w - start)
    for w, right, start in zip(federation.weights(), expected, before):
        difference = np.abs(w - right).max()
        print(f"{name}: {difference:.1e} from numpy, after a change of up to "
              f"{np.abs(right - start).max():.2f}")
        if difference > 1e-6:
            sys.exit(f"{name}: {w}, numpy has {right}")


def refused(stack):
    """Clients that cannot take part say why, and exit with an error."""
    federation = Federation(stack, "refused", 2, rounds=1,
                            transport__join_seconds=TIMEOUT)
    nowhere = f"unix:{federation.folder}/nothing"
    for client, address, patience, reason in (
            (2, federation.address, TIMEOUT, "has the clients 0 to 1"),
            (0, nowhere, 0.1, "Check the server"),
            (0, federation.address, TIMEOUT, "examples of 3 numbers")):
        process = federation.start_python(
            client, *examples(5, 3), "--reconnect-seconds", patience,
            address=address)
        code = process.wait(TIMEOUT)
        log = federation.processes[-1][2]
        log.seek(0)
        text = log.read()
        if code != 1 or reason not in text or "Traceback" in text:
            sys.exit(f"refused: {code}, not 1 with '{reason}':\n{text}")


def main():
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with contextlib.ExitStack() as stack:
        bindings = stack.enter_context(tempfile.TemporaryDirectory())
        subprocess.run(["thrift", "--gen", "py", "-out", bindings,
                        SOURCE / "transports/thrift/fedlb.thrift"], check=True)
        os.environ["PYTHONPATH"] = bindings
        beside_cpp(stack)
        same_as_numpy(stack, "gradient", 1, sync_policy__name="bsp")
        same_as_numpy(stack, "local-steps", 4, sync_policy__name="fedavg",
                      sync_policy__local_steps=4)
        same_as_numpy(stack, "local-epochs", 2, sync_policy__name="fedavg",
                      sync_policy__local_epochs=2)
        refused(stack)


main()
