#include "fedlb/plugin_loader.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/ops/full.h>

#include "absl/strings/str_cat.h"
#include "cli/process.h"
#include "fedlb/fingerprint.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/plugin.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

constexpr uid_t kNobody = 65534;

std::string ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> NamesOf(const ComponentRegistry& registry) {
  return registry.Names(GradientMapper::kKind);
}

// With the parameter true every library is a stripped one.
class PluginLoaderTest : public ::testing::TestWithParam<bool> {
 protected:
  PluginLoaderTest() {
    setenv("FIXTURE_MARKER", Marker().c_str(), 1);
    unsetenv("FEDLB_PLUGIN_PATH");
  }

  std::string Marker() const { return folder_.path() + "/marker"; }
  bool CodeRan() const { return fs::exists(Marker()); }

  static std::string Fixture(const std::string& name) {
    return absl::StrCat(FEDLB_TEST_BUILD_DIR "/tests/plugins/",
                        GetParam() ? "stripped/" : "", "fedlb_", name, ".so");
  }

  std::string Write(const std::string& name, const std::string& bytes) const {
    const std::string path = folder_.path() + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    chmod(path.c_str(), 0644);
    return path;
  }

  // A copy in the test's own folder. A library with another path is another
  // library for the dynamic loader, so that its static constructors run again.
  std::string Copy(const std::string& fixture,
                   const std::string& name = "fedlb_copy.so") const {
    return Write(name, ReadBytes(Fixture(fixture)));
  }

  // The good plugin with its descriptor changed by `change`.
  template <typename Change>
  std::string WithDescriptor(Change change) const {
    std::string bytes = ReadBytes(Fixture("good"));
    const size_t at = bytes.find(std::string(kPluginMagic, 8));
    PluginDescriptor descriptor;
    std::memcpy(&descriptor, bytes.data() + at, sizeof(descriptor));
    change(descriptor);
    std::memcpy(bytes.data() + at, &descriptor, sizeof(descriptor));
    return Write("fedlb_changed.so", bytes);
  }

  // The message of the refusal; the registry must not change.
  static std::string Refusal(const std::string& path,
                             ComponentRegistry* known = nullptr) {
    ComponentRegistry empty;
    ComponentRegistry& registry = known != nullptr ? *known : empty;
    const auto names = NamesOf(registry);
    const size_t plugins = registry.plugins().size();
    const absl::Status status = LoadPlugin(path, registry);
    EXPECT_FALSE(status.ok()) << path;
    EXPECT_EQ(FailureOf(status), Failure::kPluginRefused) << status;
    EXPECT_THAT(status.message(),
                HasSubstr(fs::path(path).filename().string()));
    EXPECT_EQ(status.message().find('\n'), absl::string_view::npos)
        << "one line: " << status.message();
    EXPECT_EQ(NamesOf(registry), names);
    EXPECT_EQ(registry.plugins().size(), plugins);
    return std::string(status.message());
  }

  const TemporaryFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(, PluginLoaderTest, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "Stripped" : "Plain";
                         });

TEST_P(PluginLoaderTest, LoadsComponentsThatWork) {
  const std::string path = Copy("good");
  ComponentRegistry registry;
  ASSERT_EQ(LoadPlugin(path, registry), absl::OkStatus());

  EXPECT_THAT(NamesOf(registry),
              ::testing::ElementsAre("good_mapper", "of_good"));
  ASSERT_EQ(registry.plugins().size(), 1);
  EXPECT_EQ(registry.plugins()[0].name, "good");
  EXPECT_EQ(registry.plugins()[0].version, "1.2.3");
  EXPECT_EQ(registry.plugins()[0].fingerprint, HostFingerprint());
  EXPECT_EQ(registry.plugins()[0].path, fs::canonical(path));

  ConfigTable table;
  table.Set("name", ConfigValue(std::string("good_mapper")));
  table.Set("gain", ConfigValue(3.0));
  const auto mapper = registry.Create<GradientMapper>(table, {});
  ASSERT_TRUE(mapper.ok()) << mapper.status();
  TensorList gradient = {at::full({2}, 5.0)};
  ASSERT_EQ((*mapper)->Map({}, gradient), absl::OkStatus());
  EXPECT_EQ(gradient[0][1].item<double>(), 15.0);
}

