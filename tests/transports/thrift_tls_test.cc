// Who gets through mutual TLS, and what both sides are told when someone does
// not. Each case has a server of its own, with a member that must stay
// unharmed.

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "certificates.h"
#include "core/storage_testing.h"
#include "fedlb/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "thrift/refusal.h"
#include "transports/live_server.h"

namespace fedlb::thrift {
namespace {

using cli::CertificateAuthority;
using cli::IssuedCertificate;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using Use = CertificateAuthority::Use;

constexpr int64_t kDay = 24 * 60 * 60;

// What a server logs, from any of its threads.
class SharedLog final : public Logger {
 public:
  void Log(LogLevel level, absl::string_view message) override {
    const std::lock_guard lock(mutex_);
    if (level == LogLevel::kWarning) {
      text_ += std::string(message) + "\n";
    }
  }
  // Of what was refused; waits a little for it.
  std::string Refusals() {
    for (int i = 0; i < 100; ++i) {
      {
        const std::lock_guard lock(mutex_);
        if (!text_.empty()) {
          return text_;
        }
      }
      usleep(20000);
    }
    return "";
  }

 private:
  std::mutex mutex_;
  std::string text_;
};

class TlsTest : public testing::Test {
 protected:
  TlsTest()
      : authority_(*CertificateAuthority::Make(10)),
        stranger_(*CertificateAuthority::Make(10)) {
    Write(folder_ / "ca.pem", authority_.Own()->certificate);
    server_ = Keep("server", Server({"IP:127.0.0.1", "DNS:localhost"}));
    member_ = Keep("member", Client({7}));
  }

  IssuedCertificate Server(const std::vector<std::string>& names) const {
    return *authority_.Issue(Use::kServer, "server", names, 1);
  }
  IssuedCertificate Client(const std::vector<int64_t>& clients) const {
    return *authority_.Issue(Use::kClient, "client", NamesOf(clients), 1);
  }
  static std::vector<std::string> NamesOf(const std::vector<int64_t>& clients) {
    std::vector<std::string> names;
    for (const int64_t client : clients) {
      names.push_back("URI:fedlb:client:" + std::to_string(client));
    }
    return names;
  }

  // The same certificate for another time, in days from now.
  IssuedCertificate Redated(const IssuedCertificate& issued, int64_t from,
                            int64_t to) const {
    const IssuedCertificate own = *authority_.Own();
    BIO* text = BIO_new_mem_buf(issued.certificate.data(), -1);
    X509* certificate = PEM_read_bio_X509(text, nullptr, nullptr, nullptr);
    BIO_free(text);
    BIO* key_text = BIO_new_mem_buf(own.key.data(), -1);
    EVP_PKEY* key =
        PEM_read_bio_PrivateKey(key_text, nullptr, nullptr, nullptr);
    BIO_free(key_text);
    X509_gmtime_adj(X509_getm_notBefore(certificate), from * kDay);
    X509_gmtime_adj(X509_getm_notAfter(certificate), to * kDay);
    X509_sign(certificate, key, EVP_sha256());
    BIO* out = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(out, certificate);
    char* data = nullptr;
    const long size = BIO_get_mem_data(out, &data);
    IssuedCertificate redated = {std::string(data, static_cast<size_t>(size)),
                                 issued.key};
    BIO_free(out);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return redated;
  }

  TlsFiles Keep(const std::string& name, const IssuedCertificate& issued) {
    Write(folder_ / (name + ".pem"), issued.certificate);
    Write(folder_ / (name + ".key"), issued.key);
    return {folder_ / "ca.pem", folder_ / (name + ".pem"),
            folder_ / (name + ".key")};
  }

  void Start(const TlsFiles& files) {
    ServerOptions options;
    options.tls = files;
    live_ = std::make_unique<LiveServer>(options, CoordinatorOptions(), log_);
  }

  // Starts the server with a member connected.
  void StartWithMember() {
    Start(server_);
    auto member = live_->Connect({7}, member_);
    ASSERT_TRUE(member.ok()) << member.status();
    connected_ = *std::move(member);
  }

