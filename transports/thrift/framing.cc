#include "thrift/framing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <thrift/TOutput.h>
#include <thrift/transport/TSSLSocket.h>

#include <algorithm>
#include <array>
#include <exception>
#include <limits>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fedlb::thrift {
namespace {

using apache::thrift::TConfiguration;
using apache::thrift::protocol::TBinaryProtocolT;
using apache::thrift::protocol::TProtocol;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TSocket;
using apache::thrift::transport::TSSLSocket;
using apache::thrift::transport::TTransport;
using apache::thrift::transport::TTransportException;

constexpr int kRecursionLimit = 16;
constexpr uint32_t kLengthBytes = 4;
constexpr uint32_t kBufferBytes = 1 << 16;
static_assert(kMaxUnauthenticatedFrameBytes <= kBufferBytes);

// What is read of a large frame at first: up to its large string, if its fields
// are as short as those of calls are.
constexpr uint32_t kHeadBytes = 256;
// A string of as many bytes is large.
constexpr uint32_t kLargeBytes = kBufferBytes;

// For a peer that is refused: how long it has to send what it is sending, and
// how many reads of 4 KiB that may take.
constexpr int kListenMillis = 100;
constexpr int kMostUnread = 16;

[[noreturn]] void ThrowTooLong() {
  throw TTransportException(TTransportException::CORRUPTED_DATA,
                            "a message that is longer than its frame");
}

// Null for another transport.
std::shared_ptr<TSocket> PlainSocket(
    const std::shared_ptr<TTransport>& transport) {
  return std::dynamic_pointer_cast<TSSLSocket>(transport) == nullptr
             ? std::dynamic_pointer_cast<TSocket>(transport)
             : nullptr;
}

}  // namespace

GuardedFramedTransport::GuardedFramedTransport(
    std::shared_ptr<TTransport> transport, std::shared_ptr<WireTraffic> traffic,
    std::shared_ptr<ConnectionWatch> watch, int fd, const FrameTimes& times)
    : TFramedTransport(std::move(transport), kBufferBytes,
                       std::numeric_limits<uint32_t>::max(),
                       std::make_shared<TConfiguration>(
                           kMaxFrameBytes, kMaxFrameBytes, kRecursionLimit)),
      traffic_(std::move(traffic)),
      fd_(fd),
      times_(times),
      plain_socket_(PlainSocket(transport_)) {
  rBuf_.reset(new uint8_t[kBufferBytes]);
  setReadBuffer(rBuf_.get(), 0);
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
  if (IsGuarded()) {
    watched_->Expect(times_.idle);
    // Returns with the first byte of the frame.
    if (!transport_->peek()) {
      return false;
    }
    watched_->Expect(times_.frame);
  }
  if (!ReadHead()) {
    return false;
  }
  traffic_->received += Buffered() + unread_ + kLengthBytes;
  return true;
}

bool GuardedFramedTransport::ReadHead() {
  uint32_t size = 0;
  uint32_t read = 0;
  while (read < sizeof(size)) {
    const uint32_t got = transport_->read(
        reinterpret_cast<uint8_t*>(&size) + read, sizeof(size) - read);
    if (got == 0 && read == 0) {
      return false;
    }
    if (got == 0) {
      throw TTransportException(TTransportException::END_OF_FILE,
                                "the connection ends in a frame's length");
    }
    read += got;
  }
  size = ntohl(size);
  if (size > maxFrameSize_) {
    throw TTransportException(
        TTransportException::CORRUPTED_DATA,
        absl::StrCat("a frame of ", size, " bytes, where ", maxFrameSize_,
                     " are allowed"));
  }
  in_frame_ = true;
  unread_ = size;
  FillBuffer(size <= kBufferBytes ? size : kHeadBytes);
  return true;
}

uint32_t GuardedFramedTransport::ReadUnread(uint8_t* to, uint32_t size) {
  const uint32_t got = transport_->read(to, std::min(size, unread_));
  if (got == 0) {
    throw TTransportException(TTransportException::END_OF_FILE,
                              "the connection ends in a frame");
  }
  unread_ -= got;
  if (IsGuarded() && unread_ == 0) {
    watched_->ExpectNothing();
  }
  return got;
}

