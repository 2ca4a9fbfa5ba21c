#!/usr/bin/env bash
# Sets fedlb up with its tests and runs them; arguments go to ctest.
# --slow, given first, runs the slow ones, too.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
selection=(-LE slow)
if [[ ${1:-} == --slow ]]; then
  selection=()
  shift
fi
"$root/scripts/setup.sh" --tests
exec ctest --test-dir "$root/build/release" --output-on-failure \
  --no-tests=error -j "$(nproc)" "${selection[@]}" "$@"
