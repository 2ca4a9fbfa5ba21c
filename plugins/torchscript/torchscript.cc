#include "torchscript/torchscript.h"

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <set>
#include <stdexcept>
#include <utility>

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "fedlb/durable_file.h"
#include "fedlb/random.h"
#include "fedlb/status.h"
#include "torchscript/zip_archive.h"

namespace fedlb::torchscript {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{16} << 30;

// Reads from memory, so that what was checked is what is loaded.
class MemoryReader final : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit MemoryReader(absl::string_view bytes) : bytes_(bytes) {}

  size_t size() const override { return bytes_.size(); }
  size_t read(uint64_t pos, void* buf, size_t n,
              const char* /*what*/) const override {
    if (pos >= bytes_.size()) {
      return 0;
    }
    const size_t count = std::min(n, bytes_.size() - pos);
    std::copy_n(bytes_.data() + pos, count, static_cast<char*>(buf));
    return count;
  }

 private:
  const absl::string_view bytes_;
};

bool DrawsRandomNumbers(const torch::jit::Block* block) {
  for (const torch::jit::Node* node : block->nodes()) {
    if (node->isNondeterministic()) {
      return true;
    }
    for (const torch::jit::Block* inner : node->blocks()) {
      if (DrawsRandomNumbers(inner)) {
        return true;
      }
    }
  }
  return false;
}

bool DrawsRandomNumbers(const torch::jit::Module& module) {
  const auto graph = module.get_method("forward").graph()->copy();
  torch::jit::Inline(*graph);
  return DrawsRandomNumbers(graph->block());
}

// LibTorch's default generator of a device with a seed of ours; its state
// returns when this goes. One at a time.
class SeededDefaultGenerator {
 public:
  SeededDefaultGenerator(at::Device device, uint64_t seed)
      : lock_(Lock()),
        generator_(at::globalContext().defaultGenerator(device)),
        state_(generator_.get_state()) {
    generator_.set_current_seed(seed);
  }
  ~SeededDefaultGenerator() { generator_.set_state(state_); }
  SeededDefaultGenerator(const SeededDefaultGenerator&) = delete;
  SeededDefaultGenerator& operator=(const SeededDefaultGenerator&) = delete;

 private:
  static std::unique_lock<std::mutex> Lock() {
    static std::mutex* const mutex = new std::mutex();
    return std::unique_lock<std::mutex>(*mutex);
  }

  const std::unique_lock<std::mutex> lock_;
  at::Generator generator_;
  const at::Tensor state_;
};

