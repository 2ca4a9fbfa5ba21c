// The tables of a report, as HTML.

#ifndef FEDLB_SRC_REPORT_FIGURES_H_
#define FEDLB_SRC_REPORT_FIGURES_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "fedlb/report.h"
#include "report/run_history.h"

namespace fedlb {

// `text` as it may stand in an element or in a quoted attribute.
std::string EscapeHtml(absl::string_view text);

// The few figures that a reader looks for first.
std::string Headlines(const RunSummary& run);

// Everything that the newest rounds say about a run.
std::string FiguresTable(const RunHistory& run);

// A row per run, the best value of a column marked. `names` and `runs` have one
// order.
std::string ComparisonTable(const Report& report,
                            const std::vector<std::string>& names);

// A row per key, a column per run.
std::string SettingsTable(const std::vector<std::string>& keys,
                          const std::vector<RunHistory>& runs,
                          const std::vector<std::string>& names);

}  // namespace fedlb

#endif  // FEDLB_SRC_REPORT_FIGURES_H_
