// The suites of datasets, partitioners and samplers.

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "conformance/suite.h"
#include "fedlb/dataset.h"
#include "fedlb/partitioner.h"
#include "fedlb/random.h"
#include "fedlb/sampler.h"

namespace fedlb::conformance {
namespace {

constexpr RandomKey kEpochKey = {.seed = 1, .purpose = "conformance"};

absl::Status CheckContents(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto dataset, suite.Create<Dataset>());
  FEDLB_RETURN_IF_ERROR(Expect(dataset->num_classes() > 0, "no classes"));
  FEDLB_RETURN_IF_ERROR(
      Expect(dataset->memory_bytes() > 0, "memory_bytes() is not positive"));
  for (const int64_t size : dataset->example_shape()) {
    FEDLB_RETURN_IF_ERROR(Expect(size > 0, "an empty example shape"));
  }
  for (const Split split : {Split::kTrain, Split::kTest}) {
    FEDLB_RETURN_IF_ERROR(Expect(dataset->size(split) > 0, "an empty split"));
    for (const int64_t label : dataset->labels(split)) {
      FEDLB_RETURN_IF_ERROR(Expect(label >= 0 && label < dataset->num_classes(),
                                   absl::StrCat("a label is ", label)));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckBatches(const Suite& suite) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    ComponentContext context = suite.Context();
    context.dtype = dtype;
    FEDLB_ASSIGN_OR_RETURN(auto dataset, suite.Create<Dataset>(context));
    for (const Split split : {Split::kTrain, Split::kTest}) {
      const int64_t last = dataset->size(split) - 1;
      const std::vector<int64_t> indices = {last, 0, last / 2, 0};
      FEDLB_ASSIGN_OR_RETURN(const Batch batch,
                             dataset->Load(split, indices, nullptr));
      std::vector<int64_t> sizes = dataset->example_shape();
      sizes.insert(sizes.begin(), 4);
      FEDLB_RETURN_IF_ERROR(
          CheckLayout({{"inputs", sizes, dtype}, {"targets", {4}, at::kLong}},
                      {batch.inputs, batch.targets}));
      FEDLB_RETURN_IF_ERROR(ExpectFinite({batch.inputs}, "an input"));
      for (size_t i = 0; i < indices.size(); ++i) {
        const auto row = static_cast<int64_t>(i);
        FEDLB_RETURN_IF_ERROR(
            Expect(batch.targets[row].item<int64_t>() ==
                       dataset->labels(split)[indices[i]],
                   "targets are not in the order of the indices"));
        FEDLB_ASSIGN_OR_RETURN(const Batch alone,
                               dataset->Load(split, {indices[i]}, nullptr));
        FEDLB_RETURN_IF_ERROR(
            ExpectSameBits({alone.inputs}, {batch.inputs.narrow(0, row, 1)},
                           "an example alone and in a batch"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckAugmentation(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto dataset, suite.Create<Dataset>());
  const int64_t last = dataset->size(Split::kTrain) - 1;
  const std::vector<int64_t> indices = {0, last};
  FEDLB_ASSIGN_OR_RETURN(const Batch first,
                         dataset->Load(Split::kTrain, indices, &kEpochKey));
  FEDLB_ASSIGN_OR_RETURN(const Batch second,
                         dataset->Load(Split::kTrain, indices, &kEpochKey));
  FEDLB_ASSIGN_OR_RETURN(const Batch alone,
                         dataset->Load(Split::kTrain, {last}, &kEpochKey));
  FEDLB_RETURN_IF_ERROR(
      ExpectSameBits({first.inputs}, {second.inputs}, "two loads of a batch"));
  return ExpectSameBits({alone.inputs}, {first.inputs.narrow(0, 1, 1)},
                        "an augmented example alone and in a batch");
}

absl::Status CheckBadIndices(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(auto dataset, suite.Create<Dataset>());
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  const int64_t size = dataset->size(Split::kTrain);
  for (const std::vector<int64_t>& indices :
       {std::vector<int64_t>{}, {-1}, {size}, {0, size}}) {
    FEDLB_RETURN_IF_ERROR(
        ExpectCode(dataset->Load(Split::kTrain, indices, nullptr).status(),
                   kInvalid, "Load of an index out of range, or of none,"));
  }
  return absl::OkStatus();
}

// 1,000 of 2,000 examples with 10 equally frequent labels.
struct Examples {
  std::vector<int64_t> indices;
  std::vector<int64_t> labels;

  Examples() : indices(1000), labels(2000) {
    for (size_t i = 0; i < labels.size(); ++i) {
      labels[i] = static_cast<int64_t>(i / 2 % 10);
    }
    for (size_t i = 0; i < indices.size(); ++i) {
      indices[i] = static_cast<int64_t>(2 * i + 1);
    }
  }
};

absl::StatusOr<Partition> DealTo(const Suite& suite, int64_t clients,
                                 uint64_t seed = 1) {
  const Examples examples;
  ComponentContext context = suite.Context();
  context.num_clients = clients;
  context.seed = seed;
  FEDLB_ASSIGN_OR_RETURN(auto partitioner, suite.Create<Partitioner>(context));
  return partitioner->Deal(examples.indices, examples.labels, 10, clients);
}

absl::Status CheckDeal(const Suite& suite) {
  const Examples examples;
  for (const int64_t clients : {10, 1, 2, 7, 50}) {
    const absl::StatusOr<Partition> partition = DealTo(suite, clients);
    // A rule may not suit every number of clients, and says so.
    if (!partition.ok() && clients != 10 &&
        FailureOf(partition.status()) == Failure::kConfig) {
      continue;
    }
    FEDLB_RETURN_IF_ERROR(
        Annotate(partition.status(), absl::StrCat(clients, " clients")));
    FEDLB_RETURN_IF_ERROR(
        Expect(static_cast<int64_t>(partition->size()) == clients,
               "not one share per client"));
    std::set<int64_t> seen;
    for (const std::vector<int64_t>& share : *partition) {
      FEDLB_RETURN_IF_ERROR(
          Expect(!share.empty(), "a client without examples"));
      for (const int64_t index : share) {
        FEDLB_RETURN_IF_ERROR(
            Expect(std::binary_search(examples.indices.begin(),
                                      examples.indices.end(), index) &&
                       seen.insert(index).second,
                   absl::StrCat("example ", index,
                                " is not to be dealt, or dealt twice")));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckDealRepeats(const Suite& suite) {
  FEDLB_ASSIGN_OR_RETURN(const Partition first, DealTo(suite, 10));
  FEDLB_ASSIGN_OR_RETURN(const Partition second, DealTo(suite, 10));
  return Expect(first == second, "the same seed gives another partition");
}

absl::Status CheckTooManyClients(const Suite& suite) {
  const absl::Status status = DealTo(suite, 1001).status();
  FEDLB_RETURN_IF_ERROR(ExpectCode(status, absl::StatusCode::kInvalidArgument,
                                   "Deal of 1000 examples to 1001 clients"));
  return Expect(FailureOf(status) == Failure::kConfig, "not a config error");
}

absl::Status CheckCohorts(const Suite& suite) {
  std::vector<int64_t> examples(50);
  std::iota(examples.begin(), examples.end(), 1);
  ComponentContext context = suite.Context();
  context.num_clients = 50;
  FEDLB_ASSIGN_OR_RETURN(auto sampler, suite.Create<Sampler>(context));
  FEDLB_ASSIGN_OR_RETURN(auto fresh, suite.Create<Sampler>(context));
  for (const int64_t size : {1, 10, 50}) {
    for (int64_t round = 0; round < 20; ++round) {
      const SamplingRequest request = {round, size, examples};
      FEDLB_ASSIGN_OR_RETURN(const auto cohort, sampler->Sample(request));
      const std::set<int64_t> distinct(cohort.begin(), cohort.end());
      FEDLB_RETURN_IF_ERROR(
          Expect(static_cast<int64_t>(cohort.size()) == size &&
                     distinct.size() == cohort.size() &&
                     *distinct.begin() >= 0 && *distinct.rbegin() < 50,
                 absl::StrCat("a cohort of ", size, " is not ", size,
                              " distinct clients")));
    }
    const SamplingRequest last = {19, size, examples};
    FEDLB_ASSIGN_OR_RETURN(const auto again, sampler->Sample(last));
    FEDLB_ASSIGN_OR_RETURN(const auto first, fresh->Sample(last));
    FEDLB_RETURN_IF_ERROR(
        Expect(again == first, "the cohort depends on earlier calls"));
  }
  return absl::OkStatus();
}

absl::Status CheckBadCohorts(const Suite& suite) {
  const std::vector<int64_t> examples(10, 5);
  FEDLB_ASSIGN_OR_RETURN(auto sampler, suite.Create<Sampler>());
  for (const int64_t size : {0, -1, 11}) {
    FEDLB_RETURN_IF_ERROR(
        ExpectCode(sampler->Sample({0, size, examples}).status(),
                   absl::StatusCode::kInvalidArgument,
                   absl::StrCat("Sample of ", size, " out of 10 clients")));
  }
  return absl::OkStatus();
}

}  // namespace

void CheckDataset(Suite& suite) {
  suite.Check("labels and sizes are in order",
              [&] { return CheckContents(suite); });
  suite.Check("batches hold the examples that were asked for",
              [&] { return CheckBatches(suite); });
  suite.Check("augmentations depend on the key and the example alone",
              [&] { return CheckAugmentation(suite); });
  suite.Check("indices out of range are refused",
              [&] { return CheckBadIndices(suite); });
}

void CheckPartitioner(Suite& suite) {
  suite.Check("no example is dealt twice and no client goes empty",
              [&] { return CheckDeal(suite); });
  suite.Check("the same seed gives the same partition",
              [&] { return CheckDealRepeats(suite); });
  suite.Check("more clients than examples are refused",
              [&] { return CheckTooManyClients(suite); });
}

void CheckSampler(Suite& suite) {
  suite.Check("cohorts are distinct clients and depend on the request alone",
              [&] { return CheckCohorts(suite); });
  suite.Check("impossible cohorts are refused",
              [&] { return CheckBadCohorts(suite); });
}

}  // namespace fedlb::conformance
