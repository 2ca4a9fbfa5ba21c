// Frames of a peer that has joined, as the server's connection reads them: the
// protocol, the calls and the coordinator, without sockets.

#include <thrift/transport/TBufferTransports.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "fedlb/logger.h"
#include "thrift/coordinator.h"
#include "thrift/framing.h"
#include "thrift/service.h"

namespace fedlb::thrift {
namespace {

using apache::thrift::transport::TMemoryBuffer;

CoordinatorOptions Options() {
  CoordinatorOptions options;
  options.heartbeat_seconds = 0.001;
  options.max_update_bytes = 1 << 16;
  return options;
}

FederationTerms Terms() {
  FederationTerms terms;
  terms.run_id = "fuzz";
  terms.num_clients = 4;
  return terms;
}

void Process(const uint8_t* data, size_t size) {
  static Coordinator& coordinator =
      *new Coordinator(Terms(), Options(), Logger::Null());
  static const auto& tokens = *new std::map<int64_t, std::string>();
  auto in = std::make_shared<TMemoryBuffer>();
  in->write(data, static_cast<uint32_t>(size));
  const auto make = [](std::shared_ptr<TMemoryBuffer> buffer) {
    return std::make_shared<GuardedFramedTransport>(
        std::move(buffer), std::make_shared<WireTraffic>(), nullptr, -1,
        FrameTimes());
  };
  const auto input = make(in);
  const auto output = make(std::make_shared<TMemoryBuffer>());
  const auto service = std::make_shared<Service>(
      coordinator, Logger::Null(), tokens, [] { return Peer(); }, [] {});
  wire::Hello hello;
  hello.protocol = 1;
  hello.process = "fuzz";
  hello.clients = {0, 1};
  hello.checksum = wire::Checksum::CRC32;
  wire::Welcome welcome;
  service->join(welcome, hello);
  GuardedProcessor processor(
      std::make_shared<wire::FederationProcessor>(service));
  const auto protocol_in = MakeProtocol(input);
  const auto protocol_out = MakeProtocol(output);
  try {
    while (processor.process(protocol_in, protocol_out, nullptr)) {
    }
  } catch (const std::exception&) {
    // The connection ends.
  }
}

}  // namespace
}  // namespace fedlb::thrift

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  fedlb::thrift::PrepareThrift();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fedlb::thrift::Process(data, size);
  return 0;
}
