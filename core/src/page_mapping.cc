#include "page_mapping.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace fedlb {

PageMapping* PageMapping::Create(size_t bytes) {
  // A unit before the data is for the object. Where large pages are possible
  // the ends of a larger area are cut so that the data is aligned to them.
  const bool large = bytes >= kLargePageBytes;
  const size_t area = kUnit + bytes + (large ? kLargePageBytes : 0);
  void* const map = mmap(nullptr, area, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) {
    return nullptr;
  }
  char* data = static_cast<char*>(map) + kUnit;
  if (large) {
    const size_t head =
        kLargePageBytes - reinterpret_cast<uintptr_t>(data) % kLargePageBytes;
    const size_t tail = kLargePageBytes - head;
    munmap(map, head);
    data += head;
    if (tail > 0) {
      munmap(data + bytes, tail);
    }
    // Only advice: without large pages it works too.
    static_cast<void>(madvise(data, bytes, MADV_HUGEPAGE));
  }
  auto* const mapping = new (data - sizeof(PageMapping)) PageMapping;
  mapping->bytes_ = bytes;
  mapping->pieces_[0] = static_cast<uint32_t>(bytes / kUnit);
  mapping->num_pieces_ = 1;
  return mapping;
}

PageMapping* PageMapping::Of(void* data) {
  return static_cast<PageMapping*>(data) - 1;
}

void PageMapping::Destroy(PageMapping* mapping) {
  munmap(static_cast<char*>(mapping->data()) - kUnit, kUnit + mapping->bytes_);
}

size_t PageMapping::TakePages(PageMapping& from, size_t wanted) {
  wanted = std::min(wanted, bytes_ - taken_);
  const size_t before = taken_;
  while (taken_ - before < wanted && from.num_pieces_ > 0 &&
         num_pieces_ < kMaxPieces) {
    const size_t length = std::min(wanted - (taken_ - before),
                                   from.PieceBytes(from.num_pieces_ - 1));
    char* const source = static_cast<char*>(from.data()) + from.bytes_ - length;
    char* const target = static_cast<char*>(data()) + taken_;
    if (mremap(source, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, target) ==
        MAP_FAILED) {
      // Whether the target is still there is not known, and it may be another
      // thread's by now.
      if (bytes_ - taken_ > length) {
        munmap(target + length, bytes_ - taken_ - length);
      }
      bytes_ = taken_;
      --num_pieces_;
      break;
    }
    from.bytes_ -= length;
    from.pieces_[from.num_pieces_ - 1] -= static_cast<uint32_t>(length / kUnit);
    if (from.pieces_[from.num_pieces_ - 1] == 0) {
      --from.num_pieces_;
    }
    // Before the untouched piece, which goes when there is nothing left of it.
    taken_ += length;
    pieces_[num_pieces_ - 1] = static_cast<uint32_t>(length / kUnit);
    if (taken_ < bytes_) {
      pieces_[num_pieces_] = static_cast<uint32_t>((bytes_ - taken_) / kUnit);
      ++num_pieces_;
    }
  }
  return taken_ - before;
}

}  // namespace fedlb
