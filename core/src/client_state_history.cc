#include "fedlb/client_state_history.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "fedlb/safetensors.h"
#include "fedlb/status.h"
#include "stored_states.h"

namespace fedlb {
namespace {

using nlohmann::json;

// {"run_id": text, "entries": [{"task", "applied", "epoch", "cursor"}]} and
// what StateWriter adds; its owners are "<entry>.<part>".
constexpr char kMetadataKey[] = "fedlb.client_states";

std::string OwnerOf(size_t entry, const std::string& part) {
  return absl::StrCat(entry, ".", part);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ClientStateHistory>> ClientStateHistory::Open(
    const std::string& folder, const std::string& run_id,
    const std::vector<int64_t>& clients) {
  std::unique_ptr<ClientStateHistory> history(
      new ClientStateHistory(folder, run_id));
  if (folder.empty()) {
    return history;
  }
  if (mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST) {
    return StorageError(absl::StrCat("cannot make the folder of client states ",
                                     folder, ": ", strerror(errno)));
  }
  absl::MutexLock lock(&history->mutex_);
  for (const int64_t client : clients) {
    const std::string path = history->PathOf(client);
    struct stat status = {};
    if (stat(path.c_str(), &status) != 0 && errno == ENOENT) {
      continue;
    }
    absl::StatusOr<Entries> entries =
        CatchAsStatusOr(path, [&] { return history->Read(path); });
    if (!entries.ok()) {
      return InputFileError(absl::StrCat(
          path, ": ",
          absl::StripPrefix(entries.status().message(),
                            absl::StrCat(path, ": ")),
          "; name another state folder, or remove the file and the client "
          "begins anew"));
    }
    history->clients_[client] = *std::move(entries);
  }
  return history;
}

ClientState ClientStateHistory::Before(int64_t client, int64_t task) {
  absl::MutexLock lock(&mutex_);
  Entries& entries = clients_[client];
  entries.erase(
      std::find_if(entries.begin(), entries.end(),
                   [task](const Entry& entry) { return entry.task >= task; }),
      entries.end());
  const auto newest =
      std::find_if(entries.rbegin(), entries.rend(),
                   [](const Entry& entry) { return entry.applied; });
  return newest == entries.rend() ? ClientState() : newest->state;
}

absl::Status ClientStateHistory::Stage(int64_t client, int64_t task,
                                       ClientState state) {
  absl::MutexLock lock(&mutex_);
  Entries& entries = clients_[client];
  // An older update that the server has not counted by now is from before the
  // state that this one began with.
  entries.erase(std::remove_if(entries.begin(), entries.end(),
                               [task](const Entry& entry) {
                                 return !entry.applied || entry.task >= task;
                               }),
                entries.end());
  entries.push_back({task, false, std::move(state)});
  return folder_.empty() ? absl::OkStatus() : Write(client, entries);
}

// The files need not know: the server says it again to a process that joins.
void ClientStateHistory::Acknowledge(int64_t client, int64_t applied_task,
                                     int64_t first_undurable_task) {
  absl::MutexLock lock(&mutex_);
  Entries& entries = clients_[client];
  for (Entry& entry : entries) {
    entry.applied = entry.applied || entry.task == applied_task;
  }
  // The last one before the first task that may be asked for again is enough.
  while (entries.size() > 1 && entries[1].applied &&
         entries[1].task < first_undurable_task) {
    entries.erase(entries.begin());
  }
}

std::string ClientStateHistory::PathOf(int64_t client) const {
  return absl::StrFormat("%s/client-%06d.safetensors", folder_, client);
}

absl::StatusOr<ClientStateHistory::Entries> ClientStateHistory::Read(
    const std::string& path) const {
  FEDLB_ASSIGN_OR_RETURN(const SafetensorsFile file, ReadSafetensors(path));
  const auto metadata = file.metadata.find(kMetadataKey);
  if (metadata == file.metadata.end()) {
    return absl::DataLossError("not the states of a client");
  }
  const json stored = json::parse(metadata->second);
  if (stored.at("run_id").get<std::string>() != run_id_) {
    return absl::DataLossError("the states of a client in another run");
  }
  FEDLB_ASSIGN_OR_RETURN(StateReader reader, StateReader::Create(file, stored));
  Entries entries;
  for (const json& description : stored.at("entries")) {
    Entry entry;
    entry.task = description.at("task").get<int64_t>();
    entry.applied = description.at("applied").get<bool>();
    entry.state.epoch = description.at("epoch").get<int64_t>();
    entry.state.cursor = description.at("cursor").get<int64_t>();
    for (const json& part : description.at("parts")) {
      const auto name = part.get<std::string>();
      entry.state.parts[name] = reader.Take(OwnerOf(entries.size(), name));
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

absl::Status ClientStateHistory::Write(int64_t client,
                                       const Entries& entries) const {
  SafetensorsFile file;
  StateWriter writer(file);
  json stored = {{"run_id", run_id_}, {"entries", json::array()}};
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    json parts = json::array();
    for (const auto& [name, state] : entry.state.parts) {
      writer.Write(OwnerOf(i, name), state);
      parts.push_back(name);
    }
    stored["entries"].push_back({{"task", entry.task},
                                 {"applied", entry.applied},
                                 {"epoch", entry.state.epoch},
                                 {"cursor", entry.state.cursor},
                                 {"parts", std::move(parts)}});
  }
  writer.WriteScalarsTo(stored);
  file.metadata[kMetadataKey] = stored.dump();
  return WriteSafetensors(PathOf(client), file);
}

}  // namespace fedlb
