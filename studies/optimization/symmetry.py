"""Does a symmetric algorithm cost samples? How many it takes to 90 % accuracy, by rule, model, basis and dimension.

Inputs are Gaussian in d dimensions. Target *halves*, y = sign(Σ x² over the first half − Σ x² over the second): Li,
Zhang and Arora (2021, arXiv:2010.08515) prove that what is equivariant under rotations, as an MLP with an isotropic
initialisation is under SGD, takes some d² samples, and a convolution O(1). Target *axis*, y = sign(x₁): some d samples
(Ng 2004). In the *rotated* basis the learner sees Qx. Adam and sign descent are not equivariant (`rotation_invariance`
measures it); whether that changes n₉₀, the number of samples, is the question. The symmetry is broken on purpose by
``AxisInit``, whose units begin with one input each, and by ``optim.AxisDescent``, a rule of our own.

A trial is a ladder of n, each twice the one before, in one pack, with as many steps for each n. n₉₀ lies between two
rungs by interpolation, on the validation split for tuning, on the test split for claims. A ladder that ends below 90 %
is censored, at its last rung, and one that begins above, at its first; ladders are the same for all d and rules, so
that this makes exponents and differences smaller. The learning rate is tuned in each cell, on equal budgets.

Stated beforehand: n₉₀ of the MLP grows with an exponent of at least STEEP in d, that of the convolution of at most
FLAT; n₉₀ under Adam, and under sign descent, is within ±25 % of that under SGD; ``AxisDescent`` takes less than SGD by
more than that, and more in the rotated basis; a wider net takes fewer. In full, a rotation costs Adam none (±25 %)
and the convolution some. What depth does is shown. In quick sign descent stays undecided: some 16 % fewer.

The full preset has 100 cells and 8,500 ladders of up to 12 rungs, in packs of about 64; about 8 GPU-hours, estimated,
not measured. The quick one has 18 cells and 540 ladders of 5 or 6 rungs, in packs of 20. Its seeds are 10 and 11: on 0
and 1 the convolution had 4 channels, which did not always train, and nets of other widths had a larger d, where they
were censored; d = 24 was added for the convolution, and a claim that nothing is censored, which five searches cannot
decide, was dropped. Tuning has the same seeds in both designs: cells left alone chose the same rates.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dlx
from dlx import claims, data, figures, metrics, models, optim

if TYPE_CHECKING:
    import torch

STEEP, FLAT = 1.5, 0.5  # exponents of n₉₀ in d (theory: 2 for the MLP, 0 for the convolution)
SAME = math.log2(1.25)  # ±25 %, in octaves of n
FULL, QUICK = (8, 16, 32, 64), (6, 12, 24)  # d
NARROW, WIDTH = 32, 128
PLAIN, BASES = {"target": "halves", "basis": "standard"}, ({"basis": "standard"}, {"basis": "rotated"})
TUNED_BY = "n₉₀ is a monotone function of its logarithm, for which the cells were tuned"


@dataclass(frozen=True)
class AxisInit:
    """An MLP with one hidden layer whose units begin with the weight of one input, in turn, of the usual norm."""

    width: int

    def build(self, of: data.Dimensions) -> "torch.nn.Module":
        import torch

        module = models.MLP(self.width, 1, init="kaiming").build(of)
        weight = module.get_parameter("0.weight")
        with torch.no_grad():
            own = torch.nn.functional.one_hot(torch.arange(self.width) % of.inputs, of.inputs)
            weight.copy_(own * weight.sign() * weight.norm(dim=1, keepdim=True))
        return module


@dataclass(frozen=True)
class Convolution:
    """Σᵢ (w·(xᵢ, xᵢ₊d/₂))² over shared pairs, in several channels, then an affine map: the net of the O(1) bound."""

    channels: int = 16

    def build(self, of: data.Dimensions) -> "torch.nn.Module":
        import torch

        pairs = of.inputs // 2

        class Energy(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x.square().sum(dim=-1) / pairs**0.5

        return torch.nn.Sequential(torch.nn.Unflatten(1, (2, pairs)), torch.nn.Conv1d(2, self.channels, 1, bias=False),
                                   Energy(), torch.nn.Linear(self.channels, of.outputs))


def first(ladder: dlx.Ladder) -> int:
    """The first rung, and the size of batches."""
    return 8 if isinstance(ladder.training.model, Convolution) else 32


def rungs(last: int) -> tuple[int, ...]:
    """Numbers of samples, each twice the one before; beyond 64 the convolution has the last one alone."""

    def of(ladder: dlx.Ladder) -> tuple[int, ...]:
        doubled = tuple(first(ladder) * 2**i for i in range(last.bit_length()) if first(ladder) * 2**i <= last)
        return (*doubled[:4], last) if isinstance(ladder.training.model, Convolution) else doubled

    return dlx.derived(of, name="rungs")


def skip(ladder: dlx.Ladder) -> bool:
    """Other models under Adam on *halves* alone; other widths and depths under SGD on *halves* as they are."""
    trial = ladder.training
    net, halves = trial.model, trial.data.target == "halves"
    if not isinstance(net, models.MLP):
        return not (halves and isinstance(trial.optimizer, optim.Adam))
    usual = halves and trial.data.basis == "standard" and isinstance(trial.optimizer, optim.SGD)
    return (net.width, net.depth) != (WIDTH, 1) and not usual


def skip_more(ladder: dlx.Ladder) -> bool:
    """In the quick preset only growth is asked at several d, and each other question in two or three cells."""
    trial, small, large = ladder.training, QUICK[0], QUICK[1]
    net, rule, d = trial.model, type(trial.optimizer), trial.data.inputs
    plain = (trial.data.target, trial.data.basis) == tuple(PLAIN.values())
    if isinstance(net, Convolution):
        wanted = plain or d == large
    elif isinstance(net, AxisInit) or not plain:
        rules = (optim.AxisDescent, optim.SGD if trial.data.target == "axis" else optim.Adam)
        both = trial.data.target == "axis" and trial.data.basis == "rotated"
        wanted = d == large and rule in rules and (plain if isinstance(net, AxisInit) else not both)
    elif (net.width, net.depth) != (WIDTH, 1):
        wanted = d == small and net.width == NARROW
    else:
        wanted = d == large or (d == small and rule is not optim.SignDescent)
    return skip(ladder) or not wanted


def expected(small: int, large: int) -> tuple[claims.Claim, ...]:
    """The claims; the one on width is about a small d, those on AxisDescent about a large one."""
    net, own, sgd = {"model": "MLP", "width": WIDTH, "depth": 1}, {"optimizer": "AxisDescent"}, {"optimizer": "SGD"}

    def lower(a: Mapping[str, Any], than: Mapping[str, Any], name: str, by: float = SAME, **where: Any) -> claims.Claim:
        return claims.Lower("test/log2_n", a, than=than, by=by, name=name, where={"inputs": large, **where})

    in_full = (
        claims.Equivalent("test/log2_n", *reversed(BASES), SAME, name="Adam: a rotation costs nothing",
                          where={**net, "optimizer": "Adam", "target": "halves", "inputs": large}),
        lower(*BASES, "the convolution needs its basis", model="Convolution", target="halves"),
    )
    return (
        claims.Trend("test/n", "inputs", slope=(STEEP, None), log=True, where={**net, **PLAIN, **sgd},
                     because=TUNED_BY, name="about d² for the MLP"),
        claims.Trend("test/n", "inputs", slope=(None, FLAT), log=True, where={"model": "Convolution", **PLAIN},
                     because=TUNED_BY, name="O(1) for the convolution"),
        *(claims.Equivalent("test/log2_n", {"optimizer": rule}, sgd, SAME, where={**net, **PLAIN},
                            name=f"{rule} as SGD") for rule in ("Adam", "SignDescent")),
        lower(own, sgd, "an asymmetric rule takes fewer", **net, **PLAIN),
        lower(*BASES, "and more once rotated", **net, **own, target="halves"),
        lower(own, sgd, "also for one axis", **net, target="axis", basis="standard"),
        lower({"width": WIDTH}, {"width": NARROW}, "a wider net takes fewer", 0.0, **sgd, **PLAIN, depth=1,
              inputs=small),
        *(in_full if large == FULL[-1] else ()),
    )


def drawn(small: int, large: int) -> tuple[Any, ...]:
    """n₉₀ over d, by model and basis, by width and depth; and the ladders."""
    net, samples = {"model": "MLP", "width": WIDTH, "depth": 1}, "n₉₀ (training samples)"
    return (
        figures.Scaling(x="inputs", y="test/n", name="n90_by_d", where=PLAIN, x_label="inputs d", y_label=samples,
                        title="Training samples for 90 % accuracy, target halves"),
        figures.Dots(rows="model", metric="test/n", panels=("basis",), log=True, name="n90_by_model", x_label=samples,
                     where={"optimizer": "Adam", "target": "halves", "inputs": large},
                     title=f"Training samples for 90 % accuracy under Adam, target halves, d = {large}"),
        figures.Dots(rows="depth", metric="test/n", panels=("width",), log=True, name="n90_by_depth", x_label=samples,
                     where={"optimizer": "SGD", "model": "MLP", **PLAIN, "inputs": small},
                     title=f"Samples for 90 % accuracy by depth (rows) and width (panels), d = {small}"),
        figures.LearningCurves(metric="test/accuracy", colour="optimizer", dash="basis", name="accuracy_by_n",
                               scale=100, log_x=True, x_label="training samples n", y_label="test accuracy (%)",
                               where=net, title=f"Test accuracy of the MLP, width {WIDTH}, by number of samples"),
    )


STUDY = dlx.Study(
    name="symmetry",
    question="Does a symmetric algorithm cost samples, and how do depth and width matter?",
    template=dlx.Ladder(
        dlx.Training(
            data=data.QuadraticSigns(n=81_920, inputs=dlx.grid(*FULL), target=dlx.grid("halves", "axis"),
                                     basis=dlx.grid("standard", "rotated"), test_samples=4_000),
            model=dlx.grid(models.MLP(width=dlx.grid(NARROW, WIDTH), depth=dlx.grid(1, 2, 3), init="kaiming"),
                           AxisInit(WIDTH), Convolution()),
            optimizer=dlx.grid(
                optim.SGD(lr=dlx.loguniform(0.01, 0.5), momentum=0.9), optim.Adam(lr=dlx.loguniform(2e-3, 0.1)),
                optim.SignDescent(lr=dlx.loguniform(5e-4, 0.03)), optim.AxisDescent(lr=dlx.loguniform(0.02, 1.0)),
            ),
            schedule=optim.Cosine(), steps=4_000, batch_size=dlx.derived(first, name="batch"),
            metrics=(metrics.accuracy(),), measure=1,
        ),
        rungs=rungs(65_536),
    ),
    objective=dlx.minimize("val/log2_n"), search=dlx.TPE(trials=12, repeats=5, top=2, recheck=1),
    seeds=3, skip=skip, claims=expected(FULL[1], FULL[-1]), figures=drawn(FULL[1], FULL[-1]),
    presets={
        "quick": {
            "template.training.data.n": 1_280, "template.training.data.inputs": dlx.grid(*QUICK),
            "template.training.data.test_samples": 1_000, "template.training.model[MLP].depth": dlx.grid(1, 2),
            "template.training.steps": 400, "template.rungs": rungs(1_024),
            "search": dlx.TPE(trials=4, repeats=5, top=1, recheck=0), "seeds": (10, 11),
            "skip": skip_more, "pack": 20, "claims": expected(*QUICK[:2]), "figures": drawn(*QUICK[:2]),
        },
    },
)
