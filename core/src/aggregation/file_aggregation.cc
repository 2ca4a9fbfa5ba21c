#include "fedlb/file_aggregation.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <nlohmann/json.hpp>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "aggregation/row_pass.h"
#include "aggregation/update_set.h"
#include "fedlb/row_rule.h"
#include "fedlb/safetensors.h"
#include "fedlb/status.h"
#include "fedlb/tensor_list.h"
#include "stored_states.h"
#include "update_gate.h"

namespace fedlb {
namespace {

using nlohmann::json;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

constexpr char kWeightsKind[] = "weights";
constexpr char kStateKind[] = "server_state";
constexpr char kStateKey[] = "fedlb.server_state";
constexpr char kOptimizerOwner[] = "optimizer";
constexpr char kRuleOwner[] = "aggregator";

// What is remembered between two calls.
struct ServerState {
  int64_t round = 0;
  // Of the weights that the last call wrote.
  std::string weights_sha256;
};

absl::StatusOr<ServerState> ReadServerState(
    const FileAggregationOptions& options, Aggregator& rule,
    Optimizer& optimizer) {
  FEDLB_ASSIGN_OR_RETURN(const SafetensorsFile file,
                         ReadSafetensors(options.state));
  ServerState state;
  std::string made_with = options.settings_text;
  const absl::Status status =
      CatchAsStatus("reading it", [&]() -> absl::Status {
        const auto stored = file.metadata.find(kStateKey);
        if (stored == file.metadata.end()) {
          return absl::DataLossError("it is no state of `fedlb aggregate`");
        }
        const json text = json::parse(stored->second);
        state.round = text.at("round").get<int64_t>();
        state.weights_sha256 = text.at("weights_sha256").get<std::string>();
        made_with = text.at("settings").get<std::string>();
        if (made_with != options.settings_text) {
          return absl::OkStatus();
        }
        FEDLB_ASSIGN_OR_RETURN(StateReader reader,
                               StateReader::Create(file, text));
        FEDLB_RETURN_IF_ERROR(rule.LoadState(reader.Take(kRuleOwner)));
        return optimizer.LoadState(reader.Take(kOptimizerOwner));
      });
  if (FailureOf(status) == Failure::kOutOfMemory) {
    return status;
  }
  if (!status.ok()) {
    return InputFileError(absl::StrCat("cannot use the state ", options.state,
                                       ": ", status.message()));
  }
  if (made_with != options.settings_text) {
    return ConfigError(
        absl::StrCat(options.state, " was made with other settings:\n",
                     made_with, "now they are\n", options.settings_text,
                     "name another file with --state to begin anew"));
  }
  return state;
}

absl::Status WriteServerState(const FileAggregationOptions& options,
                              const ServerState& state, const Aggregator& rule,
                              const Optimizer& optimizer) {
  SafetensorsFile file;
  StateWriter writer(file);
  writer.Write(kOptimizerOwner, optimizer.SaveState());
  writer.Write(kRuleOwner, rule.SaveState());
  json text = {{"round", state.round},
               {"settings", options.settings_text},
               {"weights_sha256", state.weights_sha256}};
  writer.WriteScalarsTo(text);
  file.metadata[kUpdateKindKey] = kStateKind;
  file.metadata[kStateKey] = text.dump();
  return WriteSafetensors(options.state, file);
}

absl::Status FirstRejection(UpdateSet& set) {
  for (const FileUpdate& update : set.updates()) {
    if (!update.rejected.ok()) {
      return InputFileError(update.rejected.message());
    }
  }
  return absl::OkStatus();
}

// Weights and the files of one round, all rows as T.
template <typename T>
class FileRound {
 public:
  FileRound(const FileAggregationOptions& options, Aggregator& rule,
            UpdateSet& set, FileAggregationReport& report)
      : options_(options),
        rule_(rule),
        set_(set),
        report_(report),
        width_(set.layout().width()) {}

  // The weights that deltas are taken from, when the files hold weights.
  void set_origin(const at::Tensor& row) { origin_ = row; }

  // The aggregate as one row.
  absl::StatusOr<at::Tensor> Run() {
    aggregate_ = at::empty({width_}, kType);
    const auto* row_rule = dynamic_cast<const RowRule*>(&rule_);
    FEDLB_RETURN_IF_ERROR(row_rule != nullptr ? RunRows(*row_rule)
                                              : RunWhole());
    return aggregate_;
  }

