// The files that a page is made of. CMake turns them into text within the
// library (core/cmake/FedlbEmbedText.cmake), so that reports need nothing else.

#ifndef FEDLB_SRC_REPORT_ASSETS_H_
#define FEDLB_SRC_REPORT_ASSETS_H_

#include "absl/strings/string_view.h"

namespace fedlb {

// page.html, in which RenderReport fills in what stands in double braces, and
// its parts.
extern const absl::string_view kPageTemplate;
extern const absl::string_view kPageStyle;
extern const absl::string_view kPageScript;
// Chart.js 3, minified, with its licence.
extern const absl::string_view kChartLibrary;

}  // namespace fedlb

#endif  // FEDLB_SRC_REPORT_ASSETS_H_
