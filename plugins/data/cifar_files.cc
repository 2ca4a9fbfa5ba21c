#include "data/cifar_files.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "data/input_file.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

constexpr int64_t kImageBytes = 3 * 32 * 32;
constexpr int64_t kNumCoarse = 20;
constexpr int64_t kNumFine = 100;
// Records that are read at once.
constexpr int64_t kBlockRecords = 256;

// What tells one version from the other.
struct Format {
  const char* name;
  const char* folder;
  std::vector<std::string> train_files;
  std::string test_file;
  int64_t records_per_file;
  int64_t test_records;
  int64_t label_bytes;
  // The Python version: one of its files, and its folder.
  const char* pickle;
  const char* pickle_folder;

  int64_t record_bytes() const { return label_bytes + kImageBytes; }
};

Format FormatOf(CifarLabels labels) {
  if (labels == CifarLabels::kCifar10) {
    return {"CIFAR-10",
            "cifar-10-batches-bin",
            {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
             "data_batch_4.bin", "data_batch_5.bin"},
            "test_batch.bin",
            10'000,
            10'000,
            1,
            "data_batch_1",
            "cifar-10-batches-py"};
  }
  return {"CIFAR-100",
          "cifar-100-binary",
          {"train.bin"},
          "test.bin",
          50'000,
          10'000,
          2,
          "train",
          "cifar-100-python"};
}

