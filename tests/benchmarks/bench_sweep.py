"""A whole sweep of 3,072 trainings, beside what one would otherwise use; each line from a process of its own.

The job: tune the learning rate of a 40-32-32-10 MLP on MNIST-1D by SGD with momentum, batch 32, 200 steps; loss and
error on 200 validation samples at 20 steps, spaced evenly in their logarithm, and at the end on 800 training and 200
test samples as well.
The sweep: 4 label noises × 8 weight decays × 4 momenta, in each of the 128 cells 16 asks of TPE and 8 seeds.

Run as ``python tests/benchmarks/bench_sweep.py``; on the cores it may use, two in the README.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

import dlx
from dlx import data, models, optim
from dlx.context import Context

BATCH, STEPS = 32, 200
MEASURED = {round(STEPS ** (i / 19)) for i in range(20)}
RATES = 1e-3, 1.0  # lowest and highest learning rate
NOISES = (0.0, 0.05, 0.1, 0.15)
DECAYS = (0.0, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
MOMENTA = (0.0, 0.5, 0.9, 0.95)
CORES = len(os.sched_getaffinity(0))
TUNED, ASKED, FUSED, TOLD = 16, 60, 256, 300  # trials of plain Ray Tune, of Optuna, of a fused pack, runs of MLflow

Log = Callable[[dict[str, float]], Any]


def signals(label_noise: float) -> data.MNIST1D:
    """The data of all sides."""
    return data.MNIST1D(n=1_000, test_samples=200, label_noise=label_noise)


def sweep() -> dlx.Study:
    """The sweep as a study."""
    lr = dlx.loguniform(*RATES)
    return dlx.Study(
        name="sweep",
        question="How does the best learning rate depend on noise, weight decay and momentum?",
        template=dlx.Training(
            data=signals(dlx.grid(*NOISES)),
            model=models.MLP(width=32, depth=2),
            optimizer=optim.SGD(lr=lr, momentum=dlx.grid(*MOMENTA), weight_decay=dlx.grid(*DECAYS)),
            batch_size=BATCH,
            steps=STEPS,
            watch=("val",),
        ),
        objective=dlx.minimize("val/loss"),
        search=dlx.TPE(trials=16, recheck=0),
        seeds=8,
    )


def train(lr: float, log: Log) -> None:
    """The job in plain PyTorch, at one setting of the sweep."""
    parts = {k: (s.inputs[s.rows].float(), s.targets[s.rows]) for k, s in signals(0.15).load(Context(0)).items()}
    (inputs, targets), epoch = parts["train"], torch.empty(0, dtype=torch.int64)
    torch.manual_seed(0)
    layers = [torch.nn.Linear(40, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    for step in range(1, STEPS + 1):
        if len(epoch) < BATCH:
            epoch = torch.cat([epoch, torch.randperm(len(inputs))])
        rows, epoch = epoch.tensor_split([BATCH])
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
        optimizer.step()
        if step in MEASURED:
            seen = parts if step == STEPS else {"val": parts["val"]}
            log({f"{k}/{name}": value for k, part in seen.items() for name, value in score(model, *part).items()})


@torch.no_grad()
def score(model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Loss and error on one split."""
    outputs = model(inputs)
    wrong = (outputs.argmax(1) != targets).float().mean()
    return {"loss": torch.nn.functional.cross_entropy(outputs, targets).item(), "error": wrong.item()}


# ---------------------------------------------------------------- the sides, each in a process of its own


def run_dlx(folder: str) -> dict[str, float]:
    """The sweep through Ray Tune, Optuna, Parquet and MLflow, with the start of all of them."""
    study = sweep()
    begun = time.time()
    results = study.run(home=folder)
    ended = time.time()
    trials = results.to_pandas()
    assert set(trials["status"]) <= {"completed", "diverged"}
    last = max(part.stat().st_mtime for part in Path(folder, "studies", study.name).rglob("part-*.parquet"))
    return {"trials": len(trials), "cells": len(study.space.cells), "stored": last - begun, "tracked": ended - begun}


def run_start(folder: str) -> float:
    """Seconds of Ray's start alone."""
    from dlx.executors.tune_cluster import Cluster

    begun = time.perf_counter()
    with Cluster():
        return time.perf_counter() - begun


def run_ray_tune(folder: str) -> float:
    """Trials a second of Ray Tune with its own OptunaSearch and MLflow callback, Ray's start not counted."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    def trainable(config: dict[str, float]) -> None:
        torch.set_num_threads(1)
        train(config["lr"], tune.report)

    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False)
    search = OptunaSearch(metric="val/loss", mode="min", seed=0)
    callback = MLflowLoggerCallback(f"sqlite:///{folder}/mlflow.db", experiment_name="sweep")
    tuner = tune.Tuner(
        trainable,
        param_space={"lr": tune.loguniform(*RATES)},
        tune_config=tune.TuneConfig(num_samples=TUNED, search_alg=search),
        run_config=tune.RunConfig(storage_path=folder, callbacks=[callback], verbose=0),
    )
    begun = time.perf_counter()
    results = tuner.fit()
    seconds = time.perf_counter() - begun
    assert len(results) == TUNED and not results.errors
    return TUNED / seconds


def run_optuna(folder: str) -> float:
    """Trials a second of Optuna's own loop in one process."""
    import optuna

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: optuna.Trial) -> float:
        history: list[dict[str, float]] = []
        train(trial.suggest_float("lr", *RATES, log=True), history.append)
        return history[-1]["val/loss"]

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, 2)
    begun = time.perf_counter()
    study.optimize(objective, ASKED)
    return ASKED / (time.perf_counter() - begun)


