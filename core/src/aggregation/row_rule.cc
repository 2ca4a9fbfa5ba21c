#include "fedlb/row_rule.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "absl/strings/str_cat.h"
#include "aggregation/row_kernels.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

// What one task does. Partial sums are per task, so that this and not the
// number of threads decides how they round.
constexpr int64_t kTaskColumns = int64_t{1} << 16;
// Columns whose distances are summed while they are in the cache.
constexpr int64_t kBlock = 1024;

int64_t NumTasks(int64_t width) {
  return (width + kTaskColumns - 1) / kTaskColumns;
}

// Calls body(task, begin, end) for the columns of every task.
template <typename Body>
void ForEachTask(int64_t width, const Body& body) {
  at::parallel_for(0, NumTasks(width), 1, [&](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; ++task) {
      body(task, task * kTaskColumns,
           std::min(width, (task + 1) * kTaskColumns));
    }
  });
}

template <typename T>
std::vector<const T*> PointersTo(const std::vector<at::Tensor>& rows,
                                 int64_t column) {
  std::vector<const T*> pointers;
  pointers.reserve(rows.size());
  for (const at::Tensor& row : rows) {
    pointers.push_back(row.const_data_ptr<T>() + column);
  }
  return pointers;
}

template <typename T>
PairDistances DistancesOf(const std::vector<at::Tensor>& rows,
                          const std::vector<RowPair>& pairs) {
  const int64_t width = rows[0].numel();
  std::vector<std::vector<double>> parts(static_cast<size_t>(NumTasks(width)),
                                         std::vector<double>(pairs.size()));
  ForEachTask(width, [&](int64_t task, int64_t begin, int64_t end) {
    std::vector<double>& sums = parts[static_cast<size_t>(task)];
    for (int64_t c = begin; c < end; c += kBlock) {
      const int64_t columns = std::min(kBlock, end - c);
      const std::vector<const T*> block = PointersTo<T>(rows, c);
      for (size_t p = 0; p < pairs.size(); ++p) {
        sums[p] += RowSquaredDistance(block[pairs[p].first],
                                      block[pairs[p].second], columns);
      }
    }
  });
  PairDistances distances(rows.size(), std::vector<double>(rows.size()));
  for (size_t p = 0; p < pairs.size(); ++p) {
    const auto [i, j] = pairs[p];
    for (const std::vector<double>& part : parts) {
      distances[i][j] += part[p];
    }
    distances[j][i] = distances[i][j];
  }
  return distances;
}

absl::Status CheckCombination(const RowCombination& combination,
                              size_t num_updates) {
  using Kind = RowCombination::Kind;
  const std::vector<size_t>& rows = combination.rows;
  const auto count = static_cast<int64_t>(rows.size());
  const auto fault = [&combination, count]() -> const char* {
    switch (combination.kind) {
      case Kind::kWeightedSum:
        return combination.weights.size() != combination.rows.size() ||
                       !(std::abs(combination.divisor) > 0) ||
                       !std::all_of(combination.weights.begin(),
                                    combination.weights.end(),
                                    [](double w) { return std::isfinite(w); })
                   ? "a weighted sum without a finite weight for each update, "
                     "or over 0"
                   : nullptr;
      case Kind::kTrimmedMean:
        return combination.count < 0 || 2 * combination.count >= count
                   ? "a trimmed mean of nothing"
                   : nullptr;
      case Kind::kMeanNearMedian:
        return combination.count < 1 || combination.count > count
                   ? "a mean of more values than there are, or of none"
                   : nullptr;
    }
    return "no kind that is known";
  }();
  if (fault != nullptr) {
    return absl::InternalError(absl::StrCat("the rule asks for ", fault));
  }
  if (std::adjacent_find(rows.begin(), rows.end(),
                         std::greater_equal<size_t>()) != rows.end() ||
      (!rows.empty() && rows.back() >= num_updates)) {
    return absl::InternalError(
        "the rule names updates twice, out of order or beyond the last");
  }
  return absl::OkStatus();
}

}  // namespace

// Copies of all parameters of each update, end to end, in float, or in double
// where the layout holds doubles.
class RowRule::Rows {
 public:
  void Begin(const TensorLayout& layout) {
    layout_ = layout;
    Clear();
    width_ = 0;
    dtype_ = at::kFloat;
    for (const TensorSpec& spec : layout) {
      width_ += spec.numel();
      if (spec.dtype != at::kFloat && !at::isReducedFloatingType(spec.dtype)) {
        dtype_ = at::kDouble;
      }
    }
  }