  void ExpectMemberUnharmed() {
    const auto echo = connected_->Echo(1000);
    EXPECT_TRUE(echo.ok()) << echo.status();
  }

  // What a client that comes with `files` is told.
  std::string Told(const TlsFiles& files, std::vector<int64_t> clients = {3},
                   const std::string& host = "127.0.0.1") {
    const auto link = live_->Connect(std::move(clients), files, "", host);
    EXPECT_FALSE(link.ok());
    return std::string(link.status().message());
  }

  // A TLS handshake and a frame by hand, with `set_up` done to the context.
  // Returns whether an answer came.
  bool Handshake(const std::function<void(SSL_CTX*)>& set_up) {
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    set_up(context);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(live_->endpoint().port));
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address),
                      sizeof(address)),
              0);
    SSL* ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    const std::string frame = JoinFrame("by hand", {3});
    char byte = 0;
    const bool answered =
        SSL_connect(ssl) == 1 &&
        SSL_write(ssl, frame.data(), static_cast<int>(frame.size())) > 0 &&
        SSL_read(ssl, &byte, 1) == 1;
    SSL_free(ssl);
    close(fd);
    SSL_CTX_free(context);
    return answered;
  }

  const TemporaryFolder folder_;
  const CertificateAuthority authority_;
  const CertificateAuthority stranger_;
  TlsFiles server_;
  TlsFiles member_;
  SharedLog log_;
  std::unique_ptr<LiveServer> live_;
  std::unique_ptr<ServerLink> connected_;
};

TEST_F(TlsTest, LetsItsClientsIn) {
  StartWithMember();
  const TlsFiles several = Keep("several", Client({1, 2}));
  EXPECT_TRUE(live_->Connect({1}, several).ok());
  EXPECT_TRUE(live_->Connect({2, 1}, several).ok());
  EXPECT_TRUE(live_->Connect({1}, several, "", "localhost").ok());
  ExpectMemberUnharmed();
  // The hand-made handshake of the cases below gets through when it may.
  EXPECT_TRUE(Handshake([&](SSL_CTX* context) {
    const TlsFiles files = Keep("by_hand", Client({3}));
    SSL_CTX_use_certificate_file(context, files.certificate.c_str(),
                                 SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM);
  }));
}

TEST_F(TlsTest, AClientOfAnotherAuthority) {
  StartWithMember();
  EXPECT_THAT(Told(Keep("stranger", *stranger_.Issue(Use::kClient, "client",
                                                     NamesOf({3}), 1))),
              HasSubstr("unknown ca"));
  EXPECT_THAT(log_.Refusals(), HasSubstr("certificate verify failed"));
  ExpectMemberUnharmed();
}

TEST_F(TlsTest, AServerOfAnotherAuthority) {
  Start(Keep("stranger",
             *stranger_.Issue(Use::kServer, "server", {"IP:127.0.0.1"}, 1)));
  EXPECT_THAT(Told(Keep("client", Client({3}))),
              HasSubstr("certificate verify failed"));
  EXPECT_THAT(log_.Refusals(), HasSubstr("alert"));
}

TEST_F(TlsTest, AServerOfAnotherName) {
  Start(Keep("elsewhere", Server({"DNS:elsewhere.example", "IP:127.0.0.2"})));
  EXPECT_THAT(Told(Keep("client", Client({3}))),
              HasSubstr("certificate does not name the host 127.0.0.1"));
}

// Only alternative names count: the subject may be anything.
TEST_F(TlsTest, AServerWithTheNameInItsSubjectOnly) {
  Start(Keep("subject", *authority_.Issue(Use::kServer, "localhost",
                                          {"DNS:elsewhere.example"}, 1)));
  EXPECT_THAT(Told(Keep("client", Client({3})), {3}, "localhost"),
              HasSubstr("does not name the host localhost"));
}

TEST_F(TlsTest, AServerWithAStarForItsName) {
  Start(Keep("star", Server({"DNS:*"})));
  EXPECT_THAT(Told(Keep("client", Client({3})), {3}, "localhost"),
              HasSubstr("does not name the host localhost"));
}

