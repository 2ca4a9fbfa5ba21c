"""Writes optax_optimizers_golden.h: layer-wise and server optimizers.

Run with optax 0.2 in the repository:
  cd tests/plugins/golden
  python3 optax_optimizers.py > optax_optimizers_golden.h

LARS and LAMB are optax's own transformations, in double. What optax has not is
written out below from the papers' formulas: TVLARS, FedAvgM, FedAdam, FedYogi.

The problem is that of optimizers.py with a fourth tensor of shape (2, 3), the
elements 18 <= i < 24, which starts at 0.
"""

import jax
import numpy as np
import optax

from optimizer_header import print_header

jax.config.update("jax_enable_x64", True)

SHAPES = [(3, 4), (5,), (), (2, 3)]
STEPS = 12

CASES = [
    ("lars", dict(lr=0.5)),
    ("lars", dict(lr=0.5, trust_coefficient=0.1)),
    ("lars", dict(lr=0.5, trust_coefficient=0.1, weight_decay=0.3)),
    ("lars", dict(lr=0.5, trust_coefficient=0.1, weight_decay=0.3,
                  exclude_1d=False)),
    ("lars", dict(lr=0.5, trust_coefficient=0.1, momentum=0.0,
                  weight_decay=0.3)),
    ("lars", dict(lr=0.5, trust_coefficient=0.1, weight_decay=0.3,
                  clip_norm=0.7)),
    ("lamb", dict(lr=0.05)),
    ("lamb", dict(lr=0.05, weight_decay=0.0)),
    ("lamb", dict(lr=0.05, weight_decay=0.5)),
    ("lamb", dict(lr=0.05, weight_decay=0.5, exclude_1d=False)),
    ("lamb", dict(lr=0.05, beta1=0.6, beta2=0.9, eps=1e-3)),
    ("lamb", dict(lr=0.05, weight_decay=0.1, clip_norm=0.7)),
    ("tvlars", dict(lr=0.5)),
    ("tvlars", dict(lr=0.5, trust_coefficient=0.1, **{"lambda": 0.3})),
    ("tvlars", dict(lr=0.5, trust_coefficient=0.1, **{"lambda": 0.7}, delay=5,
                    alpha=1.0, gamma_min=0.05, weight_decay=0.3)),
    ("tvlars", dict(lr=0.5, trust_coefficient=0.1, **{"lambda": 0.7}, delay=5,
                    alpha=1.0, gamma_min=0.05, momentum=0.0,
                    exclude_1d=False, clip_norm=0.7)),
    ("fedavgm", dict(lr=0.1)),
    ("fedavgm", dict(lr=0.1, momentum=0.5, clip_norm=0.7)),
    ("fedadam", dict(lr=0.05)),
    ("fedadam", dict(lr=0.05, beta1=0.5, beta2=0.9, tau=0.1)),
    ("fedadam", dict(lr=0.05, clip_norm=0.7)),
    ("fedyogi", dict(lr=0.05)),
    ("fedyogi", dict(lr=0.05, beta1=0.5, beta2=0.9, tau=0.1)),
    ("fedyogi", dict(lr=0.05, clip_norm=0.7)),
]


def start():
    weights, index = [], 0
    for shape in SHAPES:
        size = int(np.prod(shape))
        i = np.arange(index, index + size, dtype=np.float64)
        weights.append(np.sin(i + 1).reshape(shape))
        index += size
    weights[-1] = np.zeros(SHAPES[-1])
    return weights


def gradient_at(weights, t):
    gradient, index = [], 0
    for w in weights:
        i = np.arange(index, index + w.size, dtype=np.float64).reshape(w.shape)
        gradient.append((0.5 + 0.1 * i) * (w - np.cos(i))
                        + 0.3 * np.sin(w + t))
        index += w.size
    return gradient


def clipped(gradient, clip_norm):
    """As torch.nn.utils.clip_grad_norm_ does it."""
    if not clip_norm:
        return gradient
    norm = np.sqrt(sum((g * g).sum() for g in gradient))
    return [min(1.0, clip_norm / (norm + 1e-6)) * g for g in gradient]


def rate(options, t):
    return options["lr"] * (1 - t / (2 * STEPS))


