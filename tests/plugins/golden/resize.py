"""Prints resize_golden.h: images scaled and cropped by PyTorch, not rounded.

Run with PyTorch 2.11 in the repository:
  cd tests/plugins/golden && python resize.py | clang-format > resize_golden.h

The value of channel c at (y, x) is (37 x + 91 y + 53 c) mod 256.
"""

import torch
from torch.nn import functional as F

# Width, height, size of the result: smaller, larger, and many to one.
CASES = [(11, 7, 4), (7, 11, 9), (41, 90, 5)]


def resized(width, height, size):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width),
                          indexing="ij")
    image = torch.stack([(37 * x + 91 * y + 53 * c) % 256 for c in range(3)])
    shorter = min(width, height)
    scaled = [size * side // shorter for side in (height, width)]
    image = F.interpolate(image[None].double(), scaled, mode="bilinear",
                          antialias=True)[0]
    top, left = [(side - size) // 2 for side in scaled]
    return image[:, top:top + size, left:left + size]


def main():
    version = torch.__version__.split("+")[0]
    print(f"""// Written by resize.py with PyTorch {version}.

#ifndef FEDLB_TESTS_PLUGINS_GOLDEN_RESIZE_GOLDEN_H_
#define FEDLB_TESTS_PLUGINS_GOLDEN_RESIZE_GOLDEN_H_

#include <cstdint>
#include <vector>

namespace fedlb {{

struct ResizeGolden {{
  int64_t width;
  int64_t height;
  int64_t size;
  std::vector<double> pixels;  // of [3, size, size]
}};

inline const std::vector<ResizeGolden>& ResizeGoldens() {{
  static const std::vector<ResizeGolden>& goldens =
      *new std::vector<ResizeGolden>{{""")
    for case in CASES:
        pixels = ", ".join(f"{v:.2f}" for v in resized(*case).flatten())
        print(f"{{{', '.join(map(str, case))}, {{{pixels}}}}},")
    print("""};
  return goldens;
}

}  // namespace fedlb

#endif  // FEDLB_TESTS_PLUGINS_GOLDEN_RESIZE_GOLDEN_H_""")


if __name__ == "__main__":
    main()
