// What training shows: plans, progress, results.

#ifndef FEDLB_CLI_TRAIN_OUTPUT_H_
#define FEDLB_CLI_TRAIN_OUTPUT_H_

#include <string>

#include "command.h"
#include "fedlb/experiment.h"
#include "fedlb/remote_transport.h"
#include "terminal.h"

namespace fedlb::cli {

void DescribePlan(const ExperimentPlan& plan, CommandResult& result);
Progress DescribeParticipation(const ParticipationProgress& now);
void DescribeParticipant(const ParticipationProgress& end,
                         CommandResult& result);
void DescribeResult(const TrainResult& run, CommandResult& result);

// Options of a run in `run_dir` that shows its progress and stops on a signal.
// `context` outlives the training.
TrainOptions OptionsFor(const std::string& run_dir, bool resume,
                        CommandContext& context);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_TRAIN_OUTPUT_H_
