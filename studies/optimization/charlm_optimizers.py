"""Which optimizer gets a character model of Shakespeare to a low loss first, in steps and in seconds?

A causal transformer reads tiny Shakespeare (Karpathy 2015) and is trained by SGD with momentum, AdamW, sign descent,
Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon), and in the full preset by Shampoo (Gupta et al. 2018,
arXiv:1802.09568) and SOAP (Vyas et al. 2024, arXiv:2409.11321) as well. Each learning rate is tuned over three decades
(quick: two) on an equal budget by validation loss, the schedule being cosine for all; claims are on test loss, in nats
a character. As comparison, and no more, for model and data differ: a validation loss of 3.28 on NanoGPT takes Adam
5,625 steps, Shampoo 4,100 and Muon 3,250 (Jordan et al. 2024).

Stated beforehand: Muon ends below AdamW, and AdamW below SGD; in the full preset Shampoo between Muon and AdamW, and
Muon and Shampoo both bring validation loss to LOW sooner than AdamW.
Seconds are a trial's share of its pack's: what a method costs when many train at once, not when one trains alone. In
quick most of a pack's time is its preparation, so that its seconds say little.
On its own seeds quick finds Muon 0.13 below AdamW [0.10, 0.16]; whether AdamW is below SGD stays undecided: by 0.02 to
0.09 on the first three seeds, while on the two added later SGD's tuned rate lets one training in fifteen blow up.

Quick: 15,360 characters are read once, so that losses are those of a model that has just begun to learn. Full: six
methods, 3 searches each of 12 asks + 6 rechecks + 5 finals, 414 trials of 2,000 steps, about 3 GPU-hours (estimated,
not measured; Shampoo takes all its roots at each step); a pack holds up to 36. It has not been run.
"""

from itertools import pairwise

import dlx
from dlx import claims, data, figures, metrics, models, optim

HEAD_START = 0.02  # nats a character: the smallest difference in test loss that matters
LOW = 2.0  # nats a character, of validation loss: between the 2.5 of letter pairs and the 1.5 of good small models
SHOWN = (1.0, 4.5)  # nats a character; log 65 = 4.17 is a guess among all characters
WINDOW = 64  # characters
NANOGPT = {"NanoGPT: Adam": 5_625, "NanoGPT: Shampoo": 4_100, "NanoGPT: Muon": 3_250}  # steps to a loss of 3.28
METRICS = (metrics.loss(), metrics.error())


def expected(*methods: str) -> tuple[claims.Claim, ...]:
    """Each of the methods ends lower than the next."""
    return tuple(
        claims.Lower("test/loss", {"optimizer": a}, than={"optimizer": b}, by=HEAD_START, name=f"{a} beats {b}")
        for a, b in pairwise(methods)
    )


def sooner(method: str) -> claims.Claim:
    """A method needs fewer steps to ``LOW`` than AdamW."""
    return claims.Sooner("val/loss", LOW, {"optimizer": method}, {"optimizer": "AdamW"},
                         because="the question is when, and of this loss", name=f"{method} is sooner than AdamW")


def methods(lowest: float) -> tuple[optim.Optimizer, ...]:
    """Four methods, each with learning rates from ``lowest`` times its largest one to this one."""
    return (
        optim.SGD(lr=dlx.loguniform(3.0 * lowest, 3.0), momentum=0.9),
        optim.AdamW(lr=dlx.loguniform(0.3 * lowest, 0.3)),
        optim.SignDescent(lr=dlx.loguniform(0.1 * lowest, 0.1), momentum=0.9),
        optim.Muon(lr=dlx.loguniform(0.6 * lowest, 0.6)),
    )


CURVES = (
    figures.LearningCurves(
        "val/loss", name="loss_by_step", log_x=True, y_label="validation loss (nats a character)",
        title="Tiny Shakespeare: loss by steps, each method at its tuned rate", y_range=SHOWN,
    ),
    figures.LearningCurves(
        "val/loss", x="seconds", name="loss_by_second", log_x=True, y_label="validation loss (nats a character)",
        title="Tiny Shakespeare: loss by seconds, each method at its tuned rate", y_range=SHOWN,
        x_label="time of a trial, its share of its pack's (s)",
    ),
    figures.BestAgainstBudget(y_label="validation loss (nats a character)", title="Tiny Shakespeare, by budget"),
)
TO_LOW = figures.Dots(
    rows="optimizer", metric="crossing/steps", name="steps_to_low", log=True, published={"": NANOGPT},
    published_label="another model, data and loss", title=f"Steps to a validation loss of {LOW:g} nats a character",
    x_label="training steps (all there were, where it is never reached)",
)
STUDY = dlx.Study(
    name="charlm-optimizers",
    question="Which optimizer lowers the loss of a character model soonest, in steps and in seconds?",
    template=dlx.Training(
        data=data.TinyShakespeare(length=WINDOW),
        model=models.Transformer(dim=128, depth=4, heads=4, positions="rope"),
        optimizer=dlx.grid(
            *methods(1e-3),
            optim.Shampoo(lr=dlx.loguniform(3e-3, 3.0), momentum=0.9),
            optim.SOAP(lr=dlx.loguniform(3e-4, 0.3)),
        ),
        batch_size=64, steps=2_000, schedule=optim.Cosine(warmup=0.05), watch=("val",), measure=60,
        metrics=(*METRICS, metrics.crossing("steps", "val/loss", below=LOW, restricted=True)),
    ),
    objective=dlx.minimize("val/loss"),
    search=dlx.TPE(trials=12, repeats=3),
    seeds=5,
    claims=(*expected("Muon", "Shampoo", "AdamW", "SGD"), sooner("Muon"), sooner("Shampoo")),
    figures=(*CURVES, TO_LOW),
    presets={
        "quick": {
            "template.data": data.Subset(data.TinyShakespeare(length=32, held_out=64), n=480),
            "template.model": models.Transformer(dim=32, depth=1, heads=2, positions="rope"),
            "template.optimizer": dlx.grid(*methods(1e-2)),
            "template.batch_size": 8, "template.steps": 60, "template.measure": 8,
            "template.metrics": METRICS, "figures": CURVES,
            "search": dlx.TPE(trials=6, repeats=3, parallel=3, startup=3, recheck=0), "seeds": 5,
            "claims": expected("Muon", "AdamW", "SGD"),
        },
    },
)
