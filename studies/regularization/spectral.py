"""Weight decay and the spectrum: what it does to layers and to the network, and whether a spectral penalty is better.

MLPs and residual MLPs, SGD with momentum 0.9. Galanti et al. (2022, arXiv:2206.05794): SGD with weight decay λ is
biased to matrices of low rank, the more so the larger lr·λ is, and at equal epochs the smaller the batch is. Stated
beforehand: the mean stable rank ‖W‖²_F/σ₁² falls with λ at a fixed lr and with lr at a fixed λ, while nets fit, their
training loss being below FITTED (a diverged one mimics the effect); in full it is also alike, within ALIKE, where their
product is. At equal samples a smaller batch has the lower rank, for it takes more steps; at equal steps a larger one
has. Against width, which sets the number of parameters, the effective rank (exponential of the entropy of σ/Σσ) grows
without decay, with an exponent above FOLLOWS, and not with decay, below SATURATES.

The whole network's norm is the mean over samples of σ₁ of its Jacobian; Π σ₁(W) bounds it, but for a residual net.
Both fall with λ, the product more, so that their ratio rises.

A penalty λ/2 Σ σ₁² (Yoshida and Miyato 2017, arXiv:1705.10941, who find smaller errors with it) is compared with decay
where both end at the same training loss, within MATCHED. Stated beforehand: it leaves a smaller norm of the network and
a higher stable rank, and its test error is lower.

Nothing is tuned: penalty and decay are compared by what they leave where the fit is the same. The full preset
(Fashion-MNIST, 4×256) has 300 trials in 9 packs; about 2 GPU-hours, estimated, not measured. The quick one
has 105 trainings of MLPs of three layers on digits, in 6 packs of 7 to 42. Its settings were chosen on seeds from 1000
on, and changed after a look at seeds 0 to 4, which it leaves out: decay 0.002, a learning rate and a strength were
dropped, the penalty was matched to decay 0.001, and fitting is judged by the loss (the errors were all 0). FOLLOWS,
SATURATES and MATCHED are the study's own.

Undecided there: whether a larger batch is lower at equal steps (−0.06 ± 0.07, a tenth of the difference at equal
samples: the clock is the number of steps); whether the product falls more than the network's norm between the two
decays (it does from none to 0.001, and both fall alike from there); and whether the penalty has the lower test error
(by 0.0004 ± 0.0018, by less than a quarter of a point): it changes the spectrum and not the error.
"""

from collections.abc import Callable, Mapping
from typing import Any

import dlx
from dlx import claims, data, figures, metrics, models, optim

LR, DECAYS = 0.02, (0.0, 1e-3, 5e-3)
WEAK, STRONG = DECAYS[1:]
EQUAL = 4 * WEAK  # decay that at LR / 4 has the product of WEAK at LR
ALIKE = 0.5  # stable rank
PENALTY = 0.008  # ends at the training loss of WEAK
BATCH, LARGE = 32, 128  # samples
FITTED = 0.1  # nats on the training samples
FOLLOWS, SATURATES = 0.75, 0.5  # exponents of the effective rank in the width
MATCHED = 0.003  # nats
CHAIN = {"residual": False}


