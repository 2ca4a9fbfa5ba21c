#include "run_state.h"

#include <algorithm>
#include <map>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/config.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"
#include "stored_states.h"

namespace fedlb {
namespace {

using nlohmann::json;

constexpr char kDigestKey[] = "fedlb.config_sha256";
constexpr char kClientPlaces[] = "clients/places";

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
      {"aggregator", federation.aggregator.get()},
      {"transport", federation.transport.get()}};
  if (federation.server_optimizer != nullptr) {
    components.emplace_back("server_optimizer",
                            federation.server_optimizer.get());
  }
  return components;
}

// The clients' states that look alike, as a few large tensors: federations have
// more clients than a file may have tensors.
//
//   clients/places           [clients, 3]: number, epoch, cursor
//   clients/<g>/members      [m]: the clients of group g
//   clients/<g>/scalars      [m, scalars]
//   clients/<g>/<name>/<i>   [m, ...]: tensor i of the list <name> of each
//
// and "client_groups": [{"part", "sizes": {name: length}, "scalars": [name]}].
struct ClientGroup {
  std::string part;
  std::vector<int64_t> members;
  std::vector<const ComponentState*> states;
};

// Equal for states that can be stacked.
std::string ShapeOf(const std::string& part, const ComponentState& state) {
  std::string shape = part;
  for (const auto& [name, tensors] : state.tensors) {
    absl::StrAppend(&shape, "\n", name);
    for (const at::Tensor& tensor : tensors) {
      absl::StrAppend(&shape, " ", static_cast<int>(tensor.scalar_type()), "[",
                      absl::StrJoin(tensor.sizes(), ","), "]");
    }
  }
  for (const auto& [name, value] : state.scalars) {
    absl::StrAppend(&shape, "\n=", name);
  }
  return shape;
}

void WriteGroup(const ClientGroup& group, const std::string& prefix,
                SafetensorsFile& file, json& description) {
  const ComponentState& first = *group.states.front();
  const auto count = static_cast<int64_t>(group.members.size());
  description = {{"part", group.part},
                 {"sizes", json::object()},
                 {"scalars", json::array()}};
  at::Tensor members = at::empty({count}, at::kLong);
  std::copy(group.members.begin(), group.members.end(),
            members.data_ptr<int64_t>());
  file.tensors.emplace_back(absl::StrCat(prefix, "members"), members);
  for (const auto& [name, tensors] : first.tensors) {
    description["sizes"][name] = tensors.size();
    for (size_t i = 0; i < tensors.size(); ++i) {
      std::vector<at::Tensor> stack;
      for (const ComponentState* state : group.states) {
        stack.push_back(state->tensors.at(name)[i].detach());
      }
      file.tensors.emplace_back(absl::StrCat(prefix, name, "/", i),
                                at::stack(stack));
    }
  }
  if (first.scalars.empty()) {
    return;
  }
  at::Tensor scalars = at::empty(
      {count, static_cast<int64_t>(first.scalars.size())}, at::kDouble);
  auto* value = scalars.data_ptr<double>();
  for (const ComponentState* state : group.states) {
    for (const auto& [name, scalar] : state->scalars) {
      *value++ = scalar;
    }
  }
  for (const auto& [name, scalar] : first.scalars) {
    description["scalars"].push_back(name);
  }
  file.tensors.emplace_back(absl::StrCat(prefix, "scalars"), scalars);
}

std::string GroupPrefix(size_t group) {
  return absl::StrCat("clients/", group, "/");
}

void WriteClients(const ClientStateStore& store, SafetensorsFile& file,
                  json& run_state) {
  const auto clients = store.Snapshot();
  at::Tensor places =
      at::empty({static_cast<int64_t>(clients.size()), 3}, at::kLong);
  int64_t* row = places.data_ptr<int64_t>();
  std::map<std::string, ClientGroup> groups;
  for (const auto& [client, state] : clients) {
    *row++ = client;
    *row++ = state.epoch;
    *row++ = state.cursor;
    for (const auto& [part, component_state] : state.parts) {
      ClientGroup& group = groups[ShapeOf(part, component_state)];
      group.part = part;
      group.members.push_back(client);
      group.states.push_back(&component_state);
    }
  }
  file.tensors.emplace_back(kClientPlaces, std::move(places));
  json descriptions = json::array();
  for (const auto& [shape, group] : groups) {
    const std::string prefix = GroupPrefix(descriptions.size());
    WriteGroup(group, prefix, file, descriptions.emplace_back());
  }
  run_state["client_groups"] = std::move(descriptions);
}

