#include "models/conv_relu_pool.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "models/conv_relu_pool_kernels.h"

namespace fedlb::models {
namespace {

// From so many channels on, vectors of channels are worth their padding.
constexpr int64_t kManyChannels = 8;

constexpr auto kNhwc = at::MemoryFormat::ChannelsLast;

// Sums over images are made of this many partial sums at most, each of as many
// images at least: a fixed split, because the order of additions decides the
// last bits.
constexpr int64_t kMaxParts = 16;
constexpr int64_t kImagesPerPart = 16;

const ConvReluPoolKernelSet* kernels_for_test = nullptr;

template <typename T>
const ConvReluPoolKernels<T>& Kernels() {
  static const ConvReluPoolKernelSet& best = *UsableConvReluPoolKernels()[0];
  return (kernels_for_test != nullptr ? *kernels_for_test : best).Get<T>();
}

template <typename T>
int64_t Padded(int64_t size) {
  constexpr int64_t kLanes = kConvReluPoolVector / sizeof(T);
  return (size + kLanes - 1) / kLanes * kLanes;
}

template <typename T>
ConvReluPoolShape ShapeOf(const at::Tensor& input, const at::Tensor& weight,
                          bool input_gradient) {
  ConvReluPoolShape shape;
  shape.channels = input.size(1);
  shape.height = input.size(2);
  shape.width = input.size(3);
  shape.outputs = weight.size(0);
  shape.padded_outputs = Padded<T>(shape.outputs);
  shape.by_output = input_gradient || shape.channels >= kManyChannels;
  shape.pixel_stride =
      shape.by_output ? Padded<T>(shape.channels) : shape.channels;
  return shape;
}

// Memory for one thread, as one tensor.
template <typename T>
class Scratch {
 public:
  Scratch(const ConvReluPoolShape& shape, const at::Tensor& like, bool backward,
          bool image_gradient) {
    const int64_t image = Aligned((shape.height + 2) * (shape.width + 2) *
                                  shape.pixel_stride * sizeof(T));
    const int64_t pooled =
        backward ? (shape.height / 2) * (shape.width / 2) * shape.padded_outputs
                 : 0;
    const int64_t gradient = Aligned(pooled * sizeof(T));
    const int64_t source = Aligned(pooled);
    const int64_t second_image = image_gradient ? image : 0;
    const int64_t outputs =
        image_gradient ? 5 * shape.outputs * int64_t{sizeof(int32_t)} : 0;
    memory_ = at::empty({image + second_image + gradient + source + outputs},
                        like.options().dtype(at::kByte));
    uint8_t* next = memory_.mutable_data_ptr<uint8_t>();
    const auto take = [&next](int64_t bytes) {
      uint8_t* const taken = next;
      next += bytes;
      return taken;
    };
    pointers_.image = reinterpret_cast<T*>(take(image));
    pointers_.image_gradient = reinterpret_cast<T*>(take(second_image));
    pointers_.gradient = reinterpret_cast<T*>(take(gradient));
    pointers_.source = take(source);
    pointers_.outputs_from = reinterpret_cast<int32_t*>(take(outputs));
  }
  const ConvReluPoolScratch<T>& operator*() const { return pointers_; }

 private:
  static int64_t Aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

  at::Tensor memory_;
  ConvReluPoolScratch<T> pointers_;
};

template <typename T>
void RunForward(const at::Tensor& input, const at::Tensor& weight,
                const at::Tensor& bias, at::Tensor& pooled,
                at::Tensor& source) {
  const ConvReluPoolShape shape = ShapeOf<T>(input, weight, false);
  const int64_t padded = shape.padded_outputs;
  // [outputs, channels, 3, 3] to [3, 3, channels, padded outputs].
  const at::Tensor packed =
      at::zeros({3, 3, shape.channels, padded}, weight.options());
  packed.narrow(3, 0, shape.outputs).copy_(weight.permute({2, 3, 1, 0}));
  const at::Tensor packed_bias = at::zeros({padded}, bias.options());
  packed_bias.narrow(0, 0, shape.outputs).copy_(bias);

  const T* const images = input.const_data_ptr<T>();
  const T* const weights = packed.const_data_ptr<T>();
  const T* const biases = packed_bias.const_data_ptr<T>();
  T* const to = pooled.mutable_data_ptr<T>();
  uint8_t* const source_to = source.mutable_data_ptr<uint8_t>();
  const int64_t image_size = input.numel() / input.size(0);
  const int64_t pooled_size = pooled.numel() / input.size(0);
  const ConvReluPoolKernels<T>& kernels = Kernels<T>();
  at::parallel_for(0, input.size(0), 1, [&](int64_t begin, int64_t end) {
    const Scratch<T> scratch(shape, input, false, false);
    kernels.forward(shape, end - begin, images + begin * image_size, weights,
                    biases, *scratch, to + begin * pooled_size,
                    source_to + begin * pooled_size);
  });
}

struct Gradients {
  at::Tensor input;
  at::Tensor weight;
  at::Tensor bias;
};

template <typename T>
Gradients RunBackward(const at::Tensor& input, const at::Tensor& weight,
                      const at::Tensor& gradient, const at::Tensor& source,
                      bool input_gradient) {
  const ConvReluPoolShape shape = ShapeOf<T>(input, weight, input_gradient);
  const int64_t count = input.size(0);
  const int64_t outputs = shape.outputs;
  const int64_t channels = shape.channels;
  const int64_t padded = shape.padded_outputs;
  const int64_t stride = shape.pixel_stride;
  const int64_t parts =
      std::clamp<int64_t>(count / kImagesPerPart, 1, kMaxParts);
  const at::Tensor weight_sums =
      shape.by_output
          ? at::zeros({parts, outputs, 3, 3, stride}, weight.options())
          : at::zeros({parts, channels, 3, 3, padded}, weight.options());
  const at::Tensor bias_sums = at::zeros({parts, padded}, weight.options());
  Gradients gradients;
  at::Tensor packed;
  if (input_gradient) {
    gradients.input = at::empty(input.sizes(), input.options(), kNhwc);
    packed = at::zeros({outputs, 3, 3, stride}, weight.options());
    packed.narrow(3, 0, channels).copy_(weight.permute({0, 2, 3, 1}));
  }

  const T* const images = input.const_data_ptr<T>();
  const T* const weights =
      input_gradient ? packed.const_data_ptr<T>() : nullptr;
  const T* const from = gradient.const_data_ptr<T>();
  const uint8_t* const source_from = source.const_data_ptr<uint8_t>();
  T* const weight_to = weight_sums.mutable_data_ptr<T>();
  T* const bias_to = bias_sums.mutable_data_ptr<T>();
  T* const input_to =
      input_gradient ? gradients.input.mutable_data_ptr<T>() : nullptr;
  const int64_t weight_size = weight_sums.numel() / parts;
  const int64_t image_size = input.numel() / count;
  const int64_t pooled_size = gradient.numel() / count;
  const ConvReluPoolKernels<T>& kernels = Kernels<T>();
  at::parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
    const Scratch<T> scratch(shape, input, true, input_gradient);
    for (int64_t part = first; part < last; ++part) {
      const int64_t begin = count * part / parts;
      const int64_t end = count * (part + 1) / parts;
      kernels.backward(
          shape, end - begin, images + begin * image_size, weights,
          from + begin * pooled_size, source_from + begin * pooled_size,
          *scratch, weight_to + part * weight_size, bias_to + part * padded,
          input_gradient ? input_to + begin * image_size : nullptr);
    }
  });

