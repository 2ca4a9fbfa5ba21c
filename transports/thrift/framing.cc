#include "thrift/framing.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <thrift/TOutput.h>

#include <array>
#include <exception>
#include <limits>
#include <new>
#include <utility>

namespace fedlb::thrift {
namespace {

using apache::thrift::TConfiguration;
using apache::thrift::protocol::TBinaryProtocolT;
using apache::thrift::protocol::TProtocol;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TTransport;
using apache::thrift::transport::TTransportException;

constexpr int kRecursionLimit = 16;
constexpr uint32_t kFirstBufferBytes = 1 << 16;

// For a peer that is refused: how long it has to send what it is sending, and
// how many reads of 4 KiB that may take.
constexpr int kListenMillis = 100;
constexpr int kMostUnread = 16;

}  // namespace

GuardedFramedTransport::GuardedFramedTransport(
    std::shared_ptr<TTransport> transport, std::shared_ptr<WireTraffic> traffic,
    std::shared_ptr<ConnectionWatch> watch, int fd, const FrameTimes& times)
    : TFramedTransport(std::move(transport), kFirstBufferBytes,
                       std::numeric_limits<uint32_t>::max(),
                       std::make_shared<TConfiguration>(
                           kMaxFrameBytes, kMaxFrameBytes, kRecursionLimit)),
      traffic_(std::move(traffic)),
      fd_(fd),
      times_(times) {
  if (watch != nullptr) {
    setMaxFrameSize(kMaxUnauthenticatedFrameBytes);
    watched_ = std::make_unique<WatchedConnection>(std::move(watch), fd);
    watched_->Expect(times_.handshake);
  }
}

void GuardedFramedTransport::Authenticate() {
  setMaxFrameSize(kMaxFrameBytes);
  authenticated_ = true;
  if (watched_ != nullptr) {
    watched_->Authenticate();
  }
}

bool GuardedFramedTransport::readFrame() {
  if (authenticated_ || !on_refusal_) {
    return ReadGuarded();
  }
  try {
    return ReadGuarded();
  } catch (const TTransportException& error) {
    if (error.getType() != TTransportException::CLIENT_DISCONNECT) {
      on_refusal_(error.what());
    }
    throw;
  }
}

bool GuardedFramedTransport::ReadGuarded() {
  const bool guarded = watched_ != nullptr && authenticated_;
  if (guarded) {
    watched_->Expect(times_.idle);
    // Returns with the first byte of the frame.
    if (!getUnderlyingTransport()->peek()) {
      return false;
    }
    watched_->Expect(times_.frame);
  }
  const bool read = TFramedTransport::readFrame();
  if (guarded) {
    watched_->ExpectNothing();
  }
  if (read) {
    traffic_->received += (rBound_ - rBase_) + 4;
  }
  return read;
}

uint32_t GuardedFramedTransport::readEnd() {
  const uint32_t size = TFramedTransport::readEnd();
  resetConsumedMessageSize();
  return size;
}

void GuardedFramedTransport::flush() {
  const bool guarded = watched_ != nullptr && authenticated_;
  if (guarded) {
    watched_->Expect(times_.frame);
  }
  traffic_->sent += wBase_ - wBuf_.get();
  TFramedTransport::flush();
  if (guarded) {
    watched_->ExpectNothing();
  }
}

// A peer that is refused is still sending: if its bytes met a closed socket, it
// would hear a reset and not why it is refused.
void GuardedFramedTransport::LetPeerListen() const {
  shutdown(fd_, SHUT_WR);
  pollfd readable = {.fd = fd_, .events = POLLIN, .revents = 0};
  std::array<char, 4096> unread;
  for (int i = 0; i < kMostUnread && poll(&readable, 1, kListenMillis) == 1 &&
                  recv(fd_, unread.data(), unread.size(), MSG_DONTWAIT) > 0;
       ++i) {
  }
}

void GuardedFramedTransport::close() {
  if (watched_ != nullptr && !authenticated_) {
    LetPeerListen();
  }
  watched_ = nullptr;  // before its descriptor may be another's
  getUnderlyingTransport()->close();
}

void PrepareThrift() {
  apache::thrift::GlobalOutput.setOutputFunction(
      [](const char* /*message*/) {});
  struct sigaction action = {};
  if (sigaction(SIGPIPE, nullptr, &action) == 0 &&
      action.sa_handler == SIG_DFL) {
    signal(SIGPIPE, SIG_IGN);
  }
}

std::shared_ptr<TProtocol> MakeProtocol(
    std::shared_ptr<GuardedFramedTransport> transport) {
  return std::make_shared<TBinaryProtocolT<TFramedTransport>>(
      std::move(transport), kMaxFrameBytes, kMaxContainerSize,
      /*strict_read=*/true, /*strict_write=*/true);
}

bool GuardedProcessor::process(std::shared_ptr<TProtocol> in,
                               std::shared_ptr<TProtocol> out, void* context) {
  try {
    return inner_->process(std::move(in), std::move(out), context);
  } catch (const std::bad_alloc&) {
    throw TTransportException(TTransportException::CORRUPTED_DATA,
                              "a message that takes too much memory");
  }
}

}  // namespace fedlb::thrift
