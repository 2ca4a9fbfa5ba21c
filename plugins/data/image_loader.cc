#include "data/image_loader.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <system_error>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/image_decoder.h"
#include "data/input_file.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

constexpr int64_t kMaxThreads = 64;
// A picture of kMaxImagePixels takes less in either format, unless it is noise.
constexpr int64_t kMaxFileBytes = 128 << 20;
// Above this the memory is announced before it is taken.
constexpr int64_t kLargeDataset = int64_t{1} << 30;
// Damaged files that are named.
constexpr size_t kMaxNamed = 5;

struct Outcome {
  // Not OK: the image is not there.
  absl::Status status;
  // What the decoder got over.
  std::string warning;
};

absl::StatusOr<std::string> DecodeFile(const std::string& path,
                                       const ImageDecoder& decoder,
                                       std::vector<uint8_t>& content,
                                       uint8_t* out) {
  FEDLB_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  if (file.size() > kMaxFileBytes) {
    return FileFault(
        path,
        absl::StrCat(file.size(), " bytes, and the limit is ", kMaxFileBytes));
  }
  content.resize(static_cast<size_t>(file.size()));
  FEDLB_RETURN_IF_ERROR(file.Read(0, absl::MakeSpan(content)));
  absl::StatusOr<std::string> warning = decoder.Decode(content, out);
  return warning.ok() ? std::move(warning)
                      : Annotate(warning.status(), ShownPath(path));
}

// Decodes image i to out + i * decoder.image_bytes(), on several threads. With
// `stop_at_first`, images after the first that is not sound may be missing.
std::vector<Outcome> DecodeAll(const std::vector<ImageFile>& files,
                               const ImageDecoder& decoder, int64_t num_threads,
                               bool stop_at_first, uint8_t* out) {
  std::vector<Outcome> outcomes(files.size());
  std::atomic<size_t> next{0};
  // Files are taken in order, so all before this one are decoded, whichever
  // thread comes first.
  std::atomic<size_t> end{files.size()};
  const auto work = [&] {
    std::vector<uint8_t> content;
    for (size_t i = next++; i < end; i = next++) {
      uint8_t* image = out + static_cast<int64_t>(i) * decoder.image_bytes();
      auto warning = CatchAsStatusOr(ShownPath(files[i].path), [&] {
        return DecodeFile(files[i].path, decoder, content, image);
      });
      outcomes[i].status = warning.status();
      if (warning.ok()) {
        outcomes[i].warning = *std::move(warning);
      }
      const bool is_sound =
          outcomes[i].status.ok() && outcomes[i].warning.empty();
      if (!is_sound && (stop_at_first || FailureOf(outcomes[i].status) ==
                                             Failure::kOutOfMemory)) {
        size_t known = end;
        while (i < known && !end.compare_exchange_weak(known, i)) {
        }
      }
    }
  };
  std::vector<std::thread> threads;
  const int64_t useful =
      std::min(num_threads, static_cast<int64_t>(files.size()));
  for (int64_t i = 1; i < useful; ++i) {
    try {
      threads.emplace_back(work);
    } catch (const std::system_error&) {
      break;  // fewer will do
    }
  }
  work();
  for (std::thread& thread : threads) {
    thread.join();
  }
  return outcomes;
}

// "3 of 20 files: a.jpg: cause; b.jpg: cause; ..."
class FaultList {
 public:
  void Add(absl::string_view text) {
    ++count_;
    if (count_ <= kMaxNamed) {
      absl::StrAppend(&text_, count_ == 1 ? "" : "; ", text);
    }
  }
  size_t count() const { return count_; }
  std::string Text(size_t num_files) const {
    return absl::StrCat(count_, " of ", num_files, " files: ", text_,
                        count_ > kMaxNamed ? "; ..." : "");
  }

 private:
  size_t count_ = 0;
  std::string text_;
};

