// The datasets of pictures, on small trees of the genuine layouts.

#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "absl/strings/str_cat.h"
#include "core/storage_testing.h"
#include "data/caltech101.h"
#include "data/food101.h"
#include "data/image_folder.h"
#include "fedlb/status.h"
#include "fedlb/testing/expect_conforms.h"
#include "plugins/image_bytes.h"
#include "plugins/make_component.h"
#include "plugins/recording_logger.h"

namespace fedlb::data {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kExact[] = "size = 4\nmean = [0.0]\nstd = [1.0]\n";

class ImageDatasetTest : public testing::Test {
 protected:
  // A picture whose level can be read off its batch.
  void AddPng(const std::string& name, int level) {
    Add(name, PngBytes(PlainPicture(6, 5, {static_cast<uint8_t>(level)})));
  }
  void Add(const std::string& name, const std::string& bytes) {
    const std::filesystem::path path = folder_ / name;
    std::filesystem::create_directories(path.parent_path());
    Write(path.string(), bytes);
  }
  std::string Toml(const std::string& below = "",
                   const std::string& more = "") const {
    return absl::StrCat("root = '", folder_.path(), below, "'\n", kExact, more);
  }
  template <typename C>
  std::unique_ptr<C> Load(const std::string& toml) {
    ComponentContext context;
    context.logger = &logger_;
    auto dataset = TryMake<C>(toml, context);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    return std::move(dataset).value();
  }
  template <typename C>
  std::string Refusal(const std::string& toml,
                      Failure failure = Failure::kInputFile) {
    ComponentContext context;
    context.logger = &logger_;
    const absl::Status status = TryMake<C>(toml, context).status();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(FailureOf(status), failure) << status;
    return std::string(status.message());
  }

  // The levels of all pictures of a split.
  static std::vector<int> Levels(const Dataset& dataset, Split split) {
    std::vector<int> levels;
    for (int64_t i = 0; i < dataset.size(split); ++i) {
      const Batch batch = dataset.Load(split, {i}, nullptr).value();
      levels.push_back(static_cast<int>(
          std::lround(255 * batch.inputs.const_data_ptr<float>()[0])));
    }
    return levels;
  }

