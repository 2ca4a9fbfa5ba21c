#include "data/image_tree.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <numeric>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "data/input_file.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

namespace fs = std::filesystem;

// Files of one kind that were left out.
struct LeftOut {
  int64_t count = 0;
  std::string first;

  void Add(const fs::path& path) {
    // Which comes first must not depend on the order in the folder.
    if (count++ == 0 || path.string() < first) {
      first = path.string();
    }
  }
  void Report(absl::string_view what, Logger& logger) const {
    if (count > 0) {
      logger.Warning(absl::StrCat("left out ", count, " ", what, ", first ",
                                  ShownPath(first)));
    }
  }
};

struct TreeNotes {
  LeftOut other_files;
  LeftOut linked_folders;
};

bool IsHidden(const fs::path& path) {
  return absl::StartsWith(path.filename().string(), ".");
}

bool IsImageName(const fs::path& path) {
  const std::string ending = absl::AsciiStrToLower(path.extension().string());
  return ending == ".jpg" || ending == ".jpeg" || ending == ".png";
}

absl::StatusOr<std::vector<fs::directory_entry>> EntriesOf(
    const fs::path& folder) {
  std::error_code error;
  std::vector<fs::directory_entry> entries;
  fs::directory_iterator next(folder, error);
  for (; !error && next != fs::directory_iterator(); next.increment(error)) {
    entries.push_back(*next);
  }
  if (error) {
    return FileFault(folder.string(),
                     absl::StrCat("cannot read the folder: ", error.message()));
  }
  return entries;
}

bool IsLink(const fs::directory_entry& entry) {
  std::error_code ignored;
  return entry.is_symlink(ignored);
}

// What a link points at.
bool IsFolder(const fs::directory_entry& entry) {
  std::error_code ignored;
  return entry.is_directory(ignored);
}

// Whether a link leads to the folder that it lies in, or one above.
bool LeadsUp(const fs::path& link) {
  std::error_code error;
  const fs::path target = fs::canonical(link, error);
  if (error) {
    return true;
  }
  const fs::path home = fs::canonical(link.parent_path(), error);
  return error ||
         std::mismatch(target.begin(), target.end(), home.begin(), home.end())
                 .first == target.end();
}

absl::Status ListImages(const fs::path& folder, TreeNotes& notes,
                        std::vector<std::string>& paths) {
  FEDLB_ASSIGN_OR_RETURN(const auto entries, EntriesOf(folder));
  for (const fs::directory_entry& entry : entries) {
    if (IsFolder(entry)) {
      if (IsHidden(entry.path())) {
        notes.other_files.Add(entry.path());
      } else if (IsLink(entry)) {
        notes.linked_folders.Add(entry.path());
      } else {
        FEDLB_RETURN_IF_ERROR(ListImages(entry.path(), notes, paths));
      }
    } else if (IsHidden(entry.path()) || !IsImageName(entry.path())) {
      notes.other_files.Add(entry.path());
    } else {
      // Pipes, dangling links and the like are found when they are opened.
      paths.push_back(entry.path().string());
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool IsFolder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

absl::StatusOr<std::vector<ClassFolder>> ListClasses(const std::string& folder,
                                                     Logger& logger) {
  FEDLB_ASSIGN_OR_RETURN(const auto entries, EntriesOf(folder));
  TreeNotes notes;
  std::vector<ClassFolder> classes;
  for (const fs::directory_entry& entry : entries) {
    if (!IsFolder(entry) || IsHidden(entry.path())) {
      notes.other_files.Add(entry.path());
    } else if (IsLink(entry) && LeadsUp(entry.path())) {
      notes.linked_folders.Add(entry.path());
    } else {
      ClassFolder found{.name = entry.path().filename().string()};
      FEDLB_RETURN_IF_ERROR(ListImages(entry.path(), notes, found.paths));
      std::sort(found.paths.begin(), found.paths.end());
      classes.push_back(std::move(found));
    }
  }
  std::sort(classes.begin(), classes.end(),
            [](const ClassFolder& a, const ClassFolder& b) {
              return a.name < b.name;
            });
  notes.other_files.Report("files that are hidden or neither .jpg nor .png",
                           logger);
  notes.linked_folders.Report("links to folders", logger);
  return classes;
}

absl::Status CheckClasses(const std::string& folder,
                          const std::vector<ClassFolder>& classes) {
  if (classes.empty()) {
    return FileFault(folder,
                     "no folders here; it takes one folder of images for each "
                     "class");
  }
  for (const ClassFolder& found : classes) {
    if (found.paths.empty()) {
      return FileFault((fs::path(folder) / found.name).string(),
                       "no .jpg or .png files in the folder of this class; "
                       "add some, or remove the folder");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ImageSplits> SplitClasses(
    const std::string& folder, const std::vector<ClassFolder>& classes,
    const SplitRule& rule) {
  FEDLB_RETURN_IF_ERROR(CheckClasses(folder, classes));
  ImageSplits splits;
  splits.num_classes = static_cast<int64_t>(classes.size());
  for (size_t label = 0; label < classes.size(); ++label) {
    const ClassFolder& from = classes[label];
    const auto count = static_cast<int64_t>(from.paths.size());
    if (rule.train_per_class >= count) {
      return ConfigError(
          absl::StrCat("dataset.train_per_class = ", rule.train_per_class,
                       ": class ", ShownPath(from.name), " has ", count,
                       " images, and one at least has to be left for testing"));
    }
    const int64_t num_train =
        rule.train_per_class > 0
            ? rule.train_per_class
            : std::max<int64_t>(
                  1, count - std::llround(rule.test_fraction *
                                          static_cast<double>(count)));
    std::vector<size_t> order(from.paths.size());
    std::iota(order.begin(), order.end(), size_t{0});
    RandomStream random({.seed = rule.seed,
                         .purpose = "image_split",
                         .step = static_cast<int64_t>(label)});
    random.Shuffle(absl::MakeSpan(order));
    // By name again, so that the classes' files lie in the order of the disk.
    const auto middle = order.begin() + static_cast<std::ptrdiff_t>(num_train);
    std::sort(order.begin(), middle);
    std::sort(middle, order.end());
    for (size_t i = 0; i < order.size(); ++i) {
      (static_cast<int64_t>(i) < num_train ? splits.train : splits.test)
          .push_back({from.paths[order[i]], static_cast<int64_t>(label)});
    }
  }
  if (splits.test.empty()) {
    return ConfigError(
        absl::StrCat("dataset.test_fraction = ", rule.test_fraction,
                     " leaves no image of any class for testing; raise it"));
  }
  return splits;
}

}  // namespace fedlb::data
