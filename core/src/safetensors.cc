#include "fedlb/safetensors.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "digest.h"
#include "fedlb/status.h"
#include "posix_file.h"
#include "safetensors_header.h"

namespace fedlb {
namespace {

constexpr uint64_t kLengthBytes = 8;
// A block is hashed while it is in the cache.
constexpr uint64_t kBlockBytes = 256 << 10;

constexpr char kSha256Key[] = "fedlb.sha256";
constexpr char kXxh3Key[] = "fedlb.xxh3";
constexpr char kHeaderDigestKey[] = "fedlb.header_xxh3";
// Written in the place of the header's digest while that is computed.
constexpr char kBlankDigest[] = "0000000000000000";
constexpr size_t kHeaderDigestSize = sizeof(kBlankDigest) - 1;

// The digest of a header whose own digest is blank.
std::string HeaderDigest(absl::string_view blanked) {
  Xxh3 digest;
  digest.Update(blanked.data(), blanked.size());
  return digest.Finish();
}

// Where the digits of the header's digest begin, in the form in which fedlb
// writes it. In the text of another value the quotes would be escaped.
size_t FindHeaderDigest(absl::string_view header) {
  const std::string prefix = absl::StrCat("\"", kHeaderDigestKey, "\":\"");
  const size_t found = header.find(prefix);
  return found == absl::string_view::npos ? found : found + prefix.size();
}

// The digests of the header and of the data come together: damage to the name
// of one of them would otherwise only take it out of use.
absl::Status CheckHeaderDigest(
    std::string header, const std::map<std::string, std::string>& metadata) {
  const auto digest = metadata.find(kHeaderDigestKey);
  const bool has_header_digest = digest != metadata.end();
  if (has_header_digest !=
      (metadata.contains(kSha256Key) || metadata.contains(kXxh3Key))) {
    return absl::DataLossError(absl::StrCat(
        "of the digests ", kHeaderDigestKey, " and ", kSha256Key, " or ",
        kXxh3Key, " one is missing; a file has both or none"));
  }
  if (!has_header_digest) {
    return absl::OkStatus();
  }
  const std::string& expected = digest->second;
  const size_t position = FindHeaderDigest(header);
  if (position == absl::string_view::npos ||
      header.compare(position, kHeaderDigestSize, expected) != 0) {
    return absl::DataLossError(
        absl::StrCat(kHeaderDigestKey, " is not in the form fedlb writes"));
  }
  header.replace(position, kHeaderDigestSize, kBlankDigest);
  if (HeaderDigest(header) != expected) {
    return absl::DataLossError(
        absl::StrCat("the header does not match its digest ", kHeaderDigestKey,
                     "; it changed after it was written"));
  }
  return absl::OkStatus();
}

// The digests that a file claims to have.
class DataDigests {
 public:
  explicit DataDigests(const std::map<std::string, std::string>& metadata) {
    if (const auto found = metadata.find(kSha256Key); found != metadata.end()) {
      expected_sha256_ = found->second;
      sha256_.emplace();
    }
    if (const auto found = metadata.find(kXxh3Key); found != metadata.end()) {
      expected_xxh3_ = found->second;
      xxh3_.emplace();
    }
  }

  void Update(const void* bytes, size_t size) {
    if (sha256_.has_value()) {
      sha256_->Update(bytes, size);
    }
    if (xxh3_.has_value()) {
      xxh3_->Update(bytes, size);
    }
  }

