"""Writes optimizers_golden.h: what PyTorch's optimizers make of a problem.

Run with PyTorch 2.11 in the repository:
  cd tests/plugins/golden && python optimizers.py > optimizers_golden.h

The problem has a closed form, so that both sides can state it. Element i of
all parameters together (0 <= i < 18) starts at sin(i + 1), and its gradient in
step t (0 <= t < 12) is
  (0.5 + 0.1 i) (w_i - cos(i)) + 0.3 sin(w_i + t).
Step t has the learning rate lr * (1 - t / 24).
"""

import torch

from optimizer_header import print_header

SHAPES = [(3, 4), (5,), ()]
STEPS = 12

CASES = [
    ("sgd", dict(lr=0.1)),
    ("sgd", dict(lr=0.1, weight_decay=0.05)),
    ("sgd", dict(lr=0.1, momentum=0.9)),
    ("sgd", dict(lr=0.1, momentum=0.9, weight_decay=0.05)),
    ("sgd", dict(lr=0.1, momentum=0.9, nesterov=True)),
    ("sgd", dict(lr=0.1, clip_norm=0.7)),
    ("sgd", dict(lr=0.1, momentum=0.5, nesterov=True, weight_decay=0.05,
                 clip_norm=0.7)),
    ("sgd", dict(lr=0.1, momentum=0.9, clip_norm=1e3)),
    ("adam", dict(lr=0.05)),
    ("adam", dict(lr=0.05, weight_decay=0.05)),
    ("adam", dict(lr=0.05, beta1=0.6, beta2=0.9, eps=1e-3)),
    ("adam", dict(lr=0.05, beta1=0.0, beta2=0.95)),
    ("adam", dict(lr=0.05, weight_decay=0.05, clip_norm=0.7)),
    ("adamw", dict(lr=0.05, weight_decay=0.0)),
    ("adamw", dict(lr=0.05)),
    ("adamw", dict(lr=0.05, beta1=0.6, beta2=0.9, eps=1e-3,
                   weight_decay=0.5)),
    ("adamw", dict(lr=0.05, weight_decay=0.5, clip_norm=0.7)),
    ("adamw", dict(lr=0.05, weight_decay=0.5, exclude_1d=True)),
]


def run(kind, options):
    options = dict(options)
    clip_norm = options.pop("clip_norm", 0)
    exclude_1d = options.pop("exclude_1d", False)
    lr = options["lr"]
    weights, index = [], 0
    for shape in SHAPES:
        size = torch.Size(shape).numel()
        i = torch.arange(index, index + size, dtype=torch.float64)
        weights.append(torch.sin(i + 1).reshape(shape).requires_grad_())
        index += size
    groups = weights
    if exclude_1d:
        groups = [dict(params=[w for w in weights if w.ndim > 1]),
                  dict(params=[w for w in weights if w.ndim <= 1],
                       weight_decay=0)]
    if kind == "sgd":
        optimizer = torch.optim.SGD(groups, **options)
    else:
        options["betas"] = (options.pop("beta1", 0.9),
                            options.pop("beta2", 0.999))
        optimizer = dict(adam=torch.optim.Adam,
                         adamw=torch.optim.AdamW)[kind](groups, **options)
    for t in range(STEPS):
        index = 0
        for w in weights:
            i = torch.arange(index, index + w.numel(),
                             dtype=torch.float64).reshape(w.shape)
            v = w.detach()
            w.grad = (0.5 + 0.1 * i) * (v - torch.cos(i)) + 0.3 * torch.sin(
                v + t)
            index += w.numel()
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(weights, clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - t / (2 * STEPS))
        optimizer.step()
    return torch.cat([w.detach().reshape(-1) for w in weights]).tolist()


def main():
    print_header(
        "optimizers.py with PyTorch " + torch.__version__.split("+")[0],
        "OPTIMIZERS_GOLDEN", """#include <vector>

namespace fedlb {

struct OptimizerGolden {
  const char* name;
  const char* options;          // as TOML
  std::vector<double> weights;  // after the last step
};""", "OptimizerGoldens",
        ((kind, options, run(kind, options)) for kind, options in CASES))


if __name__ == "__main__":
    main()