def left_out(width: int, steps: int, crossed: bool) -> Callable[[Any], bool]:
    """Which cells are none of lr × decay, penalties, widths, and batch sizes, these crossed or at LR and WEAK alone."""

    def skip(trial: Any) -> bool:
        rule, model, schedule = trial.optimizer, trial.model, (trial.batch_size, trial.steps)
        base, usual = model.width == width, schedule == (BATCH, steps)
        if isinstance(rule, optim.SpectralPenalty) or (base and usual):
            return not (base and usual)
        if model.residual or schedule == (BATCH, steps // 4):
            return True
        if base:
            return not crossed and (rule.lr, rule.weight_decay) != (LR, WEAK)
        return not usual or rule.lr != LR or rule.weight_decay in (WEAK, EQUAL)

    return skip


def expected(width: int, steps: int, chain: Mapping[str, Any]) -> tuple[claims.Claim, ...]:
    """The claims, at a base of this width and so many steps of BATCH samples; chain: what is true of plain nets."""
    base = {"width": width, "batch_size": BATCH}
    plain = base | {"optimizer": "SGD"}
    weak, rank = {"optimizer": "SGD", "width": width, "lr": LR, "weight_decay": WEAK}, "weights/stable_rank"
    decay, penalty = {"optimizer": "SGD", "lr": LR, "weight_decay": WEAK}, {"strength": PENALTY}
    long, short = {"batch_size": LARGE, "steps": steps}, {"batch_size": LARGE, "steps": steps // 4}
    small = {"batch_size": BATCH, "steps": steps}

    def moves(metric: str, direction: str, name: str, **where: Any) -> claims.Claim:
        where = plain | {"lr": LR} | where
        return claims.Trend(metric, over="weight_decay", direction=direction, where=where, name=name)

    def follows(decay: float, slope: tuple[float | None, float | None], name: str) -> claims.Claim:
        where = {"optimizer": "SGD", "lr": LR, "weight_decay": decay, "batch_size": BATCH, **chain}
        return claims.Trend("weights/effective_rank", over="width", slope=slope, log=True, where=where, name=name)

    return (
        claims.Below("train/loss", FITTED, where=base, name="all fit"),
        moves(rank, "falling", "stable rank falls with the decay"),
        claims.Trend(rank, over="lr", direction="falling", where=plain | {"weight_decay": WEAK},
                     name="stable rank falls with the learning rate"),
        claims.Lower(rank, small, than=short, where=weak, name="equal samples: lower with the smaller batch"),
        claims.Lower(rank, long, than=small, where=weak, name="equal steps: lower with the larger batch"),
        moves("train/jacobian_norm", "falling", "the network's norm falls with the decay"),
        moves("train/relative_jacobian_norm", "rising", "the product of the layers' norms falls more", **chain),
        follows(0.0, (FOLLOWS, None), "effective rank follows the width without decay"),
        follows(STRONG, (None, SATURATES), "and not with decay"),
        claims.Equivalent("train/loss", penalty, decay, margin=MATCHED, where=base, name="penalty and decay fit alike"),
        claims.Lower("train/jacobian_norm", penalty, than=decay, where=base, name="penalty: smaller norm of network"),
        claims.Higher(rank, penalty, than=decay, where=base, name="penalty: higher stable rank"),
        claims.Lower("test/error", penalty, than=decay, where=base, name="penalty: lower test error"),
    )


def drawn(width: int, chain: Mapping[str, Any]) -> tuple[Any, ...]:
    """The figures, at a base of this width; chain: as in ``expected``."""
    base = {"width": width, "batch_size": BATCH}
    plain, decay = base | {"optimizer": "SGD"}, "weight decay λ (per unit of learning rate)"
    return (
        figures.Curves(x="weight_decay", y="weights/stable_rank", name="stable_rank", where=plain, x_label=decay,
                       y_label="stable rank (mean over layers)", title="Stable rank by decay"),
        figures.Curves(x="weight_decay", y=("weights/spectral_norm", "train/jacobian_norm"), name="norms",
                       where=plain | {"lr": LR}, x_label=decay, y_label="largest gain",
                       title="Product of the layers' norms, and norm of the network"),
        figures.Curves(x="width", y="weights/effective_rank", name="effective_rank", log_x=True,
                       where={"lr": LR, "weight_decay": (0.0, STRONG), "batch_size": BATCH, **chain},
                       x_label="width (units)", y_label="effective rank (mean over layers)",
                       title="Effective rank by width, without and with decay"),
        figures.LearningCurves("weights/stable_rank", colour="batch_size", name="batches", log_x=True,
                               where={"optimizer": "SGD", "lr": LR, "weight_decay": WEAK, "width": width},
                               y_label="stable rank (mean over layers)", title="Stable rank by batch size"),
        figures.Scatter("train/loss", "test/error", colour="optimizer", name="penalty_against_decay", log_x=True,
                        where=base, x_label="training loss (nats)", y_label="test error",
                        title="Test error at equal training loss"),
    )


STUDY = dlx.Study(
    name="spectral",
    question="What does weight decay do to the spectrum of layers and network, and is a spectral penalty better?",
    template=dlx.Training(
        data=data.FashionMNIST(),
        model=models.MLP(width=dlx.grid(64, 128, 256, 512), depth=4, residual=dlx.grid(False, True)),
        optimizer=dlx.grid(
            optim.SGD(lr=dlx.grid(LR / 4, LR / 2, LR), momentum=0.9, weight_decay=dlx.grid(*DECAYS, EQUAL)),
            optim.SpectralPenalty(optim.SGD(lr=LR, momentum=0.9), strength=dlx.grid(0.004, PENALTY, 0.016)),
        ),
        batch_size=dlx.grid(BATCH, LARGE),
        steps=dlx.grid(15_000, 60_000),
        metrics=(
            metrics.loss(), metrics.error(), metrics.stable_rank(), metrics.effective_rank(), metrics.spectral_norm(),
            metrics.jacobian_norm(), metrics.jacobian_norm(relative=True),
        ),
        measure=metrics.At((7_500, 15_000, 30_000)),
    ),
    skip=left_out(256, 60_000, crossed=True),
    seeds=5,
    claims=(
        *expected(256, 60_000, CHAIN),
        claims.Equivalent("weights/stable_rank", {"lr": LR / 4, "weight_decay": EQUAL},
                          {"lr": LR, "weight_decay": WEAK}, margin=ALIKE, name="stable rank is alike at equal lr·λ",
                          where={"optimizer": "SGD", "width": 256, "batch_size": BATCH}),
    ),
    figures=drawn(256, CHAIN),
    presets={"quick": {
        "template.data": data.Digits(),
        "template.model": models.MLP(width=dlx.grid(32, 64, 128), depth=3),
        "template.optimizer[SGD].lr": dlx.grid(LR / 4, LR), "template.optimizer[SGD].weight_decay": dlx.grid(*DECAYS),
        "template.steps": dlx.grid(750, 3_000),
        "template.measure": metrics.At((375, 750, 1_500)),
        "skip": left_out(64, 3_000, crossed=False),
        "seeds": tuple(range(10, 17)),
        "claims": expected(64, 3_000, {}),
        "figures": drawn(64, {}),
    }},
)