void GuardedFramedTransport::FillBuffer(uint32_t size) {
  uint32_t filled = 0;
  while (filled < size) {
    filled += ReadUnread(rBuf_.get() + filled, size - filled);
  }
  setReadBuffer(rBuf_.get(), size);
}

uint32_t GuardedFramedTransport::readSlow(uint8_t* to, uint32_t size) {
  if (rBase_ == rBound_) {
    if (!in_frame_) {
      if (!readFrame()) {
        return 0;
      }
    } else if (unread_ == 0) {
      ThrowTooLong();
    } else if (size >= kLargeBytes) {
      return ReadUnread(to, size);
    } else {
      FillBuffer(std::min(unread_, kBufferBytes));
    }
  }
  const uint32_t got = std::min(size, Buffered());
  std::copy_n(rBase_, got, to);
  rBase_ += got;
  return got;
}

const uint8_t* GuardedFramedTransport::borrowSlow(uint8_t* /*buffer*/,
                                                  uint32_t* size) {
  if (in_frame_ && *size > Buffered() + unread_) {
    ThrowTooLong();
  }
  return nullptr;  // to be read instead
}

uint32_t GuardedFramedTransport::readEnd() {
  while (unread_ > 0) {  // of fields that this version does not know
    FillBuffer(std::min(unread_, kBufferBytes));
  }
  setReadBuffer(rBuf_.get(), 0);
  in_frame_ = false;
  resetConsumedMessageSize();
  return 0;  // which nobody uses
}

void GuardedFramedTransport::writeSlow(const uint8_t* from, uint32_t size) {
  if (size >= kLargeBytes) {
    large_strings_.push_back(
        {.at = wBase_ - wBuf_.get(), .data = from, .size = size});
  } else {
    TFramedTransport::writeSlow(from, size);
  }
}

void GuardedFramedTransport::flush() {
  if (IsGuarded()) {
    watched_->Expect(times_.frame);
  }
  const std::ptrdiff_t buffered = wBase_ - wBuf_.get();
  auto frame_bytes = static_cast<uint32_t>(buffered);
  for (const LargeString& large : large_strings_) {
    frame_bytes += large.size;
  }
  traffic_->sent += frame_bytes;
  const uint32_t length = htonl(frame_bytes - kLengthBytes);
  memcpy(wBuf_.get(), &length, sizeof(length));
  // Before what may throw: the next frame begins anew.
  wBase_ = wBuf_.get() + kLengthBytes;
  const std::vector<LargeString> large_strings =
      std::exchange(large_strings_, {});
  std::vector<iovec> parts;
  std::ptrdiff_t written = 0;
  const auto add = [&parts](const uint8_t* data, size_t size) {
    parts.push_back({.iov_base = const_cast<uint8_t*>(data), .iov_len = size});
  };
  for (const LargeString& large : large_strings) {
    add(wBuf_.get() + written, static_cast<size_t>(large.at - written));
    add(large.data, large.size);
    written = large.at;
  }
  add(wBuf_.get() + written, static_cast<size_t>(buffered - written));
  WriteParts(std::move(parts));
  transport_->flush();
  if (IsGuarded()) {
    watched_->ExpectNothing();
  }
}

// At once where that is possible: the peer would wake up for every part.
void GuardedFramedTransport::WriteParts(std::vector<iovec> parts) {
  if (plain_socket_ == nullptr) {
    for (const iovec& part : parts) {
      transport_->write(static_cast<const uint8_t*>(part.iov_base),
                        static_cast<uint32_t>(part.iov_len));
    }
    return;
  }
  msghdr message = {};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  while (message.msg_iovlen > 0) {
    const ssize_t sent =
        sendmsg(plain_socket_->getSocketFD(), &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    if (sent < 0) {
      throw TTransportException(errno == EAGAIN ? TTransportException::TIMED_OUT
                                                : TTransportException::NOT_OPEN,
                                "sending a frame", errno);
    }
    auto left = static_cast<size_t>(sent);
    while (message.msg_iovlen > 0 && left >= message.msg_iov->iov_len) {
      left -= message.msg_iov->iov_len;
      ++message.msg_iov;
      --message.msg_iovlen;
    }
    if (message.msg_iovlen > 0) {
      message.msg_iov->iov_base =
          static_cast<uint8_t*>(message.msg_iov->iov_base) + left;
      message.msg_iov->iov_len -= left;
    }
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
