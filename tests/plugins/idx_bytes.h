// Writes IDX content byte by byte, for tests of what reads it.

#ifndef FEDLB_TESTS_PLUGINS_IDX_BYTES_H_
#define FEDLB_TESTS_PLUGINS_IDX_BYTES_H_

#include <zlib.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace fedlb {

using Bytes = std::vector<uint8_t>;

inline void AppendBigEndian(uint32_t value, Bytes& bytes) {
  for (const int shift : {24, 16, 8, 0}) {
    bytes.push_back(static_cast<uint8_t>(value >> shift));
  }
}

inline Bytes IdxBytes(uint8_t type, const std::vector<uint32_t>& dims,
                      const Bytes& payload) {
  Bytes bytes = {0, 0, type, static_cast<uint8_t>(dims.size())};
  for (const uint32_t dim : dims) {
    AppendBigEndian(dim, bytes);
  }
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

inline Bytes Gzip(const Bytes& bytes) {
  z_stream stream{};
  // 15 bits of window; 16 more ask for the gzip wrapper.
  EXPECT_EQ(
      deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY),
      Z_OK);
  Bytes packed(deflateBound(&stream, bytes.size()));
  stream.next_in = const_cast<uint8_t*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

inline void WriteBytes(const std::string& path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good()) << path;
}

}  // namespace fedlb

#endif  // FEDLB_TESTS_PLUGINS_IDX_BYTES_H_
