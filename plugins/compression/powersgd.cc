#include "compression/powersgd.h"

#include <algorithm>
#include <cstddef>
#include <tuple>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linalg_qr.h>

#include "absl/strings/str_cat.h"
#include "fedlb/random.h"
#include "fedlb/status.h"

namespace fedlb::compression {
namespace {

constexpr char kFactors[] = "q";

// How a tensor travels.
struct Shape {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t rank = 0;  // 0: as it is

  int64_t Count() const {
    return rank == 0 ? rows * columns : rank * (rows + columns);
  }
};

Shape ShapeOf(const std::vector<int64_t>& sizes, int64_t rank) {
  Shape shape{1, 1, 0};
  for (size_t i = 0; i < sizes.size(); ++i) {
    (i == 0 ? shape.rows : shape.columns) *= sizes[i];
  }
  const int64_t possible = std::min({rank, shape.rows, shape.columns});
  if (sizes.size() >= 2 && 2 * possible * (shape.rows + shape.columns) <=
                               shape.rows * shape.columns) {
    shape.rank = possible;
  }
  return shape;
}

at::Tensor MatrixOf(const float* values, int64_t rows, int64_t columns) {
  return at::from_blob(const_cast<float*>(values), {rows, columns});
}

}  // namespace

ParamSchema<PowerSgdOptions> PowerSgd::Schema() {
  return ParamSchema<Options>()
      .Add("rank", &Options::rank, "Columns of P and Q.", AtLeast(1))
      .Add("error_feedback", &Options::error_feedback,
           "Whether a client adds to its next update what the encoding lost.");
}

absl::StatusOr<std::unique_ptr<PowerSgd>> PowerSgd::Create(
    const Options& options, const ComponentContext& context) {
  return std::unique_ptr<PowerSgd>(new PowerSgd(options, context.seed));
}

int64_t PowerSgd::BytesPerClient(const TensorLayout& layout) const {
  int64_t bytes = TensorCodec::BytesPerClient(layout);
  for (const TensorSpec& spec : layout) {
    const Shape shape = ShapeOf(spec.sizes, options_.rank);
    bytes += shape.rank * shape.columns * int64_t{sizeof(float)};
  }
  return bytes;
}

// All P and Q, and what is no matrix, end to end.
absl::StatusOr<TensorList> PowerSgd::Encode(const std::vector<Source>& tensors,
                                            const CodecKey& key,
                                            ComponentState& state) const {
  std::vector<Shape> shapes;
  int64_t count = 0;
  for (const Source& tensor : tensors) {
    shapes.push_back(ShapeOf(tensor.sizes, options_.rank));
    count += shapes.back().Count();
  }
  TensorList factors = state.tensors[kFactors];
  const bool warm = !factors.empty();
  at::Tensor row = at::empty({count}, at::kFloat);
  auto* out = row.mutable_data_ptr<float>();
  TensorList next_factors;
  size_t factor = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto [rows, columns, rank] = shapes[i];
    const float* const values = tensors[i].values.data();
    if (rank == 0) {
      out = std::copy(values, values + rows * columns, out);
      continue;
    }
    at::Tensor q;
    if (warm) {
      if (factor >= factors.size() ||
          factors[factor].sizes() != at::IntArrayRef({columns, rank})) {
        return absl::InvalidArgumentError(
            "powersgd: what the client remembers is of another model");
      }
      q = factors[factor++];
    } else {
      // The same for all clients, so that their first directions agree.
      RandomStream random(
          {key.seed, "powersgd", 0, 0, static_cast<int64_t>(i)});
      q = at::empty({columns, rank}, at::kFloat);
      std::generate_n(q.mutable_data_ptr<float>(), q.numel(), [&random] {
        return static_cast<float>(random.Normal());
      });
    }
    const at::Tensor matrix = MatrixOf(values, rows, columns);
    const at::Tensor p = std::get<0>(at::linalg_qr(matrix.mm(q))).contiguous();
    q = matrix.t().mm(p).contiguous();
    out = std::copy_n(p.const_data_ptr<float>(), p.numel(), out);
    out = std::copy_n(q.const_data_ptr<float>(), q.numel(), out);
    next_factors.push_back(q);
  }
  state.tensors[kFactors] = std::move(next_factors);
  return TensorList{row};
}

absl::Status PowerSgd::Decode(const TensorList& encoded,
                              const CodecKey& /*key*/,
                              const std::vector<Target>& tensors) const {
  int64_t count = 0;
  for (const Target& tensor : tensors) {
    count += ShapeOf(tensor.sizes, options_.rank).Count();
  }
  FEDLB_RETURN_IF_ERROR(CheckCount(encoded, 1));
  FEDLB_RETURN_IF_ERROR(CheckVector(encoded[0], at::kFloat, count));
  const auto* in = encoded[0].const_data_ptr<float>();
  for (const Target& tensor : tensors) {
    const auto [rows, columns, rank] = ShapeOf(tensor.sizes, options_.rank);
    if (rank == 0) {
      std::copy_n(in, rows * columns, tensor.values.data());
      in += rows * columns;
      continue;
    }
    const at::Tensor p = MatrixOf(in, rows, rank);
    in += rows * rank;
    const at::Tensor q = MatrixOf(in, columns, rank);
    in += columns * rank;
    at::Tensor product = MatrixOf(tensor.values.data(), rows, columns);
    product.copy_(p.mm(q.t()));
  }
  return absl::OkStatus();
}

}  // namespace fedlb::compression