  const TemporaryFolder folder_;
  RecordingLogger logger_;
};

class ImageFolderTest : public ImageDatasetTest {
 protected:
  void AddSplits() {
    AddPng("train/cat/2.png", 20);
    AddPng("train/cat/10.png", 10);
    AddPng("train/Dog/a.png", 30);
    AddPng("train/cat/deep/er/x.PNG", 25);
    Add("train/ant/one.JPEG", JpegBytes(PlainPicture(9, 9, {40, 40, 40})));
    AddPng("val/cat/v.png", 50);
    AddPng("val/ant/w.png", 60);
  }
};

TEST_F(ImageFolderTest, ClassesAndFilesFollowTheBytesOfTheirNames) {
  AddSplits();
  const auto dataset = Load<ImageFolder>(Toml());
  EXPECT_THAT(dataset->example_shape(), ElementsAre(3, 4, 4));
  EXPECT_EQ(dataset->num_classes(), 3);
  // Dog, ant, cat; and 10, 2, deep.
  EXPECT_THAT(dataset->labels(Split::kTrain), ElementsAre(0, 1, 2, 2, 2));
  EXPECT_THAT(Levels(*dataset, Split::kTrain), ElementsAre(30, 40, 10, 20, 25));
  EXPECT_THAT(dataset->labels(Split::kTest), ElementsAre(1, 2));
  EXPECT_THAT(Levels(*dataset, Split::kTest), ElementsAre(60, 50));
  EXPECT_EQ(dataset->memory_bytes(), 7 * 48 + 7 * 8);
  EXPECT_THAT(logger_.warnings, IsEmpty());
}

TEST_F(ImageFolderTest, TestComesBeforeVal) {
  AddSplits();
  AddPng("test/cat/t.png", 70);
  EXPECT_THAT(Levels(*Load<ImageFolder>(Toml()), Split::kTest),
              ElementsAre(70));
}

TEST_F(ImageFolderTest, Conforms) {
  AddSplits();
  conformance::Deviations deviations;
  deviations.options.Set("root", ConfigValue(folder_.path()));
  deviations.options.Set("size", ConfigValue(int64_t{5}));
  conformance::ExpectConforms<ImageFolder>(deviations);
}

TEST_F(ImageFolderTest, WithoutSplitsEachClassIsDivided) {
  for (int i = 0; i < 10; ++i) {
    AddPng(absl::StrCat("a/", i, ".png"), i);
    AddPng(absl::StrCat("b/", i, ".png"), 100 + i);
  }
  AddPng("c/only.png", 200);
  std::set<std::vector<int>> seen;
  for (int seed = 1; seed <= 5; ++seed) {
    const std::string toml =
        Toml("", absl::StrCat("test_fraction = 0.3\nsplit_seed = ", seed));
    const auto dataset = Load<ImageFolder>(toml);
    const std::vector<int> train = Levels(*dataset, Split::kTrain);
    const std::vector<int> test = Levels(*dataset, Split::kTest);
    EXPECT_THAT(train, SizeIs(7 + 7 + 1));
    EXPECT_THAT(test, SizeIs(3 + 3));
    std::set<int> all(train.begin(), train.end());
    all.insert(test.begin(), test.end());
    EXPECT_THAT(all, SizeIs(21));
    EXPECT_THAT(std::vector<int>(test.begin(), test.begin() + 3),
                Each(testing::Lt(10)));
    EXPECT_THAT(dataset->labels(Split::kTest), ElementsAre(0, 0, 0, 1, 1, 1));
    EXPECT_EQ(Levels(*Load<ImageFolder>(toml), Split::kTest), test);
    seen.insert(test);
  }
  EXPECT_GT(seen.size(), 2U);
}

TEST_F(ImageFolderTest, TheSeedOfTheRunIsTheDefault) {
  for (int i = 0; i < 40; ++i) {
    AddPng(absl::StrCat("a/", i, ".png"), i);
  }
  ComponentContext context;
  context.seed = 7;
  const auto by_run = Make<ImageFolder>(Toml(), context);
  EXPECT_EQ(
      Levels(*by_run, Split::kTest),
      Levels(*Load<ImageFolder>(Toml("", "split_seed = 7")), Split::kTest));
  EXPECT_NE(
      Levels(*by_run, Split::kTest),
      Levels(*Load<ImageFolder>(Toml("", "split_seed = 8")), Split::kTest));
}

TEST_F(ImageFolderTest, TheNumberOfThreadsChangesNothing) {
  for (int i = 0; i < 60; ++i) {
    Add(absl::StrCat(i % 3, "/", i, ".jpg"),
        i % 10 == 9 ? std::string("damaged")
                    : JpegBytes(NoisePicture(20 + i, 40 - i / 2,
                                             static_cast<uint64_t>(i))));
  }
  std::vector<std::vector<float>> batches;
  std::vector<std::string> warnings;
  for (const int threads : {1, 2, 7, 64}) {
    logger_.warnings.clear();
    const auto dataset =
        Load<ImageFolder>(Toml("", absl::StrCat("decode_threads = ", threads)));
    std::vector<int64_t> all(static_cast<size_t>(dataset->size(Split::kTrain)));
    for (size_t i = 0; i < all.size(); ++i) {
      all[i] = static_cast<int64_t>(i);
    }
    const Batch batch = dataset->Load(Split::kTrain, all, nullptr).value();
    const float* values = batch.inputs.const_data_ptr<float>();
    batches.emplace_back(values, values + batch.inputs.numel());
    EXPECT_EQ(batches.back(), batches.front());
    warnings.push_back(testing::PrintToString(logger_.warnings));
    EXPECT_EQ(warnings.back(), warnings.front());
  }
  EXPECT_THAT(warnings.front(), HasSubstr("left out"));
}

TEST_F(ImageFolderTest, DamagedFilesAreLeftOutUsedOrRefused) {
  AddSplits();
  const std::string whole = JpegBytes(NoisePicture(40, 40, 1));
  Add("train/cat/1.jpg", whole.substr(0, whole.size() / 2));
  Add("train/cat/3.jpg", "");
  const auto skipped = Load<ImageFolder>(Toml());
  EXPECT_EQ(skipped->size(Split::kTrain), 5);
  ASSERT_THAT(logger_.warnings, SizeIs(1));
  EXPECT_THAT(logger_.warnings[0],
              AllOf(HasSubstr("image_folder: left out 2 of 7 files"),
                    HasSubstr("train/cat/1.jpg: "),
                    HasSubstr("3.jpg: the file "
                              "is empty")));
  logger_.warnings.clear();
  const auto used = Load<ImageFolder>(Toml("", "damaged = 'use'"));
  EXPECT_EQ(used->size(Split::kTrain), 6);
  EXPECT_THAT(used->labels(Split::kTrain), ElementsAre(0, 1, 2, 2, 2, 2));
  ASSERT_THAT(logger_.warnings, SizeIs(2));
  EXPECT_THAT(logger_.warnings[0],
              AllOf(HasSubstr("left out 1 of 7"), HasSubstr("3.jpg")));
  EXPECT_THAT(logger_.warnings[1], AllOf(HasSubstr("in spite of damage 1 of 7"),
                                         HasSubstr("1.jpg")));
  EXPECT_THAT(
      Refusal<ImageFolder>(Toml("", "damaged = 'fail'")),
      AllOf(HasSubstr("train/cat/1.jpg: "), HasSubstr("dataset.damaged")));
}

TEST_F(ImageFolderTest, OddEntriesAreSurvivedAndNamed) {
  AddSplits();
  ASSERT_EQ(mkfifo((folder_ / "train/cat/pipe.jpg").c_str(), 0600), 0);
  std::filesystem::create_symlink("nowhere",
                                  folder_ / "train/cat/dangling.png");
  std::filesystem::create_symlink("self.png", folder_ / "train/cat/self.png");
  std::filesystem::create_symlink("10.png", folder_ / "train/cat/link.png");
  std::filesystem::create_symlink("..", folder_ / "train/cat/up");
  std::filesystem::create_symlink("..", folder_ / "train/loop");
  Add("train/cat/._10.png", "resource fork");
  Add("train/cat/notes.txt", "text");
  Add("train/.git/x.png", "hidden");
  const auto dataset = Load<ImageFolder>(Toml());
  EXPECT_EQ(dataset->num_classes(), 3);
  // The link to a file is followed.
  EXPECT_THAT(Levels(*dataset, Split::kTrain),
              ElementsAre(30, 40, 10, 20, 25, 10));
  ASSERT_THAT(logger_.warnings, SizeIs(3));
  EXPECT_THAT(logger_.warnings[0],
              AllOf(HasSubstr("left out 3 files that are hidden"),
                    HasSubstr("train/.git")));
  EXPECT_THAT(logger_.warnings[1], AllOf(HasSubstr("2 links to folders"),
                                         HasSubstr("train/cat/up")));
  EXPECT_THAT(
      logger_.warnings[2],
      AllOf(HasSubstr("left out 3 of 9 files"),
            HasSubstr("dangling.png: cannot open"),
            HasSubstr("pipe.jpg: not a regular file"), HasSubstr("self.png")));
}

TEST_F(ImageFolderTest, AClassMayBeALinkToAFolderElsewhere) {
  AddSplits();
  AddPng("elsewhere/e.png", 80);
  std::filesystem::create_directory_symlink("../elsewhere",
                                            folder_ / "train/zebra");
  const auto dataset = Load<ImageFolder>(Toml());
  EXPECT_EQ(dataset->num_classes(), 4);
  EXPECT_EQ(Levels(*dataset, Split::kTrain).back(), 80);
}

TEST_F(ImageFolderTest, NamesNeedNotBeText) {
  AddPng("a/\xff\xfe\n.png", 1);
  AddPng("b\xe9/x.png", 2);
  Add("a/\xff.jpg", "");
  AddPng("\xc3\xa9/y.png", 3);
  // Two images of this class are for testing, and one of them is sound.
  AddPng("a/z.png", 4);
  AddPng("a/zz.png", 5);
  const auto dataset = Load<ImageFolder>(Toml("", "test_fraction = 0.4"));
  EXPECT_EQ(dataset->num_classes(), 3);
  ASSERT_THAT(logger_.warnings, SizeIs(1));
  // Escaped, so that what shows it need not know any better.
  EXPECT_THAT(logger_.warnings[0], AllOf(HasSubstr("/a/\\xff.jpg: the file is"),
                                         Not(HasSubstr("\xff"))));
}

TEST_F(ImageFolderTest, SaysWhatIsMissing) {
  EXPECT_THAT(Refusal<ImageFolder>("", Failure::kConfig),
              HasSubstr("set root"));
  EXPECT_THAT(Refusal<ImageFolder>(Toml("/nowhere")),
              AllOf(HasSubstr("nowhere"), HasSubstr("No such file")));
  EXPECT_THAT(Refusal<ImageFolder>(Toml()), HasSubstr("no folders here"));
  AddPng("train/cat/1.png", 1);
  EXPECT_THAT(Refusal<ImageFolder>(Toml()), HasSubstr("neither test nor val"));
  AddPng("test/dog/1.png", 1);
  EXPECT_THAT(Refusal<ImageFolder>(Toml()),
              AllOf(HasSubstr("test/dog"), HasSubstr("no class of this name")));
  std::filesystem::remove_all(folder_ / "test/dog");
  EXPECT_THAT(Refusal<ImageFolder>(Toml()),
              AllOf(HasSubstr("/test"), HasSubstr("no .jpg")));
  std::filesystem::create_directories(folder_ / "train/empty");
  EXPECT_THAT(Refusal<ImageFolder>(Toml()),
              AllOf(HasSubstr("train/empty"), HasSubstr("no .jpg")));
  std::filesystem::remove_all(folder_ / "test");
  std::filesystem::remove_all(folder_ / "train");
  AddPng("cat/1.png", 1);
  EXPECT_THAT(Refusal<ImageFolder>(Toml(), Failure::kConfig),
              HasSubstr("test_fraction"));
  Add("cat/1.png", "");
  AddPng("cat/2.png", 1);
  EXPECT_THAT(
      Refusal<ImageFolder>(Toml("", "test_fraction = 0.5\nsplit_seed = 1")),
      HasSubstr("no image can be used of 1 of 1 files"));
}

TEST_F(ImageFolderTest, UnreadableFoldersAndFilesAreNamed) {
  AddSplits();
  chmod(folder_.path().c_str(), 0755);
  chmod((folder_ / "train/cat/2.png").c_str(), 0);
  const bool is_root = geteuid() == 0;
  if (is_root) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  const auto dataset = Load<ImageFolder>(Toml());
  chmod((folder_ / "train/cat").c_str(), 0);
  if (is_root) {
    ASSERT_EQ(seteuid(0), 0);
    chmod((folder_ / "train/cat").c_str(), 0);
    ASSERT_EQ(seteuid(65534), 0);
  }
  const std::string refusal = Refusal<ImageFolder>(Toml());
  if (is_root) {
    ASSERT_EQ(seteuid(0), 0);
  }
  chmod((folder_ / "train/cat").c_str(), 0755);
  EXPECT_EQ(dataset->size(Split::kTrain), 4);
  EXPECT_THAT(logger_.warnings,
              ElementsAre(AllOf(HasSubstr("train/cat/2.png"),
                                HasSubstr("Permission denied"))));
  EXPECT_THAT(refusal, AllOf(HasSubstr("train/cat: cannot read the folder"),
                             HasSubstr("Permission denied")));
}

TEST_F(ImageFolderTest, MoreMemoryThanTheMachineHasIsRefused) {
  AddPng("a/0.png", 1);
  constexpr int64_t kImageBytes = int64_t{3} * 2048 * 2048;
  const int64_t machine = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) *
                          static_cast<int64_t>(sysconf(_SC_PAGESIZE));
  const int64_t count = machine / kImageBytes + 2;
  for (int64_t i = 1; i < count; ++i) {
    const std::string link = folder_ / absl::StrCat("a/", i, ".png");
    ASSERT_EQ(symlink("0.png", link.c_str()), 0);
  }
  EXPECT_THAT(
      Refusal<ImageFolder>(
          absl::StrCat("root = '", folder_.path(), "'\nsize = 2048"),
          Failure::kOutOfMemory),
      AllOf(HasSubstr(absl::StrCat(count, " images of 2048 x 2048 take")),
            HasSubstr("lower dataset.size")));
}

