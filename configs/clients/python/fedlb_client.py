"""Takes part in a fedlb run as one of its clients: an example to change."""
import argparse, atexit, contextlib, hashlib, json, signal, socket, ssl, sys, time
import tomllib, zlib
try:
    import numpy as np
    from fedlb_wire import Federation, constants, ttypes as wire
    from thrift.protocol.TBinaryProtocol import TBinaryProtocol
    from thrift.Thrift import TException
    from thrift.transport.TTransport import TFileObjectTransport, TFramedTransport
except ImportError as error:
    sys.exit(f"{error}: pip install numpy thrift, and for fedlb_wire see README.md")

def gradient(weights, x, y):
    """The mean loss and its gradients: put your model here. PyTorch: copy weights into
    parameters(), zero_grad(), backward(), and return loss.item(), each grad.numpy()."""
    weight, bias = weights
    scores = x @ weight.T + bias
    scores -= np.logaddexp.reduce(scores, axis=1, keepdims=True)
    truth = np.eye(len(bias))[y]
    error = (np.exp(scores) - truth) / len(y)
    return -(scores * truth).sum() / len(y), [error.T @ x, error.sum(axis=0)]

def train(file, settings, assignment):
    """Yields None after each step, then an update: like its task but for the names."""
    start = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:start].replace(b'"weights/', b'"parameters/'))
    task, tensors = header.pop("__metadata__"), list(header.values())
    if task["fedlb.work"] == "displacement":
        return
    takes_steps = task["fedlb.work"] == "local_steps"
    needed = {"client_algorithm": {"name": "none"}, "compressor": {"name": "none"},
              "gradient_mapper": {"scope": "server"}, "model": {"label_smoothing": 0}}
    if takes_steps:
        needed["optimizer"] = dict(name="sgd", momentum=0, weight_decay=0, clip_norm=0)
    for section, values in needed.items():  # with others clients do more than this one
        if not values.items() <= settings[section].items():
            sys.exit(f"the run has {section} {settings[section]}, this client {values}")
    shapes, (count, features) = [tensor["shape"] for tensor in tensors], data["x"].shape
    if [s[1:] for s in shapes] != [[features], []] or max(data["y"]) >= shapes[1][0]:
        sys.exit(f"weights of {shapes}, examples of {features} numbers: another model?")
    rate = float(task["fedlb.lr"]) if takes_steps else -1  # which adds up the gradient
    epochs = float(task["fedlb.local_epochs"]) * -(-count // assignment.batchSize)
    steps = int(task["fedlb.local_steps"]) or max(1, round(epochs))
    weights = np.frombuffer(file[start:], "float" + tensors[0]["dtype"][1:])
    move, samples, losses = np.zeros_like(weights), 0, 0
    for _ in range(steps):
        rest = data["rest"] if len(data["rest"]) else np.random.permutation(count)
        batch, data["rest"] = rest[:assignment.batchSize], rest[assignment.batchSize:]
        own = weights + move
        loss, gradients = gradient(
            [np.ndarray(tensor["shape"], own.dtype, own, tensor["data_offsets"][0])
             for tensor in tensors], data["x"][batch], data["y"][batch])
        move -= rate * np.concatenate([part.ravel() for part in gradients])
        samples, losses = samples + len(batch), losses + len(batch) * loss
        yield None
    facts = {"format": 1, "kind": "delta" if takes_steps else "gradient",
             "round": task["fedlb.round"], "client": client, "num_samples": samples,
             "num_examples": count if takes_steps else samples, "local_steps": steps,
             "group.parameters": len(tensors), "scalar.train_loss": losses / samples}
    header["__metadata__"] = {f"fedlb.{key}": str(facts[key]) for key in facts}
    text = json.dumps(header).encode()
    update = len(text).to_bytes(8, "little") + text + move.tobytes()
    yield update if np.isfinite(losses) else b""

def leave():  # so that no round waits for this client
    with contextlib.suppress(Exception):
        calls.leave()

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--connect", required=True, metavar="HOST:PORT|unix:PATH")
parser.add_argument("--client-id", required=True, type=int, metavar="K")
parser.add_argument("--data", required=True, type=argparse.FileType("rb"))
parser.add_argument("--token-file", type=argparse.FileType(), default="/dev/null")
parser.add_argument("--tls", nargs=3, type=argparse.FileType(), metavar="PEM")
parser.add_argument("--reconnect-seconds", type=float, default=300)
options = parser.parse_args()
client, data = options.client_id, dict(np.load(options.data), rest=[])
hello = wire.Hello(constants.PROTOCOL_VERSION, np.random.bytes(16).hex(), [client],
                   options.token_file.read().strip(), "python", wire.Checksum.CRC32)
calls, run, task, success = None, None, None, time.monotonic()
socket.setdefaulttimeout(10)  # a call that takes longer has lost its server
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
atexit.register(leave)
np.random.seed(client)  # the same batches in every run
while True:
    try:
        if not calls:
            host, _, port = options.connect.rpartition(":")
            if host == "unix":
                link = socket.socket(socket.AF_UNIX)
                link.connect(port)
            else:
                link = socket.create_connection((host.strip("[]"), port))
            if options.tls:
                context = ssl.create_default_context(cafile=options.tls[0].name)
                context.load_cert_chain(*(file.name for file in options.tls[1:]))
                link = context.wrap_socket(link, server_hostname=host.strip("[]"))
            frames = TFramedTransport(TFileObjectTransport(link.makefile("rwb")))
            calls = Federation.Client(TBinaryProtocol(frames))
            welcome = calls.join(hello)
            told = f"{welcome.runId}\n{welcome.settings}".encode()
            if hashlib.sha256(told).hexdigest() != welcome.settingsDigest:
                raise OSError("the answer to join is damaged")
        notice = calls.poll(2000)
        pairs = [(one.client, one.batchSize) for one in notice.assignments or []]
        pairs += [(one.client, one.task) for one in notice.acknowledgements or []]
        numbers = [notice.kind, notice.task, notice.round, notice.taskBytes,
                   *sum(pairs, ()), notice.firstUndurableTask]
        if zlib.crc32(" ".join(map(str, numbers)).encode()) != notice.checksum:
            raise OSError("the answer to poll is damaged")
        if notice.kind == wire.NoticeKind.FINISHED:
            sys.exit(notice.reason or None)
        if notice.kind == wire.NoticeKind.WAIT:
            success = time.monotonic()
            continue
        if (run, task) != (welcome.runId, notice.task):  # else go on with it
            run, task, file, update = welcome.runId, notice.task, bytearray(), None
            work = train(file, tomllib.loads(welcome.settings), notice.assignments[0])
        while (offset := len(file)) < notice.taskBytes:
            chunk = calls.fetch(task, offset, constants.MAX_CHUNK_BYTES)
            place = zlib.crc32(f"{task} {offset}".encode())
            if not chunk.data or chunk.checksum != zlib.crc32(chunk.data, place):
                raise OSError("the answer to fetch is damaged")
            file += chunk.data
            success = time.monotonic()
        for update in work:  # from where a lost connection stopped it
            if time.monotonic() - success > welcome.heartbeatMillis / 1000:
                success = time.monotonic()
                calls.heartbeat()
        if not update:
            calls.fail(client, task, update == b"", "an infinite loss, or unknown work")
            continue
        offset = calls.beginUpload(
            wire.Upload(client, task, len(update), zlib.crc32(update)))
        while offset < len(update):
            part = update[offset:offset + constants.MAX_CHUNK_BYTES]
            total = zlib.crc32(part, zlib.crc32(f"{client} {task} {offset}".encode()))
            offset = calls.putChunk(client, task, offset, wire.Chunk(part, total))
            success = time.monotonic()
        calls.commit(client, task)
        continue
    except (TException, OSError, EOFError, UnicodeDecodeError) as error:
        problem = getattr(error, "message", "") or str(error) or "the connection ended"
        again = getattr(error, "retryable", True) or (  # or the call was damaged
            run and error.code != wire.RefusalCode.SUPERSEDED)
    calls, waited = None, time.monotonic() - success  # the connection is closed
    if not again or waited > options.reconnect_seconds:
        sys.exit(f"{options.connect}: {problem}. Check the server and these options.")
    print(f"{options.connect}: {problem}; trying again", file=sys.stderr)
    time.sleep(np.random.uniform(0, min(max(waited / 4, 0.4), 5)))  # not all at once