  absl::Status Check() {
    if (sha256_.has_value() && sha256_->Finish() != expected_sha256_) {
      return Mismatch(kSha256Key);
    }
    if (xxh3_.has_value() && xxh3_->Finish() != expected_xxh3_) {
      return Mismatch(kXxh3Key);
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status Mismatch(absl::string_view key) {
    return absl::DataLossError(
        absl::StrCat("the data does not match its digest ", key,
                     "; it changed after it was written"));
  }

  std::optional<Sha256> sha256_;
  std::optional<Xxh3> xxh3_;
  std::string expected_sha256_;
  std::string expected_xxh3_;
};

// Copies `size` bytes at `offset` of the file to `target`.
using ReadBytes =
    absl::FunctionRef<absl::Status(uint64_t offset, char* target, size_t size)>;

absl::StatusOr<at::Tensor> ReadTensor(const SafetensorsEntry& entry,
                                      uint64_t data_offset, ReadBytes read,
                                      DataDigests& digests) {
  at::Tensor tensor =
      at::empty(entry.shape, at::TensorOptions().dtype(entry.dtype));
  auto* const target = static_cast<char*>(tensor.mutable_data_ptr());
  for (uint64_t at = entry.begin; at < entry.end; at += kBlockBytes) {
    char* const block = target + (at - entry.begin);
    const size_t size = std::min(kBlockBytes, entry.end - at);
    FEDLB_RETURN_IF_ERROR(read(data_offset + at, block, size));
    digests.Update(block, size);
  }
  // LibTorch loads these bytes as bool, for which only two values exist.
  if (entry.dtype == at::kBool &&
      std::any_of(target, target + (entry.end - entry.begin),
                  [](char value) { return value != 0 && value != 1; })) {
    return absl::DataLossError(absl::StrCat("tensor ", Quoted(entry.name),
                                            " holds booleans beyond 0 and 1"));
  }
  return tensor;
}

absl::StatusOr<SafetensorsFile> Read(uint64_t file_size, ReadBytes read) {
  if (file_size < kLengthBytes) {
    return absl::DataLossError(
        absl::StrCat("a file of ", file_size, " bytes has no header length"));
  }
  std::array<char, kLengthBytes> length_bytes;
  FEDLB_RETURN_IF_ERROR(read(0, length_bytes.data(), kLengthBytes));
  uint64_t length = 0;
  std::memcpy(&length, length_bytes.data(), kLengthBytes);
  if (length > file_size - kLengthBytes) {
    return absl::DataLossError(absl::StrCat("a header of ", length,
                                            " bytes in a file of ", file_size));
  }
  if (length > kMaxSafetensorsHeaderBytes) {
    return absl::DataLossError(absl::StrCat(
        "a header of ", length, " bytes, over ", kMaxSafetensorsHeaderBytes));
  }
  std::string text(length, '\0');
  FEDLB_RETURN_IF_ERROR(read(kLengthBytes, text.data(), length));
  const uint64_t data_offset = kLengthBytes + length;
  FEDLB_ASSIGN_OR_RETURN(SafetensorsHeader header,
                         ParseSafetensorsHeader(text, file_size - data_offset));
  FEDLB_RETURN_IF_ERROR(CheckHeaderDigest(std::move(text), header.metadata));

  DataDigests digests(header.metadata);
  SafetensorsFile file;
  file.tensors.reserve(header.tensors.size());
  for (SafetensorsEntry& entry : header.tensors) {
    FEDLB_ASSIGN_OR_RETURN(at::Tensor tensor,
                           ReadTensor(entry, data_offset, read, digests));
    file.tensors.emplace_back(std::move(entry.name), std::move(tensor));
  }
  FEDLB_RETURN_IF_ERROR(digests.Check());
  file.metadata = std::move(header.metadata);
  return file;
}

absl::StatusOr<std::string> JsonString(absl::string_view text) {
  try {
    return nlohmann::json(std::string(text)).dump();
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError(
        absl::StrCat("the text ", Quoted(text), " is not UTF-8"));
  }
}

absl::Status CheckWritable(absl::string_view name, const at::Tensor& tensor) {
  const auto failure = [name](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", Quoted(name), " ", what));
  };
  if (name.empty() || name.size() > kMaxSafetensorsNameBytes ||
      name == kSafetensorsMetadataKey) {
    return failure("cannot be named so in a safetensors file");
  }
  if (!tensor.defined()) {
    return failure("is not there");
  }
  if (tensor.layout() != at::kStrided || !tensor.device().is_cpu() ||
      tensor.is_neg() || tensor.is_conj() || tensor._is_zerotensor()) {
    return failure("is not dense on the CPU");
  }
  if (tensor.dim() > static_cast<int64_t>(kMaxSafetensorsRank)) {
    return failure(
        absl::StrCat("has over ", kMaxSafetensorsRank, " dimensions"));
  }
  return absl::OkStatus();
}

// The digest of the data area under its key, if there is to be one.
void AddDigests(const std::vector<at::Tensor>& tensors,
                SafetensorsDigest digest,
                std::map<std::string, std::string>& metadata) {
  const auto digest_of_all = [&tensors](auto state) {
    for (const at::Tensor& tensor : tensors) {
      state.Update(tensor.const_data_ptr(), tensor.nbytes());
    }
    return state.Finish();
  };
  for (const char* key : {kSha256Key, kXxh3Key, kHeaderDigestKey}) {
    metadata.erase(key);
  }
  switch (digest) {
    case SafetensorsDigest::kNone:
      return;
    case SafetensorsDigest::kXxh3:
      metadata[kXxh3Key] = digest_of_all(Xxh3());
      break;
    case SafetensorsDigest::kSha256:
      metadata[kSha256Key] = digest_of_all(Sha256());
      break;
  }
  metadata[kHeaderDigestKey] = kBlankDigest;
}

absl::StatusOr<std::string> MetadataJson(
    const std::map<std::string, std::string>& metadata) {
  std::string json;
  for (const auto& [key, value] : metadata) {
    FEDLB_ASSIGN_OR_RETURN(const std::string quoted_key, JsonString(key));
    FEDLB_ASSIGN_OR_RETURN(const std::string quoted_value, JsonString(value));
    absl::StrAppend(&json, json.empty() ? "" : ",", quoted_key, ":",
                    quoted_value);
  }
  return absl::StrCat("{", json, "}");
}

absl::StatusOr<std::string> Serialize(const SafetensorsFile& file,
                                      SafetensorsDigest digest) {
  // Contiguous from here on; no copy where they are so already.
  std::vector<at::Tensor> tensors;
  tensors.reserve(file.tensors.size());
  absl::flat_hash_set<absl::string_view> names;
  std::string entries;
  uint64_t data_size = 0;
  for (const auto& [name, tensor] : file.tensors) {
    FEDLB_RETURN_IF_ERROR(CheckWritable(name, tensor));
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("two tensors have the name ", Quoted(name)));
    }
    const char* const dtype = SafetensorsDtypeName(tensor.scalar_type());
    if (dtype == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", Quoted(name), " is of a type that safetensors lacks"));
    }
    FEDLB_ASSIGN_OR_RETURN(const std::string quoted, JsonString(name));
    const uint64_t end = data_size + tensor.nbytes();
    absl::StrAppend(&entries, ",", quoted, ":{\"dtype\":\"", dtype,
                    "\",\"shape\":[", absl::StrJoin(tensor.sizes(), ","),
                    "],\"data_offsets\":[", data_size, ",", end, "]}");
    data_size = end;
    tensors.push_back(tensor.contiguous());
  }
  std::map<std::string, std::string> metadata = file.metadata;
  AddDigests(tensors, digest, metadata);
  if (tensors.size() > kMaxSafetensorsEntries ||
      metadata.size() > kMaxSafetensorsEntries) {
    return absl::InvalidArgumentError(absl::StrCat(
        "more tensors or metadata than a file holds: ", tensors.size(), " and ",
        metadata.size()));
  }
  FEDLB_ASSIGN_OR_RETURN(const std::string metadata_json,
                         MetadataJson(metadata));
  std::string header = absl::StrCat("{\"", kSafetensorsMetadataKey,
                                    "\":", metadata_json, entries, "}");
  header.resize((header.size() + 7) / 8 * 8, ' ');
  if (header.size() > kMaxSafetensorsHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("names and metadata take ", header.size(), " bytes, over ",
                     kMaxSafetensorsHeaderBytes));
  }
  if (digest != SafetensorsDigest::kNone) {
    header.replace(FindHeaderDigest(header), kHeaderDigestSize,
                   HeaderDigest(header));
  }

