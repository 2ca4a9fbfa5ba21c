#!/bin/sh
# Compares what TensorBoard's own reader finds in a run's folder with the run's
# metrics.jsonl:
#   tensorboard_events.sh FEDLB CONFIG
# Exit code 77 (skipped) without a python3 that has TensorBoard, which
# `pip install tensorboard` in a virtual environment in front of PATH gives.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if ! python3 -c 'import tensorboard' 2>"$folder/err"; then
  echo "skipped: python3 cannot import tensorboard"
  exit 77
fi
fedlb=$1
config=$2
"$fedlb" train -c "$config" --output "$folder/run" --quiet >"$folder/out"
# The event file goes on where the checkpoint was.
"$fedlb" train --resume "$folder/run" --set rounds=5 --quiet >"$folder/out"
python3 "$(dirname "$0")/tensorboard_events.py" "$folder/run"