TEST_P(PluginLoaderTest, InspectionTellsTheDescriptorAndRunsNothing) {
  const auto info = InspectPlugin(Copy("good"));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->name, "good");
  EXPECT_EQ(info->version, "1.2.3");
  EXPECT_EQ(info->fingerprint, HostFingerprint());
  EXPECT_FALSE(CodeRan());
}

TEST_P(PluginLoaderTest, RefusesMissingFile) {
  EXPECT_THAT(Refusal(folder_.path() + "/nothing.so"),
              HasSubstr("cannot be read: No such file or directory"));
}

TEST_P(PluginLoaderTest, RefusesDirectoryAndFifo) {
  EXPECT_THAT(Refusal(folder_.path()), HasSubstr("is not a regular file"));
  const std::string fifo = folder_.path() + "/fifo.so";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(Refusal(fifo), HasSubstr("is not a regular file"));
}

TEST_P(PluginLoaderTest, RefusesUnreadableFile) {
  const std::string path = Copy("good");
  chmod(path.c_str(), 0);
  if (geteuid() != 0) {
    EXPECT_THAT(Refusal(path), HasSubstr("cannot be read: Permission denied"));
    return;
  }
  // Root may read anything, so a child steps down.
  chmod(folder_.path().c_str(), 0755);
  const pid_t child = fork();
  if (child == 0) {
    const bool refused =
        setuid(kNobody) == 0 &&
        InspectPlugin(path).status().message().find(
            "cannot be read: Permission denied") != absl::string_view::npos;
    _exit(refused ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_P(PluginLoaderTest, RefusesFileThatOthersMayWrite) {
  const std::string path = Copy("good");
  chmod(path.c_str(), 0646);
  EXPECT_THAT(Refusal(path),
              HasSubstr("can be written by everybody (mode 0646)"));
  chmod(path.c_str(), 0664);
  EXPECT_THAT(Refusal(path),
              HasSubstr("can be written by a group (mode 0664)"));
  EXPECT_FALSE(CodeRan());
}

TEST_P(PluginLoaderTest, RefusesFileOfSomebodyElse) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can give files away";
  }
  const std::string path = Copy("good");
  ASSERT_EQ(chown(path.c_str(), kNobody, kNobody), 0);
  EXPECT_THAT(Refusal(path), HasSubstr("belongs to user 65534"));
}

TEST_P(PluginLoaderTest, RefusesDirectoryThatEverybodyMayWrite) {
  const std::string path = Copy("good");
  chmod(folder_.path().c_str(), 0777);
  EXPECT_THAT(Refusal(path), HasSubstr("which can be written by everybody"));
  EXPECT_FALSE(CodeRan());
  // Where the sticky bit is set, only the owner can replace a file.
  chmod(folder_.path().c_str(), 01777);
  EXPECT_EQ(InspectPlugin(path).status(), absl::OkStatus());
}

TEST_P(PluginLoaderTest, JudgesTheTargetOfALink) {
  const std::string path = Copy("good");
  const std::string link = folder_.path() + "/fedlb_link.so";
  fs::create_symlink(path, link);
  EXPECT_EQ(InspectPlugin(link).status(), absl::OkStatus());
  chmod(path.c_str(), 0666);
  ComponentRegistry registry;
  EXPECT_THAT(LoadPlugin(link, registry).message(),
              HasSubstr("can be written by everybody"));
}

TEST_P(PluginLoaderTest, RefusesWhatIsNoLibrary) {
  constexpr char kNoHeader[] = "it does not begin with an ELF header";
  EXPECT_THAT(Refusal(Write("empty.so", "")), HasSubstr(kNoHeader));
  EXPECT_THAT(Refusal(Write("text.so", "name = \"not a library\"\n")),
              HasSubstr(kNoHeader));
  EXPECT_THAT(Refusal(Write("short.so",
                            "\x7f"
                            "ELF")),
              HasSubstr("truncated or damaged"));
}

TEST_P(PluginLoaderTest, RefusesProgramsAndOtherMachines) {
  std::string bytes = ReadBytes(Fixture("good"));
  bytes[16] = 2;  // e_type: a program with fixed addresses
  EXPECT_THAT(Refusal(Write("program.so", bytes)),
              HasSubstr("an object file or a program"));
  bytes = ReadBytes(Fixture("good"));
  bytes[18] = 40;  // e_machine: 32-bit ARM
  EXPECT_THAT(Refusal(Write("arm.so", bytes)), HasSubstr("another processor"));
  bytes = ReadBytes(Fixture("good"));
  bytes[4] = 1;  // EI_CLASS: 32 bits
  EXPECT_THAT(Refusal(Write("narrow.so", bytes)),
              HasSubstr("another processor"));
}

TEST_P(PluginLoaderTest, RefusesTruncationAtFiftyLengths) {
  const std::string bytes = ReadBytes(Fixture("good"));
  std::vector<size_t> lengths = {0,
                                 1,
                                 3,
                                 4,
                                 5,
                                 15,
                                 16,
                                 17,
                                 63,
                                 64,
                                 65,
                                 100,
                                 119,
                                 120,
                                 bytes.size() - 1,
                                 bytes.size() - 64};
  constexpr size_t kLengths = 50;
  const size_t spread = kLengths - lengths.size();
  for (size_t i = 0; i < spread; ++i) {
    lengths.push_back(bytes.size() * (2 * i + 1) / (2 * spread));
  }
  ASSERT_EQ(lengths.size(), kLengths);
  for (const size_t length : lengths) {
    const std::string path =
        Write("fedlb_truncated.so", bytes.substr(0, length));
    EXPECT_THAT(Refusal(path),
                AnyOf(HasSubstr("is truncated or damaged"),
                      HasSubstr("does not begin with an ELF header")))
        << length << " of " << bytes.size() << " bytes";
  }
  EXPECT_FALSE(CodeRan());
}

TEST_P(PluginLoaderTest, InspectionSurvivesAnyDamage) {
  const std::string bytes = ReadBytes(Fixture("good"));
  const size_t descriptor = bytes.find(std::string(kPluginMagic, 8));
  RandomStream random({.seed = 1, .purpose = "damage"});
  for (int round = 0; round < 1000; ++round) {
    std::string damaged = bytes;
    for (int flip = 0; flip < 3; ++flip) {
      // Where the headers are: at both ends of the file, and the descriptor.
      const size_t starts[] = {0, bytes.size() - 2000, descriptor};
      const size_t at =
          starts[random.Below(3)] + random.Below(flip == 0 ? 64 : 300);
      damaged[at] = static_cast<char>(random.Below(256));
    }
    const auto info = InspectPlugin(Write("fedlb_damaged.so", damaged));
    if (!info.ok()) {
      EXPECT_EQ(FailureOf(info.status()), Failure::kPluginRefused);
    }
  }
  EXPECT_FALSE(CodeRan());
}

TEST_P(PluginLoaderTest, RefusesForeignLibraryWithoutRunningIt) {
  EXPECT_THAT(
      Refusal(Copy("foreign")),
      HasSubstr("is not a fedlb plugin: it has no section fedlb_plugin"));
  EXPECT_FALSE(CodeRan());
}

TEST_P(PluginLoaderTest, RefusesOtherDescriptorsWithoutRunningThem) {
  const std::string magic = Refusal(WithDescriptor(
      [](PluginDescriptor& descriptor) { descriptor.magic[0] = 'X'; }));
  EXPECT_THAT(magic, HasSubstr("does not begin with FEDLBPLG"));

  const std::string size = Refusal(WithDescriptor(
      [](PluginDescriptor& descriptor) { descriptor.struct_size -= 8; }));
  EXPECT_THAT(size, HasSubstr(absl::StrCat("has a descriptor of ",
                                           sizeof(PluginDescriptor) - 8,
                                           " bytes where this program expects ",
                                           sizeof(PluginDescriptor))));

  const std::string version = Refusal(WithDescriptor(
      [](PluginDescriptor& descriptor) { ++descriptor.descriptor_version; }));
  EXPECT_THAT(version, HasSubstr("has a descriptor of version 2 where this "
                                 "program expects 1"));

  const std::string endless =
      Refusal(WithDescriptor([](PluginDescriptor& descriptor) {
        std::memset(descriptor.name, 'x', sizeof(descriptor.name));
      }));
  EXPECT_THAT(endless, HasSubstr("whose name is not a proper text"));

  const std::string control =
      Refusal(WithDescriptor([](PluginDescriptor& descriptor) {
        std::strcpy(descriptor.version, "1\n\x1b[2J");
      }));
  EXPECT_THAT(control, HasSubstr("whose version is not a proper text"));
  EXPECT_FALSE(CodeRan());
}

TEST_P(PluginLoaderTest, RefusesOtherFingerprintAndSaysWhatDiffers) {
  const std::string message =
      Refusal(WithDescriptor([](PluginDescriptor& descriptor) {
        std::memcpy(descriptor.fingerprint, "sdk-000000000000", 16);
      }));
  const std::string host = HostFingerprint();
  EXPECT_THAT(message,
              HasSubstr("(good 1.2.3) was built for another fedlb: it has "
                        "sdk-000000000000 where this program has " +
                        host.substr(0, 16) + "; rebuild it"));
  EXPECT_THAT(message, HasSubstr("program " + host));
  EXPECT_FALSE(CodeRan());
}

TEST_P(PluginLoaderTest, RefusesRegistrationThatThrows) {
  EXPECT_THAT(Refusal(Copy("throws_exception", "a.so")),
              HasSubstr("registration failed: the fixture's exception"));
  EXPECT_THAT(Refusal(Copy("throws_int", "b.so")),
              HasSubstr("registration failed: threw something that is not an "
                        "exception"));
  EXPECT_THAT(Refusal(Copy("throws_torch", "c.so")),
              HasSubstr("registration failed: the fixture's check"));
}

TEST_P(PluginLoaderTest, RefusesUnresolvedSymbolsAndMissingFunction) {
  EXPECT_THAT(Refusal(Copy("unresolved", "a.so")),
              HasSubstr("fixture_is_nowhere"));
  EXPECT_THAT(Refusal(Copy("null_function", "b.so")),
              HasSubstr("has no function that registers components"));
}

TEST_P(PluginLoaderTest, RefusesTakenNameAndTakesNothing) {
  ComponentRegistry registry;
  ASSERT_EQ(LoadPlugin(Copy("good", "a.so"), registry), absl::OkStatus());
  const std::string message = Refusal(Copy("taken", "b.so"), &registry);
  EXPECT_THAT(message, HasSubstr("good_mapper"));
  EXPECT_THAT(message, HasSubstr("`taken`"));
  EXPECT_THAT(message, HasSubstr("`good`"));
}

class PluginSearchTest : public PluginLoaderTest {
 protected:
  PluginSearchTest() {
    fs::create_directory(folder_.path() + "/a");
    fs::create_directory(folder_.path() + "/b");
    search_.use_defaults = false;
  }

  std::vector<std::string> Loaded() {
    ComponentRegistry registry;
    const absl::Status status = LoadPlugins(search_, registry);
    EXPECT_EQ(status, absl::OkStatus());
    std::vector<std::string> names;
    for (const PluginRecord& plugin : registry.plugins()) {
      names.push_back(plugin.name);
    }
    return names;
  }

  PluginSearch search_;
};

INSTANTIATE_TEST_SUITE_P(, PluginSearchTest, ::testing::Values(true));

TEST_P(PluginSearchTest, TakesDirectoriesInOrderAndFilesByName) {
  Copy("good", "a/fedlb_z.so");
  Copy("other", "b/fedlb_a.so");
  Copy("foreign", "a/libforeign.so");
  search_.directories = {folder_.path() + "/a", folder_.path() + "/b"};
  EXPECT_THAT(Loaded(), ::testing::ElementsAre("good", "other"));
  search_.directories = {folder_.path() + "/b", folder_.path() + "/a"};
  EXPECT_THAT(Loaded(), ::testing::ElementsAre("other", "good"));
}

TEST_P(PluginSearchTest, NameWithoutSlashIsLookedForInDirectoriesOnly) {
  Copy("good", "a/mine.so");
  search_.files = {"mine.so"};
  search_.directories = {folder_.path() + "/b", folder_.path() + "/a"};
  EXPECT_THAT(Loaded(), ::testing::ElementsAre("good"));

  search_.directories = {folder_.path() + "/b"};
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path() + "/a");
  ComponentRegistry registry;
  const absl::Status status = LoadPlugins(search_, registry);
  fs::current_path(before);
  EXPECT_EQ(FailureOf(status), Failure::kPluginRefused);
  EXPECT_THAT(status.message(),
              HasSubstr("plugin mine.so is in none of the plugin directories"));
}

