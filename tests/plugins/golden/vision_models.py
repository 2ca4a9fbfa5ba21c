"""Writes vision_models_golden.h: layouts and logits of image classifiers.

Run with PyTorch 2.11 and torchvision 0.26 in the repository:
  cd tests/plugins/golden && python3 vision_models.py > vision_models_golden.h

Layouts are torchvision's with 1000 classes: the number of parameters, and
FNV-1a (64 bits) of a line "name sizes" for each parameter and then each buffer,
the sizes separated by commas, without the counters num_batches_tracked.

Logits have closed-form weights, so that both sides can state them. With
h(k, s) = fmix32(k + s * 0x9E3779B9 mod 2^32), the finaliser of MurmurHash3, let
u(k, s) = h(k, s) / 2^31 - 1. Element k of parameter p, in the order of
parameters(), is with u = u(k, p)
  u sqrt(6 / fan_in), fan_in = numel / size(0), with two or more dimensions,
  1 + 0.2 u in a vector whose name ends with ".weight" (of a normalisation),
  0.2 u in any other vector (a bias);
element k of buffer b is 0.2 u(k, 1000 + b) in a mean and 1 + 0.5 u(k, 1000 + b)
in a variance; element k of the inputs is u(k, 5000). All of it is computed in
double precision. Classes are 10.
"""

import math

import torch
import torchvision
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

CLASSES = 10


def sequence(size, stream):
    h = torch.arange(size, dtype=torch.int64)
    h = (h + stream * 0x9E3779B9) & 0xFFFFFFFF
    h ^= h >> 16
    h = (h * 0x85EBCA6B) & 0xFFFFFFFF
    h ^= h >> 13
    h = (h * 0xC2B2AE35) & 0xFFFFFFFF
    h ^= h >> 16
    return h.double() / 2**31 - 1


def buffers_of(model):
    return [(name, b) for name, b in model.named_buffers()
            if not name.endswith("num_batches_tracked")]


def fill(model):
    with torch.no_grad():
        for p, (name, w) in enumerate(model.named_parameters()):
            u = sequence(w.numel(), p).reshape(w.shape)
            if w.dim() > 1:
                w.copy_(u * math.sqrt(6 / (w.numel() / w.shape[0])))
            elif name.endswith(".weight"):
                w.copy_(1 + 0.2 * u)
            else:
                w.copy_(0.2 * u)
        for b, (name, t) in enumerate(buffers_of(model)):
            u = sequence(t.numel(), 1000 + b)
            t.copy_(1 + 0.5 * u if name.endswith("_var") else 0.2 * u)


class Lenet5(nn.Module):
    def __init__(self, channels, padding, act, pool):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=padding)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, CLASSES)
        self.act = act
        self.pool = pool

    def forward(self, x):
        x = self.pool(self.act(self.conv1(x)))
        x = self.pool(self.act(self.conv2(x))).flatten(1)
        return self.fc3(self.act(self.fc2(self.act(self.fc1(x)))))


class CifarBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, projection):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        self.added = outputs - inputs
        self.stride = stride
        if stride != 1 and projection:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            return torch.relu(y + self.downsample(x))
        x = x[:, :, ::self.stride, ::self.stride]
        zeros = x.new_zeros(x.shape[0], self.added, *x.shape[2:])
        return torch.relu(y + torch.cat([x, zeros], dim=1))


class CifarResNet(nn.Module):
    def __init__(self, channels, blocks, width=16, projection=False):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for stage in range(3):
            outputs = width << stage
            layers = []
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(CifarBlock(inputs, outputs, stride, projection))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def narrow(model, width):
    """The same with `width` channels in the first stage instead of 64."""
    block = type(model.layer1[0])
    model.inplanes = width
    model.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
    model.bn1 = nn.BatchNorm2d(width)
    for stage in range(4):
        blocks = len(getattr(model, f"layer{stage + 1}"))
        setattr(model, f"layer{stage + 1}", model._make_layer(
            block, width << stage, blocks, stride=2 if stage > 0 else 1))
    model.fc = nn.Linear(model.inplanes, CLASSES)
    return model


def cifar_stem(model, channels):
    model.conv1 = nn.Conv2d(channels, model.conv1.out_channels, 3, 1, 1,
                            bias=False)
    model.maxpool = nn.Identity()
    return model


