"""Writes a folder of JPEG images like Caltech-101's: about 300x200, 14 KB, some
gray. The same arguments give the same pixels.
"""
import argparse
import pathlib

import numpy as np
from PIL import Image

CLASSES = 20
TEST_SHARE = 10  # one of so many is for testing
OCTAVES = 7


def picture(random, width, height):
    """Noise of all scales, the finer the weaker, as in photographs."""
    pixels = np.zeros((height, width, 3), dtype=np.float32)
    for octave in range(OCTAVES):
        side = 2 << octave
        coarse = random.standard_normal((side, side, 3), dtype=np.float32)
        for channel in range(3):
            layer = Image.fromarray(coarse[..., channel]).resize(
                (width, height), Image.Resampling.BICUBIC)
            pixels[..., channel] += 60 * 0.6**octave * np.asarray(layer)
    return Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--images", type=int, required=True)
    args = parser.parse_args()
    random = np.random.default_rng(1)
    for i in range(args.images):
        longer, shorter = 300, int(random.integers(180, 241))
        width, height = ((shorter, longer) if random.random() < 0.25
                         else (longer, shorter))
        image = picture(random, width, height)
        if random.random() < 0.05:
            image = image.convert("L")
        split = "test" if i // CLASSES % TEST_SHARE == 0 else "train"
        folder = args.folder / split / f"class_{i % CLASSES:02}"
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"image_{i:05}.jpg", quality=90)


if __name__ == "__main__":
    main()
