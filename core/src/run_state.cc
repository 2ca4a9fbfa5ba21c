#include "run_state.h"

#include <algorithm>
#include <map>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <nlohmann/json.hpp>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "fedlb/config.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

using nlohmann::json;

constexpr char kStateKey[] = "fedlb.run_state";
constexpr char kDigestKey[] = "fedlb.config_sha256";
constexpr char kClientPlaces[] = "clients/places";

// JSON has no infinities, and its numbers are not exact in every reader.
std::string ExactText(double value) { return absl::StrFormat("%.17g", value); }

absl::StatusOr<double> FromExactText(const json& value) {
  double number = 0;
  if (!value.is_string() ||
      !absl::SimpleAtod(value.get_ref<const std::string&>(), &number)) {
    return absl::DataLossError("a number of the run state is damaged");
  }
  return number;
}

// Writes component states as tensors "<owner>/<name>/<index>" and scalars
// {"<owner>": {"<name>": "<number>"}}.
class StateWriter {
 public:
  explicit StateWriter(SafetensorsFile& file) : file_(file) {}

  void Write(const std::string& owner, const ComponentState& state) {
    for (const auto& [name, tensors] : state.tensors) {
      for (size_t i = 0; i < tensors.size(); ++i) {
        file_.tensors.emplace_back(absl::StrCat(owner, "/", name, "/", i),
                                   tensors[i].detach());
      }
      // An empty list is a state too.
      sizes_[owner][name] = tensors.size();
    }
    for (const auto& [name, value] : state.scalars) {
      scalars_[owner][name] = ExactText(value);
    }
  }

  void WriteScalarsTo(json& out) const {
    out["scalars"] = scalars_;
    out["sizes"] = sizes_;
  }

 private:
  SafetensorsFile& file_;
  json scalars_ = json::object();
  json sizes_ = json::object();
};

class StateReader {
 public:
  static absl::StatusOr<StateReader> Create(const SafetensorsFile& file,
                                            const json& run_state) {
    StateReader reader;
    absl::flat_hash_map<absl::string_view, const at::Tensor*> tensors;
    for (const auto& [name, tensor] : file.tensors) {
      tensors[name] = &tensor;
    }
    for (const auto& [owner, names] : run_state.at("sizes").items()) {
      for (const auto& [name, size] : names.items()) {
        TensorList& list = reader.states_[owner].tensors[name];
        for (size_t i = 0; i < size.get<size_t>(); ++i) {
          const std::string key = absl::StrCat(owner, "/", name, "/", i);
          const auto tensor = tensors.find(key);
          if (tensor == tensors.end()) {
            return absl::DataLossError(
                absl::StrCat("tensor ", key, " is missing"));
          }
          list.push_back(*tensor->second);
        }
      }
    }
    for (const auto& [owner, names] : run_state.at("scalars").items()) {
      for (const auto& [name, text] : names.items()) {
        FEDLB_ASSIGN_OR_RETURN(reader.states_[owner].scalars[name],
                               FromExactText(text));
      }
    }
    return reader;
  }

  ComponentState Take(const std::string& owner) {
    const auto found = states_.find(owner);
    if (found == states_.end()) {
      return {};
    }
    ComponentState state = std::move(found->second);
    states_.erase(found);
    return state;
  }

  // What nobody took: "client.<number>.<part>".
  const std::map<std::string, ComponentState>& rest() const { return states_; }

 private:
  std::map<std::string, ComponentState> states_;
};

// Name in the checkpoint and component, for everything that keeps a state on
// the server.
std::vector<std::pair<std::string, Component*>> StatefulComponents(
    const Federation& federation) {
  std::vector<std::pair<std::string, Component*>> components = {
      {"optimizer", federation.optimizer.get()},
      {"gradient_mapper", federation.gradient_mapper.get()},
      {"client_algorithm", federation.client_algorithm.get()},
      {"batch_policy", federation.batch_policy.get()},
      {"sync_policy", federation.sync_policy.get()},
      {"aggregator", federation.aggregator.get()}};
  if (federation.server_optimizer != nullptr) {
    components.emplace_back("server_optimizer",
                            federation.server_optimizer.get());
  }
  return components;
}

