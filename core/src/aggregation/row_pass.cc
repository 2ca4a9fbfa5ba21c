#include "aggregation/row_pass.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <ATen/Parallel.h>

#include "fedlb/status.h"

namespace fedlb {
namespace {

// All rows of a block together, so that they are still in a cache when they
// are combined; and a row's part of it in columns.
constexpr int64_t kBlockBytes = int64_t{4} << 20;
constexpr int64_t kFewestColumns = 1024;
constexpr int64_t kMostColumns = int64_t{1} << 14;
// What one task combines.
constexpr int64_t kTaskColumns = 1024;

template <typename T>
int64_t BlockColumns(size_t rows) {
  const int64_t fitting =
      kBlockBytes / static_cast<int64_t>(sizeof(T) * std::max<size_t>(rows, 1));
  return std::clamp(fitting / kFewestColumns * kFewestColumns, kFewestColumns,
                    kMostColumns);
}

// The state of one pass.
template <typename T>
class RowPass {
 public:
  RowPass(const std::vector<UpdateFile*>& files, int64_t width,
          const RowPassRequest<T>& request)
      : files_(files),
        width_(width),
        request_(request),
        columns_(BlockColumns<T>(files.size())),
        block_(files.size() * static_cast<size_t>(columns_)) {
    const size_t count = files.size();
    result_.faults.resize(count);
    result_.squared_norms.resize(count);
    result_.products.resize(count);
    result_.squared_distances.assign(count, std::vector<double>(count));
    for (size_t k = 0; k < count; ++k) {
      rows_.push_back(block_.data() + k * static_cast<size_t>(columns_));
    }
  }

  absl::StatusOr<RowPassResult> Run() {
    for (int64_t begin = 0; begin < width_; begin += columns_) {
      const int64_t count = std::min(columns_, width_ - begin);
      ReadBlock(begin, count);
      result_.ok() ? CombineBlock(begin, count) : CheckBlock(count);
      if (request_.progress && !request_.progress(begin + count)) {
        return InterruptedError("stopped");
      }
    }
    ForEachFile([this](size_t k) {
      if (result_.faults[k].ok()) {
        result_.faults[k] = files_[k]->EndPass();
      }
    });
    for (const auto& [i, j] : request_.pairs) {
      result_.squared_distances[j][i] = result_.squared_distances[i][j];
    }
    return std::move(result_);
  }

 private:
  template <typename Body>
  void ForEachFile(const Body& body) {
    at::parallel_for(0, static_cast<int64_t>(files_.size()), 1,
                     [&](int64_t first, int64_t last) {
                       for (int64_t k = first; k < last; ++k) {
                         body(static_cast<size_t>(k));
                       }
                     });
  }

  // A file with a fault is read no further.
  void ReadBlock(int64_t begin, int64_t count) {
    ForEachFile([&](size_t k) {
      absl::Status& fault = result_.faults[k];
      if (!fault.ok()) {
        return;
      }
      T* const row = block_.data() + k * static_cast<size_t>(columns_);
      fault = files_[k]->Read(begin, count, row);
      if (!fault.ok()) {
        return;
      }
      if (request_.origin != nullptr) {
        for (int64_t c = 0; c < count; ++c) {
          row[c] -= request_.origin[begin + c];
        }
      }
    });
  }

  // What is left to do once a file has a fault: find all others.
  void CheckBlock(int64_t count) {
    ForEachFile([&](size_t k) {
      if (result_.faults[k].ok()) {
        result_.squared_norms[k] +=
            ProductsOf(rows_[k], rows_[k], count).squared_norm;
      }
    });
    RejectNotFinite();
  }

  void RejectNotFinite() {
    for (size_t k = 0; k < files_.size(); ++k) {
      if (result_.faults[k].ok() && !std::isfinite(result_.squared_norms[k])) {
        result_.faults[k] =
            CannotRead(files_[k]->path(), "a value is not finite");
      }
    }
  }

  // Norms, distances and aggregate of the block. Sums are kept by task and
  // added in order, so that the number of threads does not show.
  void CombineBlock(int64_t begin, int64_t count) {
    const int64_t tasks = (count + kTaskColumns - 1) / kTaskColumns;
    const size_t num_rows = rows_.size();
    products_.resize(static_cast<size_t>(tasks) * num_rows);
    distances_.resize(static_cast<size_t>(tasks) * request_.pairs.size());
    at::parallel_for(0, tasks, 1, [&](int64_t first, int64_t last) {
      std::vector<const T*> rows(num_rows);
      for (int64_t task = first; task < last; ++task) {
        const int64_t offset = task * kTaskColumns;
        const int64_t columns = std::min(kTaskColumns, count - offset);
        for (size_t k = 0; k < num_rows; ++k) {
          rows[k] = rows_[k] + offset;
        }
        CombineTask(static_cast<size_t>(task), rows, begin + offset, columns);
      }
    });
    for (int64_t task = 0; task < tasks; ++task) {
      const RowProducts* const products =
          products_.data() + static_cast<size_t>(task) * num_rows;
      for (size_t k = 0; k < num_rows; ++k) {
        result_.squared_norms[k] += products[k].squared_norm;
        result_.products[k] += products[k].product;
      }
      const double* distance =
          distances_.data() + static_cast<size_t>(task) * request_.pairs.size();
      for (const auto& [i, j] : request_.pairs) {
        result_.squared_distances[i][j] += *distance++;
      }
    }
    RejectNotFinite();
  }

  void CombineTask(size_t task, const std::vector<const T*>& rows,
                   int64_t begin, int64_t columns) {
    double* distance = distances_.data() + task * request_.pairs.size();
    for (const auto& [i, j] : request_.pairs) {
      *distance++ = RowSquaredDistance(rows[i], rows[j], columns);
    }
    T* const aggregate =
        request_.aggregate == nullptr ? nullptr : request_.aggregate + begin;
    if (request_.combiner != nullptr) {
      request_.combiner->Combine(rows, columns, aggregate);
    }
    for (size_t k = 0; k < rows.size(); ++k) {
      products_[task * rows.size() + k] = ProductsOf(
          rows[k], aggregate == nullptr ? rows[k] : aggregate, columns);
    }
  }

  const std::vector<UpdateFile*>& files_;
  const int64_t width_;
  const RowPassRequest<T>& request_;
  const int64_t columns_;
  std::vector<T> block_;
  std::vector<const T*> rows_;
  std::vector<RowProducts> products_;  // by task and row
  std::vector<double> distances_;      // by task and pair
  RowPassResult result_;
};

}  // namespace

bool RowPassResult::ok() const {
  return std::all_of(faults.begin(), faults.end(),
                     [](const absl::Status& fault) { return fault.ok(); });
}

template <typename T>
absl::StatusOr<RowPassResult> RunRowPass(const std::vector<UpdateFile*>& files,
                                         int64_t width,
                                         const RowPassRequest<T>& request) {
  return RowPass<T>(files, width, request).Run();
}

template absl::StatusOr<RowPassResult> RunRowPass(
    const std::vector<UpdateFile*>&, int64_t, const RowPassRequest<float>&);
template absl::StatusOr<RowPassResult> RunRowPass(
    const std::vector<UpdateFile*>&, int64_t, const RowPassRequest<double>&);

}  // namespace fedlb
