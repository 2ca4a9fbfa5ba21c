#include "evaluation.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "fedlb/status.h"

namespace fedlb {

absl::StatusOr<Evaluation> Evaluate(LocalClientHost& host,
                                    const TensorList& weights,
                                    const TensorList& buffers, Split split,
                                    absl::Span<const int64_t> indices,
                                    int64_t chunk_size) {
  const auto count = static_cast<int64_t>(indices.size());
  if (count == 0) {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    return Evaluation{kNone, kNone, kNone, 0};
  }
  chunk_size = std::min(chunk_size, count);
  const int64_t num_chunks = (count + chunk_size - 1) / chunk_size;
  std::vector<absl::StatusOr<EvaluationSums>> chunks(
      static_cast<size_t>(num_chunks), EvaluationSums{});
  host.ForEachLocal(num_chunks, [&](LocalClientWorker& worker, int64_t chunk) {
    const auto part = indices.subspan(static_cast<size_t>(chunk * chunk_size),
                                      static_cast<size_t>(chunk_size));
    chunks[static_cast<size_t>(chunk)] =
        CatchAsStatusOr("evaluation", [&] {
          return worker.Evaluate(weights, buffers, split, part);
        });
  });
  EvaluationSums total;
  for (const absl::StatusOr<EvaluationSums>& chunk : chunks) {
    FEDLB_RETURN_IF_ERROR(chunk.status());
    total.loss += chunk->loss;
    total.correct += chunk->correct;
    total.correct_top5 += chunk->correct_top5;
    total.examples += chunk->examples;
  }
  const auto examples = static_cast<double>(total.examples);
  return Evaluation{total.loss / examples,
                    static_cast<double>(total.correct) / examples,
                    static_cast<double>(total.correct_top5) / examples,
                    total.examples};
}

}  // namespace fedlb
