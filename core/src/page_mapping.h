// Memory in pages of its own, which move from one mapping to another without a
// copy.

#ifndef FEDLB_SRC_PAGE_MAPPING_H_
#define FEDLB_SRC_PAGE_MAPPING_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "fedlb/export.h"

namespace fedlb {

// Stands right before its data. A page that the system has to find and clear
// costs some hundred times what it costs to move one (mremap(2)), so that a
// mapping out of another one's pages is nearly free. Not thread-safe.
class FEDLB_API PageMapping {
 public:
  // Data and what moves of it are multiples of this, the largest of the page
  // sizes that Linux has.
  static constexpr size_t kUnit = size_t{1} << 15;
  static constexpr size_t kLargePageBytes = size_t{1} << 21;
  // Between the object and the data, for the owner.
  static constexpr size_t kOwnerBytes = 64;

  // None of the pages is touched. Null if the system has no memory.
  static PageMapping* Create(size_t bytes);
  static PageMapping* Of(void* data);
  static void Destroy(PageMapping* mapping);

  // Aligned to large pages (2 MiB), which are asked for.
  void* data() { return this + 1; }
  size_t bytes() const { return bytes_; }

  // Before the data is used: puts up to `wanted` bytes from the end of `from`,
  // which shrinks, in the place of untouched ones, behind those taken before.
  // Returns how many. Fewer than wanted: `from` is empty, or this mapping has
  // as many pieces as it can, or the system refused, after which it has no
  // bytes besides those taken.
  size_t TakePages(PageMapping& from, size_t wanted);

 private:
  // Pages are moved by the piece: the system moves none that lie in two of its
  // own areas, and every piece lies in one. Together with the owner's bytes
  // they fill a page.
  static constexpr size_t kMaxPieces = 1002;

  PageMapping() = default;
  size_t PieceBytes(size_t piece) const { return pieces_[piece] * kUnit; }

  size_t bytes_ = 0;
  size_t taken_ = 0;
  size_t num_pieces_ = 0;  // the last one is untouched while taken_ < bytes_
  std::array<uint32_t, kMaxPieces> pieces_{};  // units of each
  std::array<char, kOwnerBytes> owner_{};
};

static_assert(sizeof(PageMapping) <= 4096);

}  // namespace fedlb

#endif  // FEDLB_SRC_PAGE_MAPPING_H_
