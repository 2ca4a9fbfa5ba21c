#include "fedlb/update_sink.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"
#include "update_gate.h"

namespace fedlb {
namespace {

// Their names go into the log; no method sends a tenth of this.
constexpr size_t kMaxScalars = 256;

}  // namespace

ParamSchema<UpdateGateOptions> UpdateGateOptions::Schema() {
  using Options = UpdateGateOptions;
  return ParamSchema<Options>()
      .Add("max_norm", &Options::max_norm,
           "An update whose norm is larger drops its client; 0 for no limit.",
           AtLeast(0))
      .Add("max_examples", &Options::max_examples,
           "An update that claims more examples drops its client.", AtLeast(1));
}

void PartialMeans::Begin(const TensorLayout& layout) {
  groups_.assign(kMaxPartialMeans, WeightedMean());
  for (WeightedMean& group : groups_) {
    group.Begin(layout);
  }
}

void PartialMeans::Add(int64_t slot, const Update& update) {
  const auto tensors = update.groups.find(name_);
  if (tensors != update.groups.end()) {
    groups_[static_cast<size_t>(slot % kMaxPartialMeans)].Add(
        tensors->second, static_cast<double>(update.num_examples));
  }
}

std::vector<TensorList> PartialMeans::Means() const {
  std::vector<TensorList> means;
  for (const WeightedMean& group : groups_) {
    if (group.total_weight() > 0) {
      means.push_back(group.Mean());
    }
  }
  return means;
}

UpdateSink::UpdateSink(const RoundTask& task, std::vector<int64_t> cohort,
                       TensorLayout parameters, TensorLayout buffers,
                       const UpdateGateOptions& gate, int64_t window,
                       const Compressor& compressor, Aggregator& aggregator,
                       std::vector<UpdateObserver*> observers)
    : round_(task.round),
      kind_(task.work.kind == RoundWork::Kind::kLocalSteps
                ? Update::Kind::kDelta
                : Update::Kind::kGradient),
      work_(task.work),
      cohort_(std::move(cohort)),
      parameters_(std::move(parameters)),
      buffers_(std::move(buffers)),
      gate_(gate),
      window_(window),
      compressor_(compressor),
      aggregator_(aggregator),
      observers_(std::move(observers)) {
  status_ = aggregator_.Begin(parameters_);
  for (UpdateObserver* observer : observers_) {
    observer->Begin(parameters_);
  }
  buffer_mean_.Begin(buffers_);
}

bool UpdateSink::Admit(int64_t slot) {
  absl::MutexLock lock(&mutex_);
  const auto may_start = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !status_.ok() || slot < next_slot_ + window_;
  };
  mutex_.Await(absl::Condition(&may_start));
  return status_.ok();
}

bool UpdateSink::MayAdmit(int64_t slot) {
  absl::MutexLock lock(&mutex_);
  return !status_.ok() || slot < next_slot_ + window_;
}

// The expensive checks run on the caller's thread, outside the lock.
void UpdateSink::Deliver(int64_t slot, Update update) {
  absl::Status status = CheckUpdate(round_, cohort_[static_cast<size_t>(slot)],
                                    update);
  if (status.ok()) {
    Arrive(slot, {std::move(update), absl::OkStatus()});
  } else {
    Arrive(slot, {std::nullopt, std::move(status)});
  }
}

void UpdateSink::DeliverLate(int64_t staleness, Update update) {
  const std::pair key(round_ - staleness, update.client);
  absl::Status status = CheckUpdate(key.first, key.second, update);
  Arrival arrival = {std::nullopt, status};
  if (status.ok()) {
    update.num_examples = std::max<int64_t>(
        1, std::llround(static_cast<double>(update.num_examples) /
                        std::sqrt(1 + static_cast<double>(staleness))));
    arrival.update = std::move(update);
  }
  absl::MutexLock lock(&mutex_);
  late_.emplace(key, std::move(arrival));
}

void UpdateSink::Drop(int64_t slot, absl::Status cause) {
  Arrive(slot, {std::nullopt, std::move(cause)});
}

void UpdateSink::Cancel(absl::Status cause) {
  absl::MutexLock lock(&mutex_);
  if (status_.ok()) {
    status_ = std::move(cause);
  }
}

absl::Status UpdateSink::CheckUpdate(int64_t round, int64_t client,
                                     Update& update) const {
  return CatchAsStatus("checking an update", [&] {
    FEDLB_RETURN_IF_ERROR(
        Annotate(compressor_.Decompress(parameters_, update), "decompression"));
    return CheckDecompressed(round, client, update);
  });
}

