#include "thrift/notice_checksum.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace fedlb::thrift {

int64_t ChecksumOf(ChecksumKind kind, const wire::Notice& notice) {
  std::string text =
      absl::StrCat(static_cast<int>(notice.kind), " ", notice.task, " ",
                   notice.round, " ", notice.taskBytes);
  for (const wire::Assignment& assigned : notice.assignments) {
    absl::StrAppend(&text, " ", assigned.client, " ", assigned.batchSize);
  }
  for (const wire::Acknowledgement& counted : notice.acknowledgements) {
    absl::StrAppend(&text, " ", counted.client, " ", counted.task);
  }
  absl::StrAppend(&text, " ", notice.firstUndurableTask);
  return ChecksumOf(kind, text);
}

}  // namespace fedlb::thrift
