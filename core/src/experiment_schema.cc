#include "experiment_schema.h"

#include "fedlb/status.h"

namespace fedlb {

ParamSchema<RunOptions> RunSchema() {
  using Options = RunOptions;
  return ParamSchema<Options>()
      .Add("name", &Options::name,
           "Name of the run; its folder is runs/<name>-<time>.")
      .Add("seed", &Options::seed,
           "Every random choice follows from it: the same seed and settings "
           "give the same weights.",
           AtLeast(0))
      .Add("rounds", &Options::rounds, "Rounds to train.", AtLeast(1))
      .Add("device", &Options::device, "Where clients and server compute.",
           OneOf({"cpu", "cuda"}))
      .Add("precision", &Options::precision,
           "fp32; bf16 runs forward and backward passes in bfloat16 where that "
           "is safe and keeps fp32 weights; fp64 is for exact comparisons.",
           OneOf({"fp32", "bf16", "fp64"}))
      .Add("plugins", &Options::plugins,
           "Plugins to load besides those that come with fedlb.");
}

ParamSchema<FederationOptions> FederationSchema() {
  using Options = FederationOptions;
  return ParamSchema<Options>()
      .Add("clients", &Options::clients,
           "Clients that the training data is dealt out to.", AtLeast(1))
      .Add("cohort_size", &Options::cohort_size,
           "Clients that take part in each round; 0 leaves it to "
           "cohort_fraction.",
           AtLeast(0))
      .Add("cohort_fraction", &Options::cohort_fraction,
           "Share of the clients that take part in each round, at least one "
           "client.",
           InLeftOpen(0, 1))
      .Add("min_cohort", &Options::min_cohort,
           "A round that fewer clients answer ends the run.", AtLeast(1))
      .Add("deadline_seconds", &Options::deadline_seconds,
           "Clients that take longer than this for a round are left out of it; "
           "0 waits for all. Clients played in this process run on the clock of "
           "[simulation]. For clients elsewhere \"auto\" takes three times what "
           "nine of ten clients needed in the rounds before.")
      .Add("staleness_bound", &Options::staleness_bound,
           "An update of a client elsewhere that comes this many rounds late, "
           "or fewer, still counts, with its examples divided by the root of "
           "1 + the rounds it is late; 0 refuses all late ones.",
           AtLeast(0))
      .Check([](const Options& options) {
        if (options.cohort_size > 0 && options.cohort_fraction < 1) {
          return ConfigError(
              "cohort_size and cohort_fraction both say how many clients take "
              "part; keep one of them");
        }
        return absl::OkStatus();
      });
}

ParamSchema<SimulationOptions> SimulationSchema() {
  using Options = SimulationOptions;
  return ParamSchema<Options>()
      .Add("samples_per_second", &Options::samples_per_second,
           "Training speed of the clients on a virtual clock: one number for "
           "all, or one for each client. Empty for no clock.",
           GreaterThan(0))
      .Add("speed_spread", &Options::speed_spread,
           "Standard deviation of the logarithm of a lognormal factor on each "
           "client's speed.",
           InClosed(0, 10))
      .Add("straggler_fraction", &Options::straggler_fraction,
           "Chance that a client is slow in a round.", InClosed(0, 1))
      .Add("straggler_slowdown", &Options::straggler_slowdown,
           "How many times longer a slow client trains.", AtLeast(1))
      .Add("bytes_per_second", &Options::bytes_per_second,
           "Bandwidth between a client and the server, each way; 0 for "
           "unlimited.",
           AtLeast(0))
      .Add("latency_seconds", &Options::latency_seconds,
           "Time that each exchange with the server takes besides its bytes.",
           AtLeast(0))
      .Add("dropout", &Options::dropout,
           "Chance that a chosen client does not answer in a round.",
           InHalfOpen(0, 1))
      .Check([](const Options& options) {
        const bool has_clock = !options.samples_per_second.empty();
        const bool needs_clock =
            options.speed_spread > 0 || options.straggler_fraction > 0 ||
            options.bytes_per_second > 0 || options.latency_seconds > 0;
        if (needs_clock && !has_clock) {
          return ConfigError(
              "speed_spread, straggler_fraction, bytes_per_second and "
              "latency_seconds act on the clock of samples_per_second; set it");
        }
        return absl::OkStatus();
      });
}

ParamSchema<ExecutionOptions> ExecutionSchema() {
  using Options = ExecutionOptions;
  return ParamSchema<Options>()
      .Add(
          "intra_op_threads", &Options::intra_op_threads,
          "Threads within one tensor operation. Another number rounds "
          "differently, so it belongs to the experiment. \"auto\" gives a lone "
          "client all cores and otherwise each client one.")
      .Add("memory_limit", &Options::memory_limit,
           "Tensors may take this much memory, such as \"8GiB\"; beyond it the "
           "run ends cleanly. 0 for no limit.")
      .Add("buffers", &Options::buffers,
           "Buffers of the model, such as the running statistics of batch "
           "normalisation: \"average\" treats them like weights, \"local\" "
           "leaves each client its own.",
           OneOf({"average", "local"}));
}

ParamSchema<EvaluationOptions> EvaluationSchema() {
  using Options = EvaluationOptions;
  return ParamSchema<Options>()
      .Add("every_rounds", &Options::every_rounds,
           "Rounds from one evaluation to the next; the last round is always "
           "evaluated.",
           AtLeast(1))
      .Add("batch_size", &Options::batch_size,
           "Examples per forward pass of an evaluation. Changes speed and "
           "memory, not accuracy.",
           AtLeast(1));
}

ParamSchema<CheckpointOptions> CheckpointSchema() {
  using Options = CheckpointOptions;
  return ParamSchema<Options>()
      .Add("every_rounds", &Options::every_rounds,
           "Rounds from one checkpoint to the next; the last round is always "
           "saved.",
           AtLeast(1))
      .Add("keep", &Options::keep, "Checkpoints to keep, the newest ones.",
           AtLeast(1));
}

ParamSchema<StoppingOptions> StoppingSchema() {
  using Options = StoppingOptions;
  return ParamSchema<Options>()
      .Add("target_accuracy", &Options::target_accuracy,
           "End the run when an evaluation reaches this accuracy, on the "
           "validation examples where there are some and otherwise on the test "
           "examples; 0 for no target.",
           InClosed(0, 1))
      .Add("max_seconds", &Options::max_seconds,
           "End the run after the round in which training and evaluation have "
           "taken this long; 0 for no limit.",
           AtLeast(0))
      .Add("patience", &Options::patience,
           "End the run after this many evaluations without a better accuracy; "
           "0 for never.",
           AtLeast(0))
      .Add("min_improvement", &Options::min_improvement,
           "What counts as better: more than the best accuracy so far by this.",
           InHalfOpen(0, 1));
}

ParamSchema<DatasetUse> DatasetUseSchema() {
  return ParamSchema<DatasetUse>()
      .Add("validation_fraction", &DatasetUse::validation_fraction,
           "Share of the training examples that is held back for validation.",
           InHalfOpen(0, 1))
      .Add("limit_train", &DatasetUse::limit_train,
           "Use only this many training examples; 0 for all.", AtLeast(0))
      .Add("limit_test", &DatasetUse::limit_test,
           "Use only this many test examples; 0 for all.", AtLeast(0));
}

ParamSchema<ModelUse> ModelUseSchema() {
  return ParamSchema<ModelUse>()
      .AddLocal("init", &ModelUse::init,
           "A safetensors file with the initial weights, under the model's own "
           "names, which for the vision models are torchvision's. Empty for "
           "random ones.")
      .Add("init_skip", &ModelUse::init_skip,
           "Names, or beginnings of names, of tensors that init does not set: "
           "a classifier for other classes, say.")
      .Add("label_smoothing", &ModelUse::label_smoothing,
           "Share of the target that is spread evenly over all classes while "
           "training.",
           InHalfOpen(0, 1));
}

ParamSchema<BatchUse> BatchUseSchema() {
  return ParamSchema<BatchUse>().Add(
      "micro_batch_size", &BatchUse::micro_batch_size,
      "Compute a batch in pieces of this many examples and add up their "
      "gradients: less memory, the same step. 0 for the whole batch at once.",
      AtLeast(0));
}

ParamSchema<OptimizerUse> OptimizerUseSchema() {
  return ParamSchema<OptimizerUse>().Add(
      "keep_state", &OptimizerUse::keep_state,
      "Whether a client's optimizer remembers its momentum from one round to "
      "the next.");
}

// P. Goyal et al., "Accurate, Large Minibatch SGD", 2017 (linear);
// A. Krizhevsky, "One weird trick", 2014 (square root).
ParamSchema<LrScheduleUse> LrScheduleUseSchema() {
  return ParamSchema<LrScheduleUse>()
      .Add("scaling", &LrScheduleUse::scaling,
           "How optimizer.lr grows with the examples B behind one optimizer "
           "step, which are the cohort's together in BSP and a client's (their "
           "mean) otherwise: \"linear\" multiplies it by B / base_batch_size, "
           "\"sqrt\" by the square root of that.",
           OneOf({"none", "linear", "sqrt"}))
      .Add("base_batch_size", &LrScheduleUse::base_batch_size,
           "Batch size for which optimizer.lr is meant.", AtLeast(1));
}

ParamSchema<MapperUse> MapperUseSchema() {
  return ParamSchema<MapperUse>().Add(
      "scope", &MapperUse::scope,
      "\"server\" maps the aggregate of a round, \"client\" the gradient of "
      "each local step.",
      OneOf({"server", "client"}));
}

}  // namespace fedlb
