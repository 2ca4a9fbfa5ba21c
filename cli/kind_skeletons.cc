// One working example per kind of component, as short as the kind allows.

#include "plugin_skeleton.h"

namespace fedlb::cli {

const std::vector<KindSkeleton>& KindSkeletons() {
  static const auto& skeletons = *new std::vector<KindSkeleton>{
      {
          .kind = "aggregator",
          .base = "Aggregator",
          .summary = "Mean of the updates, weighted by a power of examples.",
          .option = "double weight_power = 1;",
          .schema = R"("weight_power", &Options::weight_power,
      "A client counts its examples to this power; 0 counts clients alike.",
      fedlb::InClosed(0, 2))",
          .standard_header = "#include <optional>\n",
          .sdk_header = "#include \"fedlb/weighted_mean.h\"\n",
          .public_members = R"(
  std::optional<fedlb::TensorList> LinearState() override;
)",
          .constructor = "\n    : options_(options) {}",
          .private_members = R"(
  absl::Status DoBegin(const fedlb::TensorLayout& layout) override;
  absl::Status DoAdd(const fedlb::Update& update) override;
  absl::StatusOr<fedlb::TensorList> DoFinish() override;

  const Options options_;
  fedlb::WeightedMean mean_;
)",
          .includes = R"(
#include <cmath>
)",
          .definitions = R"(
absl::Status @CLASS@::DoBegin(const fedlb::TensorLayout& layout) {
  mean_.Begin(layout);
  return absl::OkStatus();
}

absl::Status @CLASS@::DoAdd(const fedlb::Update& update) {
  mean_.Add(update.parameters(),
            std::pow(update.num_examples, options_.weight_power));
  return absl::OkStatus();
}

absl::StatusOr<fedlb::TensorList> @CLASS@::DoFinish() {
  return mean_.Mean();
}

std::optional<fedlb::TensorList> @CLASS@::LinearState() {
  return mean_.LinearState();
}
)",
          .test_includes = R"(
#include <ATen/ops/full.h>
)",
          .test =
              R"(fedlb::Update MakeUpdate(double value, int64_t num_examples) {
  fedlb::Update update;
  update.num_examples = num_examples;
  update.groups["parameters"] = {at::full({1}, value)};
  return update;
}

TEST(@CLASS@Test, WeighsByExamples) {
  const auto rule = @CLASS@::Create({}, {});
  ASSERT_TRUE((*rule)->Begin({{"weight", {1}}}).ok());
  ASSERT_TRUE((*rule)->Add(MakeUpdate(1, 1)).ok());
  ASSERT_TRUE((*rule)->Add(MakeUpdate(5, 3)).ok());
  const auto mean = (*rule)->Finish();
  ASSERT_TRUE(mean.ok()) << mean.status();
  EXPECT_EQ((*mean)[0].item<double>(), 4.0);
}
)",
      },
      {
          .kind = "batch_policy",
          .base = "BatchPolicy",
          .summary = "The same batch size for every client.",
          .option = "int64_t batch_size = 64;",
          .schema = R"("batch_size", &Options::batch_size,
      "Examples per local step.", fedlb::AtLeast(1))",
          .standard_header = "",
          .sdk_header = "",
          .public_members = "",
          .constructor = "\n    : options_(options) {}",
          .private_members = R"(
  absl::StatusOr<int64_t> DoBatchSize(int64_t round, int64_t client) override;

  const Options options_;
)",
          .includes = "",
          .definitions = R"(
absl::StatusOr<int64_t> @CLASS@::DoBatchSize(
    int64_t /*round*/,
    int64_t /*client*/) {
  return options_.batch_size;
}
)",
          .test_includes = "",
          .test = R"(TEST(@CLASS@Test, IsTheOption) {
  const auto policy = @CLASS@::Create({.batch_size = 17}, {});
  EXPECT_EQ(*(*policy)->BatchSize(0, 3), 17);
}
)",
      },
      {
          .kind = "client_algorithm",
          .base = "ClientAlgorithm",
          .summary = "Pulls local weights back to those of the round.",
          .option = "double pull = 0.01;",
          .schema = R"("pull", &Options::pull,
      "What the distance to the round's weights is multiplied by.",
      fedlb::AtLeast(0))",
          .standard_header = "",
          .sdk_header = "",
          .public_members = R"(
  absl::Status AdjustGradient(const fedlb::RoundTask& task,
                              const fedlb::ClientState& state,
                              const fedlb::TensorList& weights,
                              fedlb::TensorList& gradient) const override;
)",
          .constructor = "\n    : options_(options) {}",
          .private_members = R"(
  const Options options_;
)",
          .includes = "",
          .definitions = R"(