 private:
  static constexpr at::ScalarType kType =
      std::is_same_v<T, float> ? at::kFloat : at::kDouble;

  T* aggregate() { return aggregate_.template mutable_data_ptr<T>(); }

  absl::Status CheckEnough(size_t accepted) const {
    if (options_.strict) {
      FEDLB_RETURN_IF_ERROR(FirstRejection(set_));
    }
    if (accepted > 0 && static_cast<int64_t>(accepted) >= rule_.min_updates()) {
      return absl::OkStatus();
    }
    std::string cause;
    for (const FileUpdate& update : set_.updates()) {
      if (cause.empty() && !update.rejected.ok()) {
        cause = absl::StrCat("; first cause: ", update.rejected.message());
      }
    }
    return DeadlineError(
        absl::StrCat(accepted, " of ", set_.updates().size(),
                     " updates can be used and the rule needs ",
                     rule_.min_updates(), cause));
  }

  // Passes until one finds nothing wrong with the files that are left.
  absl::Status RunRows(const RowRule& rule) {
    while (true) {
      const std::vector<size_t> accepted = set_.Accepted();
      FEDLB_RETURN_IF_ERROR(CheckEnough(accepted.size()));
      std::vector<UpdateFacts> facts = set_.Facts(accepted);
      RowPassRequest<T> request;
      request.pairs = rule.NeededDistances(facts);
      const bool looks_first = rule.needs_norms() || !request.pairs.empty();
      RowPassResult looked;
      if (looks_first) {
        passes_ = 2;
        FEDLB_ASSIGN_OR_RETURN(looked, Pass(accepted, request));
        if (!Gate(accepted, looked)) {
          continue;
        }
        for (size_t i = 0; i < facts.size(); ++i) {
          facts[i].squared_norm = looked.squared_norms[i];
        }
      }
      absl::StatusOr<RowCombination> chosen =
          rule.Choose(facts, looked.squared_distances);
      if (absl::IsInvalidArgument(chosen.status())) {
        return InputFileError(absl::StrCat(chosen.status().message(),
                                           " (client 0 is the first file, ",
                                           options_.updates[0], ")"));
      }
      FEDLB_ASSIGN_OR_RETURN(RowCombination combination, std::move(chosen));
      const RowCombiner combiner(combination);
      request.pairs.clear();
      request.combiner = &combiner;
      request.aggregate = aggregate();
      FEDLB_ASSIGN_OR_RETURN(const RowPassResult result,
                             Pass(accepted, request));
      if (Gate(accepted, result)) {
        Report(accepted, result, &combination);
        return absl::OkStatus();
      }
    }
  }

  // For rules that want whole updates: file by file, so that a bad one is known
  // before the rule sees it.
  absl::Status RunWhole() {
    passes_ = 2;
    FEDLB_RETURN_IF_ERROR(CheckEnough(set_.Accepted().size()));
    FEDLB_RETURN_IF_ERROR(rule_.Begin(LayoutOf(set_.layout())));
    const RowCombiner copy(RowCombination{.rows = {0}, .weights = {1}});
    for (const size_t k : set_.Accepted()) {
      RowPassRequest<T> request;
      request.combiner = &copy;
      request.aggregate = aggregate();
      FEDLB_ASSIGN_OR_RETURN(const RowPassResult result, Pass({k}, request));
      if (!Gate({k}, result)) {
        continue;
      }
      const UpdateFacts& facts = set_.updates()[k].facts;
      Update update;
      update.kind = facts.kind;
      update.client = facts.client;
      update.num_examples = facts.num_examples;
      update.local_steps = facts.local_steps;
      update.groups[kParametersGroup] = set_.layout().Views(aggregate_);
      FEDLB_RETURN_IF_ERROR(
          Annotate(rule_.Add(update), set_.updates()[k].path));
    }
    const std::vector<size_t> accepted = set_.Accepted();
    FEDLB_RETURN_IF_ERROR(CheckEnough(accepted.size()));
    FEDLB_ASSIGN_OR_RETURN(const TensorList result, rule_.Finish());
    TensorList target = set_.layout().Views(aggregate_);
    Copy(result, target);
    RowPassRequest<T> request;
    request.aggregate = aggregate();
    FEDLB_ASSIGN_OR_RETURN(const RowPassResult products,
                           Pass(accepted, request));
    if (!Gate(accepted, products)) {
      return InputFileError("an update changed while it was being read");
    }
    Report(accepted, products, nullptr);
    return absl::OkStatus();
  }

