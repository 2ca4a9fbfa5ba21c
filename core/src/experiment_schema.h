// The keys of an experiment that belong to no component.

#ifndef FEDLB_SRC_EXPERIMENT_SCHEMA_H_
#define FEDLB_SRC_EXPERIMENT_SCHEMA_H_

#include "fedlb/experiment_config.h"
#include "fedlb/param_schema.h"

namespace fedlb {

ParamSchema<RunOptions> RunSchema();
ParamSchema<FederationOptions> FederationSchema();
ParamSchema<ExecutionOptions> ExecutionSchema();
ParamSchema<EvaluationOptions> EvaluationSchema();
ParamSchema<CheckpointOptions> CheckpointSchema();
ParamSchema<DatasetUse> DatasetUseSchema();
ParamSchema<BatchUse> BatchUseSchema();
ParamSchema<OptimizerUse> OptimizerUseSchema();
ParamSchema<MapperUse> MapperUseSchema();

}  // namespace fedlb

#endif  // FEDLB_SRC_EXPERIMENT_SCHEMA_H_
