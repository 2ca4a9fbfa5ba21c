#include "evaluation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fedlb/status.h"

namespace fedlb {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

void AddTo(std::vector<int64_t>& sums, const std::vector<int64_t>& values) {
  sums.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    sums[i] += values[i];
  }
}

}  // namespace

absl::StatusOr<Evaluation> Evaluate(LocalClientHost& host,
                                    const TensorList& weights,
                                    const TensorList& buffers, Split split,
                                    absl::Span<const int64_t> indices,
                                    int64_t chunk_size) {
  const auto count = static_cast<int64_t>(indices.size());
  if (count == 0) {
    return Evaluation{.loss = kNone, .accuracy = kNone, .accuracy_top5 = kNone};
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
    AddTo(total.class_examples, chunk->class_examples);
    AddTo(total.class_correct, chunk->class_correct);
  }
  const auto examples = static_cast<double>(total.examples);
  return Evaluation{
      .loss = total.loss / examples,
      .accuracy = static_cast<double>(total.correct) / examples,
      .accuracy_top5 = static_cast<double>(total.correct_top5) / examples,
      .num_examples = total.examples,
      .class_examples = std::move(total.class_examples),
      .class_correct = std::move(total.class_correct)};
}

std::vector<double> ClientAccuracies(const Evaluation& test,
                                     const Partition& partition,
                                     absl::Span<const int64_t> labels) {
  std::vector<double> accuracies;
  accuracies.reserve(partition.size());
  for (const std::vector<int64_t>& examples : partition) {
    double sum = 0;
    int64_t count = 0;
    for (const int64_t example : examples) {
      const auto label =
          static_cast<size_t>(labels[static_cast<size_t>(example)]);
      if (label < test.class_examples.size() &&
          test.class_examples[label] > 0) {
        sum += static_cast<double>(test.class_correct[label]) /
               static_cast<double>(test.class_examples[label]);
        ++count;
      }
    }
    accuracies.push_back(count == 0 ? kNone
                                    : sum / static_cast<double>(count));
  }
  return accuracies;
}

ScalarMap SpreadOf(const std::string& prefix,
                   const std::vector<double>& accuracies) {
  double least = std::numeric_limits<double>::infinity();
  double largest = -least;
  double sum = 0;
  int64_t count = 0;
  for (const double accuracy : accuracies) {
    if (!std::isnan(accuracy)) {
      least = std::min(least, accuracy);
      largest = std::max(largest, accuracy);
      sum += accuracy;
      ++count;
    }
  }
  if (count == 0) {
    return {};
  }
  const double mean = sum / static_cast<double>(count);
  double squares = 0;
  for (const double accuracy : accuracies) {
    squares += std::isnan(accuracy) ? 0 : (accuracy - mean) * (accuracy - mean);
  }
  return {{absl::StrCat(prefix, "_min"), least},
          {absl::StrCat(prefix, "_mean"), mean},
          {absl::StrCat(prefix, "_max"), largest},
          {absl::StrCat(prefix, "_std"),
           std::sqrt(squares / static_cast<double>(count))}};
}

}  // namespace fedlb