bool Exists(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// The folder of the files, all of which are there.
absl::StatusOr<std::filesystem::path> FindFolder(const std::string& root,
                                                 const Format& format) {
  std::vector<std::string> files = format.train_files;
  files.push_back(format.test_file);
  const std::filesystem::path top(root);
  for (const std::filesystem::path& folder : {top, top / format.folder}) {
    std::vector<std::string> missing;
    for (const std::string& file : files) {
      if (!Exists(folder / file)) {
        missing.push_back(file);
      }
    }
    if (missing.empty()) {
      return folder;
    }
    if (missing.size() < files.size()) {
      return FileFault(
          folder.string(),
          absl::StrCat("no file ", absl::StrJoin(missing, ", "),
                       "; unpack the archive of ", format.name, " again"));
    }
  }
  const bool is_pickle = Exists(top / format.pickle) ||
                         Exists(top / format.pickle_folder / format.pickle);
  return FileFault(
      root,
      absl::StrCat(
          "no ", absl::StrJoin(files, ", "), " here or in ", format.folder,
          is_pickle
              ? absl::StrCat(
                    "; this is the Python version of ", format.name,
                    ", whose pickled files can run code and are not read: "
                    "fetch the binary version")
              : absl::StrCat("; set dataset.root to the folder with the binary "
                             "version of ",
                             format.name)));
}

// Appends the records of files to one split.
class RecordReader {
 public:
  RecordReader(const Format& format, CifarLabels labels)
      : format_(format), labels_(labels) {}

  // Returns the number of records.
  absl::StatusOr<int64_t> Append(const std::string& path, ExampleArray& out) {
    FEDLB_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
    FEDLB_RETURN_IF_ERROR(CheckLength(file));
    const int64_t record_bytes = format_.record_bytes();
    const int64_t records = file.size() / record_bytes;
    out.bytes.reserve(out.bytes.size() +
                      static_cast<size_t>(records * kImageBytes));
    std::vector<uint8_t> block(
        static_cast<size_t>(std::min(records, kBlockRecords) * record_bytes));
    for (int64_t first = 0; first < records; first += kBlockRecords) {
      const int64_t count = std::min(kBlockRecords, records - first);
      const absl::Span<uint8_t> bytes = absl::MakeSpan(block).first(
          static_cast<size_t>(count * record_bytes));
      FEDLB_RETURN_IF_ERROR(file.Read(first * record_bytes, bytes));
      for (int64_t i = 0; i < count; ++i) {
        const uint8_t* record = bytes.data() + i * record_bytes;
        FEDLB_ASSIGN_OR_RETURN(
            const int64_t label,
            LabelOf(path, (first + i) * record_bytes, record));
        out.labels.push_back(label);
        const uint8_t* image = record + format_.label_bytes;
        out.bytes.insert(out.bytes.end(), image, image + kImageBytes);
      }
    }
    return records;
  }

 private:
  absl::Status CheckLength(const InputFile& file) const {
    const int64_t record_bytes = format_.record_bytes();
    if (file.size() > 0 && file.size() % record_bytes == 0) {
      return absl::OkStatus();
    }
    const bool is_cifar10 = labels_ == CifarLabels::kCifar10;
    const int64_t other_bytes =
        is_cifar10 ? record_bytes + 1 : record_bytes - 1;
    const char* advice = "it is cut off or damaged; fetch it again";
    if (file.size() > 0 && file.size() % other_bytes == 0) {
      advice = is_cifar10
                   ? "it has the records of CIFAR-100; set dataset.name to "
                     "cifar100"
                   : "it has the records of CIFAR-10; set dataset.name to "
                     "cifar10";
    }
    return FileFault(
        file.path(), file.size(),
        absl::StrCat("the file ends here, which is no whole number of the ",
                     record_bytes, " bytes of a record of ", format_.name, "; ",
                     advice));
  }

  absl::StatusOr<int64_t> LabelOf(const std::string& path, int64_t offset,
                                  const uint8_t* record) {
    if (labels_ == CifarLabels::kCifar10) {
      if (record[0] > 9) {
        return LabelFault(path, offset, "label", record[0], 9);
      }
      return record[0];
    }
    const int64_t coarse = record[0];
    const int64_t fine = record[1];
    if (coarse >= kNumCoarse) {
      return LabelFault(path, offset, "coarse label", coarse, kNumCoarse - 1);
    }
    if (fine >= kNumFine) {
      return LabelFault(path, offset + 1, "fine label", fine, kNumFine - 1);
    }
    // Each fine class lies in one coarse class. This finds what the ranges let
    // through, such as swapped labels.
    std::optional<int64_t>& known = coarse_of_[static_cast<size_t>(fine)];
    if (known.value_or(coarse) != coarse) {
      return FileFault(
          path, offset,
          absl::StrCat("fine label ", fine, " with coarse label ", coarse,
                       ", and with ", *known,
                       " before; the file is damaged or of another dataset, "
                       "fetch it again"));
    }
    known = coarse;
    return labels_ == CifarLabels::kCifar100Fine ? fine : coarse;
  }

  absl::Status LabelFault(const std::string& path, int64_t offset,
                          absl::string_view what, int64_t label,
                          int64_t largest) const {
    return FileFault(
        path, offset,
        absl::StrCat(what, " ", label, ", and those of ", format_.name,
                     " end at ", largest,
                     "; the file is damaged or of another dataset, fetch it "
                     "again"));
  }

  const Format& format_;
  const CifarLabels labels_;
  std::array<std::optional<int64_t>, kNumFine> coarse_of_;
};

void WarnUnlessComplete(const std::string& path, int64_t records,
                        int64_t expected, const Format& format,
                        Logger& logger) {
  if (records != expected) {
    logger.Warning(absl::StrCat(ShownPath(path), ": ", records,
                                " images, and the original of ", format.name,
                                " has ", expected, "; is the copy complete?"));
  }
}

}  // namespace

absl::StatusOr<ArrayContents> ReadCifar(const std::string& root,
                                        CifarLabels labels, Logger& logger) {
  const Format format = FormatOf(labels);
  FEDLB_ASSIGN_OR_RETURN(const std::filesystem::path folder,
                         FindFolder(root, format));
  RecordReader reader(format, labels);
  ArrayContents contents;
  contents.example_shape = {3, 32, 32};
  contents.num_classes = labels == CifarLabels::kCifar10        ? 10
                         : labels == CifarLabels::kCifar100Fine ? kNumFine
                                                                : kNumCoarse;
  for (const std::string& name : format.train_files) {
    const std::string path = (folder / name).string();
    FEDLB_ASSIGN_OR_RETURN(const int64_t records,
                           reader.Append(path, contents.train));
    WarnUnlessComplete(path, records, format.records_per_file, format, logger);
  }
  const std::string path = (folder / format.test_file).string();
  FEDLB_ASSIGN_OR_RETURN(const int64_t records,
                         reader.Append(path, contents.test));
  WarnUnlessComplete(path, records, format.test_records, format, logger);
  return contents;
}

}  // namespace fedlb::data