  const at::Tensor sum = weight_sums.sum(0);
  gradients.weight = shape.by_output
                         ? sum.narrow(3, 0, channels).permute({0, 3, 1, 2})
                         : sum.narrow(3, 0, outputs).permute({3, 0, 1, 2});
  gradients.weight = gradients.weight.contiguous();
  gradients.bias = bias_sums.sum(0).narrow(0, 0, outputs).contiguous();
  return gradients;
}

class ConvReluPoolFunction
    : public torch::autograd::Function<ConvReluPoolFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context,
                            const at::Tensor& input, const at::Tensor& weight,
                            const at::Tensor& bias) {
    const at::Tensor images = input.contiguous(kNhwc);
    const at::IntArrayRef size = images.sizes();
    const int64_t outputs = weight.size(0);
    at::Tensor pooled = at::empty({size[0], outputs, size[2] / 2, size[3] / 2},
                                  images.options(), kNhwc);
    at::Tensor source = at::empty({size[0], size[2] / 2, size[3] / 2, outputs},
                                  images.options().dtype(at::kByte));
    AT_DISPATCH_FLOATING_TYPES(images.scalar_type(), "ConvReluPool", [&] {
      RunForward<scalar_t>(images, weight, bias, pooled, source);
    });
    context->save_for_backward({images, weight, source});
    return pooled;
  }

  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* context,
      torch::autograd::variable_list outputs) {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "ConvReluPool has no second derivative");
    const auto saved = context->get_saved_variables();
    const at::Tensor gradient = outputs[0].contiguous(kNhwc);
    Gradients gradients;
    AT_DISPATCH_FLOATING_TYPES(gradient.scalar_type(), "ConvReluPool", [&] {
      gradients = RunBackward<scalar_t>(saved[0], saved[1], gradient, saved[2],
                                        context->needs_input_grad(0));
    });
    return {gradients.input, gradients.weight, gradients.bias};
  }
};

bool Supported(const at::Tensor& input, const at::Tensor& weight,
               const at::Tensor& bias) {
  const at::ScalarType dtype = input.scalar_type();
  return (dtype == at::kFloat || dtype == at::kDouble) &&
         weight.scalar_type() == dtype && bias.scalar_type() == dtype &&
         input.is_cpu() && weight.is_cpu() && bias.is_cpu() &&
         input.dim() == 4 && input.numel() > 0 && weight.dim() == 4 &&
         weight.size(0) > 0 && weight.size(1) == input.size(1) &&
         weight.size(2) == 3 && weight.size(3) == 3 && bias.dim() == 1 &&
         bias.size(0) == weight.size(0) && input.size(2) >= 2 &&
         input.size(3) >= 2;
}

}  // namespace

std::vector<const ConvReluPoolKernelSet*> UsableConvReluPoolKernels() {
  std::vector<const ConvReluPoolKernelSet*> usable;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    usable.push_back(&kConvReluPoolAvx512);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    usable.push_back(&kConvReluPoolAvx2);
  }
#endif
  usable.push_back(&kConvReluPoolBaseline);
  return usable;
}

void UseConvReluPoolKernelsForTest(const ConvReluPoolKernelSet* kernels) {
  kernels_for_test = kernels;
}

at::Tensor ConvReluPool(const at::Tensor& input, const at::Tensor& weight,
                        const at::Tensor& bias) {
  if (Supported(input, weight, bias)) {
    return ConvReluPoolFunction::apply(input, weight, bias);
  }
  return at::max_pool2d(at::conv2d(input, weight, bias, {1, 1}, {1, 1}), {2, 2})
      .relu_();
}

}  // namespace fedlb::models
