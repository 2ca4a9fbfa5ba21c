// The checksum of a notice, as fedlb.thrift describes it.

#ifndef FEDLB_TRANSPORTS_THRIFT_NOTICE_CHECKSUM_H_
#define FEDLB_TRANSPORTS_THRIFT_NOTICE_CHECKSUM_H_

#include <cstdint>

#include "fedlb_types.h"
#include "thrift/checksum.h"

namespace fedlb::thrift {

int64_t ChecksumOf(ChecksumKind kind, const wire::Notice& notice);

}  // namespace fedlb::thrift

#endif  // FEDLB_TRANSPORTS_THRIFT_NOTICE_CHECKSUM_H_
