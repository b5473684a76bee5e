"""What a skilled person writes by hand to train a pack of MLPs: batched products, backward pass and update fused.

The yardstick of the benchmarks: no search, no records, one loop for one architecture and one optimizer.
"""

from collections.abc import Collection
from itertools import pairwise

import torch
from torch import Tensor

from dlx.data import Split

ROWS_AT_ONCE = 250  # of a split, when measuring: what fits the caches
Rates = dict[str, Tensor]  # lr, momentum, weight_decay → (members, 1, 1)


def train(
    splits: list[dict[str, Split]], sizes: tuple[int, ...], rates: Rates, batch: int, steps: int,
    measured: Collection[int],
) -> dict[str, Tensor]:
    """Train one MLP (ReLU, cross-entropy, SGD with momentum) a member; (points, members) by metric.

    splits: of each member, all over one table; sizes: inputs, hidden layers, outputs.
    """
    members, table = len(splits), splits[0]["train"].inputs.float()
    targets = {name: torch.stack([s[name].targets for s in splits]) for name in splits[0]}
    rows = {name: torch.stack([s[name].rows for s in splits]) for name in splits[0]}
    layers = [(uniform(members, i, o, i), uniform(members, 1, o, i)) for i, o in pairwise(sizes)]
    params = [p for layer in layers for p in layer]
    velocity = [torch.zeros_like(p) for p in params]
    epoch = torch.empty(members, 0, dtype=torch.int64)
    logged: dict[str, list[Tensor]] = {}
    for step in range(1, steps + 1):
        if epoch.shape[1] < batch:
            shuffled = rows["train"].gather(1, torch.rand(rows["train"].shape).argsort(1))
            epoch = torch.cat([epoch, shuffled], 1)
        now, epoch = epoch[:, :batch], epoch[:, batch:]
        update(params, velocity, gradients(layers, table[now], targets["train"].gather(1, now)), rates)
        if step in measured:
            for name in rows if step == steps else ("val",):
                measure(logged, name, layers, table[rows[name]], targets[name].gather(1, rows[name]))
    return {name: torch.stack(values) for name, values in logged.items()}


def uniform(members: int, inputs: int, outputs: int, fan_in: int) -> Tensor:
    """PyTorch's default initialisation, (members, inputs, outputs)."""
    return torch.empty(members, inputs, outputs).uniform_(-(fan_in**-0.5), fan_in**-0.5)


def forward(layers: list[tuple[Tensor, Tensor]], inputs: Tensor) -> list[Tensor]:
    """What each layer reads, and the outputs, (members, batch, ...)."""
    passed = [inputs]
    for i, (weight, bias) in enumerate(layers):
        out = torch.baddbmm(bias, passed[-1], weight)
        passed.append(out if i == len(layers) - 1 else out.relu_())
    return passed


def gradients(layers: list[tuple[Tensor, Tensor]], inputs: Tensor, targets: Tensor) -> list[Tensor]:
    """Of the mean cross-entropy of the batch, one a parameter."""
    passed = forward(layers, inputs)
    back = passed[-1].softmax(-1)
    back.scatter_add_(2, targets[..., None], torch.full_like(targets, -1, dtype=back.dtype)[..., None])
    back /= inputs.shape[1]
    found: list[Tensor] = []
    for (weight, _), read in zip(reversed(layers), reversed(passed[:-1]), strict=True):
        found[:0] = [read.mT @ back, back.sum(1, keepdim=True)]
        if read is not inputs:
            back = (back @ weight.mT) * (read > 0)
    return found


def update(params: list[Tensor], velocity: list[Tensor], grads: list[Tensor], rates: Rates) -> None:
    """One step of SGD with momentum and weight decay, in place."""
    for p, v, g in zip(params, velocity, grads, strict=True):
        v.mul_(rates["momentum"]).add_(g.addcmul_(p, rates["weight_decay"]))
        p.addcmul_(v, rates["lr"], value=-1)


def measure(
    logged: dict[str, list[Tensor]], name: str, layers: list[tuple[Tensor, Tensor]], inputs: Tensor, targets: Tensor
) -> None:
    """Log loss and error of each member, (members,)."""
    outputs = torch.cat([forward(layers, part)[-1] for part in inputs.split(ROWS_AT_ONCE, 1)], 1)
    right = outputs.gather(2, targets[..., None])[..., 0]
    logged.setdefault(f"{name}/loss", []).append((outputs.logsumexp(-1) - right).mean(1))
    logged.setdefault(f"{name}/error", []).append((outputs.argmax(-1) != targets).float().mean(1))
