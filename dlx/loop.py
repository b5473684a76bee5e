"""The loop: members of a pack train together, are measured on the way, and may leave early."""

import itertools
import time
import typing
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from dlx.best import Best, Kept
from dlx.data.base import levelled
from dlx.device import finish
from dlx.member import Member
from dlx.metrics import LogSpaced, only
from dlx.optim import evaluated
from dlx.precision import stored_as
from dlx.programs import Programs, programs
from dlx.pruning import Prune
from dlx.snapshot import Snapshot, Snapshots

if typing.TYPE_CHECKING:
    import torch

    from dlx.context import Context
    from dlx.stacking import Stacked
    from dlx.training import Training

Final: TypeAlias = "dict[str, torch.Tensor] | None"  # parameters and buffers by name; None: stopped early


class Loop:
    """A pack on its way: the state of the members that are left, after ``done`` steps, and what was measured."""

    def __init__(self, trial: "Training", members: Sequence[Member], contexts: Sequence["Context"]) -> None:
        import torch

        from dlx.stacking import stack
        from dlx.vectorise import skip

        self.trial, self.orders, self.contexts = trial, [m.order for m in members], list(contexts)
        self.device, dtype, self.group = contexts[0].device, stored_as(trial.dtype), contexts[0].group
        self.programs = (programs(trial, members[0].module, self.device) if self.group is None else
                         Programs(trial, members[0].module, self.device, alone=True))
        self.now = stack([m.state for m in members], self.device, dtype, share=False)
        exact = torch.promote_types(dtype, torch.float32)  # in bfloat16 0.999 is 1
        self.hyper = stack([m.hyper for m in members], self.device, exact, share=False)
        self.splits: dict[str, Stacked] = {}
        self.rows: dict[str, Stacked] = {}
        self.counts: dict[str, Stacked] = {}  # of rows, where members have different numbers of them
        self._split(members, dtype)
        self.done = self._longest = 0
        self._ahead: Iterator[Stacked] | None = None
        self.prune, self.rungs = prune_of(trial, contexts)
        self._measured: list[tuple[int, dict[str, Stacked]]] = []  # step, split ("" for full names) → scores
        self._everyone = list(contexts)
        place = contexts[0].place
        wanted = place.keep_best if place is not None else None
        self.best = Best(wanted, self.programs, self.now) if wanted is not None else None
        self.step, self.partials = self.programs.step, contexts[0].partials
        self.snapshots = self._resume()
        if self.group is not None:
            self.done, self.now = self.group.as_first(self.done, self.now)
            self.step = self.group.step(self)
        skip(self.orders, self.done)
        if self.partials is not None:
            self.partials.steps = trial.steps

    def _split(self, members: Sequence[Member], dtype: "torch.dtype") -> None:
        """Stack the splits; fewer rows than others have are begun anew, and measured once each."""
        import torch

        from dlx.stacking import stack

        for name in members[0].splits:
            splits = [m.splits[name] for m in members]
            if len(set(lengths := [len(s.rows) for s in splits])) > 1:
                self.counts[name] = stack(lengths, self.device, torch.int64, share=False)
                splits = levelled(splits)
            self.splits[name] = stack(splits, self.device, dtype)
            self.rows[name] = stack([s.rows for s in splits], self.device, dtype)

    # ------------------------------------------------------------ training

    def advance(self, until: int) -> None:
        """Train up to a step."""
        step, train = self.step, self.splits["train"]
        steps, began = until - self.done, time.perf_counter()
        for rows in self._batches(steps):
            if self.snapshots is not None and self.snapshots.due:
                self._save(self.snapshots)
            if self.partials is not None and self.partials.due:
                self.log()
                self.partials.hand_over(self.done)
            self.now = step(self.now, rows, train, self.hyper)
            self.done += 1
        if steps >= self._longest:  # the longest way is the last, which the recording of the first step does not slow
            finish(self.device)
            self._longest, rate = steps, steps * len(self.contexts) / (time.perf_counter() - began)
            for ctx in self.contexts:
                ctx.rate = rate

    def _batches(self, steps: int) -> "Iterator[Stacked]":
        """For each of the next steps the rows of all members; where members may leave, no later ones are drawn."""
        from dlx.vectorise import batches

        if self.prune is not None:
            return batches(self.orders, steps, self.device)
        if self._ahead is None:
            self._ahead = batches(self.orders, self.trial.steps - self.done, self.device)
        return itertools.islice(self._ahead, steps)

    def judge(self) -> None:
        """At a rung, let those of each cohort leave whom the rule stops; the pack is made smaller."""
        if self.prune is None or self.done not in self.rungs:
            return
        self.log()
        cohorts: dict[str | None, list[int]] = defaultdict(list)
        for i, ctx in enumerate(self.contexts):
            cohorts[ctx.cohort].append(i)
        left = set(range(len(self.contexts)))
        for cohort, places in cohorts.items():
            if cohort is not None and len(places) > 1:
                scores = [_scores(self.prune, self.contexts[i], self.rungs) for i in places]
                if all(scores):
                    left -= set(places) - {places[i] for i in self.prune.rule.survivors(scores)}
        self._keep(sorted(left))

    def _keep(self, places: Sequence[int]) -> None:
        from dlx.stacking import select

        if len(places) == len(self.contexts):
            return
        self.contexts, self.orders = [self.contexts[i] for i in places], [self.orders[i] for i in places]
        self.now, self.hyper = select(self.now, places), select(self.hyper, places)
        if self.best is not None:
            self.best.select(places)
        self.splits = {name: select(split, places) for name, split in self.splits.items()}
        self.rows = {name: select(rows, places) for name, rows in self.rows.items()}
        self.counts = {name: select(counts, places) for name, counts in self.counts.items()}

    # ------------------------------------------------------------ half-way states

    def _save(self, snapshots: Snapshots) -> None:
        """Write down where all members are; the order of batches is drawn again instead."""
        self.log()
        tensors = {str(i): leaf for i, leaf in enumerate(self.now.leaves)}
        if self.best is not None:
            tensors |= self.best.tensors()
        histories = {_key(ctx): ctx.history for ctx in self._everyone}
        snapshots.save(Snapshot(self.done, tuple(map(_key, self.contexts)), tensors, histories))

    def _resume(self) -> Snapshots | None:
        """Go on from the last snapshot of these members, where there is one."""
        place = self.contexts[0].place
        if place is None or not (self.group is None or self.group.leads):
            return None
        snapshots = Snapshots(place.folder, [_key(ctx) for ctx in self.contexts], place.every, place.resume)
        if (found := snapshots.find()) is None:
            return snapshots
        if not self._restore(found):
            snapshots.notes.append("A checkpoint does not fit the code, or the keep=, of today; its trials start anew.")
            return snapshots
        self.done = found.step
        for ctx in self._everyone:
            ctx.history = found.history[_key(ctx)]
        return snapshots

    def _restore(self, found: Snapshot) -> bool:
        """Put the members where the snapshot has them, unless their tensors have other sizes."""
        from dlx.stacking import restored, select

        places = [i for i, ctx in enumerate(self.contexts) if _key(ctx) in found.keys]
        leaves = [found.tensors[str(i)] for i in range(sum(map(str.isdigit, found.tensors)))]
        now, best = restored(select(self.now, places), leaves), self.best and self.best.resumed(places, found.tensors)
        if now is None or (self.best is not None and best is None):
            return False
        self._keep(places)
        self.now, self.best = now, best
        return True

    # ------------------------------------------------------------ measuring

    def measure(self, which: tuple[int, ...]) -> None:
        """Measure these metrics, by their place in ``trial.metrics``, without waiting for the device."""
        watch = self.trial.watch if self.done < self.trial.steps else None
        counts = {name: [self.counts[name]] if name in self.counts else [] for name in self.splits}
        scores: dict[str, Stacked] = {}
        for name, split in self.splits.items():
            score = self.programs.score(which, uneven=bool(counts[name]))
            if score is not None and (watch is None or name in watch):
                outputs = self.programs.forward(self.now, split, self.rows[name])
                scores[name] = score(outputs, split, *counts[name])
        if (inspect := self.programs.inspect(which, uneven=bool(counts["train"]))) is not None:
            scores[""] = inspect(self.now, self.splits["train"], *counts["train"])
        if self.best is not None:
            self.best.look(self.now, scores)
        self._measured.append((self.done, scores))

    def log(self) -> None:
        """Log what was measured, which waits for the device."""
        from dlx.stacking import listed

        for at, scores in self._measured:
            found: dict[str, list[float]] = {}
            for split, together in scores.items():
                prefix = f"{split}/" if split else ""
                found |= {f"{prefix}{name}": each for name, each in listed(together, len(self.contexts)).items()}
            for i, ctx in enumerate(self.contexts):
                ctx.log(at, {name: each[i] for name, each in found.items()})
        self._measured.clear()

    def itemise(self) -> None:
        """Record what ``trial.items`` names of each sample of its split, for the members that are left."""
        from dlx.stacking import unstack

        split_of = [tuple(name.split("/", 1)) for name in self.trial.items]
        for split in dict.fromkeys(split for split, _ in split_of):
            names = tuple(metric for of, metric in split_of if of == split)
            outputs = self.programs.forward(self.now, self.splits[split], self.rows[split])
            each = unstack(self.programs.itemise(names)(outputs, self.splits[split]), len(self.contexts))
            for ctx, values in zip(self.contexts, each, strict=True):
                for name in names:
                    ctx.items(f"{split}/{name}", values[name].double().numpy())

    # ------------------------------------------------------------ the end

    def finals(self) -> list[Final]:
        """What is kept of each member: the parameters that were measured, and buffers; None for those that left."""
        from dlx.stacking import unstack

        self.log()
        optimizer, kept = self.trial.optimizer, self.programs.module.state_dict()
        states = ({**evaluated(optimizer, s["optimizer"], s["params"]), **s["buffers"]}
                  for s in unstack(self.now, len(self.contexts)))
        final = {id(ctx): {name: state[name] for name in kept if name in state}
                 for ctx, state in zip(self.contexts, states, strict=True)}
        return [final.get(id(ctx)) for ctx in self._everyone]

    def bests(self) -> list[Kept | None]:
        """What is kept of each member for its objective; None for those that left, or never had a finite one."""
        states = self.best.states(len(self.contexts)) if self.best is not None else []
        found = {id(ctx): kept for ctx, kept in zip(self.contexts, states, strict=bool(states))}
        return [found.get(id(ctx)) for ctx in self._everyone]

    def close(self) -> None:
        """All that is kept is written: snapshots are removed, and what was wrong with them is said."""
        if self.snapshots is not None:
            self.snapshots.remove()
            for note in self.snapshots.notes:
                self._everyone[0].note(note)


