#include "fedlb/fingerprint.h"

namespace fedlb {

const char* HostFingerprint() { return FEDLB_BUILD_FINGERPRINT; }

const char* HostVersion() { return FEDLB_VERSION; }

}  // namespace fedlb
