// The conformance suites as GoogleTest expectations.

#ifndef FEDLB_TESTING_EXPECT_CONFORMS_H_
#define FEDLB_TESTING_EXPECT_CONFORMS_H_

#include "fedlb/plugin.h"
#include "fedlb/registry.h"
#include "fedlb/testing/conformance.h"

namespace fedlb::conformance {

// A test failure for every promise that the component breaks.
void ExpectConforms(const ComponentEntry& entry,
                    const ComponentRegistry& registry,
                    const Deviations& deviations = {});

// The same for one class, which no plugin needs to offer:
//   TEST(TrimmedMeanTest, Conforms) {
//     fedlb::conformance::ExpectConforms<TrimmedMean>();
//   }
template <typename C>
void ExpectConforms(const Deviations& deviations = {}) {
  PluginRegistrar registrar;
  registrar.Add<C>();
  ExpectConforms(registrar.entries().front(), ComponentRegistry(), deviations);
}

}  // namespace fedlb::conformance

#endif  // FEDLB_TESTING_EXPECT_CONFORMS_H_
