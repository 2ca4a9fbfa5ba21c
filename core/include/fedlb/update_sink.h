// Where a transport delivers the updates of a round: gate, order, aggregation.

#ifndef FEDLB_UPDATE_SINK_H_
#define FEDLB_UPDATE_SINK_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "fedlb/aggregator.h"
#include "fedlb/compressor.h"
#include "fedlb/export.h"
#include "fedlb/gradient_mapper.h"
#include "fedlb/param_schema.h"
#include "fedlb/round_task.h"
#include "fedlb/tensor_list.h"
#include "fedlb/weighted_mean.h"

namespace fedlb {

// What an update must satisfy before it counts.
struct UpdateGateOptions {
  double max_norm = 0;
  int64_t max_examples = int64_t{1} << 31;

  static ParamSchema<UpdateGateOptions> Schema();
};

// Sees every update that passed the gate, in the order of the cohort. Memory
// must not grow with the cohort.
class FEDLB_API UpdateObserver {
 public:
  virtual ~UpdateObserver() = default;
  virtual void Begin(const TensorLayout& layout) = 0;
  // `slot` is the client's position in the cohort.
  virtual void Add(int64_t slot, const Update& update) = 0;
};

// The means of the groups {slot mod kMaxPartialMeans}, weighted by examples, of
// the tensors that updates carry under one name. Updates without it count for
// nothing.
class FEDLB_API PartialMeans final : public UpdateObserver {
 public:
  explicit PartialMeans(std::string name = kParametersGroup)
      : name_(std::move(name)) {}

  void Begin(const TensorLayout& layout) override;
  void Add(int64_t slot, const Update& update) override;
  // Groups that received no update are left out.
  std::vector<TensorList> Means() const;

 private:
  const std::string name_;
  std::vector<WeightedMean> groups_;
};

// What became of a round's clients.
struct RoundResult {
  // Of the parameters; empty when too few survived for the rule.
  TensorList aggregate;
  TensorList buffers;     // mean by examples; empty when not sent
  TensorGroups extra_means;  // uniform means of all other groups
  int64_t num_survivors = 0;
  int64_t num_examples = 0;
  // Of all survivors together.
  int64_t local_steps = 0;
  int64_t num_samples = 0;
  // Local steps of the survivor that made most.
  int64_t max_local_steps = 0;
  // Of each scalar over the updates that have it, weighted by examples.
  ScalarMap scalar_means;
  // Client and cause, in the order of the cohort; late ones last.
  std::vector<std::pair<int64_t, absl::Status>> dropped;
  // Of the survivors, those whose updates came from an earlier round.
  int64_t num_late = 0;
};

// Takes the updates of one round from any number of threads, checks each one,
// and adds them to the aggregator in the order of the cohort, whatever the
// order of arrival. A bad update drops its client, never the round.
//
// A thread calls Admit(slot) before it works on a client and Deliver or Drop
// afterwards. Admit blocks while the slot is more than `window` ahead of the
// next one to be added, so that at most `window` updates wait in memory.
// Slots must be admitted in increasing order or the wait may never end.
class FEDLB_API UpdateSink {
 public:
  // The expected layouts; `compressor`, `aggregator` and `observers` outlive
  // the sink.
  UpdateSink(const RoundTask& task, std::vector<int64_t> cohort,
             TensorLayout parameters, TensorLayout buffers,
             const UpdateGateOptions& gate, int64_t window,
             const Compressor& compressor, Aggregator& aggregator,
             std::vector<UpdateObserver*> observers);

  int64_t cohort_size() const { return static_cast<int64_t>(cohort_.size()); }

  // False when the round has been cancelled.
  bool Admit(int64_t slot);
  // Whether Admit would return at once.
  bool MayAdmit(int64_t slot);
  void Deliver(int64_t slot, Update update);
  void Drop(int64_t slot, absl::Status cause);

  // An update that was made from the weights of `staleness` >= 1 rounds ago, of
  // a client of that round. It is added once the cohort has been, in the order
  // of round and client, with its examples weighed by 1 / sqrt(1 + staleness)
  // (J. Nguyen et al., "Federated Learning with Buffered Asynchronous
  // Aggregation", 2022, section 5). A bad one is dropped.
  void DeliverLate(int64_t staleness, Update update);

  // Ends all waiting; later calls do nothing. For a fault of the server itself
  // or an interrupted run.
  void Cancel(absl::Status cause);

  // After every slot has been delivered or dropped. The cause of Cancel, or of
  // a fault of the aggregator.
  absl::StatusOr<RoundResult> Finish();

 private:
  struct Arrival {
    std::optional<Update> update;
    absl::Status dropped;
  };

  // Decompresses `update` and checks that it is what was asked of `client`.
  absl::Status CheckUpdate(int64_t round, int64_t client, Update& update) const;
  absl::Status CheckDecompressed(int64_t round, int64_t client,
                                 const Update& update) const;
  void Arrive(int64_t slot, Arrival arrival);
  void AddNext(int64_t slot, int64_t client, Arrival arrival)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddLate() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t round_;
  const Update::Kind kind_;
  const RoundWork work_;
  const std::vector<int64_t> cohort_;
  const TensorLayout parameters_;
  const TensorLayout buffers_;
  const UpdateGateOptions gate_;
  const int64_t window_;
  const Compressor& compressor_;
  Aggregator& aggregator_;
  const std::vector<UpdateObserver*> observers_;

  absl::Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  int64_t next_slot_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, Arrival> waiting_ ABSL_GUARDED_BY(mutex_);
  // By round and client.
  std::map<std::pair<int64_t, int64_t>, Arrival> late_ ABSL_GUARDED_BY(mutex_);
  WeightedMean buffer_mean_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, WeightedMean> extra_means_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, TensorLayout> extra_layouts_ ABSL_GUARDED_BY(mutex_);
  // By name, over the updates that have it.
  ScalarMap scalar_sums_ ABSL_GUARDED_BY(mutex_);
  ScalarMap scalar_weights_ ABSL_GUARDED_BY(mutex_);
  RoundResult result_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedlb

#endif  // FEDLB_UPDATE_SINK_H_
