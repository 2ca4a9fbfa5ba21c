"""What a client in Python says to a fedlb server; fedlb.thrift is the contract."""
import hashlib
import json
import pathlib
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import tomllib
import types
import zlib

import numpy as np
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.Thrift import TException
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TFramedTransport

IDL = pathlib.Path(__file__).resolve().parents[3] / "transports/thrift/fedlb.thrift"
DTYPES = {"F32": "<f4", "F64": "<f8"}  # those of weights
# What lost connections raise, and damaged answers.
BROKEN = (TException, OSError, EOFError, ValueError)


def load_bindings(idl):
    """What `thrift --gen py` makes of the contract, made now where it is missing."""
    try:
        from fedlb_wire import Federation, constants, ttypes
    except ImportError:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["thrift", "--gen", "py", "-out", folder, idl], check=True)
            sys.path.insert(0, folder)
            from fedlb_wire import Federation, constants, ttypes
            sys.path.remove(folder)
    return Federation, constants, ttypes


def read_safetensors(data):
    """The metadata of a file, and its arrays by name."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    metadata, arrays = header.pop("__metadata__"), {}
    for name, entry in header.items():
        if entry["dtype"] in DTYPES:
            begin, end = (start + offset for offset in entry["data_offsets"])
            values = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]])
            arrays[name] = values.reshape(entry["shape"])
    return metadata, arrays


def write_safetensors(metadata, arrays):
    header, parts, end = {"__metadata__": metadata}, [], 0
    for name, array in arrays.items():
        parts.append(array.tobytes())
        header[name] = {"dtype": f"F{8 * array.itemsize}", "shape": array.shape,
                        "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def token_of(path, client):
    lines = map(str.split, pathlib.Path(path).read_text().splitlines())
    tokens = {" ".join(words[:-1]): words[-1]
              for words in lines if words and words[0][0] != "#"}
    return tokens.get(str(client)) or tokens.get("", "")


def checksum(*numbers, data=b""):
    """Of numbers, or of a chunk and its place."""
    return zlib.crc32(data, zlib.crc32(" ".join(map(str, numbers)).encode()))


def is_intact(name, arguments, result):
    """Whether a call's result has its checksum: without TLS a bit may be flipped."""
    if name == "fetch":
        task, offset, _ = arguments
        return result.data and (
            checksum(task, offset, data=result.data) == result.checksum)
    if name != "poll":
        return True
    numbers = [result.kind, result.task, result.round, result.taskBytes]
    for assigned in result.assignments or []:
        numbers += [assigned.client, assigned.batchSize]
    for counted in result.acknowledgements or []:
        numbers += [counted.client, counted.task]
    return checksum(*numbers, result.firstUndurableTask) == result.checksum


