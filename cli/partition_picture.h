// Draws a partition as an SVG picture.

#ifndef FEDLB_CLI_PARTITION_PICTURE_H_
#define FEDLB_CLI_PARTITION_PICTURE_H_

#include <string>

#include "fedlb/data_summary.h"

namespace fedlb::cli {

// One bar per client whose length is its number of examples and whose coloured
// parts are the classes, in the order of clients. Of more than 60 clients, 60
// are drawn that lie evenly among them.
std::string DrawPartition(const PartitionSummary& partition);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_PARTITION_PICTURE_H_
