#include "fedlb/testing/expect_conforms.h"

#include <gtest/gtest.h>

namespace fedlb::conformance {

void ExpectConforms(const ComponentEntry& entry,
                    const ComponentRegistry& registry,
                    const Deviations& deviations) {
  for (const CheckResult& result :
       RunConformance(entry, registry, deviations)) {
    EXPECT_TRUE(result.status.ok() || result.skipped)
        << entry.kind << " " << entry.name << ": " << result.check << ": "
        << result.status.message();
  }
}

}  // namespace fedlb::conformance
