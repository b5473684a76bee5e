"""Environments equal those of the packages, step by step; the search is the same alone and in a pack."""

import dataclasses
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlx
from dlx import control
from dlx.control.cartpole import SENSED
from dlx.control.policy import parameters, remembering

gymnasium = pytest.importorskip("gymnasium")
ENVIRONMENTS = [control.CartPole(s) for s in SENSED] + [control.Crossing(3)]
METHOD = control.CrossEntropyMethod(candidates=8, generations=2, finals=2)


def acting(environment, policy, rng, candidates):
    """Random candidates with their starts: (weights, scale, starts)."""
    scale = environment.scale(rng, policy.frames)
    size = parameters(policy.sizes(scale.shape[-1], environment.outputs))
    return (rng.normal(size=(1, candidates, size)), scale[None],
            np.stack([environment.starts(rng, 2) for _ in range(candidates)]))


def plain_cartpole(environment, start, act):
    """The return of one episode in Gymnasium's own environment."""
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset(seed=0)
    env.state, seen, steps = start.copy(), start.astype(np.float32), 0
    while True:
        logits = act(seen[list(SENSED[environment.sensors])][None, None])
        seen, _, fell, _, _ = env.step(int(logits.item() > 0))
        steps += 1
        if fell or steps == 500:
            return steps


def plain_crossing(environment, start, act):
    """The return of one episode in MiniGrid's own environment."""
    pytest.importorskip("minigrid")
    env = gymnasium.make("MiniGrid-SimpleCrossingS9N1-v0", agent_view_size=environment.view, max_steps=64)
    observed, total, over = env.reset(seed=int(start[0]))[0], 0.0, False
    while not over:
        kinds = observed["image"][..., 0]
        seen = np.concatenate([(kinds == 1) | (kinds == 8), kinds == 8], axis=None).astype(float)
        observed, reward, done, late, _ = env.step(int(act(seen[None, None]).argmax()))
        total, over = total + float(reward), done or late
    return total


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_episodes_equal_those_of_the_package(environment):
    rng, policy = np.random.default_rng(0), control.Policy(frames=2, depth=1)
    weights, scale, starts = acting(environment, policy, rng, 4)
    plain = plain_cartpole if isinstance(environment, control.CartPole) else plain_crossing
    returns = environment.play(starts, policy.acting(weights, scale, environment.outputs))
    for i, episode in np.ndindex(returns.shape):
        act = policy.acting(weights[:, i : i + 1], scale, environment.outputs)
        assert returns[i, episode] == pytest.approx(plain(environment, starts[i, episode], act), abs=1e-12)


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_a_search_is_the_same_alone_and_in_a_pack(environment):
    method = dataclasses.replace(METHOD, episodes=1)
    together = [dlx.Context(seed) for seed in range(3)]
    packed, size = method.search(environment, control.Policy(), together, tests=3)
    for ctx, value in zip(together, packed, strict=True):
        own = dlx.Context(ctx.seed)
        (alone,), same = method.search(environment, control.Policy(), [own], tests=3)
        assert (alone, same) == (pytest.approx(value, rel=1e-10), size)
        assert own.history["best/return"][1] == pytest.approx(ctx.history["best/return"][1], rel=1e-10)


def test_the_search_balances_the_pole_with_all_sensors():
    method = control.CrossEntropyMethod(generations=5)
    (value,), size = method.search(control.CartPole(), control.Policy(), [dlx.Context(0)], tests=10)
    assert size == 5 and value > 400


def test_frames_are_white_and_those_that_depend_on_others_are_left_out():
    scale = control.CartPole("full").scale(np.random.default_rng(0), 2)
    assert scale.shape == (8, 6)  # a position's change is 0.02 s times its velocity (Euler)
    assert control.CartPole("positions").scale(np.random.default_rng(0), 2).shape == (4, 4)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(1, 6))
def test_memory_holds_the_last_frames_the_present_one_first(frames, steps):
    act = remembering(lambda values: values, frames)
    for step in range(steps):
        seen = act(np.full((1, 1, 1), float(step)))
    assert seen.ravel().tolist() == [max(steps - 1 - back, 0) for back in range(frames)]


@pytest.mark.parametrize("environment", [control.CartPole(), control.Crossing(5)], ids=str)
def test_without_the_package_one_sentence_says_so(environment, monkeypatch):
    for name in ("gymnasium.envs.classic_control.cartpole", "minigrid"):
        monkeypatch.setitem(sys.modules, name, None)
    starts = environment.starts(np.random.default_rng(0), 1)[None]
    with pytest.raises(dlx.DlxError, match=r"needs the package \w+; run: pip install gymnasium minigrid"):
        environment.play(starts, lambda seen: seen)


@pytest.mark.parametrize(("part", "said"), [
    (control.Crossing(4), "view is 4"), (control.Policy(frames=0), "frames is 0"),
    (control.Policy(depth=-1), "depth is -1"), (control.CrossEntropyMethod(candidates=4), "candidates is 4"),
])
def test_values_out_of_range_are_refused(part, said):
    with pytest.raises(dlx.DeclarationError, match=said):
        part.check()
