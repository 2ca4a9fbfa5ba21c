// Thrift's framed transport and binary protocol with the limits that a server
// needs whose peers are not trusted.

#ifndef FEDLB_TRANSPORTS_THRIFT_FRAMING_H_
#define FEDLB_TRANSPORTS_THRIFT_FRAMING_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/uio.h>
#include <thrift/TConfiguration.h>
#include <thrift/TProcessor.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TSocket.h>

#include "thrift/connection_watch.h"

namespace fedlb::thrift {

// As fedlb.thrift promises.
inline constexpr int32_t kMaxFrameBytes = 8 << 20;
inline constexpr int32_t kMaxUnauthenticatedFrameBytes = 64 << 10;
inline constexpr int32_t kMaxContainerSize = 1 << 16;
inline constexpr int32_t kChunkBytes = 1 << 20;

// Bytes of frames, with their lengths, over all connections of a process.
struct WireTraffic {
  std::atomic<int64_t> sent{0};
  std::atomic<int64_t> received{0};
};

struct FrameTimes {
  // From the acceptance to the end of join, TLS included.
  std::chrono::milliseconds handshake{10000};
  // For the rest of a frame that has begun, and for one that is sent.
  std::chrono::milliseconds frame{60000};
  // Between two frames.
  std::chrono::milliseconds idle{60000};
};

// Thrift 0.17 adds up the sizes of all messages of a connection and ends it at
// the limit for one (THRIFT-5492): here the count begins anew with each
// message.
//
// Large strings are not copied into a buffer for frames: they are read from the
// socket into the string itself, and written from where they are. What is
// written must stay there until `flush`, as what a generated client and a
// generated processor write does.
class GuardedFramedTransport final
    : public apache::thrift::transport::TFramedTransport {
 public:
  // `watch` is null on the client's side, where the peer is one's own choice;
  // `fd` is the socket under `transport`.
  GuardedFramedTransport(
      std::shared_ptr<apache::thrift::transport::TTransport> transport,
      std::shared_ptr<WireTraffic> traffic,
      std::shared_ptr<ConnectionWatch> watch, int fd, const FrameTimes& times);

  // Is told why a connection ended before it had joined.
  void set_on_refusal(std::function<void(const std::string&)> on_refusal) {
    on_refusal_ = std::move(on_refusal);
  }

  // Lifts the limits of a connection that has not joined.
  void Authenticate();

  uint32_t readSlow(uint8_t* to, uint32_t size) override;
  // Whoever reads a string asks for it here first, before there is memory for
  // it: none is taken for a string that claims to be longer than its frame.
  const uint8_t* borrowSlow(uint8_t* buffer, uint32_t* size) override;
  void writeSlow(const uint8_t* from, uint32_t size) override;
  uint32_t readEnd() override;
  void flush() override;
  void close() override;

 protected:
  bool readFrame() override;

 private:
  // A large string of the frame that is being written, which follows the first
  // `at` bytes of the write buffer.
  struct LargeString {
    std::ptrdiff_t at;
    const uint8_t* data;
    uint32_t size;
  };

  bool IsGuarded() const { return watched_ != nullptr && authenticated_; }
  bool ReadGuarded();
  // Reads the frame's length, and a small frame or the beginning of a large
  // one. False where the connection ends instead.
  bool ReadHead();
  // Some of the frame's unread bytes.
  uint32_t ReadUnread(uint8_t* to, uint32_t size);
  uint32_t Buffered() const { return static_cast<uint32_t>(rBound_ - rBase_); }
  void FillBuffer(uint32_t size);
  void WriteParts(std::vector<iovec> parts);
  void LetPeerListen() const;

  const std::shared_ptr<WireTraffic> traffic_;
  const int fd_;
  const FrameTimes times_;
  std::unique_ptr<WatchedConnection> watched_;
  bool authenticated_ = false;
  bool in_frame_ = false;
  uint32_t unread_ = 0;  // bytes of the frame that are not in the read buffer
  std::vector<LargeString> large_strings_;
  // Null with TLS.
  const std::shared_ptr<apache::thrift::transport::TSocket> plain_socket_;
  std::function<void(const std::string&)> on_refusal_;
};

// For the whole process, before its first connection: Thrift's messages stay
// out of stderr (what matters is logged where it happens), and a TLS connection
// that its peer has closed is an error and no SIGPIPE, unless that is handled.
void PrepareThrift();

std::shared_ptr<apache::thrift::protocol::TProtocol> MakeProtocol(
    std::shared_ptr<GuardedFramedTransport> transport);

// Turns what would end the process, an allocation that fails for one, into the
// end of a connection.
class GuardedProcessor final : public apache::thrift::TProcessor {
 public:
  explicit GuardedProcessor(std::shared_ptr<apache::thrift::TProcessor> inner)
      : inner_(std::move(inner)) {}

  bool process(std::shared_ptr<apache::thrift::protocol::TProtocol> in,
               std::shared_ptr<apache::thrift::protocol::TProtocol> out,
               void* context) override;

 private:
  const std::shared_ptr<apache::thrift::TProcessor> inner_;
};

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_FRAMING_H_