absl::Status @CLASS@::AdjustGradient(
    const fedlb::RoundTask& task,
    const fedlb::ClientState& /*state*/, const fedlb::TensorList& weights,
    fedlb::TensorList& gradient) const {
  fedlb::AddScaled(weights, options_.pull, gradient);
  fedlb::AddScaled(task.weights, -options_.pull, gradient);
  return absl::OkStatus();
}
)",
          .test_includes = R"(
#include <ATen/ops/full.h>
)",
          .test = R"(TEST(@CLASS@Test, AddsTheDistance) {
  const auto algorithm = @CLASS@::Create({.pull = 0.5}, {});
  fedlb::RoundTask task;
  task.weights = {at::full({1}, 1.0)};
  fedlb::TensorList gradient = {at::full({1}, 10.0)};
  ASSERT_TRUE((*algorithm)
                  ->AdjustGradient(task, {}, {at::full({1}, 5.0)}, gradient)
                  .ok());
  EXPECT_EQ(gradient[0].item<double>(), 12.0);
}
)",
      },
      {
          .kind = "compressor",
          .base = "Compressor",
          .summary = "Sends updates in half precision.",
          .option = R"(std::string type = "float16";)",
          .schema = R"("type", &Options::type,
      "Type of the numbers on their way.",
      fedlb::OneOf({"float16", "bfloat16"}))",
          .standard_header = "#include <string>\n",
          .sdk_header = "",
          .public_members = R"(
  absl::Status Compress(fedlb::Update& update,
                        fedlb::ComponentState& residual) const override;
  absl::Status Decompress(const fedlb::TensorLayout& layout,
                          fedlb::Update& update) const override;
  int64_t BytesPerClient(const fedlb::TensorLayout& layout) const override;
)",
          .constructor = R"(
    : type_(options.type == "float16" ? at::kHalf : at::kBFloat16) {})",
          .private_members = R"(
  const at::ScalarType type_;
)",
          .includes = R"(
#include <cstddef>
#include <utility>
)",
          .definitions = R"(
namespace {

constexpr char kGroup[] = "compressed.half";

}  // namespace

absl::Status @CLASS@::Compress(
    fedlb::Update& update,
    fedlb::ComponentState& /*residual*/) const {
  fedlb::TensorList encoded;
  for (const at::Tensor& tensor : update.parameters()) {
    encoded.push_back(tensor.to(type_));
  }
  update.groups.erase(fedlb::kParametersGroup);
  update.groups[kGroup] = std::move(encoded);
  return absl::OkStatus();
}

absl::Status @CLASS@::Decompress(
    const fedlb::TensorLayout& layout,
    fedlb::Update& update) const {
  fedlb::TensorLayout expected = layout;
  for (fedlb::TensorSpec& spec : expected) {
    spec.dtype = type_;
  }
  const auto encoded = update.groups.find(kGroup);
  if (encoded == update.groups.end()) {
    return absl::InvalidArgumentError("the update is not compressed");
  }
  FEDLB_RETURN_IF_ERROR(fedlb::CheckLayout(expected, encoded->second));
  fedlb::TensorList parameters;
  for (size_t i = 0; i < layout.size(); ++i) {
    parameters.push_back(encoded->second[i].to(layout[i].dtype));
  }
  update.groups.erase(encoded);
  update.groups[fedlb::kParametersGroup] = std::move(parameters);
  return absl::OkStatus();
}

int64_t @CLASS@::BytesPerClient(
    const fedlb::TensorLayout& /*layout*/) const {
  return 0;
}
)",
          .test_includes = R"(