  void Add(const Update& update, UpdateFacts facts) {
    at::Tensor row = at::empty({width_}, dtype_);
    int64_t begin = 0;
    for (const at::Tensor& tensor : update.parameters()) {
      row.narrow(0, begin, tensor.numel()).copy_(tensor.detach().reshape({-1}));
      begin += tensor.numel();
    }
    rows_.push_back(std::move(row));
    facts_.push_back(facts);
  }

  void Clear() {
    rows_.clear();
    facts_.clear();
  }

  absl::StatusOr<TensorList> Combine(const RowRule& rule) const {
    return AT_DISPATCH_FLOATING_TYPES(
        dtype_, "RowRule", [&]() -> absl::StatusOr<TensorList> {
          FEDLB_ASSIGN_OR_RETURN(
              RowCombination combination,
              rule.Choose(facts_, DistancesOf<scalar_t>(
                                      rows_, rule.NeededDistances(facts_))));
          const RowCombiner combiner(std::move(combination));
          at::Tensor row = at::empty_like(rows_[0]);
          scalar_t* const out = row.mutable_data_ptr<scalar_t>();
          ForEachTask(width_, [&](int64_t, int64_t begin, int64_t end) {
            combiner.Combine(PointersTo<scalar_t>(rows_, begin), end - begin,
                             out + begin);
          });
          return ToTensors(row);
        });
  }

 private:
  TensorList ToTensors(const at::Tensor& row) const {
    TensorList tensors;
    int64_t begin = 0;
    for (const TensorSpec& spec : layout_) {
      tensors.push_back(at::empty(spec.sizes, spec.dtype));
      tensors.back().copy_(
          row.narrow(0, begin, spec.numel()).reshape(spec.sizes));
      begin += spec.numel();
    }
    return tensors;
  }

  TensorLayout layout_;
  int64_t width_ = 0;
  at::ScalarType dtype_ = at::kFloat;
  std::vector<at::Tensor> rows_;
  std::vector<UpdateFacts> facts_;
};

RowRule::RowRule() : rows_(std::make_unique<Rows>()) {}
RowRule::~RowRule() = default;

std::vector<RowPair> RowRule::NeededDistances(
    const std::vector<UpdateFacts>& /*updates*/) const {
  return {};
}

absl::StatusOr<RowCombination> RowRule::Choose(
    const std::vector<UpdateFacts>& updates,
    const PairDistances& squared_distances) const {
  if (static_cast<int64_t>(updates.size()) < min_updates()) {
    return absl::FailedPreconditionError(
        absl::StrCat(updates.size(), " updates to aggregate; the rule needs ",
                     min_updates()));
  }
  FEDLB_ASSIGN_OR_RETURN(RowCombination combination,
                         DoChoose(updates, squared_distances));
  FEDLB_RETURN_IF_ERROR(CheckCombination(combination, updates.size()));
  return combination;
}

UpdateFacts RowRule::FactsOf(const Update& update) const {
  return {.kind = update.kind,
          .client = update.client,
          .num_examples = update.num_examples,
          .local_steps = update.local_steps,
          .squared_norm = needs_norms() ? SquaredNorm(update.parameters()) : 0};
}

absl::Status RowRule::DoBegin(const TensorLayout& layout) {
  rows_->Begin(layout);
  return absl::OkStatus();
}

absl::Status RowRule::DoAdd(const Update& update) {
  rows_->Add(update, FactsOf(update));
  return absl::OkStatus();
}

absl::StatusOr<TensorList> RowRule::DoFinish() {
  absl::StatusOr<TensorList> result = rows_->Combine(*this);
  rows_->Clear();
  return result;
}

std::vector<size_t> AllRows(size_t count) {
  std::vector<size_t> rows(count);
  std::iota(rows.begin(), rows.end(), size_t{0});
  return rows;
}

std::vector<RowPair> AllPairs(size_t count) {
  std::vector<RowPair> pairs;
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = i + 1; j < count; ++j) {
      pairs.emplace_back(i, j);
    }
  }
  return pairs;
}

}  // namespace fedlb
