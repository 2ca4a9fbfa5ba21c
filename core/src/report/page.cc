#include "report/page.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "report/assets.h"
#include "report/figures.h"

namespace fedlb {
namespace {

using nlohmann::json;

// Inside <script> the text must not end the element; in JSON a "<" can only be
// within a string, where it may be escaped. Names from file systems may be no
// UTF-8.
std::string ScriptJson(const json& data) {
  return absl::StrReplaceAll(
      data.dump(-1, ' ', false, json::error_handler_t::replace),
      {{"<", "\\u003c"}});
}

}  // namespace

// One pass: what is filled in is not looked at again.
std::string FillIn(const PageParts& parts) {
  return absl::StrReplaceAll(kPageTemplate,
                             {{"{{title}}", EscapeHtml(parts.title)},
                              {"{{heading}}", EscapeHtml(parts.heading)},
                              {"{{subtitle}}", EscapeHtml(parts.subtitle)},
                              {"{{headlines}}", parts.headlines},
                              {"{{sections}}", parts.sections},
                              {"{{charts}}", ScriptJson(parts.charts)},
                              {"{{style}}", kPageStyle},
                              {"{{library}}", kChartLibrary},
                              {"{{script}}", kPageScript}});
}

std::string Section(absl::string_view title, absl::string_view content) {
  return absl::StrCat("<section><h2>", title, "</h2>\n", content,
                      "</section>\n");
}

std::string FileSection(absl::string_view name, absl::string_view text) {
  return text.empty()
             ? ""
             : absl::StrCat("<details><summary>", name, "</summary>\n<pre>",
                            EscapeHtml(text), "</pre></details>\n");
}

}  // namespace fedlb
