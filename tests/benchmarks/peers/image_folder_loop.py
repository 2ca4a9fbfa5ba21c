"""Decodes an image folder into memory by torchvision's ImageFolder and a
DataLoader."""
import argparse
import json
import pathlib
import time

import torch
import torchvision
from torch.utils.data import ConcatDataset, DataLoader
from torchvision import transforms


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    # Bytes, as fedlb keeps them: floats would take four times the memory, and
    # their way from the workers four times as long.
    transform = transforms.Compose([
        transforms.Resize(args.size), transforms.CenterCrop(args.size),
        transforms.PILToTensor()])
    start = time.perf_counter()
    files = ConcatDataset([
        torchvision.datasets.ImageFolder(args.folder / split, transform)
        for split in ("train", "test")])
    images = torch.empty((len(files), 3, args.size, args.size),
                         dtype=torch.uint8)
    labels = torch.empty(len(files), dtype=torch.long)
    done = 0
    for x, y in DataLoader(files, args.batch, num_workers=args.workers):
        images[done:done + len(y)] = x
        labels[done:done + len(y)] = y
        done += len(y)
    seconds = time.perf_counter() - start
    print("\nRESULT " + json.dumps({
        "version": torchvision.__version__,
        "seconds": seconds,
        "images": done,
        "mean": sum(part.sum(dtype=torch.double).item()
                    for part in images) / images.numel() / 255,
    }), flush=True)


if __name__ == "__main__":
    main()