def train(trial: "Training", members: Sequence[Member], contexts: Sequence["Context"]) -> Loop:
    """A pack after its last step; measurements are logged."""
    loop = Loop(trial, members, contexts)
    for step, which in due(trial, loop.rungs):
        if step <= loop.done:
            continue
        loop.advance(step)
        loop.measure(which)
        if any(ctx.on_log for ctx in contexts):
            loop.log()
        loop.judge()
    loop.itemise()
    return loop


def due(trial: "Training", rungs: Sequence[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """At which steps which metrics are measured, by their place in ``trial.metrics``; at rungs the usual ones too."""
    total = trial.steps
    when = LogSpaced(trial.measure) if isinstance(trial.measure, int) else trial.measure
    usual = [*when.steps(total), *rungs]
    steps = [set(m.when.steps(total) if isinstance(m, only) else usual) for m in trial.metrics]
    for step in sorted(set().union(*steps)):
        yield step, tuple(i for i, of_metric in enumerate(steps) if step in of_metric)


def prune_of(trial: "Training", contexts: Sequence["Context"]) -> tuple[Prune | None, list[int]]:
    """How a pack's cohorts are judged, and after which steps."""
    prune = contexts[0].prune
    if prune is None or all(ctx.cohort is None for ctx in contexts):
        return None, []
    return prune, prune.rule.rungs(trial.steps)


def _scores(prune: Prune, ctx: "Context", rungs: Sequence[int]) -> list[float]:
    """The objective of a member at the rungs so far."""
    logged = dict(zip(*ctx.history.get(prune.metric, ([], [])), strict=True))
    return [prune.score(logged[step]) for step in rungs if step in logged]


def _key(ctx: "Context") -> str:
    return ctx.place.key if ctx.place is not None else ""