  const uint64_t length = header.size();
  std::string bytes;
  bytes.reserve(kLengthBytes + length + data_size);
  bytes.append(reinterpret_cast<const char*>(&length), kLengthBytes);
  bytes.append(header);
  for (const at::Tensor& tensor : tensors) {
    if (tensor.nbytes() > 0) {
      bytes.append(static_cast<const char*>(tensor.const_data_ptr()),
                   tensor.nbytes());
    }
  }
  return bytes;
}

}  // namespace

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the format is little-endian, and so are the tensors in memory");

const at::Tensor* SafetensorsFile::Find(absl::string_view name) const {
  const auto found = absl::c_find_if(
      tensors, [name](const auto& entry) { return entry.first == name; });
  return found == tensors.end() ? nullptr : &found->second;
}

absl::StatusOr<std::string> SerializeSafetensors(const SafetensorsFile& file,
                                                 SafetensorsDigest digest) {
  return CatchAsStatusOr("writing safetensors",
                         [&] { return Serialize(file, digest); });
}

absl::StatusOr<SafetensorsFile> ParseSafetensors(absl::string_view bytes) {
  return CatchAsStatusOr("reading safetensors", [bytes] {
    return Read(bytes.size(),
                [bytes](uint64_t offset, char* target, size_t size) {
                  std::memcpy(target, bytes.data() + offset, size);
                  return absl::OkStatus();
                });
  });
}

absl::StatusOr<SafetensorsFile> ReadSafetensors(const std::string& path) {
  const auto failure = [&path](absl::string_view reason) {
    return InputFileError(absl::StrCat("cannot read ", path, ": ", reason));
  };
  // Without O_NONBLOCK a pipe would wait here for a writer.
  FileDescriptor descriptor(
      open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat information;
  if (!descriptor.ok() || fstat(descriptor.get(), &information) != 0) {
    return failure(SystemError());
  }
  if (!S_ISREG(information.st_mode)) {
    return failure("not a regular file");
  }
  const auto read = [&descriptor](uint64_t offset, char* target, size_t size) {
    while (size > 0) {
      const ssize_t count =
          pread(descriptor.get(), target, size, static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) {
        continue;
      }
      if (count <= 0) {
        return absl::DataLossError(
            count < 0 ? SystemError()
                      : "it became shorter while it was being read");
      }
      offset += static_cast<uint64_t>(count);
      target += count;
      size -= static_cast<size_t>(count);
    }
    return absl::OkStatus();
  };
  absl::StatusOr<SafetensorsFile> file = CatchAsStatusOr(
      absl::StrCat("reading ", path),
      [&] { return Read(static_cast<uint64_t>(information.st_size), read); });
  if (absl::IsDataLoss(file.status())) {
    return failure(file.status().message());
  }
  return file;
}

}  // namespace fedlb
