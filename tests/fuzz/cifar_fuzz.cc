// Any bytes as a file of CIFAR-100: refused with a status, or an image and a
// label in range for each record.

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "data/cifar_files.h"

namespace {

constexpr size_t kImageBytes = 3072;
constexpr size_t kRecordBytes = 2 + kImageBytes;

// With a test.bin of one record, class 0 of group 0.
class Folder {
 public:
  Folder()
      : path_(std::filesystem::temp_directory_path() /
              ("cifar_fuzz_" + std::to_string(getpid()))) {
    std::filesystem::create_directory(path_);
    Write("test.bin", std::string(kRecordBytes, '\0'));
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  void Write(const char* name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }
  std::string path() const { return path_.string(); }

 private:
  const std::filesystem::path path_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  std::string content(reinterpret_cast<const char*>(data), size);
  // Other lengths are refused, and chance seldom finds the right one.
  if (size > 0 && data[0] % 2 == 0) {
    content.resize((size + kRecordBytes - 1) / kRecordBytes * kRecordBytes);
  }
  folder.Write("train.bin", content);
  const auto labels = size > 0 && data[0] % 4 == 0
                          ? fedlb::data::CifarLabels::kCifar100Coarse
                          : fedlb::data::CifarLabels::kCifar100Fine;
  const auto contents =
      fedlb::data::ReadCifar(folder.path(), labels, fedlb::Logger::Null());
  if (!contents.ok()) {
    return 0;
  }
  const fedlb::data::ExampleArray& train = contents->train;
  if (train.labels.size() != content.size() / kRecordBytes ||
      train.bytes.size() != train.labels.size() * kImageBytes) {
    abort();
  }
  for (const int64_t label : train.labels) {
    if (label < 0 || label >= contents->num_classes) {
      abort();
    }
  }
  return 0;
}
