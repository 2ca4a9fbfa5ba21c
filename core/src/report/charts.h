// The data of a report's charts, as page.js draws them.

#ifndef FEDLB_SRC_REPORT_CHARTS_H_
#define FEDLB_SRC_REPORT_CHARTS_H_

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "report/run_history.h"

namespace fedlb {

// Both return a list of
//
//   {id, title, kind, series, x?, y?, critical?, level?, switchable?}
//
// kind "line": series {name, color, points {round, value}}; with `switchable`
//   the points carry samples, seconds and, where there is a clock,
//   virtual_seconds, too; with low and high in the points a band is filled
//   between these. `critical` lists [first, last] of shaded rounds,
//   `level` {name, value} is a horizontal line. With `x` the points' rounds are
//   something else that it names, drawn over a `logarithmic` axis if that is
//   set.
// kind "band": three such series, the space between the outer ones filled.
// kind "area": the same with points {x, value}.
// kind "bars": labels, and series {name, color, values}.
//
// Charts without two different values to show are left out.
nlohmann::json ChartsOfRun(const RunHistory& run);

// One series per run, called by its name in `names`.
nlohmann::json ChartsOfComparison(const std::vector<RunHistory>& runs,
                                  const std::vector<std::string>& names);

// One series per group of runs, its mean with a band of one standard deviation
// on either side, called by its name in `names`.
nlohmann::json ChartsOfGroups(const std::vector<std::vector<RunHistory>>& groups,
                              const std::vector<std::string>& names);

}  // namespace fedlb

#endif  // FEDLB_SRC_REPORT_CHARTS_H_
