#!/usr/bin/env python3
"""Takes part in a fedlb run as one of its clients: an example to change.

Put your model in the place of `gradient`, and your data in that of `Examples`.
As it is, it trains fedlb's models `logistic` and, where PyTorch is installed,
`mlp`, with plain SGD. What goes over the wire is fedlb_link.py's affair.
"""
import argparse
import subprocess
import sys

import numpy as np

from fedlb_link import IDL, Link

# Settings that change what clients do. The run is to have these, the ones of
# STEPS where clients take steps: other updates would spoil its mean.
PLAIN = {"client_algorithm.name": "none", "compressor.name": "none",
         "gradient_mapper.scope": "server", "model.label_smoothing": 0}
STEPS = {"optimizer.name": "sgd", "optimizer.momentum": 0,
         "optimizer.weight_decay": 0, "optimizer.clip_norm": 0}


class Examples:
    """A client's examples, in passes over them, each in an order of its own."""

    def __init__(self, path, seed):
        with np.load(path) as file:
            self.x, self.y = file["x"], file["y"].astype(np.int64)
        self.x = self.x.reshape(len(self.y), -1)
        self.random, self.rest = np.random.default_rng(seed), []

    def next(self, size):
        if len(self.rest) == 0:
            self.rest = self.random.permutation(len(self.y))
        batch, self.rest = self.rest[:size], self.rest[size:]
        return self.x[batch], self.y[batch]


def gradient(weights, x, y):
    """Mean cross-entropy, and its gradient by the weights.

    These are the tensors of the server's model in their order: weight and bias
    of one linear layer after another, with ReLU between them.
    """
    if len(weights) > 2:
        return torch_gradient(weights, x, y)
    weight, bias = weights
    scores = x @ weight.T + bias
    scores -= scores.max(axis=1, keepdims=True)  # or exp overflows
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    truth = np.arange(len(y)), y
    error = np.exp(scores)
    error[truth] -= 1
    error /= len(y)
    return -scores[truth].mean(), [error.T @ x, error.sum(axis=0)]


def torch_gradient(weights, x, y):
    try:
        import torch
    except ImportError:
        sys.exit("a model of more than one layer: install PyTorch")
    from torch.nn.functional import cross_entropy, linear, relu
    parameters = [torch.tensor(w, requires_grad=True) for w in weights]
    out = torch.tensor(x)
    for i in range(0, len(parameters), 2):
        out = linear(relu(out) if i else out, *parameters[i:i + 2])
    loss = cross_entropy(out, torch.tensor(y))
    loss.backward()
    return loss.item(), [parameter.grad.numpy() for parameter in parameters]


def check(task, examples):
    """Raises for a task that this client cannot do, exits for such a run."""
    wanted = PLAIN | STEPS if task.kind == "local_steps" else PLAIN
    for key, value in wanted.items():
        section, name = key.split(".")
        theirs = task.settings[section].get(name, value)
        if theirs != value:
            sys.exit(f"the run has {key} = {theirs}, and this client {value}")
    features, classes = examples.x.shape[1], examples.y.max() + 1
    first, last = task.weights[0].shape, task.weights[-1].shape
    if first[1:] != (features,) or last[0] < classes:
        sys.exit(f"weights of {first} to {last}, examples of {features} numbers "
                 f"in {classes} classes: other data, or another model?")
    if task.kind == "displacement" or task.others:
        raise NotImplementedError(" ".join(
            ["this client has no", task.kind, *task.others]))


def train(task, examples, still_alive):
    """The parameters of an update, and what its metadata says of them."""
    check(task, examples)
    wants_delta = task.kind == "local_steps"
    steps = 1
    if wants_delta:
        batches = -(-len(examples.y) // task.batch_size)  # rounded up
        steps = task.steps or max(1, round(task.epochs * batches))
    own = [w.copy() for w in task.weights]
    samples = loss_sum = 0
    for _ in range(steps):
        x, y = examples.next(task.batch_size)
        loss, gradients = gradient(own, x.astype(own[0].dtype), y)
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at lr {task.lr}")
        samples += len(y)
        loss_sum += len(y) * float(loss)
        if wants_delta:
            for w, g in zip(own, gradients):
                w -= task.lr * g
        still_alive()
    delta = [after - before for after, before in zip(own, task.weights)]
    return delta if wants_delta else gradients, {
        "kind": "delta" if wants_delta else "gradient",
        "num_examples": len(examples.y) if wants_delta else samples,
        "num_samples": samples, "local_steps": steps,
        "scalar.train_loss": loss_sum / samples}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connect", required=True, metavar="HOST:PORT|unix:PATH")
    parser.add_argument("--client-id", required=True, type=int, metavar="K")
    parser.add_argument("--data", required=True, metavar="FILE.npz",
                        help="x, [n, ...], and y, the classes from 0, [n]")
    parser.add_argument("--token-file", help="lines TOKEN, or CLIENT TOKEN")
    parser.add_argument("--ca-file", help="for TLS, with the next two; all are PEM")
    parser.add_argument("--certificate-file")
    parser.add_argument("--key-file")
    parser.add_argument("--reconnect-seconds", type=float, default=300,
                        help="how long to try to reach a server that is away")
    parser.add_argument("--idl", default=IDL, help="path of fedlb.thrift")
    options = parser.parse_args()
    if ":" not in options.connect:
        parser.error("--connect is HOST:PORT or unix:PATH")
    tls = (options.ca_file, options.certificate_file, options.key_file)
    if any(tls) and not all(tls):
        parser.error("TLS needs --ca-file, --certificate-file and --key-file")
    try:
        examples = Examples(options.data, seed=options.client_id)
        link = Link(options)
    except (OSError, KeyError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"fedlb_client: {error}")
    link.serve(lambda task: train(task, examples, link.still_alive))


if __name__ == "__main__":
    main()
