// Marks what the core library offers to plugins and programs.

#ifndef FEDLB_EXPORT_H_
#define FEDLB_EXPORT_H_

#define FEDLB_API __attribute__((visibility("default")))

#endif  // FEDLB_EXPORT_H_
