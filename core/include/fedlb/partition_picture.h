// Draws a partition as an SVG picture.

#ifndef FEDLB_PARTITION_PICTURE_H_
#define FEDLB_PARTITION_PICTURE_H_

#include <string>

#include "fedlb/data_summary.h"
#include "fedlb/export.h"

namespace fedlb {

// One bar per client whose length is its number of examples and whose coloured
// parts are the classes, in the order of clients. Of more than 60 clients, 60
// are drawn that lie evenly among them.
FEDLB_API std::string DrawPartition(const PartitionSummary& partition);

}  // namespace fedlb

#endif  // FEDLB_PARTITION_PICTURE_H_