#include <ATen/ops/full.h>
)",
          .test = R"(TEST(@CLASS@Test, RoundsToHalfPrecision) {
  const auto compressor = @CLASS@::Create({}, {});
  fedlb::Update update;
  update.groups["parameters"] = {at::full({1}, 1.0001)};
  fedlb::ComponentState residual;
  ASSERT_TRUE((*compressor)->Compress(update, residual).ok());
  ASSERT_TRUE((*compressor)->Decompress({{"weight", {1}}}, update).ok());
  EXPECT_EQ(update.parameters()[0].item<double>(), 1.0);
}
)",
      },
      {
          .kind = "dataset",
          .base = "Dataset",
          .summary = "Points on a line; those right of zero are class 1.",
          .option = "int64_t examples = 1000;",
          .schema = R"("examples", &Options::examples,
      "Examples in each of the two splits.", fedlb::AtLeast(1))",
          .standard_header = "#include <vector>\n",
          .sdk_header = "",
          .public_members = R"(
  std::vector<int64_t> example_shape() const override;
  int64_t num_classes() const override;
  const std::vector<int64_t>& labels(fedlb::Split split) const override;
  int64_t memory_bytes() const override;
)",
          .constructor = R"(
    : type_(context.dtype) {
  fedlb::RandomStream random({.seed = context.seed, .purpose = "@NAME@"});
  for (Points* points : {&train_, &test_}) {
    points->inputs = at::empty({options.examples, 1}, at::kDouble);
    auto* const values = points->inputs.mutable_data_ptr<double>();
    for (int64_t i = 0; i < options.examples; ++i) {
      values[i] = random.Normal();
      points->labels.push_back(values[i] > 0 ? 1 : 0);
    }
  }
})",
          .private_members = R"(
  struct Points {
    at::Tensor inputs;  // [examples, 1]
    std::vector<int64_t> labels;
  };

  absl::StatusOr<fedlb::Batch> DoLoad(
      fedlb::Split split, absl::Span<const int64_t> indices,
      const fedlb::RandomKey* epoch_key) const override;
  const Points& points(fedlb::Split split) const;

  const at::ScalarType type_;
  Points train_;
  Points test_;
)",
          .includes = R"(
#include <cstddef>

#include <ATen/ops/empty.h>

#include "fedlb/random.h"
)",
          .definitions = R"(
const @CLASS@::Points& @CLASS@::points(fedlb::Split split) const {
  return split == fedlb::Split::kTrain ? train_ : test_;
}

std::vector<int64_t> @CLASS@::example_shape() const { return {1}; }

int64_t @CLASS@::num_classes() const { return 2; }

const std::vector<int64_t>& @CLASS@::labels(fedlb::Split split) const {
  return points(split).labels;
}

int64_t @CLASS@::memory_bytes() const {
  return fedlb::NumBytes({train_.inputs, test_.inputs});
}

absl::StatusOr<fedlb::Batch> @CLASS@::DoLoad(
    fedlb::Split split,
    absl::Span<const int64_t> indices,
    const fedlb::RandomKey* /*epoch_key*/) const {
  const Points& from = points(split);
  const auto size = static_cast<int64_t>(indices.size());
  fedlb::Batch batch = {at::empty({size, 1}, type_),
                        at::empty({size}, at::kLong)};
  for (int64_t i = 0; i < size; ++i) {
    const int64_t index = indices[static_cast<size_t>(i)];
    batch.inputs[i].copy_(from.inputs[index]);
    batch.targets[i] = from.labels[static_cast<size_t>(index)];
  }
  return batch;
}
)",
          .test_includes = "",
          .test = R"(TEST(@CLASS@Test, LabelIsTheSign) {
  const auto dataset = @CLASS@::Create({.examples = 50}, {});
  for (int64_t i = 0; i < 50; ++i) {
    const auto batch = (*dataset)->Load(fedlb::Split::kTest, {i}, nullptr);
    ASSERT_TRUE(batch.ok()) << batch.status();
    EXPECT_EQ(batch->inputs.item<double>() > 0,
              batch->targets.item<int64_t>() == 1);
  }
}
)",
      },
      {
          .kind = "gradient_mapper",
          .base = "GradientMapper",
          .summary = "Shortens gradients that are longer than a limit.",
          .option = "double max_norm = 1;",
          .schema = R"("max_norm", &Options::max_norm,
      "Norm above which a gradient is scaled down to it.",
      fedlb::GreaterThan(0))",
          .standard_header = "",
          .sdk_header = "",
          .public_members = R"(
  fedlb::ScalarMap Report() const override;
)",
          .constructor = "\n    : options_(options) {}",
          .private_members = R"(
  absl::Status DoMap(const fedlb::StepContext& context,
                     fedlb::TensorList& gradient) override;

  const Options options_;
  double gain_ = 1;
)",
          .includes = R"(
#include <algorithm>
#include <cmath>
)",
          .definitions = R"(
