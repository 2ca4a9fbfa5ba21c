#include "fedlb/status.h"

#include <exception>
#include <new>
#include <optional>
#include <string>

#include <c10/util/Exception.h>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace fedlb {
namespace {

constexpr char kFailurePayload[] = "fedlb/failure";

absl::Status Make(absl::StatusCode code, Failure failure,
                  absl::string_view message) {
  absl::Status status(code, message);
  status.SetPayload(kFailurePayload,
                    absl::Cord(absl::StrCat(static_cast<int>(failure))));
  return status;
}

absl::Status OutOfMemoryIn(absl::string_view where, absl::string_view what) {
  return OutOfMemoryError(absl::StrCat(
      where, ": out of memory: ", what,
      "; use a smaller batch_policy.batch_size or micro_batch_size, fewer "
      "transport.workers or a larger execution.memory_limit"));
}

}  // namespace

absl::Status UsageError(absl::string_view message) {
  return Make(absl::StatusCode::kInvalidArgument, Failure::kUsage, message);
}

absl::Status ConfigError(absl::string_view message) {
  return Make(absl::StatusCode::kInvalidArgument, Failure::kConfig, message);
}

absl::Status InputFileError(absl::string_view message) {
  return Make(absl::StatusCode::kDataLoss, Failure::kInputFile, message);
}

absl::Status OutOfMemoryError(absl::string_view message) {
  return Make(absl::StatusCode::kResourceExhausted, Failure::kOutOfMemory,
              message);
}

absl::Status PeerLostError(absl::string_view message) {
  return Make(absl::StatusCode::kUnavailable, Failure::kPeerLost, message);
}

absl::Status DeadlineError(absl::string_view message) {
  return Make(absl::StatusCode::kDeadlineExceeded, Failure::kDeadline, message);
}

absl::Status PluginRefusedError(absl::string_view message) {
  return Make(absl::StatusCode::kFailedPrecondition, Failure::kPluginRefused,
              message);
}

absl::Status DivergedError(absl::string_view message) {
  return Make(absl::StatusCode::kOutOfRange, Failure::kDiverged, message);
}

absl::Status StorageError(absl::string_view message) {
  return Make(absl::StatusCode::kUnavailable, Failure::kStorage, message);
}

absl::Status InterruptedError(absl::string_view message) {
  return Make(absl::StatusCode::kCancelled, Failure::kInterrupted, message);
}

Failure FailureOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kFailurePayload);
  int failure = 0;
  if (payload.has_value() &&
      absl::SimpleAtoi(std::string(*payload), &failure)) {
    return static_cast<Failure>(failure);
  }
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return Failure::kConfig;
    case absl::StatusCode::kResourceExhausted:
      return Failure::kOutOfMemory;
    default:
      return Failure::kRuntime;
  }
}

absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) {
    return status;
  }
  absl::Status annotated(status.code(),
                         absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload(
      [&annotated](absl::string_view type, const absl::Cord& payload) {
        annotated.SetPayload(type, payload);
      });
  return annotated;
}

absl::Status CatchAsStatus(absl::string_view where,
                           absl::FunctionRef<absl::Status()> body) {
  try {
    return body();
  } catch (const std::bad_alloc& error) {
    return OutOfMemoryIn(where, error.what());
  } catch (const c10::OutOfMemoryError& error) {
    return OutOfMemoryIn(where, error.what_without_backtrace());
  } catch (const c10::Error& error) {
    // The backtrace is 3 KiB of frames that mean nothing to a user.
    return absl::InternalError(
        absl::StrCat(where, ": ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(where, ": ", error.what()));
  } catch (...) {
    return absl::InternalError(
        absl::StrCat(where, ": threw something that is not an exception"));
  }
}

}  // namespace fedlb
