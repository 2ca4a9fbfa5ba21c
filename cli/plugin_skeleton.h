// The files with which a new plugin begins.

#ifndef FEDLB_CLI_PLUGIN_SKELETON_H_
#define FEDLB_CLI_PLUGIN_SKELETON_H_

#include <string>
#include <utility>
#include <vector>

namespace fedlb::cli {

// What differs between the skeletons of two kinds. In all texts @NAME@ stands
// for the component's name and @CLASS@ for its class.
struct KindSkeleton {
  const char* kind;             // "aggregator"
  const char* base;             // "Aggregator", declared in fedlb/<kind>.h
  const char* summary;          // kSummary
  const char* option;           // the member of the options with its default
  const char* schema;           // arguments of ParamSchema::Add
  const char* standard_header;  // #include lines of the header
  const char* sdk_header;
  // Of the class: what is public beside the five members that every component
  // has, what follows the constructor's parameters, and what is private.
  const char* public_members;
  const char* constructor;
  const char* private_members;
  const char* includes;     // of the source
  const char* definitions;  // of the members
  const char* test_includes;
  const char* test;  // one TEST with numbers derived by hand
};

// In the order of their kinds.
const std::vector<KindSkeleton>& KindSkeletons();

// File name and content of every file of a plugin with one component.
std::vector<std::pair<std::string, std::string>> RenderSkeleton(
    const KindSkeleton& kind, const std::string& name);

}  // namespace fedlb::cli

#endif  // FEDLB_CLI_PLUGIN_SKELETON_H_