absl::Status @CLASS@::DoMap(
    const fedlb::StepContext& /*context*/,
    fedlb::TensorList& gradient) {
  const double norm = std::sqrt(fedlb::SquaredNorm(gradient));
  gain_ = options_.max_norm / std::max(norm, options_.max_norm);
  fedlb::Scale(gain_, gradient);
  return absl::OkStatus();
}

fedlb::ScalarMap @CLASS@::Report() const {
  return {{"gain", gain_}};
}
)",
          .test_includes = R"(
#include <ATen/ops/full.h>
)",
          .test = R"(TEST(@CLASS@Test, ScalesDownToTheLimit) {
  const auto mapper = @CLASS@::Create({.max_norm = 10}, {});
  // The norm of (20, 20, 20, 20) is 40.
  fedlb::TensorList gradient = {at::full({4}, 20.0)};
  ASSERT_TRUE((*mapper)->Map({}, gradient).ok());
  EXPECT_EQ(gradient[0][0].item<double>(), 5.0);
  EXPECT_EQ((*mapper)->Report().at("gain"), 0.25);
}
)",
      },
      {
          .kind = "lr_schedule",
          .base = "LrSchedule",
          .summary = "Divides the rate by a number that grows with the round.",
          .option = "double decay = 0.1;",
          .schema = R"("decay", &Options::decay,
      "The rate of round r is divided by 1 + decay r.", fedlb::AtLeast(0))",
          .standard_header = "",
          .sdk_header = "",
          .public_members = R"(
  double Factor(int64_t round, int64_t num_rounds) const override;
)",
          .constructor = "\n    : options_(options) {}",
          .private_members = R"(
  const Options options_;
)",
          .includes = "",
          .definitions = R"(
double @CLASS@::Factor(int64_t round, int64_t /*num_rounds*/) const {
  return 1 / (1 + options_.decay * static_cast<double>(round));
}
)",
          .test_includes = "",
          .test = R"(TEST(@CLASS@Test, HalvesWhereTheDivisorIsTwo) {
  const auto schedule = @CLASS@::Create({.decay = 0.25}, {});
  EXPECT_EQ((*schedule)->Factor(0, 10), 1.0);
  EXPECT_EQ((*schedule)->Factor(4, 10), 0.5);
}
)",
      },
      {
          .kind = "model",
          .base = "Model",
          .summary = "One linear layer.",
          .option = "double initial_deviation = 0.01;",
          .schema = R"("initial_deviation", &Options::initial_deviation,
      "Standard deviation of the initial weights.", fedlb::AtLeast(0))",
          .standard_header = "",
          .sdk_header = "",
          .public_members = "",
          .constructor = R"( {
  int64_t inputs = 1;
  for (const int64_t size : context.example_shape) {
    inputs *= size;
  }
  at::Tensor weight = at::empty({context.num_classes, inputs}, at::kDouble);
  auto* const values = weight.mutable_data_ptr<double>();
  fedlb::RandomStream random({.seed = context.seed, .purpose = "model_init"});
  for (int64_t i = 0; i < weight.numel(); ++i) {
    values[i] = options.initial_deviation * random.Normal();
  }
  weight_ = AddParameter("weight", weight.to(context.dtype));
  bias_ = AddParameter("bias", at::zeros({context.num_classes}, context.dtype));
})",
          .private_members = R"(
  at::Tensor DoForward(const at::Tensor& inputs) override;

  at::Tensor weight_;
  at::Tensor bias_;
)",
          .includes = R"(
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>

#include "fedlb/random.h"
)",
          .definitions = R"(
at::Tensor @CLASS@::DoForward(const at::Tensor& inputs) {
  return at::linear(inputs.flatten(1), weight_, bias_);
}
)",
          .test_includes = R"(
