// A live server and peers that mean it no good.

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "thrift/refusal.h"
#include "transports/live_server.h"

namespace fedlb::thrift {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr int64_t kMiB = 1 << 20;

// What sanitizers keep for themselves: what was freed, who used it last.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kOfSanitizers = 256 * kMiB;
#else
constexpr int64_t kOfSanitizers = 0;
#endif
// What a server may hold on to after peers that misbehaved.
constexpr int64_t kMemoryOfPeers = 32 * kMiB + kOfSanitizers;

std::string BigEndian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string Framed(const std::string& message) {
  return BigEndian(static_cast<uint32_t>(message.size())) + message;
}

// Strict, a call, of `method`; what follows are its arguments.
std::string CallHeader(const std::string& method) {
  return BigEndian(0x80010001) +
         BigEndian(static_cast<uint32_t>(method.size())) + method +
         BigEndian(0);
}

// A field of a struct: type, id.
std::string Field(char type, int16_t id) {
  return {type, static_cast<char>(id >> 8), static_cast<char>(id)};
}

constexpr char kBool = 2;
constexpr char kI64 = 10;
constexpr char kString = 11;
constexpr char kStruct = 12;
constexpr char kMap = 13;
constexpr char kList = 15;

// Forty bytes or so, each of which has ended or emptied a server somewhere.
std::vector<std::string> Attacks() {
  const std::string join = CallHeader("join");
  const std::string hello = join + Field(kStruct, 1);
  std::string deep = join;
  for (int i = 0; i < 10000; ++i) {
    deep += Field(kStruct, 1);
  }
  return {
      // Lists, maps and strings that claim to be huge.
      Framed(hello + Field(kList, 3) + std::string(1, kI64) +
             BigEndian(0x7fffffff)),
      Framed(hello + Field(kList, 3) + std::string(1, kString) +
             BigEndian(0x40000001)),
      Framed(hello + Field(kList, 3) + std::string(1, kStruct) +
             BigEndian(0x7fffffff)),
      Framed(hello + Field(kList, 3) + std::string(1, kBool) +
             BigEndian(0xffffffff)),
      Framed(hello + Field(kString, 2) + BigEndian(0x7fffffff)),
      Framed(hello + Field(kString, 2) + BigEndian(0xffffffff)),
      Framed(hello + Field(kMap, 9) + std::string(2, kString) +
             BigEndian(0x7fffffff)),
      Framed(hello + Field(kMap, 9) + std::string(2, kBool) +
             BigEndian(0x00ffffff)),
      // Structs within structs.
      Framed(deep),
      // Frames that claim to be larger than any, or nothing.
      BigEndian(0x7fffffff) + "x",
      BigEndian(0xffffffff) + "x",
      BigEndian(0),
      BigEndian(65537) + std::string(65537, 'x'),
      // Methods that do not exist, or whose name claims to be huge.
      Framed(CallHeader("nothing")),
      Framed(BigEndian(0x80010001) + BigEndian(0x7fffffff)),
      // Not strict, no version, another version.
      Framed(BigEndian(4) + "join" + std::string(1, 1) + BigEndian(0)),
      Framed("GET / HTTP/1.1\r\n\r\n"),
      Framed(BigEndian(0x80020001)),
      // Cut off.
      JoinFrame("p", {1}).substr(0, 20),
      std::string("\x16\x03\x01\x02\x00\x01\x00", 7),
      // An unknown type of field.
      Framed(hello + Field(99, 1)),
  };
}

class ServerTest : public testing::Test {
 protected:
  static ServerOptions Quick() {
    ServerOptions options;
    options.times.handshake = milliseconds(500);
    options.times.frame = milliseconds(500);
    options.times.idle = milliseconds(1500);
    return options;
  }

