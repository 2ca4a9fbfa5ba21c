#include "fedlb/client_state.h"

#include <algorithm>
#include <utility>


namespace fedlb {

ClientState ClientStateStore::Get(int64_t client) const {
  absl::MutexLock lock(&mutex_);
  const auto found = committed_.find(client);
  return found == committed_.end() ? ClientState() : found->second;
}

void ClientStateStore::Stage(int64_t client, ClientState state) {
  absl::MutexLock lock(&mutex_);
  staged_[client] = std::move(state);
}

void ClientStateStore::Discard(int64_t client) {
  absl::MutexLock lock(&mutex_);
  staged_.erase(client);
}

void ClientStateStore::Commit() {
  absl::MutexLock lock(&mutex_);
  for (auto& [client, state] : staged_) {
    committed_[client] = std::move(state);
  }
  staged_.clear();
}

void ClientStateStore::Rollback() {
  absl::MutexLock lock(&mutex_);
  staged_.clear();
}

std::vector<std::pair<int64_t, ClientState>> ClientStateStore::Snapshot()
    const {
  std::vector<std::pair<int64_t, ClientState>> states;
  {
    absl::MutexLock lock(&mutex_);
    states.assign(committed_.begin(), committed_.end());
  }
  std::sort(states.begin(), states.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return states;
}

void ClientStateStore::Restore(
    std::vector<std::pair<int64_t, ClientState>> states) {
  absl::MutexLock lock(&mutex_);
  staged_.clear();
  committed_.clear();
  for (auto& [client, state] : states) {
    committed_.emplace(client, std::move(state));
  }
}

}  // namespace fedlb