// The tensor called `name`, if its first dimension has `count` entries.
absl::StatusOr<at::Tensor> FindStacked(const SafetensorsFile& file,
                                       const std::string& name,
                                       int64_t count) {
  const at::Tensor* tensor = file.Find(name);
  if (tensor == nullptr || tensor->dim() < 1 || tensor->size(0) != count) {
    return absl::DataLossError(absl::StrCat("tensor ", name, " is damaged"));
  }
  return *tensor;
}

absl::Status ReadGroup(const SafetensorsFile& file, const json& description,
                       const std::string& prefix,
                       std::map<int64_t, ClientState>& clients) {
  const at::Tensor* members = file.Find(absl::StrCat(prefix, "members"));
  if (members == nullptr || members->scalar_type() != at::kLong ||
      members->dim() != 1) {
    return absl::DataLossError(absl::StrCat(prefix, "members is damaged"));
  }
  const int64_t count = members->size(0);
  const std::string part = description.at("part").get<std::string>();
  std::vector<ComponentState*> states;
  const auto* numbers = members->const_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    const auto client = clients.find(numbers[i]);
    if (client == clients.end()) {
      return absl::DataLossError("a client with a state has no place");
    }
    states.push_back(&client->second.parts[part]);
  }
  for (const auto& [name, size] : description.at("sizes").items()) {
    for (ComponentState* state : states) {
      state->tensors[name];  // an empty list is a state too
    }
    for (size_t i = 0; i < size.get<size_t>(); ++i) {
      FEDLB_ASSIGN_OR_RETURN(
          const at::Tensor stack,
          FindStacked(file, absl::StrCat(prefix, name, "/", i), count));
      for (int64_t member = 0; member < count; ++member) {
        // A copy of its own: a view would keep the whole stack.
        states[static_cast<size_t>(member)]->tensors[name].push_back(
            stack.select(0, member).clone());
      }
    }
  }
  const auto names = description.at("scalars").get<std::vector<std::string>>();
  if (names.empty()) {
    return absl::OkStatus();
  }
  FEDLB_ASSIGN_OR_RETURN(
      const at::Tensor scalars,
      FindStacked(file, absl::StrCat(prefix, "scalars"), count));
  if (scalars.scalar_type() != at::kDouble || scalars.dim() != 2 ||
      scalars.size(1) != static_cast<int64_t>(names.size())) {
    return absl::DataLossError(absl::StrCat(prefix, "scalars is damaged"));
  }
  const auto* value = scalars.const_data_ptr<double>();
  for (ComponentState* state : states) {
    for (const std::string& name : names) {
      state->scalars[name] = *value++;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::pair<int64_t, ClientState>>> ReadClients(
    const SafetensorsFile& file, const json& run_state,
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
  size_t group = 0;
  for (const json& description : run_state.at("client_groups")) {
    FEDLB_RETURN_IF_ERROR(
        ReadGroup(file, description, GroupPrefix(group++), states));
  }
  return std::vector<std::pair<int64_t, ClientState>>(states.begin(),
                                                      states.end());
}

absl::StatusOr<TensorList> ReadNamed(const SafetensorsFile& file,
                                     absl::string_view prefix,
                                     const TensorLayout& layout) {
  TensorList tensors;
  for (const TensorSpec& spec : layout) {
    const at::Tensor* tensor = file.Find(absl::StrCat(prefix, spec.name));
    tensors.push_back(tensor == nullptr ? at::Tensor() : *tensor);
  }
  FEDLB_RETURN_IF_ERROR(Annotate(CheckLayout(layout, tensors), prefix));
  return tensors;
}

absl::StatusOr<RunState> Restore(const StoredCheckpoint& checkpoint,
                                 Federation& federation) {
  const SafetensorsFile& file = checkpoint.content;
  const auto text = file.metadata.find(kRunStateKey);
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
  state.events_length = run_state.at("events_length").get<int64_t>();
  state.evaluations_since_best =
      run_state.at("evaluations_since_best").get<int64_t>();
  for (const auto& [name, value] : std::vector<std::pair<const char*, double*>>{
           {"seconds", &state.seconds},
           {"evaluation_seconds", &state.evaluation_seconds},
           {"virtual_seconds", &state.virtual_seconds},
           {"best_accuracy", &state.best_accuracy},
           {"train_loss", &state.train_loss}}) {
    FEDLB_ASSIGN_OR_RETURN(*value, FromExactText(run_state.at(name)));
  }
  FEDLB_ASSIGN_OR_RETURN(
      state.weights,
      ReadNamed(file, kWeightsPrefix, federation.model->parameter_layout()));
  FEDLB_ASSIGN_OR_RETURN(
      state.buffers,
      ReadNamed(file, kBuffersPrefix, federation.model->buffer_layout()));
  FEDLB_RETURN_IF_ERROR(
      state.detector.LoadState(reader.Take("critical_phase")));
  FEDLB_RETURN_IF_ERROR(state.noise.LoadState(reader.Take("noise")));
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
                         ReadClients(file, run_state, federation.partition));
  federation.host->states().Restore(std::move(clients));
  return state;
}

}  // namespace

