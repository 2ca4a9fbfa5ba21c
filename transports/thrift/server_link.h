// A client process's connection to its server, and its life after a fall.

#ifndef FEDLB_TRANSPORTS_THRIFT_SERVER_LINK_H_
#define FEDLB_TRANSPORTS_THRIFT_SERVER_LINK_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "Federation.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/logger.h"
#include "fedlb/round_task.h"
#include "thrift/endpoint.h"
#include "thrift/framing.h"
#include "thrift/tls.h"

namespace fedlb::thrift {

struct ServerLinkOptions {
  Endpoint server;
  TlsFiles tls;
  std::string token;
  std::vector<int64_t> clients;
  // How long to try again while the server cannot be reached.
  double reconnect_seconds = 300;
};

// One connection with its calls one after the other, and a thread that shows
// the server a sign of life between them. A call that fails because the
// connection does is made again over a new one, after pauses that grow at
// random; so is one that the server refuses for now. Thread-safe.
//
// Statuses: refusals (refusal.h) that do not pass; kPeerLost naming the server
// when it stays away or cannot be spoken with; kInterrupted.
class ServerLink {
 public:
  // `stop` may be null.
  static absl::StatusOr<std::unique_ptr<ServerLink>> Connect(
      const ServerLinkOptions& options, const std::atomic<int>* stop,
      Logger& logger);
  ~ServerLink();

  // Of the newest join.
  const wire::Welcome& welcome() const { return welcome_; }
  const WireTraffic& traffic() const { return *traffic_; }

  absl::StatusOr<wire::Notice> Poll();
  // The notice's task.
  absl::StatusOr<RoundTask> Fetch(const wire::Notice& notice);
  // Announces, sends and commits.
  absl::Status Send(int64_t client, int64_t task, absl::string_view update);
  absl::Status Fail(int64_t client, int64_t task, bool diverged,
                    const std::string& cause);
  // Seconds for `bytes` there and as many back.
  absl::StatusOr<double> Echo(int64_t bytes);
  void Leave();

 private:
  class Pipeline;
  using Call = std::function<void(wire::FederationClient&)>;

  ServerLink(const ServerLinkOptions& options, const std::atomic<int>* stop,
             Logger& logger);

  // What a call ended with.
  struct Outcome {
    absl::Status status;
    bool lost = false;   // the connection, and not the call
    bool fatal = false;  // and nothing is gained by trying again
  };

  Outcome OutcomeOf(const std::exception& error, bool joining);

  // Makes the call, as described above.
  absl::Status Make(const Call& call);
  // The same for calls that are made again, too, when bytes arrive damaged or
  // out of order.
  absl::Status MakeAgain(const Call& call);
  // One attempt of whatever is missing. Throws Thrift's exceptions.
  void Join();
  void Disconnect();
  // False when the run is being stopped meanwhile.
  bool Pause(double seconds);
  void Beat();

  const ServerLinkOptions options_;
  const std::atomic<int>* const stop_;
  Logger& logger_;
  const std::string process_;
  const std::shared_ptr<WireTraffic> traffic_;
  std::shared_ptr<TlsSocketFactory> tls_;

  std::mutex mutex_;  // of the connection
  std::unique_ptr<wire::FederationClient> client_;
  std::shared_ptr<GuardedFramedTransport> transport_;
  wire::Welcome welcome_;
  bool was_connected_ = false;
  int cut_short_ = 0;  // joins that ended without an answer, in a row

  std::mutex beat_mutex_;
  std::condition_variable beat_stops_;
  bool leaving_ = false;
  std::thread beat_;
};

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_SERVER_LINK_H_
