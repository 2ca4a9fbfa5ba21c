// The update files of one round: opened, and agreed on what they are.

#ifndef FEDLB_SRC_AGGREGATION_UPDATE_SET_H_
#define FEDLB_SRC_AGGREGATION_UPDATE_SET_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/update_file.h"
#include "fedlb/file_aggregation.h"
#include "fedlb/row_rule.h"

namespace fedlb {

// Keys of an update's metadata.
inline constexpr char kUpdateKindKey[] = "fedlb.kind";
inline constexpr char kUpdateExamplesKey[] = "fedlb.num_examples";
inline constexpr char kUpdateStepsKey[] = "fedlb.local_steps";

struct FileUpdate {
  std::string path;
  // Why it is left out.
  absl::Status rejected;
  std::unique_ptr<UpdateFile> file;  // null when it could not be opened
  UpdateFacts facts;
};

class UpdateSet {
 public:
  // Opens the files. Those that cannot be used are rejected, each with its
  // reason. Their floating tensors must be among those of `base`, unless it is
  // null.
  //
  // kUsage when no file says its kind and `options` does not either; kStorage
  // when the system does not let so many files be open.
  static absl::StatusOr<UpdateSet> Open(const FileAggregationOptions& options,
                                        const SafetensorsHeader* base);

  UpdateFileKind kind() const { return kind_; }
  // What most files hold; in the order of the base, where there is one.
  const ColumnLayout& layout() const { return *layout_; }
  // Whether some file holds doubles.
  bool has_doubles() const { return has_doubles_; }
  std::vector<FileUpdate>& updates() { return updates_; }

  // Positions of those that are not rejected, in order; their files and facts.
  std::vector<size_t> Accepted() const;
  std::vector<UpdateFile*> Files(const std::vector<size_t>& positions) const;
  std::vector<UpdateFacts> Facts(const std::vector<size_t>& positions) const;

 private:
  UpdateSet() = default;

  absl::Status AgreeOnKind(const std::string& given);
  void AgreeOnLayout(const SafetensorsHeader* base);
  void AgreeOnExamples(const FileAggregationOptions& options);

  UpdateFileKind kind_ = UpdateFileKind::kDelta;
  // On the heap: files point to it.
  std::unique_ptr<ColumnLayout> layout_;
  bool has_doubles_ = false;
  std::vector<FileUpdate> updates_;
};

}  // namespace fedlb

#endif  // FEDLB_SRC_AGGREGATION_UPDATE_SET_H_
