"""What the PyTorch peers share: arguments, images, model, counts, report."""
import argparse
import functools
import json
import os
import pathlib
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook


TEST_BATCH = 64


def resident_mib():
    """What this process holds in memory."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


# The first optimizer of a process imports the compiler of PyTorch: a second.
torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
IMPORT_RSS_MIB = resident_mib()


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--per-client", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    np.random.seed(1)
    return args


class Work:
    """What this process has done: the proof that all do the same."""
    steps = 0  # of any optimizer
    trained = 0  # images through a model in training mode
    evaluated = 0  # images through a model in evaluation mode


def _count_step(optimizer, args, kwargs):
    Work.steps += 1


register_optimizer_step_post_hook(_count_step)


class Cnn(nn.Module):
    """fedlb's `cnn`: 206,922 parameters for images of 1x28x28."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 7 * 7, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        if self.training:
            Work.trained += len(x)
        else:
            Work.evaluated += len(x)
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


@functools.cache
def load(folder, split, mapped=False):
    """All images and labels of a split. `mapped` ones are read on first use and
    shared by the processes that map them."""
    mode = "c" if mapped else None
    files = (folder / f"{split}_{part}.npy" for part in ("images", "labels"))
    return tuple(torch.from_numpy(np.load(f, mmap_mode=mode)) for f in files)


def shard(args, client, mapped=False):
    """The images and labels of one client."""
    x, y = load(args.data, "train", mapped)
    own = slice(client * args.per_client, (client + 1) * args.per_client)
    return x[own], y[own]


def train_epoch(model, optimizer, x, y, batch):
    """One pass over the examples in random order, the hand-written way."""
    order = torch.randperm(len(y))
    for start in range(0, len(y), batch):
        chosen = order[start:start + batch]
        optimizer.zero_grad()
        F.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()


class Timer:
    """Wall and CPU seconds of this process since it was made."""

    def __init__(self):
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def stop(self):
        self.seconds = time.perf_counter() - self._wall
        self.cpu_seconds = time.process_time() - self._cpu
        self.steps, self.trained = Work.steps, Work.trained
        self.evaluated = Work.evaluated


@torch.no_grad()
def accuracy(args, model):
    """On the test images; in small batches, so that training has the peak of
    memory."""
    x, y = load(args.data, "test")
    model.eval()
    correct = sum(
        (model(xs).argmax(1) == ys).sum().item()
        for xs, ys in zip(x.split(TEST_BATCH), y.split(TEST_BATCH)))
    return correct / len(y)


def report(args, version, timer, model):
    """Prints the one line that run.py reads."""
    print("\nRESULT " + json.dumps({
        "version": version,
        "torch": torch.__version__,
        "seconds": timer.seconds,
        "train_cpu_seconds": timer.cpu_seconds,
        "steps": timer.steps,
        "samples": timer.trained,
        "evaluated": timer.evaluated,
        "accuracy": accuracy(args, model),
        "import_rss_mib": IMPORT_RSS_MIB,
    }), flush=True)
