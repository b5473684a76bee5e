import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import dlx
from dlx import data, models, optim
from dlx.errors import DeclarationError
from dlx.trial import Trial, setting_digest, trial_key


@dataclass(frozen=True)
class Layer:
    width: int
    gain: float = 1.0


@dataclass(frozen=True)
class Nested(Trial):
    layers: tuple[Layer, ...]
    rates: dict[str, float]
    name: str | None = None
    flag: bool = False


@dataclass(frozen=True)
class Older(Trial):
    lr: float


@dataclass(frozen=True)
class Newer(Trial):
    public_name = "Older"

    lr: float
    clip: float | None = dlx.field(None, absent=None)
    watched: tuple[str, ...] = dlx.field((), keyed=False)


@dataclass(frozen=True)
class Raised(Trial):
    public_name = "Older"
    version = 2

    lr: float


@dlx.trial(version=1)
def ridge(ctx, penalty: float, degree: int = 3, basis: str = "fourier"):
    """Closed form."""
    return {"test/loss": penalty * degree}


NESTED = Nested((Layer(8), Layer(16, 0.5)), {"head": 0.1, "body": 0.01}, "deep")
TRAINING = dlx.Training(
    data=data.MNIST1D(n=1000, label_noise=0.15), model=models.MLP(width=32, depth=2),
    optimizer=optim.SGD(lr=0.1, momentum=0.9), steps=500, batch_size=100,
)
GOLDEN = [
    (TRAINING, 0, "847957e730c63619a7b5804d4854a146"),
    (TRAINING, 1, "7d6fc9b15eb70bedfff15a18c4fa56a7"),
    (NESTED, 0, "bfad810facc72b6f0aa6c0d6ba83036b"),
    (Older(0.1), 3, "9cc2b9dfd0d89af3e2f3b061fbde624c"),
    (ridge(penalty=0.5), 0, "e838a47be2463fe65758be0c88cef87b"),
    (ridge(penalty=0.0, degree=2, basis="chebyshev"), 7, "699ec3a06201bfd4277eff27baec209c"),
]


@pytest.mark.parametrize(("trial", "seed", "key"), GOLDEN)
def test_golden_keys(trial, seed, key):
    """These are in people's stores: a change here throws their results away."""
    assert trial_key(trial, seed) == key


def test_a_field_added_later_is_left_out_at_the_value_its_absence_stands_for():
    assert trial_key(Newer(0.1), 0) == trial_key(Older(0.1), 0)
    assert trial_key(Newer(0.1, clip=1.0), 0) != trial_key(Older(0.1), 0)


def test_what_only_observes_is_no_part_of_the_key():
    assert trial_key(Newer(0.1, watched=("loss",)), 0) == trial_key(Newer(0.1), 0)


def test_a_raised_version_and_another_name_are_other_trials():
    assert len({trial_key(t, 0) for t in (Older(0.1), Raised(0.1), Layer(1))}) == 3


def test_every_value_and_the_seed_enter_the_key():
    others = [
        Nested((Layer(16, 0.5), Layer(8)), {"head": 0.1, "body": 0.01}, "deep"),
        Nested((Layer(8), Layer(16, 0.5)), {"head": 0.01, "body": 0.1}, "deep"),
        Nested((Layer(8), Layer(16, 0.5)), {"head": 0.1, "body": 0.01}),
        Nested((Layer(8), Layer(16, 0.5)), {"head": 0.1, "body": 0.01}, "deep", True),
    ]
    keys = {trial_key(NESTED, 0), trial_key(NESTED, 1), *(trial_key(t, 0) for t in others)}
    assert len(keys) == 6


def test_a_dict_has_no_order():
    assert trial_key(Nested((), {"a": 1.0, "b": 2.0}), 0) == trial_key(Nested((), {"b": 2.0, "a": 1.0}), 0)


def test_a_function_becomes_a_trial():
    made = ridge(penalty=2)
    assert isinstance(made, Trial) and made.run(None) == {"test/loss": 6.0}
    assert made.basis == "fourier" and type(made).__doc__ == "Closed form."
    assert pickle.loads(pickle.dumps(made)) == made
    assert trial_key(ridge(2), 0) == trial_key(ridge(2.0), 0) == trial_key(ridge(np.float64(2)), 0)
    assert trial_key(ridge(2.0, 3, "fourier"), 0) == trial_key(ridge(2.0), 0)


def test_a_function_trial_can_be_raised_and_named():
    def f(ctx, x: float):
        return {"loss": x}

    first, raised, named = dlx.trial()(f), dlx.trial(version=2)(f), dlx.trial(name="g")(f)
    assert len({setting_digest(t(0.1)) for t in (first, raised, named)}) == 3


def no_context(x: float):
    return {}


def many(ctx, *values):
    return {}


def named_like_a_method(ctx, shape: int):
    return {}


@pytest.mark.parametrize(("function", "said"), [
    (no_context, "no_context must take ctx"),
    (many, r"\*values; name each value"),
    (named_like_a_method, "parameter shape, a name that trials use"),
])
def test_functions_that_cannot_be_trials_are_refused(function, said):
    with pytest.raises(DeclarationError, match=said):
        dlx.trial()(function)


def test_a_trial_without_run_says_so():
    with pytest.raises(NotImplementedError, match="Older defines no run"):
        Older(0.1).run(None)
