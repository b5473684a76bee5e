"""Sensors or policy: what a controller can do without when it has the other, on CartPole and MiniGrid's crossings.

Of CartPole-v1 (Gymnasium; Barto, Sutton and Anderson 1983) a policy senses all four numbers, the angle with its rate,
the two positions without velocities, or the angle alone; of MiniGrid-SimpleCrossingS9N1 (Chevalier-Boisvert et al.
2023, arXiv:2306.13831) a view of 3, 5 or 7 cells a side. Against that stand depth, linear or one or two layers of 4
tanh units, and memory, the last 1, 2 or 4 observations.

All policies are found by the cross-entropy method (Rubinstein 1999; Szita and Lőrincz 2006). So that one that is
searched too little does not look like one that cannot, the search grows with the dimension: for every 8 parameters
begun 64 candidates in each of 8 generations on CartPole, 16 in each of 60 on the crossings; and observations in memory
are made white, for a search from an isotropic Gaussian else hardly sees the difference of two frames. 256 candidates in
the place of 64 are the control: what they do not mend is not for want of search. A return is the mean over 100 starts.
These settings were chosen on seeds from 1,000.

Stated beforehand: without velocities a linear policy without memory is poor, and so is a deeper one, for no net
computes what is not sensed; two frames, linear, restore what all sensors give. So memory replaces these sensors, and
depth does not. On the crossings, where walls hide the goal, a wider view returns more without memory; in full, memory
returns more at the narrowest view, and a search four times as wide finds nothing better without velocities. Of quick
the claim on views was made when its returns had been seen, and is exploratory.

Packs hold the seeds of a cell (10 in full, 5 in quick): one array of environments, all in NumPy, so that a GPU does not
help. Full preset: 840 trials, estimated, not measured, at 2 hours of one core (0 GPU-hours). Needs gymnasium, minigrid.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import dlx
from dlx import claims, control, figures

SOLVED = 475.0  # return at which Gymnasium registers CartPole-v1 as solved; 500 is the most
POOR = 100.0  # return; seen beforehand: 42 without velocities, 500 with two frames
MARGIN = 25.0  # return: what is between solved and the most
TESTS = 100  # episodes
NARROW = 3  # cells a side


@dataclass(frozen=True)
class Balance:
    """CartPole, and how its policies are searched."""

    environment: control.CartPole
    method: control.CrossEntropyMethod


@dataclass(frozen=True)
class Cross:
    """Crossings, and how their policies are searched."""

    environment: control.Crossing
    method: control.CrossEntropyMethod


@dataclass(frozen=True)
class Search(dlx.Trial):
    """The mean return of the best policy that a search finds, with the number of its parameters."""

    task: Balance | Cross
    policy: control.Policy

    def shape(self) -> Hashable:
        return self

    @classmethod
    def run_pack(cls, trials: Sequence["Search"], contexts: Sequence[dlx.Context]) -> list[dict[str, float]]:
        task, policy = trials[0].task, trials[0].policy
        returns, parameters = task.method.search(task.environment, policy, contexts, TESTS)
        return [{"test/return": float(value), "parameters": parameters} for value in returns]


def expected(wide: int, label: Literal["confirmatory", "exploratory"]) -> tuple[claims.Claim, ...]:
    """What velocities are worth on CartPole, and what replaces them; what this view is worth on the crossings."""
    blind = {"sensors": "positions", "frames": 1}
    return (
        claims.Lower("test/return", {"sensors": "positions"}, than={"sensors": "full"}, by=SOLVED - POOR,
                     where={"frames": 1, "depth": 0}, name="without velocities a linear policy falls far short"),
        claims.Below("test/return", POOR, where={"sensors": ("positions", "angle"), "frames": 1},
                     name="without velocities and memory all policies are poor, deep ones too"),
        claims.Equivalent("test/return", {"depth": 1}, {"depth": 0}, MARGIN, where=blind,
                          name="a hidden layer does not replace velocities"),
        claims.Equivalent("test/return", {"sensors": "positions", "frames": 2}, {"sensors": "full", "frames": 1},
                          MARGIN, where={"depth": 0}, name="a second frame replaces velocities"),
        claims.Higher("test/return", {"view": wide}, than={"view": NARROW}, where={"frames": 1, "depth": 0},
                      label=label, name="on the crossings a wider view returns more without memory"),
    )


def costly(trial: Search) -> bool:
    """What quick leaves out of the crossings."""
    policy, task = trial.policy, trial.task
    return isinstance(task, Cross) and (policy.depth > 0 or policy.frames * task.environment.view > 6)


BY_SENSORS = figures.PhaseDiagram(
    x="sensors", y="frames", metric="test/return", name="return_by_sensors_and_policy", contours=(SOLVED,),
    title="CartPole: return by sensors, memory and depth; line: solved",
    x_label="sensors", y_label="observations in memory", label="return (steps, 500 at most)",
)
BY_VIEW = figures.PhaseDiagram(
    x="view", y="frames", metric="test/return", name="return_by_view_and_policy", contours=(0.5, 0.7),
    title="MiniGrid crossings: return by view and memory",
    x_label="view (cells a side)", y_label="observations in memory", label="return (1 at most)",
)

BY_PARAMETERS = figures.Scatter(
    "parameters", "test/return", colour="sensors", name="return_by_parameters", log_x=True, where={"task": "Balance"},
    title="CartPole: return by size of the policy", x_label="parameters of the policy",
    y_label="return (steps, 500 at most)",
)

STUDY = dlx.Study(
    name="sensors-vs-policy",
    question="Can sensors replace the complexity of a policy, and can its depth or memory replace the sensors?",
    template=Search(
        task=dlx.grid(
            Balance(
                control.CartPole(sensors=dlx.grid("angle", "positions", "angle and rate", "full")),
                control.CrossEntropyMethod(candidates=dlx.grid(64, 256)),
            ),
            Cross(
                control.Crossing(view=dlx.grid(NARROW, 5, 7)),
                control.CrossEntropyMethod(candidates=16, generations=60, episodes=8),
            ),
        ),
        policy=control.Policy(frames=dlx.grid(1, 2, 4), depth=dlx.grid(0, 1, 2)),
    ),
    skip=lambda t: isinstance(t.task, Cross) and (t.policy.frames > 2 or t.policy.depth > 1),
    seeds=10,
    claims=(
        *expected(7, "confirmatory"),
        claims.Higher("test/return", {"frames": 2}, than={"frames": 1}, where={"view": NARROW, "depth": 0},
                      name="on the crossings a second observation returns more at the narrowest view"),
        claims.Equivalent("test/return", {"candidates": 256}, {"candidates": 64}, MARGIN,
                          where={"sensors": "positions", "frames": 1},
                          name="four times the candidates do not replace velocities"),
    ),
    figures=(BY_SENSORS, BY_VIEW, BY_PARAMETERS),
    presets={"quick": {
        "template.task[Balance].environment.sensors": dlx.grid("angle", "positions", "full"),
        "template.task[Balance].method.candidates": 64,
        "template.task[Cross].environment.view": dlx.grid(NARROW, 5),
        "template.policy.frames": dlx.grid(1, 2),
        "template.policy.depth": dlx.grid(0, 1),
        "skip": costly,
        "seeds": 5,
        "claims": expected(5, "exploratory"),
        "figures": (BY_SENSORS, BY_VIEW),
    }},
)