class Caltech101Test : public ImageDatasetTest {
 protected:
  void AddClasses() {
    for (const auto& [name, count] :
         std::map<std::string, int>{{"Faces", 12},
                                    {"BACKGROUND_Google", 5},
                                    {"accordion", 6},
                                    {"Faces_easy", 8}}) {
      for (int i = 1; i <= count; ++i) {
        Add(absl::StrCat("caltech-101/101_ObjectCategories/", name, "/image_",
                         absl::Dec(i, absl::kZeroPad4), ".jpg"),
            JpegBytes(PlainPicture(12, 8, {90})));
      }
    }
  }
};

TEST_F(Caltech101Test, LeavesTheBackgroundOutUnlessAsked) {
  AddClasses();
  for (const char* below :
       {"", "/caltech-101", "/caltech-101/101_ObjectCategories"}) {
    const auto dataset = Load<Caltech101>(Toml(below));
    EXPECT_EQ(dataset->num_classes(), 3);
    // 12 Faces, 8 Faces_easy, 6 accordion: a fifth is 2.4, 1.6 and 1.2.
    EXPECT_EQ(dataset->size(Split::kTrain), 10 + 6 + 5);
    EXPECT_THAT(dataset->labels(Split::kTest), ElementsAre(0, 0, 1, 1, 2));
  }
  EXPECT_THAT(logger_.warnings,
              Each(AllOf(HasSubstr("3 classes"), HasSubstr("101"))));
  const auto all = Load<Caltech101>(Toml("", "keep_background = true"));
  EXPECT_EQ(all->num_classes(), 4);
  // B before F: one image of five.
  EXPECT_THAT(all->labels(Split::kTest), ElementsAre(0, 1, 1, 2, 2, 3));
}

