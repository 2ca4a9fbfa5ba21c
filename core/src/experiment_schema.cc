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
      .Check([](const Options& options) {
        if (options.cohort_size > 0 && options.cohort_fraction < 1) {
          return ConfigError(
              "cohort_size and cohort_fraction both say how many clients take "
              "part; keep one of them");
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

ParamSchema<MapperUse> MapperUseSchema() {
  return ParamSchema<MapperUse>().Add(
      "scope", &MapperUse::scope,
      "\"server\" maps the aggregate of a round, \"client\" the gradient of "
      "each local step.",
      OneOf({"server", "client"}));
}

}  // namespace fedlb
