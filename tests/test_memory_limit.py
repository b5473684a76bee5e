"""Packs that ask for more memory than the kernel gives to a process: smaller ones run in their place."""

import json
import subprocess
import sys

PROGRAM = """
import json, resource
import torch
from dlx import data, metrics, models, optim
from dlx.pack import Member, Pack, Resources
from dlx.training import Training
from dlx.worker import run_pack

torch.set_num_threads(1)
MIB = 1 << 20

def run(members, width):
    trial = Training(
        data=data.GaussianMixture(n=40, inputs=4), model=models.MLP(width=width, depth=2), steps=2, batch_size=8,
        optimizer=optim.Adam(lr=0.001), metrics=(metrics.loss(),))
    of = tuple(Member(f"{seed}", trial, seed) for seed in range(members))
    records = run_pack(Pack(of, Resources(), "file:///nowhere"))
    row = {name: records.trials.column(name).to_pylist() for name in ("status", "members", "error")}
    losses = records.history.column("value").to_pylist()
    return {**row, "losses": losses, "notes": records.notes}

def limit(more):
    pages = int(open("/proc/self/statm").read().split()[0])
    now = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + more * MIB, resource.RLIM_INFINITY))

few = run(2, 500)
limit(300)
print(json.dumps([few, run(32, 500), run(2, 10_000), run(2, 500)]))
"""


def test_a_pack_without_enough_memory_is_halved_and_a_trial_without_enough_fails_alone():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    few, many, too_large, after = json.loads(done.stdout.splitlines()[-1])
    assert many["status"] == ["completed"] * 32 and max(many["members"]) < 32 and not many["notes"]
    assert many["losses"][: len(few["losses"])] == few["losses"] == after["losses"]
    assert too_large["status"] == ["failed"] * 2 and all("allocate memory" in error for error in too_large["error"])