TEST_F(Caltech101Test, TakesAFixedNumberOfEachClass) {
  AddClasses();
  const auto dataset = Load<Caltech101>(Toml("", "train_per_class = 5"));
  EXPECT_THAT(dataset->labels(Split::kTrain),
              ElementsAre(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2));
  EXPECT_EQ(dataset->size(Split::kTest), 7 + 3 + 1);
  EXPECT_THAT(
      Refusal<Caltech101>(Toml("", "train_per_class = 6"), Failure::kConfig),
      AllOf(HasSubstr("train_per_class = 6"), HasSubstr("accordion has 6")));
}

TEST_F(Caltech101Test, SaysWhatIsMissing) {
  EXPECT_THAT(Refusal<Caltech101>("", Failure::kConfig),
              HasSubstr("101_ObjectCategories"));
  EXPECT_THAT(Refusal<Caltech101>(Toml()),
              AllOf(HasSubstr(folder_.path()),
                    HasSubstr("no folder 101_ObjectCategories")));
}

class Food101Test : public ImageDatasetTest {
 protected:
  void AddAll() {
    for (const char* name : {"waffles/3", "apple_pie/10", "apple_pie/9"}) {
      Add(absl::StrCat("food-101/images/", name, ".jpg"),
          JpegBytes(PlainPicture(12, 8, {90})));
    }
    Add("food-101/meta/train.txt", "waffles/3\napple_pie/10\n");
    Add("food-101/meta/test.txt", "apple_pie/9\n");
  }
};

