// Any text as a number of a recorded pair whose digests are right, and any
// parameter missing: refused with a status, or read.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string>

#include <ATen/ops/full.h>
#include <sys/mman.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "fedlb/durable_file.h"
#include "fedlb/safetensors.h"
#include "pair_file.h"

namespace {

constexpr const char* kParts[] = {
    "fedlb.kind",     "fedlb.target",           "fedlb.round",
    "fedlb.lr",       "fedlb.batch_size",       "fedlb.small_steps",
    "fedlb.critical", "fedlb.cohort_batch_size"};

void Require(bool holds) {
  if (!holds) {
    abort();
  }
}

fedlb::TensorLayout Layout() { return {{"w", {3, 2}}, {"b", {3}}}; }

fedlb::TensorList Filled(double value) {
  return {at::full({3, 2}, value), at::full({3}, value)};
}

fedlb::SafetensorsFile MakeFile(const std::string& path) {
  fedlb::teacher::RecordedPair recorded;
  recorded.target = "displacement";
  recorded.context.lr = 0.1;
  recorded.context.batch_size = 16;
  recorded.pair = {Filled(1), Filled(2), Filled(3), 4};
  recorded.partial_means = {Filled(4), Filled(5)};
  recorded.cohort_batch_size = 64;
  Require(fedlb::teacher::WritePairFile(path, Layout(), recorded).ok());
  return fedlb::ReadSafetensors(path).value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string path =
      absl::StrCat("pair_file_fuzz.", getpid(), ".safetensors");
  static const fedlb::SafetensorsFile& original =
      *new fedlb::SafetensorsFile(MakeFile(path));
  static const int fd = memfd_create("pair", 0);
  unlink(path.c_str());
  if (size < 2) {
    return 0;
  }
  fedlb::SafetensorsFile content = original;
  content.metadata[kParts[data[0] % std::size(kParts)]] =
      std::string(reinterpret_cast<const char*>(data) + 2, size - 2);
  if (data[1] < content.tensors.size()) {
    content.tensors.erase(content.tensors.begin() + data[1]);
  }
  const auto bytes = fedlb::SerializeSafetensors(content);
  if (!bytes.ok()) {
    return 0;
  }
  Require(ftruncate(fd, 0) == 0);
  Require(pwrite(fd, bytes->data(), bytes->size(), 0) ==
          static_cast<ssize_t>(bytes->size()));
  const auto read = fedlb::teacher::ReadPairFile(
      absl::StrCat("/proc/self/fd/", fd), Layout());
  if (read.ok()) {
    Require(read->pair.small_steps >= 1 && read->context.lr > 0 &&
            read->pair.gradient.size() == 2);
  }
  return 0;
}