// The federation's model is there for its layout and its initial values, so
// training writes over them instead of keeping a second copy.
RunState::RunState(const Federation& federation)
    : weights(Detach(federation.model->parameters())),
      buffers(federation.model->buffers()),
      detector(federation.config.critical_phase,
               federation.config.cohort_size()) {}

// Another transport computes the same, but the clients' states stay with the one
// that has them. More rounds change the weights where a schedule spans the run,
// which is what somebody who asks for them wants.
bool MayChangeOnResume(absl::string_view key) {
  return key == "rounds" || key == "name" || key == "plugins" ||
         key == "execution.memory_limit" ||
         (absl::StartsWith(key, "transport.") && key != "transport.name") ||
         absl::StartsWith(key, "stopping.") ||
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
    file.tensors.emplace_back(absl::StrCat(kWeightsPrefix, parameters[i].name),
                              state.weights[i]);
  }
  const TensorLayout& buffers = federation.model->buffer_layout();
  for (size_t i = 0; i < buffers.size(); ++i) {
    file.tensors.emplace_back(absl::StrCat(kBuffersPrefix, buffers[i].name),
                              state.buffers[i]);
  }
  StateWriter writer(file);
  for (const auto& [name, component] : StatefulComponents(federation)) {
    writer.Write(name, component->SaveState());
  }
  writer.Write("critical_phase", state.detector.SaveState());
  writer.Write("noise", state.noise.SaveState());
  writer.Write("history",
               {.tensors = {{"gradient_changes",
                             {ToTensor(state.gradient_changes)}}},
                .scalars = state.mapper_sums});

  json run_state = {{"next_round", state.next_round},
                    {"steps", state.steps},
                    {"steps_per_client", state.steps_per_client},
                    {"samples", state.samples},
                    {"dropped_updates", state.dropped_updates},
                    {"mapper_reports", state.mapper_reports},
                    {"metrics_length", state.metrics_length},
                    {"events_length", state.events_length},
                    {"evaluations_since_best", state.evaluations_since_best},
                    {"seconds", ExactText(state.seconds)},
                    {"evaluation_seconds", ExactText(state.evaluation_seconds)},
                    {"virtual_seconds", ExactText(state.virtual_seconds)},
                    {"best_accuracy", ExactText(state.best_accuracy)},
                    {"train_loss", ExactText(state.train_loss)}};
  writer.WriteScalarsTo(run_state);
  WriteClients(federation.host->states(), file, run_state);
  file.metadata[kRunStateKey] = run_state.dump();
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
