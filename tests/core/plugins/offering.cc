// A plugin with two gradient mappers: FIXTURE_COMPONENT, and one whose name
// nobody else has and which is registered first.

#include <memory>

#include "core/plugins/marker.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/param_schema.h"
#include "fedlb/plugin.h"

namespace fedlb {
namespace {

struct FixtureOptions {
  double gain = 2;
};

class FixtureMapper : public GradientMapper {
 public:
  using Options = FixtureOptions;
  static constexpr char kSummary[] = "Multiplies gradients by a number.";

  static ParamSchema<Options> Schema() {
    return ParamSchema<Options>().Add("gain", &Options::gain,
                                      "What gradients are multiplied by.");
  }

 protected:
  explicit FixtureMapper(const Options& options) : options_(options) {}

 private:
  absl::Status DoMap(const StepContext&, TensorList& gradient) override {
    Scale(options_.gain, gradient);
    return absl::OkStatus();
  }

  const Options options_;
};

class OwnMapper final : public FixtureMapper {
 public:
  static constexpr char kName[] = "of_" FIXTURE_PLUGIN;

  explicit OwnMapper(const Options& options) : FixtureMapper(options) {}
  static absl::StatusOr<std::unique_ptr<OwnMapper>> Create(
      const Options& options, const ComponentContext&) {
    return std::make_unique<OwnMapper>(options);
  }
};

class NamedMapper final : public FixtureMapper {
 public:
  static constexpr char kName[] = FIXTURE_COMPONENT;

  explicit NamedMapper(const Options& options) : FixtureMapper(options) {}
  static absl::StatusOr<std::unique_ptr<NamedMapper>> Create(
      const Options& options, const ComponentContext&) {
    return std::make_unique<NamedMapper>(options);
  }
};

void RegisterComponents(PluginRegistrar& registrar) {
  registrar.Add<OwnMapper>();
  registrar.Add<NamedMapper>();
}

}  // namespace
}  // namespace fedlb

FEDLB_PLUGIN(FIXTURE_PLUGIN, "1.2.3", fedlb::RegisterComponents);
