#include "batch/per_client.h"

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb::batch {
namespace {

absl::Status CheckNotEmpty(const PerClientOptions& options) {
  return options.batch_sizes.empty()
             ? absl::InvalidArgumentError("batch_sizes must not be empty")
             : absl::OkStatus();
}

}  // namespace

ParamSchema<PerClientOptions> PerClient::Schema() {
  return ParamSchema<Options>()
      .Add("batch_sizes", &Options::batch_sizes,
           "Examples per local step of client 0, 1, ...; a shorter list is "
           "repeated, and its length must divide the number of clients.",
           AtLeast(1))
      .Check(CheckNotEmpty);
}

absl::StatusOr<std::unique_ptr<PerClient>> PerClient::Create(
    const Options& options, const ComponentContext& context) {
  const auto length = static_cast<int64_t>(options.batch_sizes.size());
  if (context.num_clients % length != 0) {
    return ConfigError(absl::StrCat(
        "batch_policy.batch_sizes has ", length, " entries for ",
        context.num_clients,
        " clients; give one per client, or a list whose length divides "
        "federation.clients"));
  }
  return std::unique_ptr<PerClient>(new PerClient(options.batch_sizes));
}

absl::StatusOr<int64_t> PerClient::DoBatchSize(int64_t /*round*/,
                                               int64_t client) {
  if (client < 0) {
    return absl::InvalidArgumentError(absl::StrCat("client ", client));
  }
  return batch_sizes_[static_cast<size_t>(client) % batch_sizes_.size()];
}

}  // namespace fedlb::batch