def cifar_vgg(model, channels):
    first = model.features[0]
    model.features[0] = nn.Conv2d(channels, first.out_channels, 3, padding=1)
    for layer in model.features:
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = True
    model.avgpool = nn.AdaptiveAvgPool2d(1)
    model.classifier[0] = nn.Linear(512, 512)
    model.classifier[3] = nn.Linear(512, 512)
    model.classifier[6] = nn.Linear(512, CLASSES)
    return model


def cifar_alexnet(channels):
    model = torchvision.models.alexnet(num_classes=CLASSES)
    model.features[0] = nn.Conv2d(channels, 64, 3, stride=2, padding=1)
    for i in (2, 5, 12):
        model.features[i] = nn.MaxPool2d(2, ceil_mode=True)
    model.avgpool = nn.AdaptiveAvgPool2d(2)
    model.classifier[1] = nn.Linear(256 * 4, 4096)
    return model


def tiny_vit(image, patch, classes=CLASSES):
    return VisionTransformer(image, patch, 12, 3, 192, 768,
                             num_classes=classes)


def zoo(name, **kwargs):
    return getattr(torchvision.models, name)(num_classes=CLASSES, **kwargs)


# Name, options, shape of a batch, PyTorch's model; the precision to test in.
DOUBLE, FLOAT = "kDouble", "kFloat"
LOGITS = [
    ("lenet5", "", (2, 1, 28, 28), DOUBLE,
     lambda: Lenet5(1, 2, torch.relu, nn.MaxPool2d(2))),
    ("lenet5", "activation = 'tanh'\\npooling = 'average'", (2, 3, 32, 32),
     DOUBLE, lambda: Lenet5(3, 0, torch.tanh, nn.AvgPool2d(2))),
    ("resnet8", "", (2, 3, 32, 32), DOUBLE, lambda: CifarResNet(3, 1)),
    ("resnet8", "width = 20\\nshortcut = 'projection'", (2, 1, 29, 30), DOUBLE,
     lambda: CifarResNet(1, 1, 20, True)),
    ("resnet20", "", (2, 3, 32, 32), DOUBLE, lambda: CifarResNet(3, 3)),
    ("resnet18", "", (2, 3, 32, 32), DOUBLE,
     lambda: cifar_stem(zoo("resnet18"), 3)),
    ("resnet18", "width = 16", (2, 3, 32, 32), DOUBLE,
     lambda: cifar_stem(narrow(zoo("resnet18"), 16), 3)),
    ("resnet50", "width = 8\\nstem = 'imagenet'", (2, 3, 64, 48), DOUBLE,
     lambda: narrow(zoo("resnet50"), 8)),
    ("resnet50", "stem = 'cifar'", (2, 1, 28, 28), DOUBLE,
     lambda: cifar_stem(zoo("resnet50"), 1)),
    ("resnet34", "stem = 'imagenet'", (2, 3, 64, 48), DOUBLE,
     lambda: zoo("resnet34")),
    ("vgg11", "batch_norm = true", (2, 1, 28, 28), DOUBLE,
     lambda: cifar_vgg(zoo("vgg11_bn"), 1)),
    ("vgg16", "", (2, 3, 32, 32), DOUBLE, lambda: cifar_vgg(zoo("vgg16"), 3)),
    ("alexnet", "", (2, 3, 32, 32), DOUBLE, lambda: cifar_alexnet(3)),
    ("vit_tiny", "", (2, 3, 32, 32), DOUBLE, lambda: tiny_vit(32, 4)),
    ("vit_tiny", "", (1, 3, 224, 224), FLOAT, lambda: tiny_vit(224, 16)),
    ("resnet18", "", (1, 3, 224, 224), FLOAT, lambda: zoo("resnet18")),
    ("resnet50", "", (1, 3, 224, 224), FLOAT, lambda: zoo("resnet50")),
    ("vgg11", "stem = 'imagenet'", (1, 3, 32, 33), FLOAT,
     lambda: zoo("vgg11")),
    ("alexnet", "", (1, 3, 224, 224), FLOAT, lambda: zoo("alexnet")),
    ("vit_b_16", "", (1, 3, 224, 224), FLOAT, lambda: zoo("vit_b_16")),
]
LAYOUTS = [
    ("resnet18", "", lambda: torchvision.models.resnet18()),
    ("resnet34", "", lambda: torchvision.models.resnet34()),
    ("resnet50", "", lambda: torchvision.models.resnet50()),
    ("resnet101", "", lambda: torchvision.models.resnet101()),
    ("vgg11", "", lambda: torchvision.models.vgg11()),
    ("vgg16", "batch_norm = true", lambda: torchvision.models.vgg16_bn()),
    ("alexnet", "", lambda: torchvision.models.alexnet()),
    ("vit_b_16", "", lambda: torchvision.models.vit_b_16()),
    ("vit_tiny", "", lambda: tiny_vit(224, 16, 1000)),
]