void WriteClients(const ClientStateStore& store, SafetensorsFile& file,
                  StateWriter& writer) {
  const auto clients = store.Snapshot();
  at::Tensor places =
      at::empty({static_cast<int64_t>(clients.size()), 3}, at::kLong);
  int64_t* row = places.data_ptr<int64_t>();
  for (const auto& [client, state] : clients) {
    *row++ = client;
    *row++ = state.epoch;
    *row++ = state.cursor;
    for (const auto& [part, component_state] : state.parts) {
      writer.Write(absl::StrCat("client.", client, ".", part), component_state);
    }
  }
  file.tensors.emplace_back(kClientPlaces, std::move(places));
}

absl::StatusOr<std::vector<std::pair<int64_t, ClientState>>> ReadClients(
    const SafetensorsFile& file, const StateReader& reader,
    const Partition& partition) {
  const at::Tensor* places = file.Find(kClientPlaces);
  if (places == nullptr || places->scalar_type() != at::kLong ||
      places->dim() != 2 || places->size(1) != 3) {
    return absl::DataLossError("the clients' places are missing");
  }
  std::map<int64_t, ClientState> states;
  const int64_t* row = places->const_data_ptr<int64_t>();
  for (int64_t i = 0; i < places->size(0); ++i, row += 3) {
    const bool known =
        row[0] >= 0 && row[0] < static_cast<int64_t>(partition.size());
    if (!known || row[1] < 0 || row[2] < 0 ||
        row[2] >= static_cast<int64_t>(
                      partition[static_cast<size_t>(row[0])].size())) {
      return absl::DataLossError("a client's place is out of range");
    }
    states[row[0]].epoch = row[1];
    states[row[0]].cursor = row[2];
  }
  for (const auto& [owner, state] : reader.rest()) {
    const std::vector<std::string> words =
        absl::StrSplit(owner, absl::MaxSplits('.', 2));
    int64_t client = 0;
    if (words.size() != 3 || words[0] != "client" ||
        !absl::SimpleAtoi(words[1], &client) || states.count(client) == 0) {
      return absl::DataLossError(absl::StrCat("unknown state ", owner));
    }
    states[client].parts[words[2]] = state;
  }
  return std::vector<std::pair<int64_t, ClientState>>(states.begin(),
                                                      states.end());
}

absl::StatusOr<TensorList> ReadNamed(const SafetensorsFile& file,
                                     const std::string& group,
                                     const TensorLayout& layout) {
  TensorList tensors;
  for (const TensorSpec& spec : layout) {
    const at::Tensor* tensor = file.Find(absl::StrCat(group, "/", spec.name));
    tensors.push_back(tensor == nullptr ? at::Tensor() : *tensor);
  }
  FEDLB_RETURN_IF_ERROR(Annotate(CheckLayout(layout, tensors), group));
  return tensors;
}

absl::StatusOr<RunState> Restore(const StoredCheckpoint& checkpoint,
                                 Federation& federation) {
  const SafetensorsFile& file = checkpoint.content;
  const auto text = file.metadata.find(kStateKey);
  if (text == file.metadata.end()) {
    return absl::DataLossError("no run state in it");
  }
  const json run_state = json::parse(text->second);
  FEDLB_ASSIGN_OR_RETURN(StateReader reader,
                         StateReader::Create(file, run_state));
  RunState state(federation);
  state.next_round = run_state.at("next_round").get<int64_t>();
  if (state.next_round != checkpoint.round) {
    return absl::DataLossError("it is another round's");
  }
  state.steps = run_state.at("steps").get<int64_t>();
  state.steps_per_client = run_state.at("steps_per_client").get<int64_t>();
  state.samples = run_state.at("samples").get<int64_t>();
  state.dropped_updates = run_state.at("dropped_updates").get<int64_t>();
  state.mapper_reports = run_state.at("mapper_reports").get<int64_t>();
  state.metrics_length = run_state.at("metrics_length").get<int64_t>();
  FEDLB_ASSIGN_OR_RETURN(state.seconds, FromExactText(run_state.at("seconds")));
  FEDLB_ASSIGN_OR_RETURN(state.train_loss,
                         FromExactText(run_state.at("train_loss")));
  FEDLB_ASSIGN_OR_RETURN(
      state.weights,
      ReadNamed(file, "weights", federation.model->parameter_layout()));
  FEDLB_ASSIGN_OR_RETURN(
      state.buffers,
      ReadNamed(file, "buffers", federation.model->buffer_layout()));
  FEDLB_RETURN_IF_ERROR(
      state.detector.LoadState(reader.Take("critical_phase")));
  ComponentState history = reader.Take("history");
  state.mapper_sums = std::move(history.scalars);
  const at::Tensor& changes = history.tensors.at("gradient_changes").at(0);
  state.gradient_changes.assign(
      changes.const_data_ptr<double>(),
      changes.const_data_ptr<double>() + changes.numel());
  for (const auto& [name, component] : StatefulComponents(federation)) {
    FEDLB_RETURN_IF_ERROR(
        Annotate(component->LoadState(reader.Take(name)), name));
  }
  FEDLB_ASSIGN_OR_RETURN(auto clients,
                         ReadClients(file, reader, federation.partition));
  federation.host->states().Restore(std::move(clients));
  return state;
}

}  // namespace