// One split, without what is left out.
absl::StatusOr<ExampleArray> LoadSplit(absl::string_view dataset,
                                       const ImageOptions& options,
                                       const std::vector<ImageFile>& files,
                                       int64_t num_threads, Logger& logger) {
  const ImageDecoder decoder(options.size);
  const auto image_bytes = static_cast<size_t>(decoder.image_bytes());
  ExampleArray examples;
  examples.bytes.resize(files.size() * image_bytes);
  const bool fail = options.damaged == DamagedFiles::kFail;
  const std::vector<Outcome> outcomes =
      DecodeAll(files, decoder, num_threads, fail, examples.bytes.data());

  FaultList left_out;
  FaultList used;
  for (size_t i = 0; i < files.size(); ++i) {
    const Outcome& outcome = outcomes[i];
    if (FailureOf(outcome.status) == Failure::kOutOfMemory) {
      return outcome.status;
    }
    const std::string fault =
        outcome.status.ok()
            ? absl::StrCat(ShownPath(files[i].path), ": ", outcome.warning)
            : std::string(outcome.status.message());
    const bool is_sound = outcome.status.ok() && outcome.warning.empty();
    if (!is_sound && fail) {
      return InputFileError(absl::StrCat(
          fault,
          "; fetch the file again, or set dataset.damaged to skip or use"));
    }
    if (!outcome.status.ok() ||
        (!is_sound && options.damaged == DamagedFiles::kSkip)) {
      left_out.Add(fault);
      continue;
    }
    if (!is_sound) {
      used.Add(fault);
    }
    uint8_t* to = examples.bytes.data() + examples.labels.size() * image_bytes;
    const uint8_t* from = examples.bytes.data() + i * image_bytes;
    if (to != from) {
      std::copy(from, from + image_bytes, to);
    }
    examples.labels.push_back(files[i].label);
  }
  examples.bytes.resize(examples.labels.size() * image_bytes);
  if (left_out.count() > 0) {
    logger.Warning(
        absl::StrCat(dataset, ": left out ", left_out.Text(files.size())));
  }
  if (used.count() > 0) {
    logger.Warning(absl::StrCat(dataset, ": used in spite of damage ",
                                used.Text(files.size())));
  }
  if (examples.labels.empty()) {
    return InputFileError(absl::StrCat("dataset ", dataset,
                                       ": no image can be used of ",
                                       left_out.Text(files.size())));
  }
  return examples;
}

absl::Status CheckMemory(absl::string_view dataset, const ImageOptions& options,
                         const ImageSplits& splits, Logger& logger) {
  const auto images =
      static_cast<int64_t>(splits.train.size() + splits.test.size());
  // No overflow: `size` is at most 2048, and file names take memory.
  const int64_t bytes = 3 * options.size * options.size * images;
  const std::string text = absl::StrFormat(
      "dataset %s: %d images of %d x %d take %.1f GiB of memory", dataset,
      images, options.size, options.size,
      static_cast<double>(bytes) / static_cast<double>(1 << 30));
  const int64_t machine = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) *
                          static_cast<int64_t>(sysconf(_SC_PAGESIZE));
  if (machine > 0 && bytes > machine) {
    return OutOfMemoryError(absl::StrFormat(
        "%s, and this machine has %.1f GiB; lower dataset.size", text,
        static_cast<double>(machine) / static_cast<double>(1 << 30)));
  }
  if (bytes > kLargeDataset) {
    logger.Info(text);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ArrayContents> LoadImages(absl::string_view dataset,
                                         const ImageOptions& options,
                                         const ImageSplits& splits,
                                         const ComponentContext& context) {
  ArrayContents contents;
  contents.example_shape = {3, options.size, options.size};
  contents.num_classes = splits.num_classes;
  FEDLB_RETURN_IF_ERROR(
      CheckNormalisation(contents.example_shape, options.mean, options.std));
  contents.mean = options.mean;
  contents.std = options.std;
  FEDLB_ASSIGN_OR_RETURN(
      contents.augmentation,
      Augmentation::Create(options, contents.example_shape, true));
  FEDLB_RETURN_IF_ERROR(CheckMemory(dataset, options, splits, *context.logger));

  const int64_t num_threads = std::clamp<int64_t>(
      options.decode_threads.is_auto()
          ? static_cast<int64_t>(std::thread::hardware_concurrency())
          : options.decode_threads.value,
      1, kMaxThreads);
  FEDLB_ASSIGN_OR_RETURN(
      contents.train,
      LoadSplit(dataset, options, splits.train, num_threads, *context.logger));
  FEDLB_ASSIGN_OR_RETURN(
      contents.test,
      LoadSplit(dataset, options, splits.test, num_threads, *context.logger));
  return contents;
}

}  // namespace fedlb::data
