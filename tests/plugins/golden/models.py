"""Writes models_golden.h: logits, loss and gradients of models by PyTorch.

Run with PyTorch 2.11 in the repository:
  cd tests/plugins/golden && python models.py > models_golden.h

Everything has a closed form, so that both sides can state it. Element k of
parameter p (in the order of parameters()) is sin(k + p) / sqrt(fan_in) in a
weight and 0.1 sin(k + p) in a bias. Element k of the inputs [4, 1, 28, 28] is
cos(0.1 k); the targets are 0, 3, 6, 9. Of each parameter's gradient g the file
holds its norm and the sum of g_k cos(k).
"""

import torch
from torch import nn


def double_sequence(size):
    return torch.arange(size, dtype=torch.float64)


MODELS = [
    ("logistic", "", nn.Sequential(nn.Flatten(), nn.Linear(784, 10))),
    ("mlp", "hidden = [32, 16]", nn.Sequential(
        nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 16),
        nn.ReLU(), nn.Linear(16, 10))),
    ("cnn", "", nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(),
        nn.Linear(128, 10))),
    ("cnn_strided", "", nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU(),
        nn.Linear(64, 10))),
]


def run(model):
    model.double()
    with torch.no_grad():
        for p, w in enumerate(model.parameters()):
            scale = 0.1
            if w.dim() > 1:
                scale = (w.numel() / w.shape[0])**-0.5
            w.copy_((torch.sin(double_sequence(w.numel()) + p)
                     * scale).reshape(w.shape))
    inputs = torch.cos(0.1 * double_sequence(4 * 784)).reshape(4, 1, 28, 28)
    logits = model(inputs)
    loss = nn.functional.cross_entropy(logits, torch.tensor([0, 3, 6, 9]))
    loss.backward()
    gradients = []
    for w in model.parameters():
        g = w.grad.reshape(-1)
        gradients.append(g.norm().item())
        gradients.append((g * torch.cos(double_sequence(g.numel()))).sum()
                         .item())
    return logits.reshape(-1).tolist(), loss.item(), gradients


def braces(values):
    texts = [repr(v) for v in values]
    return "{" + ",\n        ".join(
        ", ".join(texts[i:i + 3]) for i in range(0, len(texts), 3)) + "}"


def main():
    print("// Written by models.py with PyTorch "
          + torch.__version__.split("+")[0] + ".")
    print("""
#ifndef FEDLB_TESTS_PLUGINS_GOLDEN_MODELS_GOLDEN_H_
#define FEDLB_TESTS_PLUGINS_GOLDEN_MODELS_GOLDEN_H_

#include <cstdint>
#include <vector>

namespace fedlb {

struct ModelGolden {
  const char* name;
  const char* options;  // as TOML
  int64_t num_parameters;
  double loss;
  std::vector<double> logits;
  std::vector<double> gradients;  // norm and projection of each parameter
};

inline const std::vector<ModelGolden>& ModelGoldens() {
  static const auto* const goldens = new std::vector<ModelGolden>{""")
    for name, options, model in MODELS:
        count = sum(w.numel() for w in model.parameters())
        logits, loss, gradients = run(model)
        print(f'      {{"{name}",\n       "{options}",\n       {count},\n'
              f'       {loss!r},\n       {braces(logits)},\n'
              f'       {braces(gradients)}}},')
    print("""  };
  return *goldens;
}

}  // namespace fedlb

#endif  // FEDLB_TESTS_PLUGINS_GOLDEN_MODELS_GOLDEN_H_""")


if __name__ == "__main__":
    main()
