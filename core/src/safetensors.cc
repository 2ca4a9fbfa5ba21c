#include "fedlb/safetensors.h"

#include <algorithm>
#include <cstring>

#include <nlohmann/json.hpp>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fedlb/durable_file.h"
#include "fedlb/memory.h"
#include "fedlb/status.h"
#include "safetensors_digest.h"
#include "safetensors_header.h"
#include "safetensors_reader.h"

namespace fedlb {
namespace {

// `read` takes offsets within the data area.
absl::StatusOr<SafetensorsFile> ReadTensors(SafetensorsHeader header,
                                            ReadBytes read) {
  DataDigests digests(header.metadata);
  SafetensorsFile file;
  file.tensors.reserve(header.tensors.size());
  for (SafetensorsEntry& entry : header.tensors) {
    FEDLB_ASSIGN_OR_RETURN(at::Tensor tensor,
                           ReadSafetensorsTensor(entry, read, digests));
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

// A file as it will be written: everything before the data, and the data.
struct Image {
  std::string preamble;
  std::vector<at::Tensor> tensors;  // contiguous

  // In their order in the file; they point into the image.
  std::vector<absl::string_view> Pieces() const {
    std::vector<absl::string_view> pieces = {preamble};
    for (const at::Tensor& tensor : tensors) {
      if (tensor.nbytes() > 0) {
        pieces.emplace_back(static_cast<const char*>(tensor.const_data_ptr()),
                            tensor.nbytes());
      }
    }
    return pieces;
  }
};

absl::StatusOr<Image> MakeImage(const SafetensorsFile& file,
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
  Image image;
  image.preamble.append(reinterpret_cast<const char*>(&length),
                        kSafetensorsLengthBytes);
  image.preamble.append(header);
  image.tensors = std::move(tensors);
  return image;
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
  return CatchAsStatusOr(
      "writing safetensors", [&]() -> absl::StatusOr<std::string> {
        FEDLB_ASSIGN_OR_RETURN(const Image image, MakeImage(file, digest));
        const std::vector<absl::string_view> pieces = image.Pieces();
        size_t size = 0;
        for (const absl::string_view piece : pieces) {
          size += piece.size();
        }
        std::string bytes;
        bytes.reserve(size);
        ExpectFilling(bytes.data(), size);
        for (const absl::string_view piece : pieces) {
          bytes.append(piece.data(), piece.size());
        }
        return bytes;
      });
}

absl::Status WriteSafetensors(const std::string& path,
                              const SafetensorsFile& file,
                              SafetensorsDigest digest) {
  return CatchAsStatus("writing safetensors", [&]() -> absl::Status {
    FEDLB_ASSIGN_OR_RETURN(const Image image, MakeImage(file, digest));
    return WriteFileDurably(path, image.Pieces());
  });
}

absl::StatusOr<SafetensorsFile> ParseSafetensors(absl::string_view bytes) {
  return CatchAsStatusOr(
      "reading safetensors", [bytes]() -> absl::StatusOr<SafetensorsFile> {
        const auto read = [&bytes](uint64_t offset, char* target, size_t size) {
          std::memcpy(target, bytes.data() + offset, size);
          return absl::OkStatus();
        };
        FEDLB_ASSIGN_OR_RETURN(SafetensorsPreamble preamble,
                               ReadSafetensorsPreamble(bytes.size(), read));
        const absl::string_view data = bytes.substr(preamble.data_offset);
        return ReadTensors(std::move(preamble.header),
                           [&data](uint64_t offset, char* target, size_t size) {
                             std::memcpy(target, data.data() + offset, size);
                             return absl::OkStatus();
                           });
      });
}

absl::StatusOr<SafetensorsFile> ReadSafetensors(const std::string& path) {
  absl::StatusOr<SafetensorsFile> file = CatchAsStatusOr(
      absl::StrCat("reading ", path), [&]() -> absl::StatusOr<SafetensorsFile> {
        FEDLB_ASSIGN_OR_RETURN(const SafetensorsReader reader,
                               SafetensorsReader::Open(path));
        return ReadTensors(
            reader.header(),
            [&reader](uint64_t offset, char* target, size_t size) {
              return reader.ReadAt(offset, target, size);
            });
      });
  if (absl::IsDataLoss(file.status())) {
    return CannotRead(path, file.status().message());
  }
  return file;
}

}  // namespace fedlb
