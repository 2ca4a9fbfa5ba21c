#include "plugin_skeleton.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_replace.h"

namespace fedlb::cli {
namespace {

constexpr char kCMakeLists[] =
    R"(# The fedlb plugin @NAME@:
#   cmake -S . -B build -DCMAKE_PREFIX_PATH=<where fedlb is installed>
#   cmake --build build && ctest --test-dir build
#   fedlb plugins check build/lib/fedlb/plugins/fedlb_@NAME@.so
cmake_minimum_required(VERSION 3.25)
project(@NAME@ LANGUAGES CXX)

find_package(fedlb 0.1 REQUIRED)
fedlb_add_plugin(@NAME@
  ENTRY plugin.cc
  SOURCES @NAME@.cc)

include(CTest)
if(BUILD_TESTING AND TARGET fedlb::testing)
  add_executable(@NAME@_test @NAME@_test.cc)
  target_link_libraries(@NAME@_test PRIVATE
    fedlb_@NAME@_objects fedlb::testing GTest::gtest_main)
  add_test(NAME @NAME@_test COMMAND @NAME@_test)
elseif(BUILD_TESTING)
  message(WARNING "no tests: GoogleTest (libgtest-dev) is not installed")
endif()
)";

constexpr char kEntry[] =
    R"(#include "fedlb/plugin.h"

#include "@NAME@.h"

namespace @NAME@_plugin {
namespace {

void RegisterComponents(fedlb::PluginRegistrar& registrar) {
  registrar.Add<@CLASS@>();
}

}  // namespace
}  // namespace @NAME@_plugin

FEDLB_PLUGIN("@NAME@", "0.1.0",
             @NAME@_plugin::RegisterComponents);
)";

constexpr char kHeader[] =
    R"(// The @KIND@ `@NAME@`.

#ifndef @GUARD@_H_
#define @GUARD@_H_

#include <cstdint>
#include <memory>
@STANDARD_HEADER@
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/@KIND@.h"
#include "fedlb/param_schema.h"
@SDK_HEADER@
namespace @NAME@_plugin {

struct @CLASS@Options {
  @OPTION@
};

// fedlb/@KIND@.h says what is expected of the members.
class @CLASS@ final : public fedlb::@BASE@ {
 public:
  using Options = @CLASS@Options;
  static constexpr char kName[] = "@NAME@";
  static constexpr char kSummary[] =
      "@SUMMARY@";

  static fedlb::ParamSchema<Options> Schema();
  static absl::StatusOr<std::unique_ptr<@CLASS@>> Create(
      const Options& options, const fedlb::ComponentContext& context);
@PUBLIC@
 private:
  @CLASS@(const Options& options,
      const fedlb::ComponentContext& context);
@PRIVATE@};

}  // namespace @NAME@_plugin

#endif  // @GUARD@_H_
)";

constexpr char kSource[] =
    R"(#include "@NAME@.h"
@INCLUDES@
namespace @NAME@_plugin {

fedlb::ParamSchema<@CLASS@Options> @CLASS@::Schema() {
  return fedlb::ParamSchema<Options>().Add(
      @SCHEMA@);
}

absl::StatusOr<std::unique_ptr<@CLASS@>> @CLASS@::Create(
    const Options& options, const fedlb::ComponentContext& context) {
  return std::unique_ptr<@CLASS@>(
      new @CLASS@(options, context));
}

@CLASS@::@CLASS@(
    const Options& options,
    [[maybe_unused]] const fedlb::ComponentContext& context)@CONSTRUCTOR@
@DEFINITIONS@
}  // namespace @NAME@_plugin
)";

constexpr char kTest[] =
    R"(#include "@NAME@.h"

#include <gtest/gtest.h>
@TEST_INCLUDES@
#include "fedlb/testing/expect_conforms.h"

namespace @NAME@_plugin {
namespace {

TEST(@CLASS@Test, Conforms) {
  fedlb::conformance::ExpectConforms<@CLASS@>();
}

@TEST@
}  // namespace
}  // namespace @NAME@_plugin
)";

// "trimmed_mean" as "TrimmedMean".
std::string ClassName(const std::string& name) {
  std::string class_name;
  bool begins_word = true;
  for (const char c : name) {
    if (c == '_') {
      begins_word = true;
      continue;
    }
    class_name += begins_word ? absl::ascii_toupper(c) : c;
    begins_word = false;
  }
  return class_name;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> RenderSkeleton(
    const KindSkeleton& kind, const std::string& name) {
  const auto render = [&](const char* text) {
    const std::string with_parts =
        absl::StrReplaceAll(text, {{"@KIND@", kind.kind},
                                   {"@BASE@", kind.base},
                                   {"@SUMMARY@", kind.summary},
                                   {"@OPTION@", kind.option},
                                   {"@SCHEMA@", kind.schema},
                                   {"@PUBLIC@", kind.public_members},
                                   {"@STANDARD_HEADER@", kind.standard_header},
                                   {"@SDK_HEADER@", kind.sdk_header},
                                   {"@CONSTRUCTOR@", kind.constructor},
                                   {"@PRIVATE@", kind.private_members},
                                   {"@INCLUDES@", kind.includes},
                                   {"@DEFINITIONS@", kind.definitions},
                                   {"@TEST_INCLUDES@", kind.test_includes},
                                   {"@TEST@", kind.test}});
    return absl::StrReplaceAll(with_parts,
                               {{"@NAME@", name},
                                {"@CLASS@", ClassName(name)},
                                {"@GUARD@", absl::AsciiStrToUpper(name)}});
  };
  return {{"CMakeLists.txt", render(kCMakeLists)},
          {"plugin.cc", render(kEntry)},
          {name + ".h", render(kHeader)},
          {name + ".cc", render(kSource)},
          {name + "_test.cc", render(kTest)}};
}

}  // namespace fedlb::cli
