// Any text in a part of a teacher's file whose digests are right: refused with
// a status, or taken over by a teacher that goes on mapping.

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ops/full.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "fedlb/config.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/mapper_file.h"
#include "fedlb/memory.h"
#include "fedlb/plugin_loader.h"
#include "fedlb/registry.h"
#include "fedlb/safetensors.h"
#include "fuzz/memory_file.h"

namespace {

using fedlb::Require;
using fedlb::TensorList;

constexpr const char* kParts[] = {"fedlb.options", "fedlb.layout",
                                  "fedlb.scalars", "fedlb.sizes"};

fedlb::TensorLayout Layout() { return {{"w", {6, 5}}, {"b", {6}}}; }

TensorList Gradient(double value) {
  return {at::full({6, 5}, value), at::full({6}, -value)};
}

struct Fixture {
  fedlb::ComponentRegistry registry;
  std::vector<std::unique_ptr<fedlb::GradientMapper>> mappers;
  std::vector<fedlb::SafetensorsFile> files;
  fedlb::MemoryFile file;
};

Fixture* MakeFixture() {
  fedlb::InstallCachingAllocator();
  auto* fixture = new Fixture;
  fedlb::PluginSearch search;
  search.directories = {FEDLB_TEST_PLUGIN_DIR};
  Require(fedlb::LoadPlugins(search, fixture->registry).ok());
  fedlb::ComponentContext context;
  context.registry = &fixture->registry;
  for (const char* teacher : {"{ rank = 3 }", "{ name = 'transformer' }",
                              "{ name = 'autoencoder', piece_size = 8 }"}) {
    const fedlb::ConfigTable table =
        fedlb::ParseToml(absl::StrCat("name = 'teacher'\nrefit = 'every'\n"
                                      "small_batch_size = 4\nteacher = ",
                                      teacher),
                         "fuzz")
            .value();
    auto mapper =
        fixture->registry.Create<fedlb::GradientMapper>(table, context).value();
    Require(mapper->Prepare(Layout()).ok());
    for (int i = 1; i < 7; ++i) {
      fedlb::StepContext step;
      step.round = i;
      step.lr = 0.1;
      step.batch_size = 16;
      Require(mapper
                  ->ObserveDisplacement(
                      step, {Gradient(i), Gradient(2 * i), Gradient(i), 4})
                  .ok());
      step.partial_means = {Gradient(i), Gradient(i + 0.5)};
      TensorList gradient = Gradient(i);
      Require(mapper->Map(step, gradient).ok());
    }
    const std::string path = absl::StrCat("mapper_file_fuzz.", getpid());
    Require(
        fedlb::WriteMapperFile(path, {table, Layout(), mapper->SaveState(), {}})
            .ok());
    fixture->files.push_back(fedlb::ReadSafetensors(path).value());
    unlink(path.c_str());
    fixture->mappers.push_back(std::move(mapper));
  }
  return fixture;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Fixture& fixture = *MakeFixture();
  if (size < 4) {
    return 0;
  }
  // The first bytes choose a teacher and a part, and whether that part is
  // replaced or only edited, which gets deeper.
  const size_t which = data[0] % fixture.files.size();
  fedlb::SafetensorsFile content = fixture.files[which];
  std::string& part = content.metadata[kParts[data[1] % std::size(kParts)]];
  const std::string text(reinterpret_cast<const char*>(data) + 4, size - 4);
  if (data[2] % 2 == 0 && !part.empty()) {
    part.replace((size_t{data[2]} << 8 | data[3]) % part.size(), text.size(),
                 text);
  } else {
    part = text;
  }
  const auto bytes = fedlb::SerializeSafetensors(content);
  if (!bytes.ok()) {
    return 0;
  }
  fixture.file.Fill(*bytes);
  const auto file = fedlb::ReadMapperFile(fixture.file.path());
  if (!file.ok() || !fedlb::CheckMapperFileFits("fuzz", *file, Layout()).ok() ||
      !fixture.mappers[which]->LoadState(file->state).ok()) {
    return 0;
  }
  fedlb::StepContext step;
  step.lr = 0.1;
  step.batch_size = 16;
  step.may_learn = false;
  step.partial_means = {Gradient(1)};
  TensorList gradient = Gradient(1);
  (void)fixture.mappers[which]->Map(step, gradient);
  return 0;
}
