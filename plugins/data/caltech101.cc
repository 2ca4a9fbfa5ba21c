#include "data/caltech101.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "data/image_tree.h"
#include "data/input_file.h"
#include "fedlb/status.h"

namespace fedlb::data {
namespace {

constexpr char kCategories[] = "101_ObjectCategories";
constexpr char kBackground[] = "BACKGROUND_Google";
constexpr size_t kNumClasses = 101;

// The folder of the classes: root, or below it where the archive puts it.
absl::StatusOr<std::string> FindCategories(const std::string& root) {
  for (const char* above : {"/", "/caltech-101/", "/caltech101/"}) {
    const std::string folder = absl::StrCat(root, above, kCategories);
    if (IsFolder(folder)) {
      return folder;
    }
  }
  absl::string_view name = root;
  while (absl::ConsumeSuffix(&name, "/")) {
  }
  if (IsFolder(root) && absl::EndsWith(name, kCategories)) {
    return root;
  }
  return FileFault(root,
                   absl::StrCat("no folder ", kCategories,
                                " here; set dataset.root to the folder that "
                                "has it, or to ",
                                kCategories, " itself"));
}

}  // namespace

ParamSchema<Caltech101Options> Caltech101::Schema() {
  return WithImageOptions(
      ParamSchema<Options>()
          .AddLocal<std::string>("root", &Options::root,
                            "Folder with 101_ObjectCategories, or that folder "
                            "itself. Must be set.")
          .Add("keep_background", &Options::keep_background,
               "Whether BACKGROUND_Google, pictures of all sorts, is a class "
               "too.")
          .Add("test_fraction", &Options::test_fraction,
               "Share of each class that is for testing, unless "
               "train_per_class is set.",
               InOpen(0, 1))
          .Add("train_per_class", &Options::train_per_class,
               "If not 0, so many images of each class are for training, and "
               "all others for testing.",
               AtLeast(0))
          .Add("split_seed", &Options::split_seed,
               "Seed of the division; 0 for the seed of the run.", AtLeast(0)));
}

absl::StatusOr<std::unique_ptr<Caltech101>> Caltech101::Create(
    const Options& options, const ComponentContext& context) {
  if (options.root.empty()) {
    return ConfigError(absl::StrCat(
        "dataset caltech101: set root to the folder with ", kCategories));
  }
  FEDLB_ASSIGN_OR_RETURN(const std::string folder,
                         FindCategories(options.root));
  FEDLB_ASSIGN_OR_RETURN(std::vector<ClassFolder> classes,
                         ListClasses(folder, *context.logger));
  const auto background =
      std::find_if(classes.begin(), classes.end(),
                   [](const ClassFolder& c) { return c.name == kBackground; });
  const bool has_background = background != classes.end();
  const size_t num_objects = classes.size() - (has_background ? 1 : 0);
  if (num_objects != kNumClasses) {
    context.logger->Warning(absl::StrCat(
        ShownPath(folder), ": ", num_objects, " classes, and Caltech-101 has ",
        kNumClasses, "; is the copy complete?"));
  }
  if (has_background && !options.keep_background) {
    classes.erase(background);
  }
  FEDLB_ASSIGN_OR_RETURN(
      const ImageSplits splits,
      SplitClasses(folder, classes,
                   {.test_fraction = options.test_fraction,
                    .train_per_class = options.train_per_class,
                    .seed = options.split_seed == 0
                                ? context.seed
                                : static_cast<uint64_t>(options.split_seed)}));
  FEDLB_ASSIGN_OR_RETURN(ArrayContents contents,
                         LoadImages(kName, options, splits, context));
  return std::unique_ptr<Caltech101>(
      new Caltech101(std::move(contents), context));
}

}  // namespace fedlb::data