TEST_F(Food101Test, FollowsTheListsAndNumbersClassesByName) {
  AddAll();
  for (const char* below : {"", "/food-101"}) {
    const auto dataset = Load<Food101>(Toml(below));
    EXPECT_EQ(dataset->num_classes(), 2);
    EXPECT_THAT(dataset->labels(Split::kTrain), ElementsAre(1, 0));
    EXPECT_THAT(dataset->labels(Split::kTest), ElementsAre(0));
  }
  EXPECT_THAT(logger_.warnings, Each(HasSubstr("2 classes")));
}

TEST_F(Food101Test, LinesThatLeadElsewhereAreRefused) {
  AddAll();
  for (const char* line : {"../etc", "apple_pie/..", "apple_pie", "a/b/c",
                           "/apple_pie", "x/", "./x"}) {
    Add("food-101/meta/test.txt", absl::StrCat("apple_pie/9\n", line, "\n"));
    EXPECT_THAT(Refusal<Food101>(Toml()),
                AllOf(HasSubstr("meta/test.txt: line 2: "), HasSubstr(line)));
  }
  Add("food-101/meta/test.txt", std::string("apple_pie/\0x\n", 13));
  EXPECT_THAT(Refusal<Food101>(Toml()), HasSubstr("line 1"));
}

TEST_F(Food101Test, ListsMustFitTogether) {
  AddAll();
  Add("food-101/meta/test.txt", "apple_pie/9\r\nwaffles/3\r\n");
  EXPECT_THAT(Refusal<Food101>(Toml()),
              AllOf(HasSubstr("test.txt: line 2"), HasSubstr("both lists")));
  Add("food-101/meta/test.txt", "pizza/1\n");
  EXPECT_THAT(Refusal<Food101>(Toml()),
              HasSubstr("class pizza has no training images"));
  Add("food-101/meta/test.txt", "\n\n");
  EXPECT_THAT(Refusal<Food101>(Toml()), HasSubstr("names no images"));
  std::filesystem::remove(folder_ / "food-101/meta/test.txt");
  EXPECT_THAT(Refusal<Food101>(Toml()), HasSubstr("meta/test.txt"));
  Add("food-101/meta/test.txt", "apple_pie/404\n");
  EXPECT_THAT(Refusal<Food101>(Toml()),
              AllOf(HasSubstr("apple_pie/404.jpg"), HasSubstr("No such file")));
  std::filesystem::remove_all(folder_ / "food-101/images");
  EXPECT_THAT(Refusal<Food101>(Toml()),
              HasSubstr("no folders images and meta"));
}

}  // namespace
}  // namespace fedlb::data