  // A client that means well is served in a reasonable time.
  static void ExpectAlive(LiveServer& server) {
    const auto link = server.Connect({7});
    ASSERT_TRUE(link.ok()) << link.status();
    EXPECT_TRUE((*link)->Echo(3 * kMiB).ok());
    (*link)->Leave();
  }
};

TEST_F(ServerTest, ServesAClientThatMeansWell) {
  LiveServer server;
  const auto link = server.Connect({1, 2});
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_EQ((*link)->welcome().runId, "test run");
  EXPECT_EQ((*link)->welcome().numClients, 100);
  ExpectAlive(server);
}

TEST_F(ServerTest, OutlivesEveryAttack) {
  LiveServer server(Quick());
  ExpectAlive(server);
  const int64_t before = ResidentBytes();
  for (int repeat = 0; repeat < 3; ++repeat) {
    for (const std::string& attack : Attacks()) {
      const RawConnection peer(server.endpoint());
      peer.Send(attack);
      peer.Receive(20);
    }
  }
  ExpectAlive(server);
  EXPECT_LT(ResidentBytes() - before, kMemoryOfPeers);
}

TEST_F(ServerTest, OutlivesEveryAttackOfAMember) {
  LiveServer server(Quick());
  const int64_t before = ResidentBytes();
  int process = 0;
  for (const std::string& attack : Attacks()) {
    const RawConnection peer(server.endpoint());
    peer.Send(JoinFrame(absl::StrCat("p", ++process), {3}));
    EXPECT_FALSE(peer.Receive(1000).empty());
    peer.Send(attack);
    peer.Receive(20);
  }
  ExpectAlive(server);
  EXPECT_LT(ResidentBytes() - before, kMemoryOfPeers);
}

// Frames of a whole session, of which any bytes are changed, any part is left
// out or said twice.
// FEDLB_FRAMES says how many.
TEST_F(ServerTest, OutlivesDamagedFrames) {
  const char* wanted = getenv("FEDLB_FRAMES");
  const int64_t frames_to_send = wanted == nullptr ? 20000 : atoll(wanted);
  LiveServer server(Quick());
  wire::Upload upload;
  upload.__set_client(3);
  upload.__set_task(0);
  upload.__set_bytes(100);
  upload.__set_identity(5);
  wire::Chunk chunk;
  chunk.__set_data(std::string(100, 'c'));
  chunk.__set_checksum(7);
  using Client = wire::FederationClient;
  const std::vector<std::string> frames = {
      JoinFrame("process", {3, 4, 5}),
      FrameOf([](Client& client) { client.send_poll(0); }),
      FrameOf([](Client& client) { client.send_fetch(0, 0, 100); }),
      FrameOf([&](Client& client) { client.send_beginUpload(upload); }),
      FrameOf([&](Client& client) { client.send_putChunk(3, 0, 0, chunk); }),
      FrameOf([](Client& client) { client.send_commit(3, 0); }),
      FrameOf([](Client& client) { client.send_fail(3, 0, true, "cause"); }),
      FrameOf([](Client& client) { client.send_heartbeat(); }),
      FrameOf([](Client& client) { client.send_echo("hello", 100); }),
      FrameOf([](Client& client) { client.send_leave(); }),
  };
  ExpectAlive(server);
  const int64_t before = ResidentBytes();
  RandomStream random({.seed = 1, .purpose = "frames"});
  std::unique_ptr<RawConnection> peer;
  int64_t sent = 0;
  while (sent < frames_to_send) {
    if (peer == nullptr) {
      peer = std::make_unique<RawConnection>(server.endpoint());
      if (random.Below(2) == 0) {
        peer->Send(frames[0]);  // a member
      }
    }
    std::string frame = frames[random.Below(frames.size())];
    const uint64_t kind = random.Below(4);
    // The length stays right in most, so that the rest is looked at.
    const uint64_t first = kind == 3 ? 0 : 4;
    for (uint64_t i = 0; i <= random.Below(4); ++i) {
      const uint64_t at = first + random.Below(frame.size() - first);
      if (kind == 1) {
        frame[at] = static_cast<char>(random.Below(256));
      } else {
        frame[at] = static_cast<char>(frame[at] ^ (1 << random.Below(8)));
      }
    }
    if (kind == 2) {
      frame.resize(4 + random.Below(frame.size() - 4));
      frame.replace(0, 4, BigEndian(static_cast<uint32_t>(frame.size() - 4)));
    }
    ++sent;
    if (!peer->Send(frame) || random.Below(30) == 0) {
      peer = nullptr;
    }
  }
  peer = nullptr;
  ExpectAlive(server);
  EXPECT_LT(ResidentBytes() - before, kMemoryOfPeers);
}

TEST_F(ServerTest, AFloodOfSilentConnectionsKeepsNobodyOut) {
  LiveServer server;
  ExpectAlive(server);
  const int64_t memory = ResidentBytes();
  const int64_t threads = NumThreads();
  const int64_t descriptors = NumDescriptors();
  {
    std::vector<std::unique_ptr<RawConnection>> flood;
    for (int i = 0; i < 500; ++i) {
      flood.push_back(std::make_unique<RawConnection>(server.endpoint()));
      flood.back()->Send("x");
      if (i % 100 == 99) {
        ExpectAlive(server);
      }
    }
    // Of those that have not joined 64 stay, beside the newest.
    std::this_thread::sleep_for(milliseconds(200));
    EXPECT_LT(NumThreads() - threads, 64 + 8);
    EXPECT_LT(ResidentBytes() - memory, 64 * kMiB + kOfSanitizers);
  }
  for (int i = 0; i < 100 && NumDescriptors() > descriptors; ++i) {
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_LE(NumDescriptors(), descriptors);
}

TEST_F(ServerTest, AFrameByteByByteIsCutOff) {
  LiveServer server(Quick());
  const auto start = std::chrono::steady_clock::now();
  const RawConnection peer(server.endpoint());
  const std::string join = JoinFrame("slow", {1});
  bool closed = false;
  size_t sent = 0;
  while (!closed && sent < join.size()) {
    // Any timeout of the socket begins anew with each byte.
    closed = !peer.Send(join.substr(sent++, 1));
    peer.Receive(50, &closed);
  }
  EXPECT_TRUE(closed);
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(2));
}

TEST_F(ServerTest, AMembersFrameByteByByteIsCutOff) {
  LiveServer server(Quick());
  const RawConnection peer(server.endpoint());
  peer.Send(JoinFrame("slow", {1}));
  EXPECT_FALSE(peer.Receive(1000).empty());
  const auto start = std::chrono::steady_clock::now();
  bool closed = false;
  peer.Send(BigEndian(1000));
  while (!closed && std::chrono::steady_clock::now() - start < seconds(5)) {
    closed = !peer.Send("x");
    peer.Receive(50, &closed);
  }
  EXPECT_TRUE(closed);
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(2));
}

