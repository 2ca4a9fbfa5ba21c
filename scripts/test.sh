#!/usr/bin/env bash
# Sets fedlb up with its tests and runs them; arguments go to ctest.
# --slow, given first, runs the slow ones, too, and fuzzes whatever reads files.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
run_tests() {
  ctest --output-on-failure --no-tests=error "$@"
}

if [[ ${1:-} != --slow ]]; then
  "$root/scripts/setup.sh" --tests
  run_tests --test-dir "$root/build/release" -j "$(nproc)" -LE slow "$@"
  exit
fi

shift
"$root/scripts/setup.sh" --slow-tests
cd "$root"
run_tests --test-dir build/release -j "$(nproc)" "$@"
cmake --preset fuzz >build/fuzz-configure.log
cmake --build --preset fuzz
run_tests --test-dir build/fuzz -L fuzz -j "$(nproc)"