// OK when `output` is a tensor of logits of `batch` examples.
absl::Status CheckOutput(const torch::jit::IValue& output, int64_t batch,
                         int64_t num_classes) {
  if (!output.isTensor()) {
    return ConfigError(absl::StrCat("the module's forward returns ",
                                    output.tagKind(),
                                    " where a tensor of logits is needed"));
  }
  const at::IntArrayRef sizes = output.toTensor().sizes();
  if (sizes != at::IntArrayRef({batch, num_classes})) {
    return ConfigError(
        absl::StrCat("the module's forward returns logits of shape [",
                     absl::StrJoin(sizes, ", "), "] where a batch of ", batch,
                     " and the dataset's ", num_classes, " classes need [",
                     batch, ", ", num_classes, "]"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadModuleFile(const std::string& path) {
  absl::StatusOr<std::string> bytes = ReadWholeFile(path, kMaxFileBytes);
  if (absl::IsNotFound(bytes.status())) {
    return InputFileError(
        absl::StrCat(path,
                     ": no such file; model.path must name a file that "
                     "torch.jit.save wrote"));
  }
  FEDLB_RETURN_IF_ERROR(bytes.status());
  const absl::StatusOr<std::vector<std::string>> records =
      CheckZipArchive(*bytes);
  if (!records.ok()) {
    return InputFileError(absl::StrCat(
        path, ": ", records.status().message(),
        "; model.path must name a file that torch.jit.save wrote"));
  }
  const bool is_module = std::any_of(
      records->begin(), records->end(), [](const std::string& name) {
        return absl::EndsWith(name, "/constants.pkl");
      });
  if (!is_module) {
    return InputFileError(absl::StrCat(
        path,
        ": holds no TorchScript module, as files of torch.save do not; write "
        "one by torch.jit.save(torch.jit.script(module), path)"));
  }
  return bytes;
}

// Without indentation and lines of blanks.
std::vector<absl::string_view> LinesOf(absl::string_view text) {
  std::vector<absl::string_view> lines =
      absl::StrSplit(text, '\n', absl::SkipWhitespace());
  for (absl::string_view& line : lines) {
    line = absl::StripAsciiWhitespace(line);
  }
  return lines;
}

}  // namespace

struct TorchScript::Module {
  torch::jit::Module script;
  bool random = false;    // forward draws random numbers while training
  bool training = false;  // the mode that `script` is in
};

ParamSchema<TorchScriptOptions> TorchScript::Schema() {
  return ParamSchema<Options>()
      .AddLocal("path", &Options::path,
           "File that torch.jit.save wrote: a scripted (better) or traced "
           "module whose forward takes a batch of examples and returns logits "
           "[batch, classes]. Its weights are the initial ones, whatever the "
           "seed.")
      .AddLocal("trust_file", &Options::trust_file,
           "Must be true: loading a module executes code from the file, with "
           "your rights. Load files of people you trust only.");
}

absl::StatusOr<std::unique_ptr<TorchScript>> TorchScript::Create(
    const Options& options, const ComponentContext& context) {
  if (options.path.empty()) {
    return InputFileError(
        "model torchscript: model.path is not set; name a file that "
        "torch.jit.save wrote");
  }
  if (!options.trust_file) {
    return ConfigError(absl::StrCat(
        "model torchscript: loading ", options.path,
        " executes code from the file; set model.trust_file = true if you "
        "trust whoever made it"));
  }
  if (context.num_classes < 1 || context.example_shape.empty()) {
    return ConfigError("model torchscript needs a dataset with classes");
  }
  FEDLB_ASSIGN_OR_RETURN(const std::string bytes, ReadModuleFile(options.path));
  auto module = std::make_unique<Module>();
  const absl::Status loaded = CatchAsStatus(options.path, [&] {
    module->script =
        torch::jit::load(std::make_shared<MemoryReader>(bytes), context.device);
    module->random = DrawsRandomNumbers(module->script);
    module->script.train(module->training);
    return absl::OkStatus();
  });
  if (absl::IsResourceExhausted(loaded)) {
    return loaded;
  }
  if (!loaded.ok()) {
    return InputFileError(
        absl::StrCat("not a TorchScript module: ",
                     absl::StrJoin(LinesOf(loaded.message()), " ")));
  }
  std::unique_ptr<TorchScript> model(
      new TorchScript(std::move(module), context));
  FEDLB_RETURN_IF_ERROR(Annotate(model->AddTensors(context), options.path));
  FEDLB_RETURN_IF_ERROR(Annotate(model->Probe(context), options.path));
  return model;
}

TorchScript::TorchScript(std::unique_ptr<Module> module,
                         const ComponentContext& context)
    : module_(std::move(module)),
      num_classes_(context.num_classes),
      forward_seed_(context.seed) {}

TorchScript::~TorchScript() = default;

void TorchScript::SeedForward(uint64_t seed) {
  forward_seed_ = seed;
  num_passes_ = 0;
}

absl::Status TorchScript::AddTensors(const ComponentContext& context) {
  return CatchAsStatus("reading the module's tensors", [&]() -> absl::Status {
    const at::NoGradGuard no_grad;
    std::set<const c10::TensorImpl*> known;
    const auto adopt = [&](const std::string& name, const at::Tensor& tensor,
                           bool is_parameter) {
      if (!known.insert(tensor.unsafeGetTensorImpl()).second) {
        return;
      }
      if (tensor.is_floating_point()) {
        tensor.set_data(tensor.to(context.dtype).contiguous());
      }
      if (is_parameter) {
        AddParameter(name, tensor);
      } else {
        tensor.set_requires_grad(false);
        AddBuffer(name, tensor);
      }
    };
    for (const auto& item : module_->script.named_parameters()) {
      adopt(item.name, item.value,
            item.value.requires_grad() && item.value.is_floating_point());
    }
    for (const auto& item : module_->script.named_buffers()) {
      adopt(item.name, item.value, /*is_parameter=*/false);
    }
    if (parameters().empty()) {
      return InputFileError(
          "the module has no parameters that require gradients; save it "
          "without torch.jit.freeze");
    }
    return absl::OkStatus();
  });
}

absl::Status TorchScript::Probe(const ComponentContext& context) {
  std::vector<int64_t> sizes = context.example_shape;
  sizes.insert(sizes.begin(), 1);
  const at::NoGradGuard no_grad;
  const absl::Status status = CatchAsStatus("forward", [&] {
    Run(at::zeros(
            sizes,
            at::TensorOptions().dtype(context.dtype).device(context.device)),
        /*training=*/false);
    return absl::OkStatus();
  });
  if (status.ok() || absl::IsResourceExhausted(status)) {
    return status;
  }
  return ConfigError(
      absl::StrCat("the module does not fit the dataset, whose examples are [",
                   absl::StrJoin(context.example_shape, ", "), "] in ",
                   context.num_classes, " classes: ", status.message()));
}

at::Tensor TorchScript::DoForward(const at::Tensor& inputs) {
  if (!training() || !module_->random) {
    return Run(inputs, training());
  }
  const SeededDefaultGenerator seeded(inputs.device(),
                                      HashKey({.seed = forward_seed_,
                                               .purpose = "torchscript",
                                               .step = num_passes_++}));
  return Run(inputs, /*training=*/true);
}

at::Tensor TorchScript::Run(const at::Tensor& inputs, bool training) {
  if (module_->training != training) {
    module_->script.train(training);
    module_->training = training;
  }
  const torch::jit::GraphOptimizerEnabledGuard plain(false);
  torch::jit::IValue output;
  try {
    output = module_->script.forward({inputs});
  } catch (const std::runtime_error& error) {
    // The interpreter shows its way through the module's code and says in the
    // last line what happened.
    const std::vector<absl::string_view> lines = LinesOf(error.what());
    TORCH_CHECK(false, lines.empty() ? "" : lines.back());
  }
  const absl::Status status = CheckOutput(output, inputs.size(0), num_classes_);
  TORCH_CHECK(status.ok(), status.message());
  return output.toTensor();
}

}  // namespace fedlb::torchscript
