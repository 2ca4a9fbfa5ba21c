// Looks into a shared library without trusting a byte of it.

#ifndef FEDLB_SRC_ELF_FILE_H_
#define FEDLB_SRC_ELF_FILE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fedlb {

// The first `limit` bytes of the section `name` of the library open at `fd`,
// or nullopt where the library has no such section.
//
// kInvalidArgument when the file is not a shared library of this machine, or
// when anything its headers speak of reaches beyond the end of the file: the
// dynamic loader maps such a file and dies of SIGBUS.
absl::StatusOr<std::optional<std::string>> ReadLibrarySection(
    int fd, uint64_t file_size, absl::string_view name, uint64_t limit);

}  // namespace fedlb

#endif  // FEDLB_SRC_ELF_FILE_H_
