"""Checks that TensorBoard reads every number of metrics.jsonl.

    python3 tensorboard_events.py RUN_FOLDER
"""

import json
import struct
import sys

from tensorboard.backend.event_processing import event_accumulator


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def main(folder):
    with open(f"{folder}/metrics.jsonl", encoding="utf-8") as file:
        rounds = [json.loads(line) for line in file]
    expected = {}
    for line in rounds:
        for key, value in line.items():
            if key != "round" and isinstance(value, (int, float)):
                expected.setdefault(key, []).append(
                    (line["round"], float32(value)))

    accumulator = event_accumulator.EventAccumulator(
        folder, size_guidance={event_accumulator.SCALARS: 0,
                               event_accumulator.TENSORS: 0})
    accumulator.Reload()
    found = {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }
    if found != expected:
        for tag in sorted(set(expected) | set(found)):
            if found.get(tag) != expected.get(tag):
                print(tag, "expected", expected.get(tag), "found",
                      found.get(tag))
        sys.exit("TensorBoard reads something else")
    points = sum(len(values) for values in found.values())
    print(f"{len(found)} scalars, {points} points over {len(rounds)} rounds")


main(sys.argv[1])
