"""The loop: members of a pack train together and are measured on the way."""

import typing
from collections.abc import Iterator, Sequence

from dlx.member import Member
from dlx.metrics import only
from dlx.optim import evaluated
from dlx.programs import programs
from dlx.snapshot import Snapshot, Snapshots

if typing.TYPE_CHECKING:
    import torch

    from dlx.context import Context
    from dlx.training import Training
    from dlx.vectorise import Stacked


class Loop:
    """A pack on its way: the state of all members after ``done`` steps, and what was measured and not yet logged."""

    def __init__(self, trial: "Training", members: Sequence[Member], contexts: Sequence["Context"]) -> None:
        import torch

        from dlx.vectorise import stack

        self.trial, self.orders, self.contexts = trial, [m.order for m in members], list(contexts)
        self.device, dtype = contexts[0].device, getattr(torch, trial.dtype)
        self.programs = programs(trial, members[0].module, self.device)
        self.now = stack([m.state for m in members], self.device, dtype, share=False)
        self.hyper = stack([m.hyper for m in members], self.device, dtype, share=False)
        names = members[0].splits
        self.splits = {name: stack([m.splits[name] for m in members], self.device, dtype) for name in names}
        self.rows = {name: stack([m.splits[name].rows for m in members], self.device, dtype) for name in names}
        self.done = 0
        self.snapshots = self._find()
        self._measured: list[tuple[int, dict[str, Stacked]]] = []  # step, split ("" for full names) → scores

    def advance(self, until: int) -> None:
        """Train up to a step."""
        from dlx.vectorise import batches

        step, train = self.programs.step, self.splits["train"]
        for rows in batches(self.orders, until - self.done, self.device):
            if self.snapshots is not None and self.snapshots.due:
                self._save(self.snapshots)
            self.now = step(self.now, rows, train, self.hyper)
            self.done += 1

    def _save(self, snapshots: Snapshots) -> None:
        """Write down where all members are; the order of batches is drawn again instead."""
        self.log()
        tensors = {str(i): leaf for i, leaf in enumerate(self.now.leaves)}
        histories = {key: ctx.history for key, ctx in zip(snapshots.keys, self.contexts, strict=True)}
        snapshots.save(Snapshot(self.done, snapshots.keys, tensors, histories))

    def _find(self) -> Snapshots | None:
        """Go on from the last snapshot of these members, where there is one."""
        from dlx.vectorise import restored, skip

        if (place := self.contexts[0].place) is None:
            return None
        keys = [ctx.place.key for ctx in self.contexts if ctx.place is not None]
        snapshots = Snapshots(place.folder, keys, place.every, place.resume)
        if (found := snapshots.find()) is not None:
            leaves = [found.tensors[str(i)] for i in range(len(found.tensors))]
            if (now := restored(self.now, leaves)) is None:
                snapshots.notes.append("A checkpoint does not fit the code of today; its trials start anew.")
            else:
                self.now, self.done = now, found.step
                skip(self.orders, found.step)
                for ctx, key in zip(self.contexts, keys, strict=True):
                    ctx.history = found.history[key]
        return snapshots

    def measure(self, which: tuple[int, ...]) -> None:
        """Measure these metrics, by their place in ``trial.metrics``, without waiting for the device."""
        score, inspect = self.programs.score(which), self.programs.inspect(which)
        scores = {
            name: score(self.programs.forward(self.now, split, self.rows[name]), split)
            for name, split in self.splits.items()
        }
        if inspect is not None:
            scores[""] = inspect(self.now, self.splits["train"])
        self._measured.append((self.done, scores))

    def log(self) -> None:
        """Log what was measured, which waits for the device."""
        from dlx.vectorise import unstack

        for at, scores in self._measured:
            found: list[dict[str, float]] = [{} for _ in self.contexts]
            for split, together in scores.items():
                prefix = f"{split}/" if split else ""
                for values, one in zip(found, unstack(together, len(self.contexts)), strict=True):
                    values |= {f"{prefix}{metric}": float(value) for metric, value in one.items()}
            for ctx, values in zip(self.contexts, found, strict=True):
                ctx.log(at, values)
        self._measured.clear()

    def end(self) -> None:
        """Remove the snapshots, which are of no more use, and say what was wrong with them."""
        if self.snapshots is not None:
            self.snapshots.remove()
            for note in self.snapshots.notes:
                self.contexts[0].note(note)

    def final(self) -> "list[dict[str, torch.Tensor]]":
        """What is kept of each member: the parameters that were measured, and the buffers."""
        from dlx.vectorise import unstack

        optimizer, kept = self.trial.optimizer, self.programs.module.state_dict()
        states = ({**evaluated(optimizer, s["optimizer"], s["params"]), **s["buffers"]}
                  for s in unstack(self.now, len(self.contexts)))
        return [{name: state[name] for name in kept if name in state} for state in states]


def train(
    trial: "Training", members: Sequence[Member], contexts: Sequence["Context"]
) -> "list[dict[str, torch.Tensor]]":
    """The final state of each member; what is measured on the way is logged, at once where someone listens."""
    loop = Loop(trial, members, contexts)
    for step, which in due(trial):
        if step <= loop.done:
            continue
        loop.advance(step)
        loop.measure(which)
        if any(ctx.on_log for ctx in contexts):
            loop.log()
    loop.log()
    loop.end()
    return loop.final()


def due(trial: "Training") -> Iterator[tuple[int, tuple[int, ...]]]:
    """At which steps which metrics are measured, by their place in ``trial.metrics``."""
    points, total = trial.measure, trial.steps
    usual = measured_steps(total, points) if isinstance(points, int) else points.steps(total)
    steps = [set(m.when.steps(total) if isinstance(m, only) else usual) for m in trial.metrics]
    for step in sorted(set().union(*steps)):
        yield step, tuple(i for i, of_metric in enumerate(steps) if step in of_metric)


def measured_steps(steps: int, points: int) -> list[int]:
    """At most so many integers from 1 to steps, spaced evenly in their logarithm, the last among them."""
    spaced = {round(steps ** (i / (points - 1))) for i in range(points)} if points > 1 else set()
    return sorted(spaced | {steps})
