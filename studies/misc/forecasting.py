"""Forecasting: whether an LSTM or a transformer continues a series better depends on the series.

Set-up: 336 hours are read and the next 96 forecast, by every method alike; squared error in units of the training
part's variance. ETTh1 with its published protocol, and three generated series in the same windows: a trend with a day
and a week, Mackey and Glass's chaos, two autoregressions that a hidden chain switches. LSTM and transformer read
patches of a day (PatchTST, arXiv:2211.14730, with all channels in a patch) and may subtract the last value and add it
back (NLinear, arXiv:2205.13504), which is tuned as the learning rate is, on an equal budget: AdamW, cosine.
DLinear is tuned as well; ridge chooses its penalty on the validation months, and neither it nor a naive forecast draws.

Published, multivariate ETTh1, 336 → 96: DLinear .375, repeat-last 1.295 (Zeng et al. 2023, arXiv:2205.13504); with a
look-back of 96, as comparison only: Autoformer .449 (arXiv:2106.13008), Informer .865 (arXiv:2012.07436).
`--preset reference` repeats DLinear's, beside ridge and naive forecasts, as published but for early stopping: Adam,
batches of 32, ten epochs, 0.005 halved after each from the second on. Five seeds gave .3704 ± .0004 (95 % t interval).

Stated beforehand, after pilots on seeds from 1000 on: on ETTh1 a linear map beats both (Zeng et al.); on chaos both
beat it, for no linear map continues that; the LSTM is ahead of the transformer on chaos, where a state must be
followed, and behind it where much of the window counts (ETTh1, seasons, regimes). Claims take blocks of windows as
long as those share hours (Künsch 1989) where both sides are tuned.

Full: 1,176 trials, up to 45 to a pack, some 2 GPU-hours (estimated, not measured). `quick` goes without regimes and
takes every 22nd window, patches of two days, 100 steps, five asks a search and DLinear at a fixed learning rate, so
that it is compared over searches and seeds (Welch) and not over windows as well. On its seeds three of seven claims
stay undecided: with five asks one search in three ends far off, the LSTM's on ETTh1 and the transformer's on seasons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

import dlx
from dlx import claims, data, figures, losses, metrics, models, optim

DLINEAR, TOLERANCE = 0.375, 0.005  # published; others saw .371 to .378
PUBLISHED = {"DLinear": DLINEAR, "Repeat(period=1)": 1.295,
             "Autoformer, look-back 96": 0.449, "Informer, look-back 96": 0.865}
DAY = 24
SHARED = 336 + 96  # hours from one window to the first that shares none with it
HALVED = optim.StepDecay(milestones=(0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), gamma=0.5)
ETT, LINEAR = {"series": "ETTh1"}, {"method": "DLinear"}
SEASONAL, CHAOTIC, SWITCHING = ({"kind": kind} for kind in ("seasonal", "chaotic", "switching"))


@dataclass(frozen=True)
class Learnt:
    """A model, the learning rate of its AdamW, and what that follows over the steps."""

    model: models.Model
    lr: float
    weight_decay: float = 0.01
    schedule: optim.Schedule = optim.Cosine()


class LSTM(Learnt):
    """A recurrent network over patches."""


class Transformer(Learnt):
    """Self-attention over patches."""


class DLinear(Learnt):
    """Two linear maps, of a moving average and of the rest."""


@dataclass(frozen=True)
class Ridge:
    """One linear map for all channels, by penalised least squares; penalties: on the weights' squares, per sample."""

    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)

    def forecasts(self, of: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Of each split (windows, horizon, channels), with the penalty that validates best."""
        rows = {n: [part.swapaxes(1, 2).reshape(-1, part.shape[1]) for part in parts] for n, parts in of.items()}
        x = {name: np.pad(inputs, ((0, 0), (0, 1)), constant_values=1.0) for name, (inputs, _) in rows.items()}
        y = rows["train"][1]
        gram, cross = x["train"].T @ x["train"] / len(y), x["train"].T @ y / len(y)
        free = np.eye(len(gram))
        free[-1, -1] = 0.0
        found = []
        for penalty in self.penalties:
            weights = np.linalg.solve(gram + penalty * free, cross)
            made = {n: (x[n] @ weights).reshape(len(t), -1, t.shape[1]).swapaxes(1, 2) for n, (_, t) in of.items()}
            found.append((np.mean((made["val"] - of["val"][1]) ** 2), made))
        return min(found, key=lambda pair: pair[0])[1]


@dataclass(frozen=True)
class Repeat:
    """The last values of the window again and again; period: how many of them, in hours."""

    period: int

    def forecasts(self, of: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Of each split (windows, horizon, channels)."""
        return {name: inputs[:, np.arange(outputs.shape[1]) % self.period - self.period]
                for name, (inputs, outputs) in of.items()}


@dataclass(frozen=True)
class Forecast(dlx.Trial):
    """A method on a series; steps, batch_size and dtype are for those that learn by gradients."""

    series: data.Data
    method: LSTM | Transformer | DLinear | Ridge | Repeat
    steps: int
    batch_size: int = 32
    dtype: Literal["float32", "float64"] = "float32"

    def training(self, method: Learnt) -> dlx.Training:
        return dlx.Training(
            data=self.series, model=method.model, steps=self.steps, batch_size=self.batch_size, dtype=self.dtype,
            optimizer=optim.AdamW(lr=method.lr, weight_decay=method.weight_decay), schedule=method.schedule,
            loss=losses.MSE(), metrics=(metrics.loss(),), measure=1, items=("test/loss",),
        )

    def shape(self) -> Any:
        return self.training(self.method).shape() if isinstance(self.method, Learnt) else None

    @classmethod
    def run_pack(cls, trials: Sequence["Forecast"], contexts: Sequence[dlx.Context]) -> Sequence[Any]:
        return dlx.Training.run_pack([t.training(t.method) for t in trials], contexts)

    def run(self, ctx: dlx.Context) -> Mapping[str, float]:
        splits = {name: [part.double().numpy() for part in split.take(split.rows)]
                  for name, split in self.series.load(ctx).items()}
        of = {name: (x, y.reshape(len(y), -1, x.shape[2])) for name, (x, y) in splits.items()}
        errors = {name: ((made - of[name][1]) ** 2).mean((1, 2)) for name, made in self.method.forecasts(of).items()}
        ctx.items("test/loss", errors["test"])
        return {f"{name}/loss": error.mean() for name, error in errors.items()}


def stated(blocks: int, linear: Mapping[str, Any]) -> tuple[claims.Claim, ...]:
    """What is expected; blocks: windows that share hours; linear: how DLinear is compared with the others."""
    pair = {"test": "blocks", "block": blocks}
    expected = (
        ("DLinear", "Transformer", ETT, linear), ("DLinear", "LSTM", ETT, linear),
        ("Transformer", "DLinear", CHAOTIC, linear), ("LSTM", "DLinear", CHAOTIC, linear),
        ("LSTM", "Transformer", CHAOTIC, pair), ("Transformer", "LSTM", ETT, pair),
        ("Transformer", "LSTM", SEASONAL, pair), ("Transformer", "LSTM", SWITCHING, pair),
    )
    return tuple(
        claims.Lower("test/loss", {"method": a}, than={"method": b}, where=where, **how,
                     name=f"{a} is ahead of {b} on {', '.join(where.values())}")
        for a, b, where, how in expected
    )


def dots(panels: tuple[str, ...], title: str) -> figures.Dots:
    """Errors by method, a panel for each series, beside published ones."""
    return figures.Dots(
        rows="method", metric="test/loss", panels=panels, name="errors", log=True, published={"ETTh1": PUBLISHED},
        published_label="published, with every window", title=title,
        x_label="squared error on the test windows (variances of the training part)",
    )


STUDY = dlx.Study(
    name="forecasting",
    question="LSTM or transformer for time series: does it depend on the series?",
    template=Forecast(
        series=dlx.grid(data.ETTh1(), data.Series(kind=dlx.grid("seasonal", "chaotic", "switching"))),
        method=dlx.grid(
            LSTM(models.Patched(models.LSTM(64), DAY, dlx.choice(0.0, 1.0)), lr=dlx.loguniform(1e-4, 1e-1)),
            Transformer(
                models.Patched(models.Transformer(64, 2, 4, causal=False, readout="last"), DAY, dlx.choice(0.0, 1.0)),
                lr=dlx.loguniform(1e-4, 1e-1),
            ),
            DLinear(models.DLinear(), lr=dlx.loguniform(3e-4, 1e-1)), Ridge(), Repeat(1), Repeat(DAY),
        ),
        steps=2_000,
    ),
    objective=dlx.minimize("val/loss"),
    search=dlx.TPE(trials=20, repeats=3, parallel=5), seeds=5,
    claims=stated(SHARED, {"test": "blocks", "block": SHARED}),
    figures=(dots(("series", "kind"), "LSTM and transformer beside linear and naive forecasts, 336 hours → 96"),),
    presets={
        "quick": {
            "template.series[ETTh1].stride": 22, "template.series[Series].stride": 22,
            "template.series[Series].kind": dlx.grid("seasonal", "chaotic"),
            "template.method[LSTM].lr": dlx.loguniform(3e-3, 1e-1),
            "template.method[LSTM].model.patch": 2 * DAY, "template.method[LSTM].model.model.width": 32,
            "template.method[Transformer].lr": dlx.loguniform(3e-3, 1e-1),
            "template.method[Transformer].model.patch": 2 * DAY, "template.method[Transformer].model.model.dim": 32,
            "template.method[Transformer].model.model.depth": 1,
            "template.method[DLinear].lr": 0.01, "template.steps": 100,
            "search": dlx.TPE(trials=5, repeats=3, parallel=5, recheck=0), "pack": 15,
            "claims": stated(SHARED // 22 + 1, {})[:-1],
        },
        "reference": {
            "template.series": dlx.grid(data.ETTh1()),
            "template.method": dlx.grid(DLinear(models.DLinear(), 0.005, 0.0, HALVED), Ridge(), Repeat(1), Repeat(DAY)),
            "template.steps": 2_560,
            "claims": (claims.Below("test/loss", DLINEAR + TOLERANCE, where=LINEAR, name="no worse than published"),
                       claims.Above("test/loss", DLINEAR - TOLERANCE, where=LINEAR, name="no better than published")),
            "figures": (dots(("series",), "ETTh1 with DLinear's published set-up, 336 hours → 96"),),
        },
    },
)
