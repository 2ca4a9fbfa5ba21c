// Any text as the state in a checkpoint whose digests are right: refused with a
// status, or restored.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "federation.h"
#include "fedlb/config.h"
#include "fedlb/experiment_config.h"
#include "fedlb/memory.h"
#include "fedlb/plugin_loader.h"
#include "fedlb/registry.h"
#include "run_state.h"

namespace {

struct Fixture {
  fedlb::ComponentRegistry registry;
  std::unique_ptr<fedlb::Federation> federation;
  fedlb::StoredCheckpoint checkpoint;
};

template <typename T>
T Must(absl::StatusOr<T> result) {
  if (!result.ok()) {
    abort();
  }
  return std::move(result).value();
}

Fixture* MakeFixture() {
  fedlb::InstallCachingAllocator();
  auto* fixture = new Fixture;
  fedlb::PluginSearch search;
  search.directories = {FEDLB_TEST_PLUGIN_DIR};
  if (!fedlb::LoadPlugins(search, fixture->registry).ok()) {
    abort();
  }
  fedlb::ConfigLayers layers;
  layers.files = {FEDLB_TEST_SOURCE_DIR "/configs/smoke.toml"};
  layers.environment = false;
  const fedlb::ExperimentConfig config = Must(fedlb::ResolveExperiment(
      Must(fedlb::LoadConfig(layers)), fixture->registry));
  fixture->federation = Must(fedlb::Federation::Create(
      config, fixture->registry, fedlb::Logger::Null()));
  fixture->checkpoint = Must(fedlb::MakeCheckpoint(
      fedlb::RunState(*fixture->federation), *fixture->federation));
  return fixture;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Fixture& fixture = *MakeFixture();
  fedlb::StoredCheckpoint checkpoint = fixture.checkpoint;
  // The first byte decides between any text and the real state with a part of
  // it replaced, which gets deeper.
  std::string& state = checkpoint.content.metadata[fedlb::kRunStateKey];
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (size > 3 && data[0] % 2 == 0) {
    const size_t at = (size_t{data[1]} << 8 | data[2]) % state.size();
    state.replace(at, text.size() - 3, text.substr(3));
  } else {
    state = text;
  }
  (void)fedlb::RestoreCheckpoint(checkpoint, *fixture.federation);
  return 0;
}
