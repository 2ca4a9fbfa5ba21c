// What training shows: plans, progress, results.

#ifndef FEDLB_CLI_TRAIN_OUTPUT_H_
#define FEDLB_CLI_TRAIN_OUTPUT_H_

#include "command.h"
#include "fedlb/experiment.h"
#include "terminal.h"

namespace fedlb::cli {

void DescribePlan(const ExperimentPlan& plan, CommandResult& result);
void DescribeResult(const TrainResult& run, CommandResult& result);
Progress DescribeProgress(const RoundProgress& round);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_TRAIN_OUTPUT_H_