class Optax:
    """optax.lars and optax.lamb, whose masks are spelt out for both."""

    def __init__(self, kind, options):
        exclude = options.get("exclude_1d", True)
        mask = [len(shape) > 1 or not exclude for shape in SHAPES]
        # optax counts in an int32, whose quotient jax would give as a float32.
        lr = lambda t: rate(options, int(t))
        if kind == "lars":
            self.transformation = optax.lars(
                lr, weight_decay=options.get("weight_decay", 0.0),
                weight_decay_mask=mask,
                trust_coefficient=options.get("trust_coefficient", 0.001),
                trust_ratio_mask=mask, momentum=options.get("momentum", 0.9))
        else:
            # optax.lamb with a mask for the ratio, which it has no argument
            # for.
            self.transformation = optax.chain(
                optax.scale_by_adam(b1=options.get("beta1", 0.9),
                                    b2=options.get("beta2", 0.999),
                                    eps=options.get("eps", 1e-6)),
                optax.add_decayed_weights(options.get("weight_decay", 0.01),
                                          mask=mask),
                optax.masked(optax.scale_by_trust_ratio(), mask),
                optax.scale_by_learning_rate(lr))
        self.state = None

    def step(self, weights, gradient, t):
        del t  # optax counts
        if self.state is None:
            self.state = self.transformation.init(weights)
        updates, self.state = self.transformation.update(
            gradient, self.state, weights)
        return [np.asarray(w)
                for w in optax.apply_updates(weights, updates)]


class TvLars:
    """Do et al., arXiv 2309.14053, with the rate inside the momentum."""

    def __init__(self, options):
        self.options = options
        self.velocity = [np.zeros(shape) for shape in SHAPES]

    def step(self, weights, gradient, t):
        o = self.options
        phi = 1 / (o.get("alpha", 0.1) + np.exp(
            o.get("lambda", 0.001) * (t - o.get("delay", 0))))
        phi += o.get("gamma_min", 0.0)
        result = []
        for k, (w, g) in enumerate(zip(weights, gradient)):
            ratio = 1.0
            if w.ndim > 1 or not o.get("exclude_1d", True):
                g = g + o.get("weight_decay", 0.0) * w
                if np.linalg.norm(w) > 0 and np.linalg.norm(g) > 0:
                    ratio = (o.get("trust_coefficient", 0.001) * phi
                             * np.linalg.norm(w) / np.linalg.norm(g))
            self.velocity[k] = (o.get("momentum", 0.9) * self.velocity[k]
                                + rate(o, t) * ratio * g)
            result.append(w - self.velocity[k])
        return result


class FedAvgM:
    """Hsu et al., arXiv 1909.06335."""

    def __init__(self, options):
        self.options = options
        self.velocity = [np.zeros(shape) for shape in SHAPES]

    def step(self, weights, gradient, t):
        self.velocity = [self.options.get("momentum", 0.9) * v + g
                         for v, g in zip(self.velocity, gradient)]
        return [w - rate(self.options, t) * v
                for w, v in zip(weights, self.velocity)]


class FedAdaptive:
    """Reddi et al., ICLR 2021, Algorithm 2, in terms of -Delta."""

    def __init__(self, kind, options):
        self.kind = kind
        self.options = options
        self.tau = options.get("tau", 1e-3)
        self.m = [np.zeros(shape) for shape in SHAPES]
        self.v = [np.full(shape, self.tau ** 2) for shape in SHAPES]

    def step(self, weights, gradient, t):
        beta1 = self.options.get("beta1", 0.9)
        beta2 = self.options.get("beta2", 0.99)
        for k, g in enumerate(gradient):
            square = g ** 2
            self.m[k] = beta1 * self.m[k] + (1 - beta1) * g
            if self.kind == "fedadam":
                self.v[k] = beta2 * self.v[k] + (1 - beta2) * square
            else:
                self.v[k] = self.v[k] - (1 - beta2) * square * np.sign(
                    self.v[k] - square)
        return [w - rate(self.options, t) * m / (np.sqrt(v) + self.tau)
                for w, m, v in zip(weights, self.m, self.v)]


def run(kind, options):
    if kind in ("lars", "lamb"):
        optimizer = Optax(kind, options)
    elif kind == "tvlars":
        optimizer = TvLars(options)
    elif kind == "fedavgm":
        optimizer = FedAvgM(options)
    else:
        optimizer = FedAdaptive(kind, options)
    weights = start()
    for t in range(STEPS):
        gradient = clipped(gradient_at(weights, t),
                           options.get("clip_norm", 0))
        weights = optimizer.step(weights, gradient, t)
    return np.concatenate([w.reshape(-1) for w in weights])


def main():
    print_header(
        f"optax_optimizers.py with optax {optax.__version__}, "
        f"jax {jax.__version__}",
        "OPTAX_OPTIMIZERS_GOLDEN", """#include <vector>

#include "plugins/golden/optimizers_golden.h"

namespace fedlb {""", "OptaxOptimizerGoldens",
        ((kind, options, run(kind, options)) for kind, options in CASES))


if __name__ == "__main__":
    main()
