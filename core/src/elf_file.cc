#include "elf_file.h"

#include <elf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

#if defined(__x86_64__)
constexpr uint16_t kThisMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr uint16_t kThisMachine = EM_AARCH64;
#else
#error "name the ELF machine of this architecture"
#endif

absl::Status NotALibrary(absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("is not a shared library of this machine: ", why));
}

absl::Status Damaged(absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("is truncated or damaged: ", why));
}

// Bounds are compared without ever adding two numbers from the file, because
// their sum may wrap around.
bool Fits(uint64_t offset, uint64_t size, uint64_t limit) {
  return offset <= limit && size <= limit - offset;
}

absl::Status ReadAt(int fd, uint64_t offset, void* out, uint64_t size) {
  auto* bytes = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got = pread(fd, bytes, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot be read: ", std::strerror(errno)));
    }
    if (got == 0) {
      return Damaged("it ends early");
    }
    bytes += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<uint64_t>(got);
  }
  return absl::OkStatus();
}

absl::StatusOr<Elf64_Ehdr> ReadHeader(int fd, uint64_t file_size) {
  Elf64_Ehdr header;
  unsigned char ident[EI_NIDENT] = {};
  FEDLB_RETURN_IF_ERROR(
      ReadAt(fd, 0, ident, std::min<uint64_t>(sizeof(ident), file_size)));
  if (std::memcmp(ident, ELFMAG, SELFMAG) != 0) {
    return NotALibrary("it does not begin with an ELF header");
  }
  if (file_size < sizeof(header)) {
    return Damaged("the ELF header reaches beyond the end of the file");
  }
  FEDLB_RETURN_IF_ERROR(ReadAt(fd, 0, &header, sizeof(header)));
  if (header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != kThisMachine) {
    return NotALibrary("it was built for another processor");
  }
  if (header.e_type != ET_DYN) {
    return NotALibrary("it is an object file or a program");
  }
  if (header.e_phentsize != sizeof(Elf64_Phdr) ||
      (header.e_shnum != 0 && header.e_shentsize != sizeof(Elf64_Shdr))) {
    return Damaged("the sizes in the ELF header are wrong");
  }
  if (!Fits(header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr), file_size)) {
    return Damaged("the program headers reach beyond the end of the file");
  }
  if (!Fits(header.e_shoff, header.e_shnum * sizeof(Elf64_Shdr), file_size)) {
    return Damaged("the section headers reach beyond the end of the file");
  }
  return header;
}

absl::Status CheckSegments(const std::vector<Elf64_Phdr>& segments,
                           uint64_t file_size) {
  const Elf64_Phdr* dynamic = nullptr;
  for (size_t i = 0; i < segments.size(); ++i) {
    const Elf64_Phdr& segment = segments[i];
    if (!Fits(segment.p_offset, segment.p_filesz, file_size)) {
      return Damaged(
          absl::StrCat("segment ", i, " reaches beyond the end of the file"));
    }
    if (segment.p_type == PT_LOAD && segment.p_filesz > segment.p_memsz) {
      return Damaged(absl::StrCat("segment ", i, " does not fit its memory"));
    }
    if (segment.p_type == PT_DYNAMIC) {
      dynamic = &segment;
    }
  }
  if (dynamic == nullptr) {
    return NotALibrary("it has no dynamic segment");
  }
  const bool loaded = std::any_of(
      segments.begin(), segments.end(), [dynamic](const Elf64_Phdr& segment) {
        return segment.p_type == PT_LOAD &&
               dynamic->p_vaddr >= segment.p_vaddr &&
               Fits(dynamic->p_vaddr - segment.p_vaddr, dynamic->p_memsz,
                    segment.p_memsz);
      });
  if (!loaded) {
    return Damaged("the dynamic segment is in no segment that is loaded");
  }
  return absl::OkStatus();
}

absl::Status CheckSections(const std::vector<Elf64_Shdr>& sections,
                           uint64_t file_size) {
  for (size_t i = 0; i < sections.size(); ++i) {
    const Elf64_Shdr& section = sections[i];
    if (section.sh_type != SHT_NOBITS &&
        !Fits(section.sh_offset, section.sh_size, file_size)) {
      return Damaged(
          absl::StrCat("section ", i, " reaches beyond the end of the file"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<std::string>> ReadLibrarySection(
    int fd, uint64_t file_size, absl::string_view name, uint64_t limit) {
  FEDLB_ASSIGN_OR_RETURN(const Elf64_Ehdr header, ReadHeader(fd, file_size));

  std::vector<Elf64_Phdr> segments(header.e_phnum);
  FEDLB_RETURN_IF_ERROR(ReadAt(fd, header.e_phoff, segments.data(),
                               segments.size() * sizeof(Elf64_Phdr)));
  FEDLB_RETURN_IF_ERROR(CheckSegments(segments, file_size));

  std::vector<Elf64_Shdr> sections(header.e_shnum);
  FEDLB_RETURN_IF_ERROR(ReadAt(fd, header.e_shoff, sections.data(),
                               sections.size() * sizeof(Elf64_Shdr)));
  FEDLB_RETURN_IF_ERROR(CheckSections(sections, file_size));
  if (sections.empty()) {
    return std::nullopt;
  }
  if (header.e_shstrndx >= sections.size()) {
    return Damaged("the names of its sections are missing");
  }
  const Elf64_Shdr& names = sections[header.e_shstrndx];
  const uint64_t name_size = name.size() + 1;
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type == SHT_NOBITS ||
        !Fits(section.sh_name, name_size, names.sh_size)) {
      continue;
    }
    std::string found(name_size, ' ');
    FEDLB_RETURN_IF_ERROR(
        ReadAt(fd, names.sh_offset + section.sh_name, found.data(), name_size));
    if (found != absl::StrCat(name, absl::string_view("\0", 1))) {
      continue;
    }
    std::string content(std::min<uint64_t>(section.sh_size, limit), ' ');
    FEDLB_RETURN_IF_ERROR(
        ReadAt(fd, section.sh_offset, content.data(), content.size()));
    return content;
  }
  return std::nullopt;
}

}  // namespace fedlb
