// The keys of an experiment that belong to no component.

#ifndef FEDLB_SRC_EXPERIMENT_SCHEMA_H_
#define FEDLB_SRC_EXPERIMENT_SCHEMA_H_

#include "fedlb/experiment_config.h"
#include "fedlb/param_schema.h"

namespace fedlb {

ParamSchema<RunOptions> RunSchema();
ParamSchema<FederationOptions> FederationSchema();
ParamSchema<SimulationOptions> SimulationSchema();
ParamSchema<ExecutionOptions> ExecutionSchema();
ParamSchema<EvaluationOptions> EvaluationSchema();
ParamSchema<CheckpointOptions> CheckpointSchema();
ParamSchema<StoppingOptions> StoppingSchema();
ParamSchema<DatasetUse> DatasetUseSchema();
ParamSchema<ModelUse> ModelUseSchema();
ParamSchema<BatchUse> BatchUseSchema();
ParamSchema<OptimizerUse> OptimizerUseSchema();
ParamSchema<LrScheduleUse> LrScheduleUseSchema();
ParamSchema<MapperUse> MapperUseSchema();

}  // namespace fedlb

#endif  // FEDLB_SRC_EXPERIMENT_SCHEMA_H_