TEST_F(ServerTest, ASilentMemberIsCutOff) {
  LiveServer server(Quick());
  const RawConnection peer(server.endpoint());
  peer.Send(JoinFrame("silent", {1}));
  EXPECT_FALSE(peer.Receive(1000).empty());
  bool closed = false;
  peer.Receive(4000, &closed);
  EXPECT_TRUE(closed);
}

TEST_F(ServerTest, BeforeJoinFramesAreSmall) {
  LiveServer server;
  const RawConnection peer(server.endpoint());
  bool closed = false;
  peer.Send(BigEndian(65537) + std::string(1000, 'x'));
  peer.Receive(2000, &closed);
  EXPECT_TRUE(closed);
}

TEST_F(ServerTest, CallsBeforeJoinAreRefused) {
  LiveServer server;
  const RawConnection peer(server.endpoint());
  peer.Send(FrameOf([](auto& client) { client.send_poll(0); }));
  EXPECT_THAT(peer.Receive(1000), HasSubstr("the first call must be join"));
}

// THRIFT-5492: a connection of Thrift 0.17 ends after 100 MB.
TEST_F(ServerTest, AConnectionLastsForManyMegabytes) {
  LiveServer server;
  const auto link = server.Connect({1});
  ASSERT_TRUE(link.ok()) << link.status();
  for (int i = 0; i < 3; ++i) {
    const auto seconds = (*link)->Echo(100 * kMiB);
    ASSERT_TRUE(seconds.ok()) << seconds.status();
  }
  // All over one connection: the server has seen no other.
  EXPECT_GT((*link)->traffic().sent, 300 * kMiB);
}

TEST_F(ServerTest, TokensLetTheirClientsIn) {
  ServerOptions options;
  options.tokens = {{-1, "token of everyone"}, {5, "token of client five"}};
  LiveServer server(options);
  EXPECT_TRUE(server.Connect({1, 2}, {}, "token of everyone").ok());
  EXPECT_TRUE(server.Connect({5}, {}, "token of client five").ok());
  const auto code_of = [&](std::vector<int64_t> clients,
                           const std::string& token) {
    return CodeOf(server.Connect(std::move(clients), {}, token).status());
  };
  EXPECT_EQ(code_of({5}, "token of everyone"), Refused::kUnauthenticated);
  EXPECT_EQ(code_of({1, 5}, "token of client five"), Refused::kUnauthenticated);
  EXPECT_EQ(code_of({1}, "token of everyonE"), Refused::kUnauthenticated);
  EXPECT_EQ(code_of({1}, ""), Refused::kUnauthenticated);
}

TEST_F(ServerTest, APortThatIsTakenIsSaid) {
  LiveServer server;
  ServerOptions options;
  options.listen = server.endpoint();
  Coordinator coordinator({}, {}, Logger::Null());
  const auto second = Server::Start(
      options, coordinator, std::make_shared<WireTraffic>(), Logger::Null());
  EXPECT_EQ(FailureOf(second.status()), Failure::kPeerLost);
  EXPECT_THAT(second.status().message(),
              HasSubstr(server.endpoint().ToString()));
}

}  // namespace
}  // namespace fedlb::thrift
