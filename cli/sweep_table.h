// What a sweep shows: its plan and its tables.

#ifndef FEDLB_CLI_SWEEP_TABLE_H_
#define FEDLB_CLI_SWEEP_TABLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "command.h"
#include "fedlb/sweep.h"
#include "sweep_plan.h"

namespace fedlb::cli {

// A setting that was tried, for the record.
struct TriedSetting {
  std::string method;
  std::string setting;
  double validation_score = 0;
  int64_t diverged = 0;
  bool chosen = false;
};

void DescribeSweep(const Sweep& sweep,
                   const std::vector<PlannedMethod>& methods,
                   CommandResult& result);

// The rows of the final table as JSON.
nlohmann::ordered_json TableData(const SweepTable& table);

// The final table in per cent, the header first.
std::vector<std::vector<std::string>> Cells(const SweepTable& table);
std::string Markdown(const std::vector<std::vector<std::string>>& cells);
// The same in full precision and not in per cent, one column for each number.
std::string Csv(const SweepTable& table);

// The settings that were tried, as text.
std::string TriedText(const std::vector<TriedSetting>& tried);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_SWEEP_TABLE_H_
