// Errors: what kind of failure a status stands for, and how exceptions become
// statuses.

#ifndef FEDLB_STATUS_H_
#define FEDLB_STATUS_H_

#include <string>
#include <type_traits>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fedlb/export.h"

namespace fedlb {

// What went wrong from the user's point of view. A status carries it as a
// payload; the command line turns it into an exit code.
enum class Failure {
  kRuntime,        // none of the following
  kUsage,          // command line
  kConfig,         // configuration
  kInputFile,      // data, weights, update, teacher or profile file
  kOutOfMemory,    // out of memory, or an infeasible batch
  kPeerLost,       // peer or transport lost
  kDeadline,       // deadline passed, or too few clients
  kPluginRefused,  // plugin refused
  kDiverged,       // non-finite loss or weights
  kStorage,        // disk full, directory unwritable or locked
  kInterrupted,    // SIGINT or SIGTERM
};

FEDLB_API absl::Status UsageError(absl::string_view message);
FEDLB_API absl::Status ConfigError(absl::string_view message);
FEDLB_API absl::Status InputFileError(absl::string_view message);
FEDLB_API absl::Status OutOfMemoryError(absl::string_view message);
FEDLB_API absl::Status PeerLostError(absl::string_view message);
FEDLB_API absl::Status DeadlineError(absl::string_view message);
FEDLB_API absl::Status PluginRefusedError(absl::string_view message);
FEDLB_API absl::Status DivergedError(absl::string_view message);
FEDLB_API absl::Status StorageError(absl::string_view message);
FEDLB_API absl::Status InterruptedError(absl::string_view message);

// The failure that `status` was made for; without one, kConfig for
// kInvalidArgument, kOutOfMemory for kResourceExhausted, kRuntime otherwise.
FEDLB_API Failure FailureOf(const absl::Status& status);

// `status` with "context: " before its message; code and payloads stay.
FEDLB_API absl::Status Annotate(const absl::Status& status,
                                absl::string_view context);

// Runs `body` and returns its status. An exception becomes a status that says
// `where` it was thrown: out of memory (std::bad_alloc, the allocator's limit)
// kResourceExhausted, anything else kInternal with the text of what() and, for
// LibTorch's errors, without their backtrace.
FEDLB_API absl::Status CatchAsStatus(
    absl::string_view where, absl::FunctionRef<absl::Status()> body);

// The same for a body that returns absl::StatusOr<T>.
template <typename F>
auto CatchAsStatusOr(absl::string_view where, F&& body)
    -> std::invoke_result_t<F> {
  std::invoke_result_t<F> result = absl::InternalError("not run");
  const absl::Status status = CatchAsStatus(where, [&]() -> absl::Status {
    result = body();
    return result.status();
  });
  if (!status.ok()) {
    return status;
  }
  return result;
}

}  // namespace fedlb

#define FEDLB_RETURN_IF_ERROR(expression)                     \
  do {                                                        \
    ::absl::Status fedlb_status = (expression);               \
    if (!fedlb_status.ok()) {                                 \
      return fedlb_status;                                    \
    }                                                         \
  } while (false)

#define FEDLB_CONCAT_INNER(a, b) a##b
#define FEDLB_CONCAT(a, b) FEDLB_CONCAT_INNER(a, b)

// Declares or assigns `left` from a StatusOr, or returns its status:
//   FEDLB_ASSIGN_OR_RETURN(auto model, CreateModel());
#define FEDLB_ASSIGN_OR_RETURN(left, expression) \
  FEDLB_ASSIGN_OR_RETURN_INNER(FEDLB_CONCAT(fedlb_result_, __LINE__), left, \
                               expression)
#define FEDLB_ASSIGN_OR_RETURN_INNER(result, left, expression) \
  auto result = (expression);                                  \
  if (!result.ok()) {                                          \
    return std::move(result).status();                         \
  }                                                            \
  left = std::move(result).value()

#endif  // FEDLB_STATUS_H_