#include <ATen/ops/full.h>
)",
          .test = R"(TEST(@CLASS@Test, HasOneWeightPerInputAndClass) {
  fedlb::ComponentContext context;
  context.example_shape = {2, 3};
  context.num_classes = 4;
  const auto model = @CLASS@::Create({.initial_deviation = 0}, context);
  EXPECT_EQ(fedlb::NumElements((*model)->parameters()), 4 * 2 * 3 + 4);
  const auto logits = (*model)->Forward(at::full({5, 2, 3}, 1.0));
  ASSERT_TRUE(logits.ok()) << logits.status();
  EXPECT_EQ(logits->abs().sum().item<double>(), 0.0);
}
)",
      },
      {
          .kind = "optimizer",
          .base = "Optimizer",
          .summary = "Gradient descent and nothing else.",
          .option = "double lr = 0.1;",
          .schema = R"("lr", &Options::lr, "Learning rate.",
      fedlb::AtLeast(0))",
          .standard_header = "",
          .sdk_header = "",
          .public_members = R"(
  void Reset() override {}
  double base_lr() const override { return options_.lr; }
  fedlb::OptimizerTraits traits() const override { return {}; }
  int64_t StateBytes(const fedlb::TensorLayout& layout) const override;
)",
          .constructor = "\n    : options_(options) {}",
          .private_members = R"(
  absl::Status DoStep(const fedlb::TensorList& gradient, double lr,
                      fedlb::TensorList& weights) override;

  const Options options_;
)",
          .includes = "",
          .definitions = R"(
absl::Status @CLASS@::DoStep(
    const fedlb::TensorList& gradient,
    double lr, fedlb::TensorList& weights) {
  fedlb::AddScaled(gradient, -lr, weights);
  return absl::OkStatus();
}

int64_t @CLASS@::StateBytes(
    const fedlb::TensorLayout& /*layout*/) const {
  return 0;
}
)",
          .test_includes = R"(
#include <ATen/ops/full.h>
)",
          .test = R"(TEST(@CLASS@Test, StepsAgainstTheGradient) {
  const auto optimizer = @CLASS@::Create({}, {});
  fedlb::TensorList weights = {at::full({1}, 10.0)};
  ASSERT_TRUE((*optimizer)->Step({at::full({1}, 4.0)}, 0.5, weights).ok());
  EXPECT_EQ(weights[0].item<double>(), 8.0);
}
)",
      },
      {
          .kind = "partitioner",
          .base = "Partitioner",
          .summary = "Deals examples out in turn.",
          .option = "int64_t block = 1;",
          .schema = R"("block", &Options::block,
      "Examples that a client gets at a time.", fedlb::AtLeast(1))",
          .standard_header = "",
          .sdk_header = "",
          .public_members = "",
          .constructor = "\n    : options_(options) {}",
          .private_members = R"(
  absl::StatusOr<fedlb::Partition> DoDeal(absl::Span<const int64_t> indices,
                                          absl::Span<const int64_t> labels,
                                          int64_t num_classes,
                                          int64_t num_clients) override;

  const Options options_;
)",
          .includes = R"(
#include <cstddef>
)",
          .definitions = R"(
absl::StatusOr<fedlb::Partition> @CLASS@::DoDeal(
    absl::Span<const int64_t> indices, absl::Span<const int64_t> /*labels*/,
    int64_t /*num_classes*/, int64_t num_clients) {
  const auto block = static_cast<size_t>(options_.block);
  fedlb::Partition partition(static_cast<size_t>(num_clients));
  for (size_t i = 0; i < indices.size(); ++i) {
    partition[i / block % partition.size()].push_back(indices[i]);
  }
  return partition;
}
)",
          .test_includes = "",
          .test = R"(TEST(@CLASS@Test, DealsInTurn) {
  const auto partitioner = @CLASS@::Create({}, {});
  const auto partition = (*partitioner)->Deal({5, 6, 7}, {}, 1, 2);
  ASSERT_TRUE(partition.ok()) << partition.status();
  EXPECT_EQ(*partition, (fedlb::Partition{{5, 7}, {6}}));
}
)",
      },
      {
          .kind = "sampler",
          .base = "Sampler",
          .summary = "Takes clients in turn.",
          .option = "int64_t first = 0;",
          .schema = R"("first", &Options::first,
      "The client that comes first.", fedlb::AtLeast(0))",
          .standard_header = "#include <vector>\n",
          .sdk_header = "",
          .public_members = "",
          .constructor = "\n    : options_(options) {}",
          .private_members = R"(
  absl::StatusOr<std::vector<int64_t>> DoSample(
      const fedlb::SamplingRequest& request) override;

  const Options options_;
)",
          .includes = "",
          .definitions = R"(