def run_fused(folder: str) -> float:
    """Trials a second of hand-fused packs, a process with one thread on every core; no search, nothing recorded."""
    with ProcessPoolExecutor(CORES, get_context("spawn")) as pool:
        list(pool.map(fused, range(CORES)))
        begun = time.perf_counter()
        list(pool.map(fused, range(4 * CORES)))
        return 4 * CORES * FUSED / (time.perf_counter() - begun)


def fused(first: int) -> None:
    """One pack by hand."""
    import hand_fused

    torch.set_num_threads(1)
    splits = [signals(0.15).load(Context(FUSED * first + i)) for i in range(FUSED)]
    lr = torch.logspace(-3, 0, FUSED)[:, None, None]
    rates = {"lr": lr, "momentum": torch.full_like(lr, 0.9), "weight_decay": torch.full_like(lr, 1e-4)}
    hand_fused.train(splits, (40, 32, 32, 10), rates, BATCH, STEPS, MEASURED)


def run_mlflow(folder: str) -> float:
    """Trial runs a second of MLflow's own client: create, log and terminate, with what dlx sends of each trial."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    from dlx.store import Store
    from dlx.tracking.client import surroundings
    from dlx.tracking.rows import Slots, curves_of, run_of

    store, slots = Store("sweep", folder), Slots()
    slots.add(store.membership())
    rows = store.trials().slice(0, TOLD).to_pylist()
    curves = curves_of(store.history([row["key"] for row in rows]))
    runs = [run_of(row, curves[row["key"]], slots, lambda cell: {}) for row in rows]
    with surroundings():
        client = MlflowClient(f"sqlite:///{folder}/bare.db")
        experiment = client.create_experiment("bare")
        begun = time.perf_counter()
        for run in runs:
            made = client.create_run(experiment, run.started, dict(run.tags), run.name).info.run_id
            metrics = [Metric(p.metric, p.value, p.time, p.step) for p in run.points]
            client.log_batch(made, metrics, [Param(name, str(value)) for name, value in run.params.items()])
            client.set_terminated(made, run.status, run.ended)
        return TOLD / (time.perf_counter() - begun)


def measured(side: str, folder: str) -> Any:
    """What one side gives, from a process of its own."""
    said = subprocess.run([sys.executable, __file__, side, folder], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(said.stdout.splitlines()[-1])


def apart(side: Callable[[str], Any]) -> Any:
    """What one side gives in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return measured(side.__name__, folder)


def main() -> None:
    """Measure all sides, those beside dlx before it and after it, and print a Markdown table."""
    others = run_start, run_ray_tune, run_optuna, run_fused
    before = [apart(side) for side in others]
    with tempfile.TemporaryDirectory() as folder:
        ours, bare = measured("run_dlx", folder), measured("run_mlflow", folder)
    after = [apart(side) for side in others]
    start, tune, loop, by_hand = map(statistics.mean, zip(before, after, strict=True))
    seconds = {side: ours[side] - start for side in ("stored", "tracked")}
    stored, tracked = (ours["trials"] / seconds[side] for side in ("stored", "tracked"))
    print(f"{ours['trials']:,} trainings in {ours['cells']} cells on {CORES} cores take {seconds['stored']:.0f} s "
          f"until all is in Parquet,\n{seconds['tracked']:.0f} s until MLflow has every run as well. "
          f"The {start:.0f} s that Ray's start takes alone,\nwhile Ray Tune is loaded, are not counted.\n")
    print("| the same trainings by | trials/s | dlx until Parquet | dlx until MLflow |\n|---|---|---|---|")
    print(f"| dlx | {stored:.3g} and {tracked:.3g} | | |")
    for name, rate in (
        (f"Ray Tune + OptunaSearch + MLflowLoggerCallback, {TUNED} trials, twice", tune),
        (f"one Optuna loop in one process, plain PyTorch, {ASKED} trials, twice", loop),
        (f"`baddbmm` fused by hand, packs of {FUSED}, a process a core, no search, no records", by_hand),
    ):
        print(f"| {name} | {rate:.3g} | {stored / rate:.3g} × | {tracked / rate:.3g} × |")
    print(f"| for comparison: MLflow's client alone, creating, logging and ending {TOLD} runs | {bare:.3g} | | "
          f"{tracked / bare:.3g} × |")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
    else:
        main()
