// Aggregation of updates that lie in files.

#ifndef FEDLB_FILE_AGGREGATION_H_
#define FEDLB_FILE_AGGREGATION_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fedlb/aggregator.h"
#include "fedlb/export.h"
#include "fedlb/logger.h"
#include "fedlb/optimizer.h"
#include "fedlb/update_sink.h"

namespace fedlb {

// What update files hold.
enum class UpdateFileKind {
  kDelta,     // weights after local training minus those before
  kGradient,  // mean gradient over a client's examples
  kWeights,   // weights after local training
};

// "delta", "gradient", "weights".
FEDLB_API const char* NameOf(UpdateFileKind kind);
// kInvalidArgument naming what exists.
FEDLB_API absl::StatusOr<UpdateFileKind> ParseUpdateFileKind(
    const std::string& name);

struct FileAggregationOptions {
  // Safetensors files; the first is client 0. Their metadata may say
  // "fedlb.kind", "fedlb.num_examples" and "fedlb.local_steps".
  std::vector<std::string> updates;
  // Of files that do not say it; empty: all must say it.
  std::string kind;
  // What each update weighs, in the order of the files. Empty: what the files
  // say, or the same for all where none says anything.
  std::vector<int64_t> num_examples;
  UpdateGateOptions gate;
  // The weights that the updates belong to, a safetensors state dict. Empty:
  // the aggregate itself is the result.
  std::string base;
  // Where the result goes; empty: nowhere.
  std::string output;
  // Any update that has to be left out is an error, and nothing is written.
  bool strict = false;
  // What optimizer and rule remember from call to call; need not be there yet.
  // Empty: they remember nothing.
  std::string state;
  // Names both and their settings; a state of others is refused.
  std::string settings_text;
  const std::atomic<int>* stop = nullptr;  // may be null
  // Bytes read of those to be read; may be empty.
  std::function<void(int64_t done, int64_t total)> progress;
  Logger* logger = &Logger::Null();
};

// What became of one update file.
struct FileUpdateReport {
  std::string path;
  // Why it was left out of the round; empty when it was not.
  std::string rejected;
  int64_t num_examples = 0;
  // L2 norm of the update, and the cosine of its angle to the aggregate. NaN
  // where it was rejected, or the aggregate is 0.
  double norm = 0;
  double cosine = 0;
  // Its part of a weighted sum, NaN where the rule has none. The rule's choice
  // is `chosen`: Krum leaves most out.
  double share = 0;
  bool chosen = false;
  bool clipped = false;
};

struct FileAggregationReport {
  UpdateFileKind kind = UpdateFileKind::kDelta;
  std::vector<FileUpdateReport> updates;
  int64_t num_accepted = 0;
  int64_t num_examples = 0;    // of the accepted ones
  int64_t num_parameters = 0;  // columns
  double norm = 0;             // of the aggregate
  int64_t round = 0;           // calls that the state has seen, this one too
  ScalarMap rule_report;       // what the rule says of the rounds so far
  int64_t bytes_read = 0;
  double seconds = 0;
};

// Combines updates by `rule`. With a base the aggregate, turned into a
// gradient, goes through `optimizer`, and the result are new weights; without
// one the result is the aggregate, as an update of the same kind that says how
// many examples are behind it.
//
// Files are read block by block, each once, twice for rules that look at norms
// or distances, and once more when files turn out to be bad. Memory does not
// grow with the number of files, but for 1,024 values and the header of each
// (and rules that look at all pairs), unless `rule` is no RowRule and keeps
// updates itself. The result is bit by bit that of the rule on updates in
// memory (but for last bits of what depends on norms and distances), whatever
// the number of threads, which is LibTorch's.
//
// An update whose file is damaged, whose tensors are not those of most files,
// whose values are not all finite or whose claims go beyond the gate is left
// out. kDeadline: too few are left for the rule. kUsage: a kind is not known.
// kInputFile: base or state cannot be used, or an update with `strict`.
// kStorage: result or state cannot be written. kInterrupted.
//
// `report` tells how far it got, also after an error.
FEDLB_API absl::Status AggregateFiles(const FileAggregationOptions& options,
                                      Aggregator& rule, Optimizer& optimizer,
                                      FileAggregationReport& report);

}  // namespace fedlb

#endif  // FEDLB_FILE_AGGREGATION_H_