absl::Status UpdateSink::CheckDecompressed(int64_t round, int64_t client,
                                           const Update& update) const {
  if (update.round != round) {
    return absl::InvalidArgumentError(
        absl::StrCat("update for round ", update.round));
  }
  if (update.client != client) {
    return absl::InvalidArgumentError(
        absl::StrCat("update of client ", update.client));
  }
  if (update.kind != kind_) {
    return absl::InvalidArgumentError(
        "gradient where a delta was asked for, "
        "or the reverse");
  }
  FEDLB_RETURN_IF_ERROR(CheckExamples(gate_, update.num_examples));
  FEDLB_RETURN_IF_ERROR(CheckLocalSteps(update.local_steps));
  const auto parameters = update.groups.find(kParametersGroup);
  if (parameters == update.groups.end()) {
    return absl::InvalidArgumentError("update without parameters");
  }
  FEDLB_RETURN_IF_ERROR(
      Annotate(CheckLayout(parameters_, parameters->second), "update"));
  const double squared_norm = SquaredNorm(parameters->second);
  if (!std::isfinite(squared_norm)) {
    return absl::InvalidArgumentError("update is not finite");
  }
  FEDLB_RETURN_IF_ERROR(CheckNorm(gate_, std::sqrt(squared_norm)));
  if (work_.kind == RoundWork::Kind::kDisplacement &&
      (!update.groups.contains(kDisplacementGroup) ||
       (work_.reorder && !update.groups.contains(kReorderedGroup)))) {
    return absl::InvalidArgumentError("update without its displacement");
  }
  if (update.scalars.size() > kMaxScalars) {
    return absl::InvalidArgumentError(
        absl::StrCat("update with ", update.scalars.size(), " scalars"));
  }
  for (const auto& [name, tensors] : update.groups) {
    if (name == kParametersGroup) {
      continue;
    }
    if (name == kBuffersGroup) {
      FEDLB_RETURN_IF_ERROR(
          Annotate(CheckLayout(buffers_, tensors), "buffers"));
    }
    if (name == kUnmappedGradientGroup || name == kDisplacementGroup ||
        name == kReorderedGroup) {
      FEDLB_RETURN_IF_ERROR(Annotate(CheckLayout(parameters_, tensors), name));
    }
    if (!std::isfinite(SquaredNorm(tensors))) {
      return absl::InvalidArgumentError(
          absl::StrCat("group ", name, " is not finite"));
    }
  }
  return absl::OkStatus();
}

void UpdateSink::Arrive(int64_t slot, Arrival arrival) {
  absl::MutexLock lock(&mutex_);
  if (!status_.ok() || slot < next_slot_ || slot >= cohort_size()) {
    return;
  }
  if (!waiting_.emplace(slot, std::move(arrival)).second) {
    return;  // one update per client counts
  }
  while (!waiting_.empty() && waiting_.begin()->first == next_slot_) {
    Arrival next = std::move(waiting_.begin()->second);
    waiting_.erase(waiting_.begin());
    const int64_t client = cohort_[static_cast<size_t>(next_slot_)];
    status_.Update(CatchAsStatus("adding an update", [&] {
      AddNext(next_slot_, client, std::move(next));
      return absl::OkStatus();
    }));
    ++next_slot_;
  }
}

// Observers that tell clients apart by slot see them behind the cohort.
void UpdateSink::AddLate() {
  int64_t slot = cohort_size();
  for (auto& [key, arrival] : late_) {
    result_.num_late += arrival.update.has_value() ? 1 : 0;
    AddNext(slot++, key.second, std::move(arrival));
  }
  late_.clear();
}

void UpdateSink::AddNext(int64_t slot, int64_t client, Arrival arrival) {
  if (!arrival.update.has_value()) {
    result_.dropped.emplace_back(client, std::move(arrival.dropped));
    return;
  }
  const Update& update = *arrival.update;
  for (const auto& [name, tensors] : update.groups) {
    const auto mean = extra_means_.find(name);
    if (mean == extra_means_.end()) {
      continue;
    }
    const absl::Status same = CheckLayout(extra_layouts_[name], tensors);
    if (!same.ok()) {
      result_.dropped.emplace_back(
          client, Annotate(same, absl::StrCat("group ", name)));
      return;
    }
  }
  absl::Status status = aggregator_.Add(update);
  if (!status.ok()) {
    status_ = Annotate(status, absl::StrCat("update of client ", client));
    return;
  }
  const auto weight = static_cast<double>(update.num_examples);
  for (UpdateObserver* observer : observers_) {
    observer->Add(slot, update);
  }
  for (const auto& [name, tensors] : update.groups) {
    if (name == kParametersGroup) {
      continue;
    }
    if (name == kBuffersGroup) {
      buffer_mean_.Add(tensors, weight);
      continue;
    }
    const auto [mean, first] = extra_means_.try_emplace(name);
    if (first) {
      extra_layouts_[name] = LayoutOf(tensors);
      mean->second.Begin(extra_layouts_[name]);
    }
    mean->second.Add(tensors, 1);
  }
  for (const auto& [name, value] : update.scalars) {
    scalar_sums_[name] += weight * value;
    scalar_weights_[name] += weight;
  }
  ++result_.num_survivors;
  result_.num_examples += update.num_examples;
  result_.local_steps += update.local_steps;
  result_.num_samples += update.num_samples;
  result_.max_local_steps =
      std::max(result_.max_local_steps, update.local_steps);
}

absl::StatusOr<RoundResult> UpdateSink::Finish() {
  absl::MutexLock lock(&mutex_);
  FEDLB_RETURN_IF_ERROR(status_);
  if (next_slot_ != cohort_size()) {
    return absl::InternalError(absl::StrCat("the transport delivered ",
                                            next_slot_, " of ", cohort_size(),
                                            " updates"));
  }
  FEDLB_RETURN_IF_ERROR(CatchAsStatus("adding late updates", [&] {
    AddLate();
    return status_;
  }));
  if (result_.num_survivors >= aggregator_.min_updates()) {
    FEDLB_ASSIGN_OR_RETURN(result_.aggregate, aggregator_.Finish());
    if (buffer_mean_.total_weight() > 0) {
      result_.buffers = buffer_mean_.Mean();
    }
    for (const auto& [name, mean] : extra_means_) {
      result_.extra_means[name] = mean.Mean();
    }
    for (const auto& [name, sum] : scalar_sums_) {
      result_.scalar_means[name] = sum / scalar_weights_[name];
    }
  }
  return std::move(result_);
}

}  // namespace fedlb
