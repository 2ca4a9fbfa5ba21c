// Any text as a number of a recorded pair whose digests are right, and any
// parameter missing: refused with a status, or read.

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>

#include <ATen/ops/full.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "fedlb/safetensors.h"
#include "fuzz/memory_file.h"
#include "pair_file.h"

namespace {

constexpr const char* kParts[] = {
    "fedlb.kind",     "fedlb.target",           "fedlb.round",
    "fedlb.lr",       "fedlb.batch_size",       "fedlb.small_steps",
    "fedlb.critical", "fedlb.cohort_batch_size"};

using fedlb::Require;

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
  static const fedlb::MemoryFile file;
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
  file.Fill(*bytes);
  const auto read = fedlb::teacher::ReadPairFile(file.path(), Layout());
  if (read.ok()) {
    Require(read->pair.small_steps >= 1 && read->context.lr > 0 &&
            read->pair.gradient.size() == 2);
  }
  return 0;
}
