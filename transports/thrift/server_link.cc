#include "thrift/server_link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <thrift/transport/TSocket.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fedlb/durable_file.h"
#include "fedlb/fingerprint.h"
#include "fedlb/memory.h"
#include "fedlb/status.h"
#include "fedlb_constants.h"
#include "thrift/checksum.h"
#include "thrift/clock.h"
#include "thrift/notice_checksum.h"
#include "thrift/refusal.h"

namespace fedlb::thrift {
namespace {

using apache::thrift::TException;
using apache::thrift::transport::TSocket;
using apache::thrift::transport::TSSLException;
using apache::thrift::transport::TTransportException;

constexpr ChecksumKind kChecksum = ChecksumKind::kXxh3;

// Between attempts: a random part of a time that doubles from the first to the
// last (M. Brooker, "Exponential Backoff And Jitter", 2015: full jitter). Or to
// a heartbeat, of which the server waits for three: who was cut off for one or
// two is back before it counts as lost.
constexpr double kFirstPause = 0.1;
constexpr double kLongestPause = 20;

// The server counts a process as lost after three heartbeats. A connection that
// is broken must be given up before that, and TCP itself waits for minutes.
constexpr int kConnectMillis = 3000;
// What was sent must be received, and a call be answered, in this time, or in
// one and two heartbeats where these are longer.
constexpr int kSentMillis = 5000;
constexpr int kAnswerMillis = 10000;

// Chunks that are on their way at once, so that neither side waits for the
// other.
constexpr size_t kChunksAhead = 4;

// A signal waits for a poll to end.
constexpr int32_t kPollMillis = 2000;

// Connections that end before join is answered: more than bad luck.
constexpr int kCutShortInARow = 5;

// More than a bad connection explains.
constexpr int kDamagedInARow = 20;
// An update that is too large indeed is so every time, and the user waits.
constexpr int kTooLargeInARow = 3;

std::string RandomName() {
  std::random_device random;
  return absl::StrFormat("%08x%08x%08x%08x", random(), random(), random(),
                         random());
}

absl::Status ToStatus(const wire::Refusal& refusal) {
  return Refusal(static_cast<Refused>(refusal.code), refusal.message);
}

// Whether a TLS handshake failed for what the two sides are, and not because
// the connection broke.
bool IsRejection(const std::exception& error) {
  const absl::string_view text = error.what();
  return dynamic_cast<const TSSLException*>(&error) != nullptr &&
         (absl::StrContains(text, "certificate") ||
          absl::StrContains(text, "alert") ||
          absl::StrContains(text, "version") ||
          absl::StrContains(text, "protocol"));
}

// Bytes that are not what was sent.
class CorruptBytes : public TException {
 public:
  explicit CorruptBytes(
      const std::string& what = "what came has not the checksum it should")
      : TException(what) {}
};

// The server at this address is another one now.
class AnotherRun : public TException {};

}  // namespace

ServerLink::ServerLink(const ServerLinkOptions& options,
                       const std::atomic<int>* stop, Logger& logger)
    : options_(options),
      stop_(stop),
      logger_(logger),
      process_(RandomName()),
      traffic_(std::make_shared<WireTraffic>()) {}

absl::StatusOr<std::unique_ptr<ServerLink>> ServerLink::Connect(
    const ServerLinkOptions& options, const std::atomic<int>* stop,
    Logger& logger) {
  PrepareThrift();
  std::unique_ptr<ServerLink> link(new ServerLink(options, stop, logger));
  if (!options.tls.empty()) {
    FEDLB_ASSIGN_OR_RETURN(
        link->tls_, TlsSocketFactory::Create(options.tls, /*server=*/false));
  }
  FEDLB_RETURN_IF_ERROR(link->MakeAgain([](wire::FederationClient&) {}));
  link->beat_ = std::thread([&link = *link] { link.Beat(); });
  return link;
}

ServerLink::~ServerLink() {
  {
    const std::lock_guard lock(beat_mutex_);
    leaving_ = true;
  }
  beat_stops_.notify_all();
  if (beat_.joinable()) {
    beat_.join();
  }
  Disconnect();
}

void ServerLink::Disconnect() {
  client_ = nullptr;
  if (transport_ != nullptr) {
    transport_->close();
    transport_ = nullptr;
  }
}

void ServerLink::Join() {
  const Endpoint& server = options_.server;
  std::shared_ptr<TSocket> socket;
  if (server.is_unix()) {
    socket = std::make_shared<TSocket>(server.path);
  } else if (tls_ != nullptr) {
    socket = tls_->createSocket(server.host, server.port);
  } else {
    socket = std::make_shared<TSocket>(server.host, server.port);
  }
  socket->setConnTimeout(kConnectMillis);
  const int heartbeat = welcome_.heartbeatMillis;  // 0 at first
  socket->setRecvTimeout(std::max(kAnswerMillis, 2 * heartbeat));
  socket->setSendTimeout(std::max(kAnswerMillis, 2 * heartbeat));
  socket->setKeepAlive(true);
  socket->open();
  const int sent_millis = std::max(kSentMillis, heartbeat);
  if (!server.is_unix()) {
    setsockopt(socket->getSocketFD(), IPPROTO_TCP, TCP_USER_TIMEOUT,
               &sent_millis, sizeof(sent_millis));
  }
  transport_ = std::make_shared<GuardedFramedTransport>(
      socket, traffic_, nullptr, -1, FrameTimes());
  client_ = std::make_unique<wire::FederationClient>(MakeProtocol(transport_));

  wire::Hello hello;
  hello.__set_protocol(wire::g_fedlb_constants.PROTOCOL_VERSION);
  hello.__set_process(process_);
  hello.__set_clients(options_.clients);
  hello.__set_token(options_.token);
  hello.__set_software(absl::StrCat("fedlb ", HostVersion()));
  hello.__set_checksum(static_cast<wire::Checksum::type>(kChecksum));
  wire::Welcome welcome;
  client_->join(welcome, hello);
  if (Sha256Hex(absl::StrCat(welcome.runId, "\n", welcome.settings)) !=
      welcome.settingsDigest) {
    throw CorruptBytes();
  }
  if (was_connected_ && welcome.runId != welcome_.runId) {
    throw AnotherRun();
  }
  if (!was_connected_) {
    welcome_ = std::move(welcome);  // others read it without a lock
  }
  was_connected_ = true;
}

bool ServerLink::Pause(double seconds) {
  const Clock::time_point until = Clock::now() + Seconds(seconds);
  while (Clock::now() < until) {
    if (stop_ != nullptr && *stop_ != 0) {
      return false;
    }
    std::this_thread::sleep_for(std::min<Clock::duration>(
        std::chrono::milliseconds(50), until - Clock::now()));
  }
  return stop_ == nullptr || *stop_ == 0;
}

ServerLink::Outcome ServerLink::OutcomeOf(const std::exception& error,
                                          bool joining) {
  Outcome outcome = {.status = absl::UnavailableError(error.what()),
                     .lost = true};
  const auto* transport_error =
      dynamic_cast<const TTransportException*>(&error);
  const bool connected =
      transport_error == nullptr ||
      transport_error->getType() != TTransportException::NOT_OPEN;
  if (joining && connected && !was_connected_ &&
      ++cut_short_ >= kCutShortInARow) {
    outcome.fatal = true;
    outcome.status = absl::UnavailableError(absl::StrCat(
        error.what(), ", ", kCutShortInARow,
        " times in a row before an answer: ",
        tls_ == nullptr ? "does the server ask for TLS (transport.ca_file)?"
                        : "is the server one without TLS?"));
  }
  if (joining && IsRejection(error)) {
    outcome.fatal = true;
  }
  return outcome;
}

absl::Status ServerLink::Make(const Call& call) {
  const std::lock_guard lock(mutex_);
  double pause = kFirstPause;
  const auto attempt = [&]() -> Outcome {
    bool joining = false;
    try {
      if (client_ == nullptr) {
        joining = true;
        Join();
        joining = false;
        cut_short_ = 0;
        // The server is there: a long transfer over a connection that breaks
        // again and again must not pause until the process counts as lost.
        pause = kFirstPause;
      }
      call(*client_);
      return {};
    } catch (const wire::Refusal& refusal) {
      return {.status = ToStatus(refusal)};
    } catch (const CorruptBytes& error) {
      Disconnect();
      return {.status = Refusal(Refused::kCorrupt, error.what())};
    } catch (const AnotherRun&) {
      return {.status = absl::UnavailableError(
                  "the server now runs another federation; start the client "
                  "anew"),
              .lost = true,
              .fatal = true};
    } catch (const std::exception& error) {
      return OutcomeOf(error, joining);
    }
  };
  const std::string name = options_.server.ToString();
  const Clock::time_point start = Clock::now();
  bool warned = false;
  int damaged = 0;
  static thread_local std::mt19937_64 random{std::random_device{}()};
  for (;;) {
    const Outcome outcome = attempt();
    if (outcome.status.ok()) {
      if (warned) {
        logger_.Info(absl::StrCat("reached ", name, " again"));
      }
      return absl::OkStatus();
    }
    const std::optional<Refused> code = CodeOf(outcome.status);
    if (code == Refused::kTaskClosed || code == Refused::kSuperseded ||
        code == Refused::kOutOfOrder || code == Refused::kCorrupt ||
        code == Refused::kMalformed) {
      return outcome.status;
    }
    if (code.has_value() && !IsRetryable(*code)) {
      // A server that has let these clients in does not refuse them later: a
      // call was damaged on its way.
      const int most =
          code == Refused::kTooLarge ? kTooLargeInARow : kDamagedInARow;
      if (!was_connected_ || ++damaged >= most) {
        return outcome.status;
      }
      Disconnect();
    }
    if (outcome.lost) {
      Disconnect();
    }
    const double waited = SecondsBetween(start, Clock::now());
    if (outcome.fatal) {
      return PeerLostError(absl::StrCat(name, ": ", outcome.status.message()));
    }
    if (waited > options_.reconnect_seconds) {
      return PeerLostError(absl::StrFormat(
          "%s: %s; tried for %.0f s (transport.reconnect_seconds). Is the "
          "server running, and its address right?",
          name, outcome.status.message(), waited));
    }
    if (outcome.lost && !std::exchange(warned, true)) {
      logger_.Warning(absl::StrCat(name, ": ", outcome.status.message(),
                                   "; trying again for ",
                                   options_.reconnect_seconds, " s"));
    }
    const double jittered =
        std::uniform_real_distribution<double>(0, pause)(random);
    if (!Pause(jittered)) {
      return InterruptedError("stopped while waiting for the server");
    }
    const double longest =
        was_connected_
            ? std::min(welcome_.heartbeatMillis / 1000.0, kLongestPause)
            : kLongestPause;
    pause = std::min(2 * pause, longest);
  }
}

absl::Status ServerLink::MakeAgain(const Call& call) {
  absl::Status status;
  for (int attempt = 0; attempt < kDamagedInARow; ++attempt) {
    status = Make(call);
    const std::optional<Refused> code = CodeOf(status);
    if (code != Refused::kOutOfOrder && code != Refused::kCorrupt) {
      return status;
    }
  }
  return PeerLostError(absl::StrCat(
      options_.server.ToString(), ": what is sent does not arrive as it was, ",
      kDamagedInARow, " times in a row (", status.message(),
      "); something between here and there changes it"));
}

absl::StatusOr<wire::Notice> ServerLink::Poll() {
  wire::Notice notice;
  FEDLB_RETURN_IF_ERROR(MakeAgain([&](wire::FederationClient& client) {
    notice = wire::Notice();
    client.poll(notice, std::min(welcome_.heartbeatMillis, kPollMillis));
    if (ChecksumOf(kChecksum, notice) != notice.checksum) {
      throw CorruptBytes();
    }
  }));
  return notice;
}

// Calls that are sent before the answers of earlier ones have come. Ends the
// connection when something goes wrong in between: answers that nobody reads
// would be taken for those of later calls.
class ServerLink::Pipeline {
 public:
  explicit Pipeline(ServerLink& link) : link_(link) {}
  ~Pipeline() {
    if (ahead_ > 0) {
      link_.Disconnect();
    }
  }
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  bool is_full() const { return ahead_ >= kChunksAhead; }
  bool is_empty() const { return ahead_ == 0; }
  void Sent() { ++ahead_; }
  void Received() { --ahead_; }

