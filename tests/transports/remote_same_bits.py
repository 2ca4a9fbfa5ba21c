"""Trains the same experiments with clients in this process and with clients in
processes of their own. Prints those whose weights differ.

  remote_same_bits.py FEDLB CONFIG FOLDER
"""
import json
import subprocess
import sys

FEDLB, CONFIG, FOLDER = sys.argv[1:]
ALWAYS = ["rounds=4", "federation.clients=6", "federation.cohort_size=4"]
EXPERIMENTS = {
    "bsp": ["sync_policy.name=bsp"],
    "fedavg": [],
    "steps": ["sync_policy.local_epochs=0", "sync_policy.local_steps=3", "optimizer.keep_state=true"],
    "adam": ["server_optimizer.name=adam", "server_optimizer.lr=0.01"],
    "step_mapper": ["sync_policy.name=bsp", "gradient_mapper.name=step",
                    "critical_phase.window=2"],
    "client_mapper": ["gradient_mapper.name=step",
                      "gradient_mapper.scope=client",
                      "critical_phase.scope=client", "critical_phase.window=2"],
    "teacher": ["sync_policy.name=bsp", "gradient_mapper.name=teacher",
                "gradient_mapper.small_batch_size=4", "rounds=12",
                "gradient_mapper.refit=every",
                "gradient_mapper.refit_every=2"],
    "topk": ["compressor.name=topk", "compressor.ratio=0.1"],
    "powersgd": ["compressor.name=powersgd"],
    "scaffold": ["client_algorithm.name=scaffold"],
    "feddyn": ["client_algorithm.name=feddyn"],
    "selsync": ["sync_policy.name=selsync", "critical_phase.scope=client"],
    "median": ["aggregator.name=median", "federation.cohort_size=5"],
}


def train(output, *arguments):
    done = subprocess.run(
        [FEDLB, "train", "-q", "--format", "json", "-c", CONFIG, "-o",
         f"{FOLDER}/{output}", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{output}: {done.stderr}")
    return json.loads(done.stdout)["data"]


def sets(*settings):
    return [word for setting in settings for word in ("--set", setting)]


for name, settings in EXPERIMENTS.items():
    given = sets(*ALWAYS, *settings)
    here = train(f"{name}-here", *given)
    remote = train(f"{name}-remote", *given, "--spawn", "3")
    assert remote["dropped_updates"] == 0, name
    assert remote["traffic"]["bytes_from_clients"] > 0, name
    if here["weights_sha256"] != remote["weights_sha256"]:
        print(name, "differs")
    if remote["samples"] != here["samples"]:
        print(name, "has taken other samples")
print(len(EXPERIMENTS), "experiments")