TEST_F(TlsTest, AnExpiredClient) {
  StartWithMember();
  EXPECT_THAT(Told(Keep("expired", Redated(Client({3}), -2, -1))),
              HasSubstr("certificate expired"));
  EXPECT_THAT(log_.Refusals(), HasSubstr("certificate verify failed"));
  ExpectMemberUnharmed();
}

TEST_F(TlsTest, AnExpiredServer) {
  Start(Keep("expired", Redated(Server({"IP:127.0.0.1"}), -2, -1)));
  EXPECT_THAT(Told(Keep("client", Client({3}))),
              HasSubstr("certificate verify failed"));
  EXPECT_THAT(log_.Refusals(), HasSubstr("certificate expired"));
}

TEST_F(TlsTest, AClientThatIsNotYetValid) {
  StartWithMember();
  EXPECT_THAT(Told(Keep("early", Redated(Client({3}), 1, 2))),
              HasSubstr("bad certificate"));
  EXPECT_THAT(log_.Refusals(), HasSubstr("certificate verify failed"));
  ExpectMemberUnharmed();
}

TEST_F(TlsTest, AClientWithoutACertificate) {
  StartWithMember();
  EXPECT_FALSE(Handshake([](SSL_CTX*) {}));
  EXPECT_THAT(log_.Refusals(), HasSubstr("peer did not return a certificate"));
  ExpectMemberUnharmed();
}

TEST_F(TlsTest, AClientWithAnotherClientsNumber) {
  StartWithMember();
  EXPECT_THAT(Told(Keep("client", Client({3})), {7}),
              HasSubstr("client 7: the certificate is that of 3"));
  EXPECT_THAT(log_.Refusals(), HasSubstr("client 7: the certificate is that"));
  ExpectMemberUnharmed();
}

// A server's certificate does not make a client, nor a client's a server.
TEST_F(TlsTest, ACertificateForTheOtherSide) {
  StartWithMember();
  EXPECT_THAT(Told(server_), HasSubstr("alert"));
  ExpectMemberUnharmed();
  connected_ = nullptr;
  Start(member_);
  EXPECT_THAT(Told(Keep("client", Client({3}))),
              HasSubstr("certificate verify failed"));
}

TEST_F(TlsTest, AClientThatNamesNoClient) {
  StartWithMember();
  EXPECT_FALSE(Told(Keep("nobody", *authority_.Issue(Use::kClient, "client-3",
                                                     {"DNS:client-3"}, 1)))
                   .empty());
  EXPECT_THAT(log_.Refusals(), HasSubstr("names no client"));
  ExpectMemberUnharmed();
}

TEST_F(TlsTest, OldVersions) {
  StartWithMember();
  EXPECT_FALSE(Handshake([](SSL_CTX* context) {
    SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0");
    SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION);
  }));
  EXPECT_THAT(log_.Refusals(),
              AnyOf(HasSubstr("unsupported protocol"), HasSubstr("version")));
  ExpectMemberUnharmed();
}

TEST_F(TlsTest, PlainTextToATlsServer) {
  StartWithMember();
  EXPECT_THAT(Told({}), HasSubstr("does the server ask for TLS"));
  EXPECT_THAT(log_.Refusals(), HasSubstr("wrong version number"));
  ExpectMemberUnharmed();
}

TEST_F(TlsTest, TlsToAPlainTextServer) {
  Start({});
  EXPECT_THAT(Told(Keep("client", Client({3}))),
              HasSubstr("is the server one without TLS"));
  EXPECT_THAT(log_.Refusals(), HasSubstr("refused"));
}

TEST_F(TlsTest, FilesThatDoNotBelongTogether) {
  TlsFiles mixed = member_;
  mixed.key = server_.key;
  const auto client = TlsSocketFactory::Create(mixed, /*server=*/false);
  EXPECT_EQ(FailureOf(client.status()), Failure::kUsage);
  EXPECT_THAT(client.status().message(), HasSubstr("key values mismatch"));
  mixed = member_;
  mixed.ca = "/nowhere/ca.pem";
  EXPECT_THAT(TlsSocketFactory::Create(mixed, false).status().message(),
              HasSubstr("transport.ca_file: /nowhere/ca.pem"));
}

}  // namespace
}  // namespace fedlb::thrift