 private:
  ServerLink& link_;
  size_t ahead_ = 0;
};

absl::StatusOr<RoundTask> ServerLink::Fetch(const wire::Notice& notice) {
  const int64_t task = notice.task;
  const int64_t size = notice.taskBytes;
  std::string bytes;
  bytes.reserve(static_cast<size_t>(size));
  ExpectFilling(bytes.data(), bytes.capacity());
  absl::StatusOr<RoundTask> decoded = absl::InternalError("not fetched");
  const auto received = [&bytes] { return static_cast<int64_t>(bytes.size()); };
  // Begun anew, after a lost connection for one, it goes on where it was.
  FEDLB_RETURN_IF_ERROR(MakeAgain([&](wire::FederationClient& client) {
    Pipeline pipeline(*this);
    wire::Chunk chunk;
    int64_t asked = received();
    while (received() < size) {
      while (!pipeline.is_full() && asked < size) {
        client.send_fetch(task, asked, kChunkBytes);
        pipeline.Sent();
        asked = std::min<int64_t>(asked + kChunkBytes, size);
      }
      client.recv_fetch(chunk);
      if (chunk.data.empty() || ChunkChecksum(kChecksum, {task, received()},
                                              chunk.data) != chunk.checksum) {
        throw CorruptBytes();
      }
      pipeline.Received();
      bytes.append(chunk.data);
    }
    // Its own digests show chunks of a server before and after its fall.
    decoded = DecodeTask(bytes);
    if (absl::IsDataLoss(decoded.status())) {
      bytes.clear();
      throw CorruptBytes(std::string(decoded.status().message()));
    }
  }));
  return decoded;
}

absl::Status ServerLink::Send(int64_t client, int64_t task,
                              absl::string_view update) {
  wire::Upload upload;
  upload.__set_client(client);
  upload.__set_task(task);
  upload.__set_bytes(static_cast<int64_t>(update.size()));
  // Where an update begins stands the digest of all of it.
  upload.__set_identity(ChecksumOf(kChecksum, update.substr(0, kChunkBytes)));
  return MakeAgain([&](wire::FederationClient& server) {
    auto offset = static_cast<size_t>(server.beginUpload(upload));
    Pipeline pipeline(*this);
    const auto receive = [&] {
      server.recv_putChunk();
      pipeline.Received();
    };
    wire::Chunk chunk;
    while (offset < update.size()) {
      if (pipeline.is_full()) {
        receive();
      }
      const absl::string_view piece = update.substr(offset, kChunkBytes);
      const auto place = static_cast<int64_t>(offset);
      chunk.data.assign(piece.data(), piece.size());
      chunk.checksum =
          ChunkChecksum(kChecksum, {client, task, place}, chunk.data);
      server.send_putChunk(client, task, place, chunk);
      pipeline.Sent();
      offset += piece.size();
    }
    // The end is announced before the last chunks are answered.
    server.send_commit(client, task);
    while (!pipeline.is_empty()) {
      receive();
    }
    server.recv_commit();
  });
}

absl::Status ServerLink::Fail(int64_t client, int64_t task, bool diverged,
                              const std::string& cause) {
  return Make([&](wire::FederationClient& server) {
    server.fail(client, task, diverged, cause);
  });
}

absl::StatusOr<double> ServerLink::Echo(int64_t bytes) {
  double seconds = 0;
  FEDLB_RETURN_IF_ERROR(Make([&](wire::FederationClient& server) {
    const Clock::time_point start = Clock::now();
    Pipeline pipeline(*this);
    std::string payload;
    std::string answer;
    int64_t sent = 0;
    while (sent < bytes || !pipeline.is_empty()) {
      if (sent < bytes && !pipeline.is_full()) {
        const int64_t length = std::min<int64_t>(kChunkBytes, bytes - sent);
        payload.resize(static_cast<size_t>(length));
        server.send_echo(payload, static_cast<int32_t>(length));
        pipeline.Sent();
        sent += length;
      } else {
        server.recv_echo(answer);
        pipeline.Received();
      }
    }
    seconds = SecondsBetween(start, Clock::now());
  }));
  return seconds;
}

// A server that cannot be reached need not be told.
void ServerLink::Leave() {
  const std::lock_guard lock(mutex_);
  try {
    if (client_ != nullptr) {
      client_->leave();
    }
  } catch (const std::exception&) {
    Disconnect();
  }
}

void ServerLink::Beat() {
  std::unique_lock beat_lock(beat_mutex_);
  const std::chrono::milliseconds period(welcome_.heartbeatMillis);
  while (
      !beat_stops_.wait_for(beat_lock, period, [this] { return leaving_; })) {
    // A call that is under way is a sign of life itself.
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock() || client_ == nullptr) {
      continue;
    }
    try {
      client_->heartbeat();
    } catch (const std::exception&) {
      Disconnect();  // the next call connects again, or says what is wrong
    }
  }
}

}  // namespace fedlb::thrift
