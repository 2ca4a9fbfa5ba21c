// Text for people: aligned tables and readable numbers.

#ifndef FEDLB_CLI_TABLE_H_
#define FEDLB_CLI_TABLE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace fedlb::cli {

// Rows under a header, columns as wide as their widest cell, two spaces between
// them; cells that are numbers are set flush right. Every row has as many cells
// as the header. Without a header (empty) the first column is the label.
std::string FormatTable(const std::vector<std::string>& header,
                        const std::vector<std::vector<std::string>>& rows);

// Label and value per line, the values aligned.
std::string FormatPairs(
    const std::vector<std::pair<std::string, std::string>>& pairs);

// "206,922".
std::string FormatCount(int64_t count);
// "1.5 GiB".
std::string FormatBytes(int64_t bytes);
// "3.2 s", "2:05 min", "1:02:05 h".
std::string FormatSeconds(double seconds);
// Up to `digits` significant digits; "-" for NaN.
std::string FormatNumber(double value, int digits = 6);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_TABLE_H_