absl::StatusOr<std::vector<int64_t>> @CLASS@::DoSample(
    const fedlb::SamplingRequest& request) {
  const auto clients = static_cast<int64_t>(request.num_examples.size());
  std::vector<int64_t> cohort;
  for (int64_t i = 0; i < request.cohort_size; ++i) {
    cohort.push_back(
        (options_.first + request.round * request.cohort_size + i) % clients);
  }
  return cohort;
}
)",
          .test_includes = "",
          .test = R"(TEST(@CLASS@Test, GoesOnWhereTheLastRoundEnded) {
  const auto sampler = @CLASS@::Create({}, {});
  const auto cohort = (*sampler)->Sample({1, 2, {10, 10, 10}});
  ASSERT_TRUE(cohort.ok()) << cohort.status();
  EXPECT_EQ(*cohort, (std::vector<int64_t>{2, 0}));
}
)",
      },
      {
          .kind = "sync_policy",
          .base = "SyncPolicy",
          .summary = "A fixed number of local steps in every round.",
          .option = "int64_t local_steps = 10;",
          .schema = R"("local_steps", &Options::local_steps,
      "Local steps of each client in each round.", fedlb::AtLeast(1))",
          .standard_header = "",
          .sdk_header = "",
          .public_members = R"(
  fedlb::RoundWork Plan(int64_t round) const override;
)",
          .constructor = "\n    : options_(options) {}",
          .private_members = R"(
  const Options options_;
)",
          .includes = "",
          .definitions = R"(
fedlb::RoundWork @CLASS@::Plan(int64_t /*round*/) const {
  return {.kind = fedlb::RoundWork::Kind::kLocalSteps,
          .local_steps = options_.local_steps};
}
)",
          .test_includes = "",
          .test = R"(TEST(@CLASS@Test, PlansTheOption) {
  const auto policy = @CLASS@::Create({.local_steps = 3}, {});
  EXPECT_EQ((*policy)->Plan(7).local_steps, 3);
}
)",
      },
      {
          .kind = "transport",
          .base = "Transport",
          .summary = "Plays every client on threads of this process.",
          .option = "int64_t workers = 1;",
          .schema = R"("workers", &Options::workers,
      "Threads, each with a model of its own.", fedlb::InClosed(1, 1024))",
          .standard_header = "",
          .sdk_header = "",
          .public_members = R"(
  int64_t concurrency() const override { return options_.workers; }
  fedlb::TransportTraffic traffic() const override { return {}; }
)",
          .constructor = "\n    : options_(options) {}",
          .private_members = R"(
  absl::Status DoOpen(fedlb::ClientHost& host) override;
  absl::Status DoRunRound(const fedlb::RoundTask& task,
                          absl::Span<const fedlb::ClientAssignment> cohort,
                          fedlb::UpdateSink& sink) override;

  const Options options_;
  fedlb::ClientHost* host_ = nullptr;
)",
          .includes = R"(
#include <cstddef>
#include <utility>
)",
          .definitions = R"(
absl::Status @CLASS@::DoOpen(fedlb::ClientHost& host) {
  host_ = &host;
  return host.StartWorkers(options_.workers);
}

absl::Status @CLASS@::DoRunRound(
    const fedlb::RoundTask& task,
    absl::Span<const fedlb::ClientAssignment> cohort, fedlb::UpdateSink& sink) {
  host_->ForEach(
      static_cast<int64_t>(cohort.size()),
      [&](fedlb::ClientWorker& worker, int64_t slot) {
        // False: the round has been cancelled.
        if (!sink.Admit(slot)) {
          return;
        }
        const fedlb::ClientAssignment& client =
            cohort[static_cast<size_t>(slot)];
        fedlb::ClientState state = host_->states().Get(client.client);
        absl::StatusOr<fedlb::Update> update = worker.Run(task, client, state);
        if (!update.ok()) {
          // A client whose data is bad is left out. Everything else, memory for
          // one, concerns the whole process and ends the round.
          if (fedlb::FailureOf(update.status()) == fedlb::Failure::kDiverged) {
            sink.Drop(slot, update.status());
          } else {
            sink.Cancel(update.status());
          }
          return;
        }
        host_->states().Stage(client.client, std::move(state));
        sink.Deliver(slot, *std::move(update));
      });
  return absl::OkStatus();
}
)",
          .test_includes = "",
          .test = R"(TEST(@CLASS@Test, RunsAsManyClientsAtOnceAsItHasWorkers) {
  const auto transport = @CLASS@::Create({.workers = 3}, {});
  EXPECT_EQ((*transport)->concurrency(), 3);
}
)",
      },
  };
  return skeletons;
}

}  // namespace fedlb::cli