class Link:
    """A client's way to the server. Ends the program where there is none."""

    def __init__(self, options):
        self.options = options
        self.federation, constants, self.wire = load_bindings(options.idl)
        self.chunk_bytes = constants.MAX_CHUNK_BYTES
        self.hello = self.wire.Hello(
            protocol=constants.PROTOCOL_VERSION, clients=[options.client_id],
            process=f"{random.SystemRandom().getrandbits(128):032x}",
            software="fedlb_client.py", checksum=self.wire.Checksum.CRC32, token="")
        if options.token_file:
            self.hello.token = token_of(options.token_file, options.client_id)
        self.tls = None
        if options.ca_file:
            self.tls = ssl.create_default_context(cafile=options.ca_file)
            self.tls.load_cert_chain(options.certificate_file, options.key_file)
        self.socket = self.calls = self.welcome = None

    def join(self):
        address = self.options.connect
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address[len("unix:"):])
        else:
            host, port = address.rsplit(":", 1)
            host = host.strip("[]")  # of IPv6
            self.socket = socket.create_connection((host, port), timeout=10)
            if self.tls:
                self.socket = self.tls.wrap_socket(self.socket, server_hostname=host)
        self.socket.settimeout(60)  # a longer call has lost its server
        transport = TSocket()
        transport.setHandle(self.socket)
        calls = self.federation.Client(
            TBinaryProtocol(TFramedTransport(transport), strictRead=True))
        welcome = calls.join(self.hello)
        told = f"{welcome.runId}\n{welcome.settings}".encode()
        if hashlib.sha256(told).hexdigest() != welcome.settingsDigest:
            raise OSError("the answer to join is damaged")
        if self.welcome and self.welcome.runId != welcome.runId:
            sys.exit(f"{address}: the server now runs another federation")
        self.calls, self.welcome = calls, welcome

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = self.calls = None

    def call(self, name, *arguments):
        """Makes a call, and again where the connection breaks or the server is busy."""
        code = self.wire.RefusalCode
        pause, begin = 0.1, time.monotonic()
        while True:
            try:
                if self.calls is None:
                    self.join()
                result = getattr(self.calls, name)(*arguments)
                if not is_intact(name, arguments, result):
                    raise OSError(f"the answer to {name} is damaged")
                self.last_call = time.monotonic()
                return result
            except self.wire.Refusal as refusal:
                if refusal.code not in (code.BUSY, code.UNAVAILABLE):
                    raise
                problem = refusal.message
            except BROKEN as error:
                self.close()
                problem = getattr(error, "inner", None) or error
            no_trust = isinstance(problem, ssl.SSLError) and not self.welcome
            if no_trust or time.monotonic() - begin > self.options.reconnect_seconds:
                sys.exit(f"{self.options.connect}: {problem}. Is the server running "
                         "there? Do both sides use TLS and trust each other, or none?")
            if pause == 0.1:
                self.report(f"{problem}; trying again")
            time.sleep(random.uniform(0, pause))  # not all clients at once
            heartbeat = self.welcome.heartbeatMillis / 1000 if self.welcome else 20
            pause = min(2 * pause, heartbeat)  # or the client counts as lost

    def still_alive(self):
        """To be called often in long work, or the server takes the client for lost."""
        if time.monotonic() - self.last_call > self.welcome.heartbeatMillis / 1000:
            self.call("heartbeat")

    def serve(self, train):
        """Has `train` do one task after another, until the run is over.

        It answers a task with an update's parameters and what its metadata says,
        or raises NotImplementedError or, for a diverged model, FloatingPointError.
        """
        code = self.wire.RefusalCode
        try:
            while True:
                notice = self.call("poll", 2000)
                if notice.kind == self.wire.NoticeKind.FINISHED:
                    break
                if notice.kind == self.wire.NoticeKind.TASK:
                    try:
                        self.answer(notice, train)
                    except self.wire.Refusal as refusal:
                        if refusal.code not in (code.TASK_CLOSED, code.MALFORMED):
                            raise
                        self.report(f"round {notice.round}: {refusal.message}")
        except self.wire.Refusal as refusal:
            sys.exit(f"{self.options.connect} refuses: {refusal.message}")
        except KeyboardInterrupt:
            sys.exit(130)
        finally:
            self.leave()
        if notice.reason:
            sys.exit(f"{self.options.connect} ended the run: {notice.reason}")

    def answer(self, notice, train):
        data = bytearray()
        while len(data) < notice.taskBytes:
            data += self.call("fetch", notice.task, len(data), self.chunk_bytes).data
        metadata, arrays = read_safetensors(data)
        groups = {key[len("fedlb.group."):]: int(count)
                  for key, count in metadata.items() if key.startswith("fedlb.group.")}
        weights = [arrays[f"weights/{i}"] for i in range(groups.pop("weights"))]
        try:
            parameters, facts = train(types.SimpleNamespace(
                kind=metadata["fedlb.work"], lr=float(metadata["fedlb.lr"]),
                steps=int(metadata["fedlb.local_steps"]),
                epochs=float(metadata["fedlb.local_epochs"]),
                batch_size=notice.assignments[0].batchSize, weights=weights,
                others=[name for name, count in groups.items() if count],
                settings=tomllib.loads(self.welcome.settings)))
        except (FloatingPointError, NotImplementedError) as error:
            self.report(f"round {notice.round}: {error}")
            self.call("fail", self.options.client_id, notice.task,
                      isinstance(error, FloatingPointError), str(error))
            return
        facts = {"format": 1, "round": notice.round, "client": self.options.client_id,
                 "group.parameters": len(parameters), **facts}
        self.send(notice.task, write_safetensors(
            {f"fedlb.{key}": str(value) for key, value in facts.items()},
            {f"parameters/{i}": array for i, array in enumerate(parameters)}))
        self.report(f"round {notice.round}: loss {facts['scalar.train_loss']:.4f}")

    def send(self, task, data):
        client, code = self.options.client_id, self.wire.RefusalCode
        upload = self.wire.Upload(client=client, task=task, bytes=len(data),
                                  identity=zlib.crc32(data))
        for _ in range(20):  # more damage than a bad connection explains
            try:
                offset = self.call("beginUpload", upload)
                while offset < len(data):
                    part = data[offset:offset + self.chunk_bytes]
                    total = checksum(client, task, offset, data=part)
                    offset = self.call("putChunk", client, task, offset,
                                       self.wire.Chunk(part, total))
                return self.call("commit", client, task)
            except self.wire.Refusal as refusal:
                if refusal.code not in (code.CORRUPT, code.OUT_OF_ORDER):
                    raise
        sys.exit(f"{self.options.connect}: what is sent does not arrive as it was")

    def leave(self):
        """So that no round waits. A server that is gone need not be told."""
        try:
            if self.calls:
                self.calls.leave()
        except BROKEN:
            pass
        self.close()

    def report(self, text):
        print(f"client {self.options.client_id}: {text}", file=sys.stderr)
