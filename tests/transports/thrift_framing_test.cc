// Frames, beside those of Thrift's own framed transport.

#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/transport/TBufferTransports.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fedlb_types.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "thrift/framing.h"

namespace fedlb::thrift {
namespace {

using apache::thrift::protocol::TBinaryProtocolT;
using apache::thrift::protocol::TProtocol;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TMemoryBuffer;
using apache::thrift::transport::TTransport;
using apache::thrift::transport::TTransportException;
using apache::thrift::transport::TVirtualTransport;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Gives what it has in small pieces, as a socket may.
class Trickle : public TVirtualTransport<Trickle> {
 public:
  Trickle(std::string bytes, uint32_t piece)
      : bytes_(std::move(bytes)), piece_(piece) {}

  bool isOpen() const override { return true; }
  bool peek() override { return at_ < bytes_.size(); }
  uint32_t read(uint8_t* to, uint32_t size) {
    const size_t got =
        bytes_.copy(reinterpret_cast<char*>(to), std::min(size, piece_), at_);
    at_ += got;
    return static_cast<uint32_t>(got);
  }

 private:
  const std::string bytes_;
  const uint32_t piece_;
  size_t at_ = 0;
};

std::shared_ptr<GuardedFramedTransport> Guarded(
    std::shared_ptr<TTransport> under,
    std::shared_ptr<WireTraffic> traffic = std::make_shared<WireTraffic>()) {
  return std::make_shared<GuardedFramedTransport>(
      std::move(under), std::move(traffic), nullptr, -1, FrameTimes());
}

// One frame with `chunks`, as `transport` writes it.
template <typename Transport>
void Write(std::shared_ptr<Transport> transport,
           const std::vector<wire::Chunk>& chunks) {
  TBinaryProtocolT<Transport> protocol(transport);
  for (const wire::Chunk& chunk : chunks) {
    chunk.write(&protocol);
  }
  transport->flush();
}

// Has small and large strings, one after another.
std::vector<wire::Chunk> SomeChunks() {
  std::vector<wire::Chunk> chunks;
  for (const size_t size :
       {size_t{0}, size_t{5}, size_t{1} << 20, size_t{65535}, size_t{65536},
        (size_t{1} << 20) - 1, size_t{300}, size_t{70000}}) {
    wire::Chunk& chunk = chunks.emplace_back();
    chunk.__set_checksum(static_cast<int64_t>(size));
    chunk.__set_data(std::string(size, '\0'));
    for (size_t i = 0; i < size; ++i) {
      chunk.data[i] = static_cast<char>(i * i % 251);
    }
  }
  return chunks;
}

std::string ThriftsFrame(const std::vector<wire::Chunk>& chunks) {
  auto memory = std::make_shared<TMemoryBuffer>();
  Write(std::make_shared<TFramedTransport>(memory), chunks);
  return memory->getBufferAsString();
}

TEST(FramingTest, WritesWhatThriftWrites) {
  auto memory = std::make_shared<TMemoryBuffer>();
  auto traffic = std::make_shared<WireTraffic>();
  const auto transport = Guarded(memory, traffic);
  const std::string frame = ThriftsFrame(SomeChunks());
  Write(transport, SomeChunks());
  EXPECT_TRUE(memory->getBufferAsString() == frame);
  Write(transport, {SomeChunks().back()});  // nothing is left of the first
  EXPECT_TRUE(memory->getBufferAsString() ==
              frame + ThriftsFrame({SomeChunks().back()}));
  EXPECT_EQ(traffic->sent,
            static_cast<int64_t>(memory->getBufferAsString().size()));
}

class TricklingTest : public testing::TestWithParam<uint32_t> {};

TEST_P(TricklingTest, ReadsWhatThriftWrote) {
  const std::vector<wire::Chunk> chunks = SomeChunks();
  const std::string frame = ThriftsFrame(chunks);
  auto traffic = std::make_shared<WireTraffic>();
  const auto transport =
      Guarded(std::make_shared<Trickle>(frame + frame, GetParam()), traffic);
  const std::shared_ptr<TProtocol> protocol = MakeProtocol(transport);
  for (int repeat = 0; repeat < 2; ++repeat) {
    for (const wire::Chunk& expected : chunks) {
      wire::Chunk chunk;
      chunk.read(protocol.get());
      EXPECT_EQ(chunk.checksum, expected.checksum);
      EXPECT_TRUE(chunk.data == expected.data) << expected.checksum;
    }
    transport->readEnd();
  }
  EXPECT_EQ(traffic->received, static_cast<int64_t>(2 * frame.size()));
  EXPECT_FALSE(transport->peek());
}

TEST_P(TricklingTest, TheNextFrameBeginsWhereThisOneEnds) {
  std::vector<wire::Chunk> chunks = SomeChunks();
  const auto transport = Guarded(std::make_shared<Trickle>(
      ThriftsFrame(chunks) + ThriftsFrame({chunks[1]}), GetParam()));
  const std::shared_ptr<TProtocol> protocol = MakeProtocol(transport);
  wire::Chunk chunk;
  chunk.read(protocol.get());
  transport->readEnd();  // of a frame of which most is unread
  chunk.read(protocol.get());
  EXPECT_TRUE(chunk.data == chunks[1].data);
}

INSTANTIATE_TEST_SUITE_P(Pieces, TricklingTest,
                         testing::Values(1u, 7u, 4096u, 1u << 24));

TEST(FramingTest, AMessageEndsWithItsFrame) {
  const std::vector<wire::Chunk> chunks = SomeChunks();
  for (const size_t at : {size_t{1}, size_t{2}}) {  // a small and a large one
    std::string frame = ThriftsFrame({chunks[at]});
    const std::string next = frame;
    frame.resize(frame.size() - 20);
    const auto size = static_cast<uint32_t>(frame.size() - 4);
    for (int i = 0; i < 4; ++i) {
      frame[static_cast<size_t>(i)] = static_cast<char>(size >> (24 - 8 * i));
    }
    const auto protocol =
        MakeProtocol(Guarded(std::make_shared<Trickle>(frame + next, 4096u)));
    wire::Chunk chunk;
    EXPECT_THAT(
        [&] { chunk.read(protocol.get()); },
        ThrowsMessage<TTransportException>(HasSubstr("longer than its frame")));
    EXPECT_LT(chunk.data.capacity(), 100u);  // no memory for what is not there
  }
}

TEST(FramingTest, SaysWhatIsWrongWithAFrame) {
  const auto message_for = [](const std::string& bytes) {
    const auto protocol =
        MakeProtocol(Guarded(std::make_shared<Trickle>(bytes, 4096u)));
    wire::Chunk chunk;
    try {
      chunk.read(protocol.get());
    } catch (const TTransportException& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  EXPECT_THAT(message_for("abcd"), HasSubstr("a frame of 1633837924 bytes"));
  EXPECT_THAT(message_for(std::string("\0\0", 2)),
              HasSubstr("ends in a frame's length"));
  EXPECT_THAT(message_for(std::string("\0\0\0\x10xyz", 7)),
              HasSubstr("ends in a frame"));
  EXPECT_THAT(message_for(std::string("\0\0\0\0", 4)),
              HasSubstr("No more data"));
}

}  // namespace
}  // namespace fedlb::thrift
