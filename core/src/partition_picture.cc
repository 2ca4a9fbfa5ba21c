#include "fedlb/partition_picture.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fedlb {
namespace {

constexpr size_t kMaxBars = 60;
// More classes than this have no legend: nobody could tell their colours apart.
constexpr size_t kMaxLegend = 20;
constexpr double kWidth = 900;
constexpr double kLeft = 70;
constexpr double kRight = 60;
constexpr double kTop = 64;
constexpr double kBar = 14;
constexpr double kGap = 4;

// Hues one golden angle apart differ however many classes there are.
std::string Colour(size_t label) {
  constexpr double kGoldenAngle = 137.508;
  const double hue = kGoldenAngle * static_cast<double>(label);
  return absl::StrFormat("hsl(%.1f,%d%%,%d%%)",
                         hue - 360 * static_cast<int>(hue / 360), 62,
                         label % 2 == 0 ? 52 : 64);
}

int64_t Total(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

std::string Legend(size_t classes) {
  if (classes > kMaxLegend) {
    return absl::StrFormat(
        "<text x=\"%.0f\" y=\"46\" class=\"small\">%d classes</text>\n", kLeft,
        classes);
  }
  std::string text;
  const double step =
      std::min(80.0, (kWidth - kLeft - kRight) / static_cast<double>(classes));
  for (size_t label = 0; label < classes; ++label) {
    const double x = kLeft + step * static_cast<double>(label);
    absl::StrAppendFormat(
        &text,
        "<rect x=\"%.1f\" y=\"36\" width=\"11\" height=\"11\" fill=\"%s\"/>"
        "<text x=\"%.1f\" y=\"46\" class=\"small\">%d</text>\n",
        x, Colour(label), x + 15, label);
  }
  return text;
}

}  // namespace

std::string DrawPartition(const PartitionSummary& partition) {
  const size_t clients = partition.clients.size();
  const size_t bars = std::min(clients, kMaxBars);
  int64_t longest = 1;
  for (const ClientSummary& client : partition.clients) {
    longest = std::max(longest, Total(client.counts));
  }
  const double height = kTop + static_cast<double>(bars) * (kBar + kGap) + 20;
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
      "font-family=\"sans-serif\" font-size=\"13\">\n"
      "<style>.small{font-size:11px}text{fill:#222}"
      "@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>\n"
      "<text x=\"%.0f\" y=\"22\">%d examples over %d clients; mean EMD %.3f, "
      "mean JS divergence %.3f bit</text>\n",
      kWidth, height, kLeft, Total(partition.counts), clients,
      partition.mean_emd, partition.mean_js_divergence);
  absl::StrAppend(&svg, Legend(partition.counts.size()));
  const double scale = (kWidth - kLeft - kRight) / static_cast<double>(longest);
  for (size_t bar = 0; bar < bars; ++bar) {
    const size_t client = bar * clients / bars;
    const std::vector<int64_t>& counts = partition.clients[client].counts;
    const double y = kTop + static_cast<double>(bar) * (kBar + kGap);
    double x = kLeft;
    absl::StrAppendFormat(&svg,
                          "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\" "
                          "class=\"small\">%d</text>\n",
                          kLeft - 8, y + kBar - 3, client);
    for (size_t label = 0; label < counts.size(); ++label) {
      if (counts[label] == 0) {
        continue;
      }
      const double width = scale * static_cast<double>(counts[label]);
      absl::StrAppendFormat(
          &svg,
          "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.0f\" "
          "fill=\"%s\"><title>client %d, class %d: %d</title></rect>\n",
          x, y, width, kBar, Colour(label), client, label, counts[label]);
      x += width;
    }
    absl::StrAppendFormat(
        &svg, "<text x=\"%.1f\" y=\"%.1f\" class=\"small\">%d</text>\n", x + 6,
        y + kBar - 3, Total(counts));
  }
  absl::StrAppend(&svg, "</svg>\n");
  return svg;
}

}  // namespace fedlb
