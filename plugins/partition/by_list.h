// The partitioner `by_list`: who gets what is written in a file.

#ifndef FEDLB_PARTITION_BY_LIST_H_
#define FEDLB_PARTITION_BY_LIST_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fedlb/param_schema.h"
#include "fedlb/partitioner.h"

namespace fedlb::partition {

struct ByListOptions {
  std::string path;
};

// The file has one line per client, in the order of their numbers, with the
// numbers of the client's examples: places in the dataset's train split,
// counted from 0 and separated by spaces or commas. A line that begins with #
// is a comment; any other line is a client, and an empty one an error, because
// leaving it out would renumber the clients after it.
//
// Examples that are on no line are not used. Those that the run holds back
// (dataset.validation_fraction, dataset.limit_train) are left out.
class ByList final : public Partitioner {
 public:
  using Options = ByListOptions;
  static constexpr char kName[] = "by_list";
  static constexpr char kSummary[] =
      "The shares that a file lists, one line per client.";

  static ParamSchema<Options> Schema();
  // kInputFile: no file, or something in it that is no number.
  static absl::StatusOr<std::unique_ptr<ByList>> Create(
      const Options& options, const ComponentContext& context);

 private:
  struct Share {
    int64_t line = 0;  // counted from 1
    std::vector<int64_t> examples;
  };

  ByList(const Options& options, std::vector<Share> shares)
      : options_(options), shares_(std::move(shares)) {}

  static absl::StatusOr<std::vector<Share>> ParseShares(
      const std::string& text);

  // kInputFile naming the line: another number of clients, an example that does
  // not exist or has been dealt already, a client whose examples are all held
  // back.
  absl::StatusOr<Partition> DoDeal(absl::Span<const int64_t> indices,
                                   absl::Span<const int64_t> labels,
                                   int64_t num_classes,
                                   int64_t num_clients) override;

  const Options options_;
  const std::vector<Share> shares_;
};

}  // namespace fedlb::partition

#endif  // FEDLB_PARTITION_BY_LIST_H_