def inputs_of(shape):
    return sequence(math.prod(shape), 5000).reshape(shape)


def evaluate(make, shape):
    model = make().double().eval()
    fill(model)
    with torch.no_grad():
        return model(inputs_of(shape)).reshape(-1).tolist()


def layout(make):
    with torch.device("meta"):
        model = make()
    tensors = list(model.named_parameters()) + buffers_of(model)
    lines = "".join(f"{name} {','.join(str(s) for s in t.shape)}\n"
                    for name, t in tensors)
    fnv = 0xCBF29CE484222325
    for byte in lines.encode():
        fnv = ((fnv ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return sum(w.numel() for w in model.parameters()), fnv


def training_step():
    """resnet8 in training mode: logits, buffers, and norms of gradients."""
    model = CifarResNet(3, 1).double().train()
    fill(model)
    logits = model(inputs_of((4, 3, 32, 32)))
    nn.functional.cross_entropy(logits, torch.tensor([0, 3, 6, 9])).backward()
    buffers = torch.cat([b for _, b in buffers_of(model)])
    gradients = [w.grad.norm().item() for w in model.parameters()]
    return logits.reshape(-1).tolist(), buffers.tolist(), gradients


def braces(values):
    texts = [repr(v) for v in values]
    return "{" + ",\n        ".join(
        ", ".join(texts[i:i + 3]) for i in range(0, len(texts), 3)) + "}"


def main():
    print("// Written by vision_models.py with PyTorch "
          + torch.__version__.split("+")[0] + " and torchvision "
          + torchvision.__version__.split("+")[0] + ".")
    print("""
#ifndef FEDLB_TESTS_PLUGINS_GOLDEN_VISION_MODELS_GOLDEN_H_
#define FEDLB_TESTS_PLUGINS_GOLDEN_VISION_MODELS_GOLDEN_H_

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fedlb {

struct LayoutGolden {
  const char* name;
  const char* options;  // as TOML
  int64_t num_parameters;
  uint64_t fnv1a;
};

struct LogitsGolden {
  const char* name;
  const char* options;
  std::vector<int64_t> sizes;  // of the inputs
  at::ScalarType precision;
  std::vector<double> logits;
};

// One step of resnet8 on a batch of 4.
struct TrainingGolden {
  std::vector<double> logits;
  std::vector<double> buffers;    // all of them, one after the other
  std::vector<double> gradients;  // norm of each parameter's
};

inline const std::vector<LayoutGolden>& LayoutGoldens() {
  static const auto* const goldens = new std::vector<LayoutGolden>{""")
    for name, options, make in LAYOUTS:
        count, fnv = layout(make)
        print(f'      {{"{name}", "{options}", {count}, {fnv:#x}}},')
    print("""  };
  return *goldens;
}

inline const std::vector<LogitsGolden>& LogitsGoldens() {
  static const auto* const goldens = new std::vector<LogitsGolden>{""")
    for name, options, shape, precision, make in LOGITS:
        sizes = ", ".join(str(s) for s in shape)
        print(f'      {{"{name}",\n       "{options}",\n       {{{sizes}}},\n'
              f'       at::{precision},\n'
              f'       {braces(evaluate(make, shape))}}},')
    print("""  };
  return *goldens;
}

inline const TrainingGolden& ResNet8Training() {
  static const auto* const golden = new TrainingGolden{""")
    print(",\n".join(f"       {braces(v)}" for v in training_step()) + "};")
    print("""  return *golden;
}

}  // namespace fedlb

#endif  // FEDLB_TESTS_PLUGINS_GOLDEN_VISION_MODELS_GOLDEN_H_""")


if __name__ == "__main__":
    main()
