"""Trains with every aggregator and compressor: with one worker and with two, and
in two halves with a resume between. Prints those whose weights differ.

  same_bits.py CONFIG
"""
import json
import subprocess
import sys

COHORT = ["federation.cohort_size=8", "transport.wire=true", "rounds=4"]
METHODS = {
    "aggregator": ["mean", "fednova", "median", "trimmed_mean", "krum",
                   "bulyan", "geometric_median", "norm_clipping",
                   "centered_clipping", "fltrust", "dp_mean"],
    "compressor": ["none", "topk", "randomk", "qsgd", "terngrad", "int8",
                   "signsgd", "powersgd", "half", "adaptive"],
}


def train(*arguments):
    done = subprocess.run(
        ["fedlb", "train", "-q", "--format", "json", *arguments],
        capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{arguments}: {done.stderr}")
    return json.loads(done.stdout)["data"]["weights_sha256"]


def sets(*settings):
    return [word for setting in settings for word in ("--set", setting)]


count = 0
for kind, names in METHODS.items():
    for name in names:
        given = ["-c", sys.argv[1], *sets(*COHORT, f"{kind}.name={name}")]
        one = train(*given, *sets("transport.workers=1"), "-o", f"{name}1")
        two = train(*given, *sets("transport.workers=2"), "-o", f"{name}2")
        train(*given, *sets("rounds=2"), "-o", f"{name}3")
        resumed = train("--resume", f"{name}3", *sets("rounds=4"))
        if not one == two == resumed:
            print(kind, name, one[:8], two[:8], resumed[:8])
        count += 1
print(count, "methods")
