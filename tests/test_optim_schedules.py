"""Every schedule equals its twin in torch.optim.lr_scheduler, alone and in a pack of unlike members."""

from functools import partial

import pytest
import torch
from pytorch_optimizer.lr_scheduler import get_wsd_schedule
from torch.optim import lr_scheduler
from torch.utils._pytree import tree_map

from dlx import optim, shelf
from dlx.errors import DeclarationError

STEPS = 200
torch.set_num_threads(1)


def rates(make):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler, found = make(optimizer), []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return torch.tensor(found, dtype=torch.float64)


def warm(optimizer, steps):
    return lr_scheduler.LinearLR(optimizer, 1 / steps, total_iters=steps - 1)


def after_warm_up(optimizer, steps, make):
    return lr_scheduler.SequentialLR(optimizer, [warm(optimizer, steps), make(optimizer)], [steps])


CASES = {
    "Constant": lambda s: (optim.Constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    "WarmUp": lambda s: (optim.WarmUp(0.1 * s), lambda o: warm(o, 20 * s)),
    "WarmUp of no steps": lambda s: (optim.WarmUp(0.0), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    "Cosine": lambda s: (
        optim.Cosine(final=0.1 * s), lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1 * s),
    ),
    "Cosine after warm-up": lambda s: (
        optim.Cosine(warmup=0.1 * s),
        lambda o: after_warm_up(o, 20 * s, lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS - 20 * s)),
    ),
    "StepDecay": lambda s: (
        optim.StepDecay((0.25, 0.5, 0.9), gamma=0.3 * s),
        lambda o: lr_scheduler.MultiStepLR(o, [50, 100, 180], gamma=0.3 * s),
    ),
    "StepDecay after warm-up": lambda s: (
        optim.StepDecay(gamma=0.2, warmup=0.1 * s),
        lambda o: after_warm_up(o, 20 * s, lambda o: lr_scheduler.MultiStepLR(o, [100 - 20 * s, 150 - 20 * s], 0.2)),
    ),
    "WSD": lambda s: (
        optim.WSD(warmup=0.0, decay=0.2 * s),
        lambda o: get_wsd_schedule(o, 0, STEPS - 40 * s, 40 * s, cooldown_type="linear"),
    ),
    "WSD with warm-up and a floor": lambda s: (
        optim.WSD(warmup=0.1 * s, decay=0.4, final=0.1),
        lambda o: lr_scheduler.SequentialLR(o, [warm(o, 20 * s), lr_scheduler.LinearLR(o, 1.0, 0.1, 80)], [120]),
    ),
}


def factors(schedule, hyper, steps):
    return torch.stack([schedule.factor(step, STEPS, hyper) for step in steps])


def hyper_of(schedule):
    return tree_map(partial(torch.tensor, dtype=torch.float64), shelf.hyperparameters(schedule))


STEP_NUMBERS = torch.arange(STEPS, dtype=torch.float64)


def test_every_schedule_has_a_twin():
    found = {n for n in optim.__all__ if callable(getattr(getattr(optim, n), "factor", None))}
    assert found - {"Schedule"} == {type(case(1)[0]).__name__ for case in CASES.values()}


@pytest.mark.parametrize("name", CASES)
def test_alone(name):
    schedule, make = CASES[name](1)
    schedule.check() if hasattr(schedule, "check") else None
    assert isinstance(schedule, optim.Schedule)
    found = factors(shelf.without_hyperparameters(schedule), hyper_of(schedule), STEP_NUMBERS)
    torch.testing.assert_close(found, rates(make), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_in_a_pack_of_different_hyperparameters(name):
    members = [CASES[name](s)[0] for s in (1, 2)]
    hyper = tree_map(lambda *leaves: torch.stack(leaves), *(hyper_of(m) for m in members))
    rule = shelf.without_hyperparameters(members[0])
    together = torch.func.vmap(lambda step, hyper: rule.factor(step, STEPS, hyper))
    found = torch.stack([together(step.expand(2), hyper) for step in STEP_NUMBERS])
    for i, s in enumerate((1, 2)):
        torch.testing.assert_close(found[:, i], rates(CASES[name](s)[1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (optim.WarmUp(1.0), "warmup"), (optim.Cosine(warmup=-0.1), "warmup"), (optim.Cosine(final=1.5), "final"),
        (optim.StepDecay((0.5, 2.0)), r"milestones\[1\]"), (optim.StepDecay(gamma=float("nan")), "gamma"),
        (optim.WSD(warmup=0.5, decay=0.6), "decay"), (optim.WSD(decay=0.0), "decay"), (optim.WSD(final=-1.0), "final"),
    ],
)
def test_check_names_the_field(schedule, field):
    with pytest.raises(DeclarationError, match=f"^{field} is"):
        schedule.check()