  TensorLayout LayoutOf(const ColumnLayout& columns) const {
    TensorLayout layout = columns.specs();
    for (TensorSpec& spec : layout) {
      spec.dtype = kType;
    }
    return layout;
  }

  absl::StatusOr<RowPassResult> Pass(const std::vector<size_t>& positions,
                                     RowPassRequest<T> request) {
    const std::vector<UpdateFile*> files = set_.Files(positions);
    int64_t bytes = 0;
    for (const UpdateFile* file : files) {
      bytes += file->num_bytes();
    }
    int64_t all_bytes = 0;
    for (const size_t k : set_.Accepted()) {
      all_bytes += set_.updates()[k].file->num_bytes();
    }
    if (origin_.defined()) {
      request.origin = origin_.template const_data_ptr<T>();
    }
    request.progress = [&](int64_t columns) {
      if (options_.progress) {
        const double share =
            static_cast<double>(columns) / static_cast<double>(width_);
        options_.progress(
            report_.bytes_read +
                std::llround(share * static_cast<double>(bytes)),
            std::max(report_.bytes_read + bytes, passes_ * all_bytes));
      }
      return options_.stop == nullptr || options_.stop->load() == 0;
    };
    FEDLB_ASSIGN_OR_RETURN(RowPassResult result,
                           RunRowPass(files, width_, request));
    report_.bytes_read += bytes;
    return result;
  }

  // Rejects what the pass has found to be bad; whether that was nothing.
  bool Gate(const std::vector<size_t>& positions, const RowPassResult& result) {
    bool good = true;
    for (size_t i = 0; i < positions.size(); ++i) {
      FileUpdate& update = set_.updates()[positions[i]];
      update.rejected = result.faults[i];
      const absl::Status norm =
          CheckNorm(options_.gate, std::sqrt(result.squared_norms[i]));
      if (update.rejected.ok() && !norm.ok()) {
        update.rejected = CannotRead(update.path, norm.message());
      }
      good = good && update.rejected.ok();
    }
    return good;
  }

  void Report(const std::vector<size_t>& positions, const RowPassResult& result,
              const RowCombination* combination) {
    const double aggregate_norm = std::sqrt(SquaredNorm({aggregate_}));
    report_.norm = aggregate_norm;
    for (size_t i = 0; i < positions.size(); ++i) {
      FileUpdateReport& update = report_.updates[positions[i]];
      update.norm = std::sqrt(result.squared_norms[i]);
      const double norms = update.norm * aggregate_norm;
      update.cosine = norms > 0 ? result.products[i] / norms : kNone;
      update.chosen = combination == nullptr;
    }
    if (combination == nullptr) {
      return;
    }
    for (size_t i = 0; i < combination->rows.size(); ++i) {
      FileUpdateReport& update =
          report_.updates[positions[combination->rows[i]]];
      update.chosen = true;
      if (combination->kind == RowCombination::Kind::kWeightedSum) {
        update.share = combination->weights[i] / combination->divisor;
      }
    }
    for (const size_t i : combination->clipped) {
      report_.updates[positions[i]].clipped = true;
    }
  }

  const FileAggregationOptions& options_;
  Aggregator& rule_;
  UpdateSet& set_;
  FileAggregationReport& report_;
  const int64_t width_;
  at::Tensor origin_;
  at::Tensor aggregate_;
  int64_t passes_ = 1;
};

// The weights of the base that updates change, as one row, and back.
class Base {
 public:
  static absl::StatusOr<Base> Read(const std::string& path) {
    Base base;
    FEDLB_ASSIGN_OR_RETURN(base.file_, ReadSafetensors(path));
    const auto kind = base.file_.metadata.find(kUpdateKindKey);
    if (kind != base.file_.metadata.end() && kind->second != kWeightsKind) {
      return InputFileError(absl::StrCat("the base ", path, " holds a ",
                                         kind->second, ", not weights"));
    }
    for (const auto& [name, tensor] : base.file_.tensors) {
      base.header_.tensors.push_back({.name = name,
                                      .dtype = tensor.scalar_type(),
                                      .shape = tensor.sizes().vec()});
    }
    return base;
  }

