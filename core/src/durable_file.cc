#include "fedlb/durable_file.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "digest.h"
#include "fedlb/status.h"
#include "posix_file.h"

namespace fedlb {

absl::Status WriteFileDurably(const std::string& path,
                              absl::string_view bytes) {
  return WriteFileDurably(path, absl::MakeConstSpan(&bytes, 1));
}

absl::Status WriteFileDurably(const std::string& path,
                              absl::Span<const absl::string_view> pieces) {
  const auto failure = [&](absl::string_view step) {
    size_t size = 0;
    for (const absl::string_view piece : pieces) {
      size += piece.size();
    }
    return StorageError(absl::StrCat("cannot write ", path, " (", size,
                                     " bytes needed): ", step, ": ",
                                     SystemError()));
  };
  const std::string directory = DirectoryOf(path);
  const std::string name = NameOf(path);

  // A rename would put a file in the place of a device.
  struct stat existing;
  const bool exists = stat(path.c_str(), &existing) == 0;
  if (name.empty() || (exists && !S_ISREG(existing.st_mode))) {
    return StorageError(
        absl::StrCat("cannot write ", path, ": not the name of a file"));
  }
  const mode_t mode = exists ? existing.st_mode & 0777 : 0644;

  std::string temporary;
  int fd;
  do {
    // A name that is taken was left by a process that died with our number.
    temporary = absl::StrCat(directory, "/", TemporaryName(name));
    fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  } while (fd < 0 && (errno == EEXIST || errno == EINTR));
  if (fd < 0) {
    return failure("create");
  }

  absl::Status status;
  {
    FileDescriptor file(fd);
    const auto write = [&file](absl::string_view piece) {
      return WriteAll(file.get(), piece);
    };
    if (!std::all_of(pieces.begin(), pieces.end(), write)) {
      status = failure("write");
    } else if (!SyncFile(file.get())) {
      // Renaming before the data is on the disk would let a power cut leave an
      // empty file under the final name.
      status = failure("sync");
    } else if (!file.Close()) {
      status = failure("close");
    }
  }
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) {
    status = failure("rename");
  }
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  if (!SyncDirectory(directory)) {
    return failure("sync the folder");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path,
                                          int64_t max_bytes) {
  const auto failure = [&](absl::string_view reason) {
    return InputFileError(absl::StrCat("cannot read ", path, ": ", reason));
  };
  // Without O_NONBLOCK a pipe would wait here for a writer.
  FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.ok()) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return absl::NotFoundError(absl::StrCat("there is no file ", path));
    }
    return failure(SystemError());
  }
  struct stat information;
  if (fstat(file.get(), &information) != 0) {
    return failure(SystemError());
  }
  if (!S_ISREG(information.st_mode)) {
    return failure("not a regular file");
  }

  // The size is a hint: a file may grow meanwhile, and /proc says 0. One byte
  // more than allowed is enough to know that it is too much.
  const size_t limit = static_cast<size_t>(std::max<int64_t>(max_bytes, 0)) + 1;
  const auto expected = static_cast<size_t>(information.st_size) + 1;
  std::string bytes;
  size_t size = 0;
  while (size < limit) {
    if (size == bytes.size()) {
      bytes.resize(
          std::min(limit, std::max({expected, 2 * size, size_t{4096}})));
    }
    const ssize_t count =
        read(file.get(), bytes.data() + size, bytes.size() - size);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return failure(SystemError());
    }
    if (count == 0) {
      break;
    }
    size += static_cast<size_t>(count);
  }
  if (size == limit) {
    return failure(absl::StrCat("more than ", max_bytes, " bytes"));
  }
  bytes.resize(size);
  return bytes;
}

std::string Sha256Hex(absl::string_view bytes) {
  Sha256 digest;
  digest.Update(bytes.data(), bytes.size());
  return digest.Finish();
}

}  // namespace fedlb