TEST_P(PluginSearchTest, FileThatIsReachedTwiceIsLoadedOnce) {
  const std::string path = Copy("good", "a/fedlb_good.so");
  search_.directories = {folder_.path() + "/a", folder_.path() + "/b/../a"};
  search_.files = {path, "fedlb_good.so"};
  EXPECT_THAT(Loaded(), ::testing::ElementsAre("good"));

  ComponentRegistry registry;
  EXPECT_EQ(LoadPlugins(search_, registry), absl::OkStatus());
  EXPECT_EQ(LoadPlugins(search_, registry), absl::OkStatus());
}

TEST_P(PluginSearchTest, CudaPluginIsLoadedOnlyByName) {
  Copy("good", "a/fedlb_cuda.so");
  search_.directories = {folder_.path() + "/a"};
  EXPECT_THAT(Loaded(), ::testing::IsEmpty());
  search_.files = {"fedlb_cuda.so"};
  EXPECT_THAT(Loaded(), ::testing::ElementsAre("good"));
}

TEST_P(PluginSearchTest, EnvironmentNamesAbsoluteDirectories) {
  Copy("good", "a/fedlb_good.so");
  const std::string path =
      absl::StrCat(":", folder_.path(), "/a::", folder_.path(), "/b");
  setenv("FEDLB_PLUGIN_PATH", path.c_str(), 1);
  EXPECT_THAT(Loaded(), ::testing::IsEmpty()) << "defaults are switched off";
  search_.use_defaults = true;
  EXPECT_THAT(Loaded(), ::testing::Contains("good"));

  setenv("FEDLB_PLUGIN_PATH", "plugins", 1);
  ComponentRegistry registry;
  EXPECT_THAT(LoadPlugins(search_, registry).message(),
              HasSubstr("FEDLB_PLUGIN_PATH: plugins is not an absolute path"));
  unsetenv("FEDLB_PLUGIN_PATH");
}

TEST_P(PluginSearchTest, RefusesMissingDirectory) {
  search_.directories = {folder_.path() + "/c"};
  ComponentRegistry registry;
  const absl::Status status = LoadPlugins(search_, registry);
  EXPECT_EQ(FailureOf(status), Failure::kPluginRefused);
  EXPECT_THAT(status.message(), HasSubstr("/c cannot be read: No such file"));
}

}  // namespace
}  // namespace fedlb
