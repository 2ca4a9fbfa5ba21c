// The page that every report is.

#ifndef FEDLB_SRC_REPORT_PAGE_H_
#define FEDLB_SRC_REPORT_PAGE_H_

#include <string>

#include <nlohmann/json.hpp>

#include "absl/strings/string_view.h"

namespace fedlb {

// Everything but title, heading and subtitle is HTML.
struct PageParts {
  std::string title;  // of the window
  std::string heading;
  std::string subtitle;
  std::string headlines;
  std::string sections;   // below the charts
  nlohmann::json charts;  // as charts.h describes them
};

// One HTML file that loads nothing from elsewhere.
std::string FillIn(const PageParts& parts);

std::string Section(absl::string_view title, absl::string_view content);

// A folded section with the text of a file; nothing where there is none.
std::string FileSection(absl::string_view name, absl::string_view text);

}  // namespace fedlb

#endif  // FEDLB_SRC_REPORT_PAGE_H_