  const SafetensorsHeader& header() const { return header_; }
  bool HasDoubles(const ColumnLayout& layout) const {
    return std::any_of(layout.specs().begin(), layout.specs().end(),
                       [this](const TensorSpec& spec) {
                         return file_.Find(spec.name)->scalar_type() ==
                                at::kDouble;
                       });
  }
  const SafetensorsFile& file() const { return file_; }

  at::Tensor ToRow(const ColumnLayout& layout, at::ScalarType type) const {
    at::Tensor row = at::empty({layout.width()}, type);
    TensorList views = layout.Views(row);
    for (size_t i = 0; i < views.size(); ++i) {
      views[i].copy_(*file_.Find(layout.specs()[i].name));
    }
    return row;
  }

  // The base with the values of `row`, in its own types.
  SafetensorsFile WithRow(const ColumnLayout& layout,
                          const at::Tensor& row) const {
    absl::flat_hash_map<std::string, at::Tensor> changed;
    const TensorList views = layout.Views(row);
    for (size_t i = 0; i < views.size(); ++i) {
      changed[layout.specs()[i].name] = views[i];
    }
    SafetensorsFile result;
    result.metadata = file_.metadata;
    result.metadata[kUpdateKindKey] = kWeightsKind;
    for (const auto& [name, tensor] : file_.tensors) {
      const auto found = changed.find(name);
      result.tensors.emplace_back(name,
                                  found == changed.end()
                                      ? tensor
                                      : found->second.to(tensor.scalar_type()));
    }
    return result;
  }

