"""What the scripts of studies share: runs that are made once, and their cells."""
import json
import statistics
import subprocess
import sys


def run_once(record, command, tolerated):
    """The envelope that `command` prints, which runs unless `record` holds it.

    `tolerated` are exit codes of failures that belong into a table.
    """
    if not record.exists():
        record.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(command, text=True, capture_output=True)
        if done.returncode not in (0, *tolerated):
            sys.exit(f"{record.stem}: {done.stderr}")
        record.write_text(done.stdout)
    return json.loads(record.read_text())


def cell(values, runs, failure, digits):
    """Mean and spread of `values`, and how many of `runs` there are missing."""
    parts = []
    if values:
        spread = (f" ± {statistics.stdev(values):.{digits}f}"
                  if len(values) > 1 else "")
        parts.append(f"{statistics.mean(values):.{digits}f}{spread}")
    if len(values) < runs:
        parts.append(f"{runs - len(values)} {failure}")
    return ", ".join(parts)
