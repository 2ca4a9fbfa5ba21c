"""Writes and prints safetensors files, with Python's own modules only.

  tensor_file.py write FILE [KEY=VALUE ...] NAME=NUMBER,NUMBER,...
  tensor_file.py print FILE

Arguments with a dot in front of the first = are metadata; print gives a line
for each tensor of floats.
"""
import array
import json
import sys


def write(path, arguments):
    header, data = {}, b""
    metadata = {}
    for argument in arguments:
        name, _, text = argument.partition("=")
        if "." in name:
            metadata[name] = text
            continue
        values = array.array("f", map(float, text.split(",")))
        header[name] = {"dtype": "F32", "shape": [len(values)],
                        "data_offsets": [len(data),
                                         len(data) + 4 * len(values)]}
        data += values.tobytes()
    if metadata:
        header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def show(path):
    with open(path, "rb") as file:
        content = file.read()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            values = array.array("f")
            values.frombytes(content[8 + length + begin:8 + length + end])
            print(name, *(f"{value:.6g}" for value in values))


if sys.argv[1] == "write":
    write(sys.argv[2], sys.argv[3:])
else:
    show(sys.argv[2])