RunState::RunState(const Federation& federation)
    : weights(Clone(federation.model->parameters())),
      buffers(Clone(federation.model->buffers())),
      detector(federation.config.critical_phase,
               federation.config.cohort_size()) {}

// Another transport computes the same, but the clients' states stay with the one
// that has them. More rounds change the weights where a schedule spans the run,
// which is what somebody who asks for them wants.
bool MayChangeOnResume(absl::string_view key) {
  return key == "rounds" || key == "name" || key == "plugins" ||
         key == "execution.memory_limit" ||
         (absl::StartsWith(key, "transport.") && key != "transport.name") ||
         absl::StartsWith(key, "evaluation.") ||
         absl::StartsWith(key, "checkpoint.");
}

std::string ConfigDigest(const ExperimentConfig& config) {
  ConfigTable kept;
  for (const auto& [section, value] : config.resolved.values()) {
    const auto* keys = value.As<ConfigTable>();
    if (keys == nullptr) {
      if (!MayChangeOnResume(section)) {
        kept.Set(section, value);
      }
      continue;
    }
    for (const auto& [key, setting] : keys->values()) {
      if (!MayChangeOnResume(absl::StrCat(section, ".", key))) {
        kept.Subtable(section).Set(key, setting);
      }
    }
  }
  return Sha256Hex(PrintToml(kept, /*with_origins=*/false));
}

absl::StatusOr<StoredCheckpoint> MakeCheckpoint(const RunState& state,
                                                const Federation& federation) {
  StoredCheckpoint checkpoint;
  checkpoint.round = state.next_round;
  SafetensorsFile& file = checkpoint.content;
  const TensorLayout& parameters = federation.model->parameter_layout();
  for (size_t i = 0; i < parameters.size(); ++i) {
    file.tensors.emplace_back("weights/" + parameters[i].name,
                              state.weights[i]);
  }
  const TensorLayout& buffers = federation.model->buffer_layout();
  for (size_t i = 0; i < buffers.size(); ++i) {
    file.tensors.emplace_back("buffers/" + buffers[i].name, state.buffers[i]);
  }
  StateWriter writer(file);
  for (const auto& [name, component] : StatefulComponents(federation)) {
    writer.Write(name, component->SaveState());
  }
  writer.Write("critical_phase", state.detector.SaveState());
  writer.Write("history",
               {.tensors = {{"gradient_changes",
                             {ToTensor(state.gradient_changes)}}},
                .scalars = state.mapper_sums});
  WriteClients(federation.host->states(), file, writer);

  json run_state = {{"next_round", state.next_round},
                    {"steps", state.steps},
                    {"steps_per_client", state.steps_per_client},
                    {"samples", state.samples},
                    {"dropped_updates", state.dropped_updates},
                    {"mapper_reports", state.mapper_reports},
                    {"metrics_length", state.metrics_length},
                    {"seconds", ExactText(state.seconds)},
                    {"train_loss", ExactText(state.train_loss)}};
  writer.WriteScalarsTo(run_state);
  file.metadata[kStateKey] = run_state.dump();
  file.metadata[kDigestKey] = ConfigDigest(federation.config);
  return checkpoint;
}

absl::StatusOr<RunState> RestoreCheckpoint(const StoredCheckpoint& checkpoint,
                                           Federation& federation) {
  const auto digest = checkpoint.content.metadata.find(kDigestKey);
  if (digest == checkpoint.content.metadata.end() ||
      digest->second != ConfigDigest(federation.config)) {
    return ConfigError(
        "the checkpoint was written under other settings; resume with the "
        "run's own config.toml");
  }
  absl::StatusOr<RunState> state =
      CatchAsStatusOr("checkpoint", [&] { return Restore(checkpoint, federation); });
  if (FailureOf(state.status()) == Failure::kOutOfMemory) {
    return state.status();
  }
  if (!state.ok()) {
    return InputFileError(absl::StrCat("checkpoint of round ", checkpoint.round,
                                       ": ", state.status().message()));
  }
  return state;
}

}  // namespace fedlb
