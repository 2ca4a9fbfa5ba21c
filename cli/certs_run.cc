#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "certificates.h"
#include "certs_command.h"
#include "fedlb/durable_file.h"
#include "fedlb/status.h"
#include "table.h"

namespace fedlb::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMaxPemBytes = 1 << 20;
// An authority outlives what it signs.
constexpr int64_t kAuthorityLifetimes = 10;

// One pair of files to be made: <name>.pem and <name>.key.
struct Kit {
  std::string name;
  CertificateAuthority::Use use;
  std::vector<std::string> alternative_names;
};

absl::StatusOr<std::string> AlternativeNameOf(const std::string& host) {
  in6_addr address;
  if (inet_pton(AF_INET, host.c_str(), &address) == 1 ||
      inet_pton(AF_INET6, host.c_str(), &address) == 1) {
    return absl::StrCat("IP:", host);
  }
  const bool is_name = std::all_of(host.begin(), host.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' ||
           c == '.';
  });
  if (!is_name || host.front() == '-' || host.front() == '.') {
    return UsageError(
        absl::StrCat("--host ", host, ": neither a host name nor an address"));
  }
  return absl::StrCat("DNS:", host);
}

absl::StatusOr<std::vector<Kit>> KitsOf(const CertsFlags& flags,
                                        bool with_server) {
  std::vector<Kit> kits;
  if (with_server) {
    Kit server = {"server", CertificateAuthority::Use::kServer, {}};
    for (const std::string& host : flags.hosts) {
      FEDLB_ASSIGN_OR_RETURN(server.alternative_names.emplace_back(),
                             AlternativeNameOf(host));
    }
    kits.push_back(std::move(server));
  }
  std::vector<std::string> processes = flags.hosted;
  for (int64_t client = 0; client < flags.clients; ++client) {
    processes.push_back(absl::StrCat(client));
  }
  for (const std::string& process : processes) {
    Kit kit = {"client", CertificateAuthority::Use::kClient, {}};
    for (const absl::string_view number : absl::StrSplit(process, ',')) {
      int64_t client = 0;
      if (!absl::SimpleAtoi(number, &client) || client < 0) {
        return UsageError(absl::StrCat("--client ", process,
                                       ": not numbers of clients, like 0,3,6"));
      }
      absl::StrAppend(&kit.name, "-", client);
      kit.alternative_names.push_back(
          absl::StrCat("URI:fedlb:client:", client));
    }
    kits.push_back(std::move(kit));
  }
  return kits;
}

// A file that is not there yet, and that others cannot read where `is_secret`.
absl::Status WriteNewFile(const std::string& path, const std::string& text,
                          bool is_secret) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                      is_secret ? 0600 : 0644);
  if (fd < 0) {
    return StorageError(absl::StrCat(
        path, ": ", strerror(errno),
        errno == EEXIST ? "; remove it first, or name another folder" : ""));
  }
  const ssize_t written = write(fd, text.data(), text.size());
  const bool complete =
      written == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  const int error = errno;
  close(fd);
  if (!complete) {
    unlink(path.c_str());
    return StorageError(absl::StrCat(path, ": cannot write ", text.size(),
                                     " bytes: ", strerror(error)));
  }
  return absl::OkStatus();
}

absl::Status WriteKit(const std::string& folder, const std::string& name,
                      const IssuedCertificate& issued, Json& files) {
  const std::string path = absl::StrCat(folder, "/", name);
  FEDLB_RETURN_IF_ERROR(
      WriteNewFile(path + ".key", issued.key, /*is_secret=*/true));
  FEDLB_RETURN_IF_ERROR(
      WriteNewFile(path + ".pem", issued.certificate, /*is_secret=*/false));
  files.push_back(path + ".pem");
  files.push_back(path + ".key");
  return absl::OkStatus();
}

// The authority of the folder, which is made where there is none.
absl::StatusOr<CertificateAuthority> AuthorityOf(const std::string& folder,
                                                 int64_t days, Json& files) {
  const std::string path = folder + "/ca";
  const absl::StatusOr<std::string> certificate =
      ReadWholeFile(path + ".pem", kMaxPemBytes);
  if (absl::IsNotFound(certificate.status())) {
    FEDLB_ASSIGN_OR_RETURN(
        CertificateAuthority authority,
        CertificateAuthority::Make(kAuthorityLifetimes * days));
    FEDLB_ASSIGN_OR_RETURN(const IssuedCertificate own, authority.Own());
    FEDLB_RETURN_IF_ERROR(WriteKit(folder, "ca", own, files));
    return authority;
  }
  FEDLB_RETURN_IF_ERROR(certificate.status());
  FEDLB_ASSIGN_OR_RETURN(const std::string key,
                         ReadWholeFile(path + ".key", kMaxPemBytes));
  auto authority = CertificateAuthority::Parse(*certificate, key);
  return authority.ok() ? std::move(authority)
                        : Annotate(authority.status(), path + ".pem");
}

}  // namespace

absl::Status RunCerts(const CertsFlags& flags, CommandContext& /*context*/,
                      CommandResult& result) {
  if (mkdir(flags.folder.c_str(), 0755) != 0 && errno != EEXIST) {
    return StorageError(absl::StrCat(flags.folder, ": ", strerror(errno)));
  }
  const bool is_new = access((flags.folder + "/ca.pem").c_str(), F_OK) != 0;
  FEDLB_ASSIGN_OR_RETURN(const std::vector<Kit> kits, KitsOf(flags, is_new));
  if (kits.empty()) {
    return UsageError(
        absl::StrCat(flags.folder,
                     " holds an authority; say with --clients or --client what "
                     "else it is to sign"));
  }
  Json files = Json::array();
  FEDLB_ASSIGN_OR_RETURN(const CertificateAuthority authority,
                         AuthorityOf(flags.folder, flags.days, files));
  for (const Kit& kit : kits) {
    FEDLB_ASSIGN_OR_RETURN(
        const IssuedCertificate issued,
        authority.Issue(kit.use, kit.name, kit.alternative_names, flags.days));
    FEDLB_RETURN_IF_ERROR(WriteKit(flags.folder, kit.name, issued, files));
  }
  result.data = Json{{"folder", flags.folder}, {"files", std::move(files)}};
  result.text = FormatPairs(
      {{"authority", flags.folder + "/ca.pem, for everyone; keep ca.key to "
                                    "yourself"},
       {"certificates", FormatCount(static_cast<int64_t>(kits.size()))},
       {"use them with",
        "--set transport.ca_file=... --set transport.certificate_file=... "
        "--set transport.key_file=..."}});
  return absl::OkStatus();
}

}  // namespace fedlb::cli
