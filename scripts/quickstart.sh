#!/usr/bin/env bash
# Sets fedlb up and trains the quickstart experiment; arguments go to `train`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/scripts/setup.sh"
exec "$root/build/release/bin/fedlb" train \
  --config "$root/configs/quickstart.toml" "$@"
