"""SGD steps on torchvision's own model by a hand-written PyTorch loop."""
import argparse
import json
import pathlib
import time

import numpy as np
import torch
import torchvision
from torch.nn import functional as F

# torchvision has the width of a residual network as a constant.
NARROW = {"resnet18_w16": ("resnet18", 16)}


def narrow_resnet(name, width, classes):
    """A residual network whose stages have width, 2 width, ... channels."""
    def block(cin, cout, stride):
        shortcut = None
        if stride != 1 or cin != cout:
            shortcut = torch.nn.Sequential(
                torch.nn.Conv2d(cin, cout, 1, stride, bias=False),
                torch.nn.BatchNorm2d(cout))
        return torchvision.models.resnet.BasicBlock(
            cin, cout, stride, shortcut)

    assert name == "resnet18"
    layers = [torch.nn.Conv2d(3, width, 7, 2, 3, bias=False),
              torch.nn.BatchNorm2d(width), torch.nn.ReLU(inplace=True),
              torch.nn.MaxPool2d(3, 2, 1)]
    channels = width
    for stage in range(4):
        out = width << stage
        layers += [block(channels, out, 1 if stage == 0 else 2),
                   block(out, out, 1)]
        channels = out
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1),
                               torch.nn.Flatten(),
                               torch.nn.Linear(channels, classes))


def make(name, classes):
    if name in NARROW:
        return narrow_resnet(*NARROW[name], classes)
    if name == "vit_tiny":
        return torchvision.models.VisionTransformer(
            image_size=32, patch_size=4, num_layers=12, num_heads=3,
            hidden_dim=192, mlp_dim=768, num_classes=classes)
    return getattr(torchvision.models, name)(num_classes=classes)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    x = torch.from_numpy(np.load(args.data / "x_train.npy"))
    y = torch.from_numpy(np.load(args.data / "y_train.npy"))
    model = make(args.model, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    order = torch.randperm(len(y))
    losses = []
    # The clock stands while the first step warms everything up.
    for step in range(args.steps + 1):
        if step == 1:
            start = time.perf_counter()
        first = step * args.batch % (len(y) - args.batch + 1)
        chosen = order[first:first + args.batch]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[chosen]), y[chosen])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    seconds = time.perf_counter() - start
    print("\nRESULT " + json.dumps({
        "seconds": seconds,
        "samples_per_second": args.steps * args.batch / seconds,
        "first_loss": losses[0],
        "last_loss": sum(losses[-5:]) / 5}), flush=True)


if __name__ == "__main__":
    main()
