"""Writes the images that every program trains on, for fedlb and for NumPy.

Ten classes of 28x28 images: half the prototype of the class plus noise, both
normally distributed. The same arguments give the same bytes.
"""
import argparse
import pathlib
import struct

import numpy as np

SIDE = 28
CLASSES = 10
PROTOTYPE_SEED = 1234


def examples(count, seed):
    """`count` float32 images [n, 28, 28] and their uint8 labels."""
    prototypes = np.random.default_rng(PROTOTYPE_SEED).standard_normal(
        (CLASSES, SIDE, SIDE), dtype=np.float32)
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count, dtype=np.uint8)
    images = random.standard_normal((count, SIDE, SIDE), dtype=np.float32)
    for label in range(CLASSES):
        images[labels == label] += np.float32(0.5) * prototypes[label]
    return images, labels


def write_idx(path, array):
    """`array` as an IDX file: big-endian, float32 (0x0D) or uint8 (0x08)."""
    code = {"float32": 0x0D, "uint8": 0x08}[array.dtype.name]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim,
                         *array.shape)
    with open(path, "wb") as file:
        file.write(header)
        array.astype(array.dtype.newbyteorder(">")).tofile(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--train", type=int, required=True)
    parser.add_argument("--test", type=int, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for split, count, seed in (("train", args.train, 1),
                               ("test", args.test, 2)):
        images, labels = examples(count, seed)
        write_idx(args.out / f"{split}_images.idx", images)
        write_idx(args.out / f"{split}_labels.idx", labels)
        np.save(args.out / f"{split}_images.npy", images[:, None])
        np.save(args.out / f"{split}_labels.npy", labels.astype(np.int64))


if __name__ == "__main__":
    main()
