// A fitted gradient mapper as a file.

#ifndef FEDLB_MAPPER_FILE_H_
#define FEDLB_MAPPER_FILE_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/component.h"
#include "fedlb/config_table.h"
#include "fedlb/export.h"
#include "fedlb/tensor_list.h"

namespace fedlb {

// A safetensors file with a SHA-256 digest. Its metadata says of which mapper
// and with what settings ("fedlb.options", TOML) it is, and for which
// parameters.
struct MapperFile {
  ConfigTable options;  // the table [gradient_mapper], with its name
  TensorLayout layout;  // of the model's parameters
  ComponentState state;
  // What else is good to know: the model's name, batch sizes, learning rate.
  std::map<std::string, std::string> notes;
};

// kStorage: as WriteFileDurably. kInvalidArgument: as SerializeSafetensors.
FEDLB_API absl::Status WriteMapperFile(const std::string& path,
                                       const MapperFile& file);

// kInputFile naming the file: missing, truncated, changed, of another kind, or
// with values that are not finite.
FEDLB_API absl::StatusOr<MapperFile> ReadMapperFile(const std::string& path);

// kInputFile naming the file and the first parameter that differs.
FEDLB_API absl::Status CheckMapperFileFits(const std::string& path,
                                           const MapperFile& file,
                                           const TensorLayout& layout);

}  // namespace fedlb

#endif  // FEDLB_MAPPER_FILE_H_