 private:
  SafetensorsFile file_;
  SafetensorsHeader header_;
};

std::string DigestOf(const SafetensorsFile& file) {
  TensorList tensors;
  for (const auto& [name, tensor] : file.tensors) {
    tensors.push_back(tensor);
  }
  return Sha256Hex(tensors);
}

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// The tensors of a file that are no columns.
absl::StatusOr<NamedTensors> OthersOf(const UpdateFile& file) {
  NamedTensors others;
  for (const SafetensorsEntry& entry : file.header().tensors) {
    if (!c10::isFloatingType(entry.dtype)) {
      FEDLB_ASSIGN_OR_RETURN(at::Tensor tensor, file.ReadOther(entry));
      others.emplace_back(entry.name, std::move(tensor));
    }
  }
  return others;
}

// An update that can be aggregated again. What is no column is the first
// accepted file's.
absl::StatusOr<SafetensorsFile> UpdateOf(UpdateSet& set, const at::Tensor& row,
                                         int64_t num_examples) {
  SafetensorsFile result;
  result.metadata[kUpdateKindKey] = NameOf(set.kind());
  result.metadata[kUpdateExamplesKey] = absl::StrCat(num_examples);
  const TensorList views = set.layout().Views(row);
  for (size_t i = 0; i < views.size(); ++i) {
    result.tensors.emplace_back(set.layout().specs()[i].name, views[i]);
  }
  // Of the first that can be read: the passes have not looked at these.
  absl::Status status;
  for (const size_t k : set.Accepted()) {
    absl::StatusOr<NamedTensors> others = OthersOf(*set.updates()[k].file);
    if (others.ok()) {
      std::move(others->begin(), others->end(),
                std::back_inserter(result.tensors));
      return result;
    }
    status.Update(others.status());
  }
  return status;
}

// The base's own part of a round: from the aggregate to new weights.
absl::StatusOr<SafetensorsFile> ApplyToBase(const UpdateSet& set,
                                            const Base& base,
                                            at::Tensor weights,
                                            at::Tensor aggregate,
                                            Optimizer& optimizer) {
  if (set.kind() != UpdateFileKind::kGradient) {
    aggregate.neg_();
  }
  TensorList weight_views = set.layout().Views(weights);
  FEDLB_RETURN_IF_ERROR(optimizer.Step(set.layout().Views(aggregate),
                                       optimizer.base_lr(), weight_views));
  return base.WithRow(set.layout(), weights);
}

// In the types in which it is written.
absl::Status CheckFinite(const SafetensorsFile& file) {
  for (const auto& [name, tensor] : file.tensors) {
    if (tensor.is_floating_point() && !std::isfinite(SquaredNorm({tensor}))) {
      return DivergedError(absl::StrCat(
          "tensor ", Quoted(name),
          " of the result is not finite; nothing was written: lower the "
          "optimizer's lr, or set a robust rule or update_gate.max_norm"));
    }
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status RunRound(const FileAggregationOptions& options, Aggregator& rule,
                      Optimizer& optimizer, const std::optional<Base>& base,
                      ServerState& state, UpdateSet& set,
                      FileAggregationReport& report) {
  constexpr at::ScalarType kType =
      std::is_same_v<T, float> ? at::kFloat : at::kDouble;
  FileRound<T> round(options, rule, set, report);
  at::Tensor weights;
  if (base.has_value()) {
    weights = base->ToRow(set.layout(), kType);
    if (set.kind() == UpdateFileKind::kWeights) {
      round.set_origin(weights);
    }
  }
  FEDLB_ASSIGN_OR_RETURN(at::Tensor aggregate, round.Run());
  report.rule_report = rule.Report();
  for (const size_t k : set.Accepted()) {
    report.num_examples += set.updates()[k].facts.num_examples;
  }
  SafetensorsFile result;
  if (base.has_value()) {
    FEDLB_ASSIGN_OR_RETURN(result,
                           ApplyToBase(set, *base, std::move(weights),
                                       std::move(aggregate), optimizer));
  } else if (!options.output.empty()) {
    FEDLB_ASSIGN_OR_RETURN(result,
                           UpdateOf(set, aggregate, report.num_examples));
  }
  FEDLB_RETURN_IF_ERROR(CheckFinite(result));
  ++state.round;
  report.round = options.state.empty() ? 0 : state.round;
  if (options.output.empty()) {
    return absl::OkStatus();
  }
  // The state first: after a fault between the two, noise must not be drawn
  // again, and the next call warns that state and weights do not belong
  // together.
  if (!options.state.empty()) {
    state.weights_sha256 = DigestOf(result);
    FEDLB_RETURN_IF_ERROR(WriteServerState(options, state, rule, optimizer));
  }
  return WriteSafetensors(options.output, result);
}

absl::Status Aggregate(const FileAggregationOptions& options, Aggregator& rule,
                       Optimizer& optimizer, std::optional<UpdateSet>& set,
                       FileAggregationReport& report) {
  std::optional<Base> base;
  if (!options.base.empty()) {
    FEDLB_ASSIGN_OR_RETURN(base, Base::Read(options.base));
  }
  if (!rule.SaveState().empty() && options.state.empty() &&
      !options.output.empty()) {
    return ConfigError(
        "the rule remembers what it did in the rounds before; name a file for "
        "that with --state (and the weights with --base)");
  }
  ServerState state;
  if (!options.state.empty() && access(options.state.c_str(), F_OK) == 0) {
    FEDLB_ASSIGN_OR_RETURN(state, ReadServerState(options, rule, optimizer));
    if (base.has_value() && DigestOf(base->file()) != state.weights_sha256) {
      options.logger->Warning(
          absl::StrCat(options.state, " belongs to other weights than ",
                       options.base, ": not those that its last round made"));
    }
  }
  FEDLB_ASSIGN_OR_RETURN(
      set,
      UpdateSet::Open(options, base.has_value() ? &base->header() : nullptr));
  report.kind = set->kind();
  report.num_parameters = set->layout().width();
  // With a base its types decide, or one client's would decide over the state.
  const bool doubles =
      base.has_value() ? base->HasDoubles(set->layout()) : set->has_doubles();
  return doubles ? RunRound<double>(options, rule, optimizer, base, state, *set,
                                    report)
                 : RunRound<float>(options, rule, optimizer, base, state, *set,
                                   report);
}

}  // namespace

absl::Status AggregateFiles(const FileAggregationOptions& options,
                            Aggregator& rule, Optimizer& optimizer,
                            FileAggregationReport& report) {
  const absl::Time start = absl::Now();
  report = FileAggregationReport();
  for (const std::string& path : options.updates) {
    report.updates.push_back(
        {.path = path, .norm = kNone, .cosine = kNone, .share = kNone});
  }
  std::optional<UpdateSet> set;
  const absl::Status status = CatchAsStatus("aggregation", [&] {
    return Aggregate(options, rule, optimizer, set, report);
  });
  if (set.has_value()) {
    for (size_t k = 0; k < report.updates.size(); ++k) {
      const FileUpdate& update = set->updates()[k];
      report.updates[k].rejected = std::string(update.rejected.message());
      report.updates[k].num_examples = update.facts.num_examples;
      report.num_accepted += update.rejected.ok() ? 1 : 0;
    }
  }
  report.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return status;
}

}  // namespace fedlb
