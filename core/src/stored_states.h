// Component states within a safetensors file.

#ifndef FEDLB_SRC_STORED_STATES_H_
#define FEDLB_SRC_STORED_STATES_H_

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "fedlb/component.h"
#include "fedlb/safetensors.h"

namespace fedlb {

// Numbers as text: JSON has no infinities, and its numbers are not exact in
// every reader. kDataLoss.
std::string ExactText(double value);
absl::StatusOr<double> FromExactText(const nlohmann::json& value);

// Writes component states as tensors "<owner>/<name>/<index>" and scalars
// {"<owner>": {"<name>": "<number>"}}.
class StateWriter {
 public:
  explicit StateWriter(SafetensorsFile& file) : file_(file) {}

  void Write(const std::string& owner, const ComponentState& state);
  // The keys "scalars" and "sizes" of `out`, which the caller puts into the
  // file's metadata.
  void WriteScalarsTo(nlohmann::json& out) const;

 private:
  SafetensorsFile& file_;
  nlohmann::json scalars_ = nlohmann::json::object();
  nlohmann::json sizes_ = nlohmann::json::object();
};

class StateReader {
 public:
  // kDataLoss when something is missing. Throws nlohmann's exceptions where
  // `stored` is not what WriteScalarsTo makes.
  static absl::StatusOr<StateReader> Create(const SafetensorsFile& file,
                                            const nlohmann::json& stored);

  // Empty for an owner that wrote nothing.
  ComponentState Take(const std::string& owner);

 private:
  std::map<std::string, ComponentState> states_;
};

}  // namespace fedlb

#endif  // FEDLB_SRC_STORED_STATES_H_
