#include "thrift/service.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"
#include "fedlb_constants.h"
#include "thrift/notice_checksum.h"
#include "thrift/refusal.h"

namespace fedlb::thrift {
namespace {

constexpr size_t kLongestProcess = 64;
constexpr size_t kLongestText = 1000;  // of what a client may put into the log
constexpr int32_t kRetryAfterMillis = 500;
constexpr int kToMillis = 1000;

// `status` as the client gets it.
[[noreturn]] void Throw(const absl::Status& status) {
  const Refused code = CodeOf(status).value_or(Refused::kUnavailable);
  wire::Refusal refusal;
  refusal.__set_code(static_cast<wire::RefusalCode::type>(code));
  refusal.__set_message(std::string(status.message()));
  refusal.__set_retryable(IsRetryable(code));
  refusal.__set_retryAfterMillis(IsRetryable(code) ? kRetryAfterMillis : 0);
  throw refusal;
}

void Check(const absl::Status& status) {
  if (!status.ok()) {
    Throw(status);
  }
}

template <typename T>
T ValueOf(absl::StatusOr<T> value) {
  Check(value.status());
  return *std::move(value);
}

bool SameToken(const std::string& a, const std::string& b) {
  return a.size() == b.size() &&
         CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string Shortened(const std::string& text) {
  return absl::CHexEscape(text.substr(0, kLongestText));
}

wire::Work WorkOf(const SentTask& task) {
  wire::Work work;
  switch (task.work.kind) {
    case RoundWork::Kind::kGradient:
      work.__set_kind(wire::WorkKind::GRADIENT);
      break;
    case RoundWork::Kind::kLocalSteps:
      work.__set_kind(wire::WorkKind::LOCAL_STEPS);
      break;
    case RoundWork::Kind::kDisplacement:
      work.__set_kind(wire::WorkKind::DISPLACEMENT);
      break;
  }
  work.__set_localSteps(task.work.local_steps);
  work.__set_localEpochs(task.work.local_epochs);
  work.__set_lr(task.lr);
  work.__set_baseRound(task.work.base_round);
  return work;
}

}  // namespace

Service::Service(Coordinator& coordinator, Logger& logger,
                 const std::map<int64_t, std::string>& tokens,
                 std::function<Peer()> who, std::function<void()> authenticated)
    : coordinator_(coordinator),
      logger_(logger),
      tokens_(tokens),
      who_(std::move(who)),
      authenticated_(std::move(authenticated)) {}

Service::~Service() = default;

absl::Status Service::Admit(const wire::Hello& hello, const Peer& peer) const {
  if (hello.protocol != wire::g_fedlb_constants.PROTOCOL_VERSION) {
    return Refusal(Refused::kVersion,
                   absl::StrCat("the server speaks version ",
                                wire::g_fedlb_constants.PROTOCOL_VERSION,
                                " of the protocol, and the client version ",
                                hello.protocol));
  }
  if (hello.process.empty() || hello.process.size() > kLongestProcess ||
      hello.clients.empty()) {
    return Refusal(Refused::kMalformed,
                   "join needs a name of the process, of up to 64 characters, "
                   "and the clients that it hosts");
  }
  if (hello.checksum != wire::Checksum::CRC32 &&
      hello.checksum != wire::Checksum::XXH3) {
    return Refusal(Refused::kMalformed, "join needs a kind of checksum");
  }
  for (const int64_t client : hello.clients) {
    if (peer.clients.has_value()) {
      if (std::find(peer.clients->begin(), peer.clients->end(), client) ==
          peer.clients->end()) {
        return Refusal(
            Refused::kForbidden,
            absl::StrCat("client ", client, ": the certificate is that of ",
                         absl::StrJoin(*peer.clients, ", ")));
      }
    } else if (!tokens_.empty()) {
      auto token = tokens_.find(client);
      if (token == tokens_.end()) {
        token = tokens_.find(-1);
      }
      if (token == tokens_.end() || !SameToken(token->second, hello.token)) {
        return Refusal(Refused::kUnauthenticated,
                       absl::StrCat("client ", client,
                                    hello.token.empty()
                                        ? ": the server asks for a token, set "
                                          "transport.token_file"
                                        : ": its token is another"));
      }
    }
  }
  return absl::OkStatus();
}

void Service::join(wire::Welcome& welcome, const wire::Hello& hello) {
  const Peer peer = who_();
  const absl::Status admitted = Admit(hello, peer);
  if (!admitted.ok()) {
    logger_.Warning(
        absl::StrCat("refused ", peer.address, ": ", admitted.message()));
    Throw(admitted);
  }
  std::vector<int64_t> clients(hello.clients.begin(), hello.clients.end());
  std::sort(clients.begin(), clients.end());
  clients.erase(std::unique(clients.begin(), clients.end()), clients.end());
  session_ = ValueOf(coordinator_.Join(hello.process, clients, peer.address));
  authenticated_();
  checksum_ = static_cast<ChecksumKind>(hello.checksum);
  logger_.Log(LogLevel::kInfo,
              absl::StrCat("joined from ", peer.address, ": client",
                           clients.size() == 1 ? " " : "s ",
                           absl::StrJoin(clients, ", "), " (",
                           Shortened(hello.software), ")"));

  const FederationTerms& terms = coordinator_.terms();
  const CoordinatorOptions& options = coordinator_.options();
  welcome.__set_protocol(wire::g_fedlb_constants.PROTOCOL_VERSION);
  welcome.__set_runId(terms.run_id);
  welcome.__set_settings(terms.settings);
  welcome.__set_settingsDigest(
      Sha256Hex(absl::StrCat(terms.run_id, "\n", terms.settings)));
  welcome.__set_numClients(terms.num_clients);
  welcome.__set_numRounds(terms.num_rounds);
  welcome.__set_heartbeatMillis(
      static_cast<int32_t>(kToMillis * options.heartbeat_seconds));
  welcome.__set_maxUpdateBytes(options.max_update_bytes);
}

const SessionPtr& Service::Joined() const {
  if (session_ == nullptr) {
    Throw(Refusal(Refused::kNotJoined, "the first call must be join"));
  }
  return session_;
}

void Service::poll(wire::Notice& notice, int32_t wait_millis) {
  task_ = nullptr;
  const PollAnswer answer = ValueOf(coordinator_.Poll(
      Joined(), std::chrono::milliseconds(std::max(wait_millis, 0))));
  notice.__set_kind(answer.finished          ? wire::NoticeKind::FINISHED
                    : answer.task != nullptr ? wire::NoticeKind::TASK
                                             : wire::NoticeKind::WAIT);
  notice.__set_reason(answer.reason);
  notice.__set_firstUndurableTask(answer.first_undurable_task);
  for (const auto& [client, task] : answer.acknowledgements) {
    wire::Acknowledgement& acknowledgement =
        notice.acknowledgements.emplace_back();
    acknowledgement.__set_client(client);
    acknowledgement.__set_task(task);
  }
  if (answer.task != nullptr) {
    Describe(*answer.task, answer, notice);
  }
  notice.__set_checksum(ChecksumOf(checksum_, notice));
}

void Service::Describe(const SentTask& task, const PollAnswer& answer,
                       wire::Notice& notice) const {
  notice.__set_task(task.id);
  notice.__set_round(task.round);
  notice.__set_work(WorkOf(task));
  notice.__set_taskBytes(static_cast<int64_t>(task.bytes.size()));
  for (const ClientAssignment& assignment : answer.assignments) {
    wire::Assignment& assigned = notice.assignments.emplace_back();
    assigned.__set_client(assignment.client);
    assigned.__set_batchSize(assignment.batch_size);
  }
  if (answer.time_left.has_value()) {
    // 0 stands for no deadline.
    notice.__set_millisLeft(std::max<int64_t>(
        1,
        std::chrono::duration_cast<std::chrono::milliseconds>(*answer.time_left)
            .count()));
  }
}

void Service::fetch(wire::Chunk& chunk, int64_t task, int64_t offset,
                    int32_t length) {
  if (task_ == nullptr || task_->id != task || offset == 0) {
    task_ = ValueOf(coordinator_.FindTask(Joined(), task));
  } else {
    Check(coordinator_.Touch(Joined()));
  }
  const auto size = static_cast<int64_t>(task_->bytes.size());
  if (offset < 0 || offset > size || length < 1 || length > kChunkBytes) {
    Throw(Refusal(Refused::kOutOfOrder,
                  absl::StrCat("a chunk of ", length, " bytes at ", offset,
                               " of a task of ", size,
                               "; chunks have 1 to 1048576 bytes")));
  }
  chunk.data.assign(task_->bytes, static_cast<size_t>(offset),
                    static_cast<size_t>(length));
  chunk.__isset.data = true;
  chunk.__set_checksum(ChunkChecksum(checksum_, {task, offset}, chunk.data));
  if (offset + length >= size) {
    coordinator_.NoteFetched(session_, task);
  }
}

int64_t Service::beginUpload(const wire::Upload& upload) {
  return ValueOf(coordinator_.BeginUpload(Joined(), upload.client, upload.task,
                                          upload.bytes, upload.identity));
}

int64_t Service::putChunk(int64_t client, int64_t task, int64_t offset,
                          const wire::Chunk& chunk) {
  const SessionPtr& session = Joined();
  if (chunk.data.size() > kChunkBytes) {
    Throw(Refusal(Refused::kTooLarge, "a chunk of over 1048576 bytes"));
  }
  if (ChunkChecksum(checksum_, {client, task, offset}, chunk.data) !=
      chunk.checksum) {
    Throw(Refusal(Refused::kCorrupt,
                  absl::StrCat("the chunk at ", offset,
                               " has not the checksum that came with it")));
  }
  return ValueOf(
      coordinator_.PutChunk(session, client, task, offset, chunk.data));
}

void Service::commit(int64_t client, int64_t task) {
  Check(coordinator_.Commit(Joined(), client, task));
}

void Service::fail(int64_t client, int64_t task, bool diverged,
                   const std::string& cause) {
  const std::string text =
      absl::StrCat("client ", client, ": ", Shortened(cause));
  Check(coordinator_.Fail(
      Joined(), client, task,
      diverged ? DivergedError(text) : absl::AbortedError(text)));
}

void Service::heartbeat() { Check(coordinator_.Touch(Joined())); }

void Service::echo(std::string& answer, const std::string& payload,
                   int32_t length) {
  Check(coordinator_.Touch(Joined()));
  if (payload.size() > kChunkBytes || length < 0 || length > kChunkBytes) {
    Throw(Refusal(Refused::kTooLarge, "an echo of over 1048576 bytes"));
  }
  answer.assign(static_cast<size_t>(length), '\0');
}

void Service::leave() {
  coordinator_.Leave(Joined());
  session_ = nullptr;
}

}  // namespace fedlb::thrift
