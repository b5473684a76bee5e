"""Which training algorithms do not care about a rotation of the inputs? Exactly, in float64, beside `symmetry`.

An MLP is trained twice: on x from first weights W, and on Qx from first weights WQᵀ, with the same batches. Under
gradient descent, with momentum or not, the two are the same function, f(x) = f′(Qx), whatever the width and depth (Ng
2004; Li, Zhang and Arora 2021, arXiv:2010.08515): where the distribution of W does not change under rotations either, Q
cannot matter. Rules that look at the entries of gradients or weights one by one are not of this kind.

Stated beforehand: after training the largest difference of outputs over the test set is below SAME under SGD and above
DIFFERENT under Adam, sign descent and ``optim.AxisDescent``. Nothing is tuned: learning rates are usual ones, and a
rule is equivariant at all of them or at none. The full preset has 48 cells and 960 trials, each on its own, for
the loop is the study's: two networks on the same batches, in double precision, which a pack of trainings does not do.
They take seconds; about 1 CPU-hour, estimated, not measured, and no GPU. The quick preset has 40 trials.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dlx
from dlx import claims, data, figures, models, optim

if TYPE_CHECKING:
    import torch

SAME = 1e-8  # of outputs: rounding errors of 1e-16, grown over the steps
DIFFERENT = 1e-2


@dlx.trial(version=1, name="Twins")
def twins(
    ctx: dlx.Context, optimizer: optim.Optimizer, inputs: int, width: int, depth: int, samples: int, steps: int,
    batch_size: int,
) -> dict[str, float]:
    """Train both and compare outputs on the test set: the largest difference, and the share of other classes."""
    import torch

    made = data.QuadraticSigns(n=samples, inputs=inputs, validation=0.0)
    (x, y), (x_test, _) = (split.take(split.rows) for split in (made.load(ctx)[name] for name in ("train", "test")))
    rotation, _ = torch.linalg.qr(torch.randn(inputs, inputs, generator=ctx.generator("rotation"), dtype=x.dtype))
    model = models.MLP(width, depth, init="kaiming")
    module = dlx.Training(made, model, optimizer, steps=1, dtype="float64").trained(ctx)
    start = {name: p.detach() for name, p in module.named_parameters()}
    first = next(iter(start))
    plain = trained(module, start, x, y, optimizer, steps, batch_size, ctx.generator("order"))
    turned = trained(module, {**start, first: start[first] @ rotation.T}, x @ rotation.T, y, optimizer, steps,
                     batch_size, ctx.generator("order"))
    one = torch.func.functional_call(module, plain, (x_test,))
    other = torch.func.functional_call(module, turned, (x_test @ rotation.T,))
    changed = one.argmax(dim=1) != other.argmax(dim=1)
    return {"difference": float((one - other).abs().max()), "changed": float(changed.double().mean())}


def trained(
    module: "torch.nn.Module", params: Mapping[str, "torch.Tensor"], x: "torch.Tensor", y: "torch.Tensor",
    optimizer: optim.Optimizer, steps: int, batch_size: int, order: "torch.Generator",
) -> Mapping[str, "torch.Tensor"]:
    """Parameters after so many steps on batches drawn in this order, from inputs (n, d) and classes (n,)."""
    import torch

    hyper = {f.name: getattr(optimizer, f.name) for f in dataclasses.fields(optimizer)}  # type: ignore[arg-type]
    now: Any = dict(params)
    state = optimizer.init(now)
    for _ in range(steps):
        rows = torch.randint(len(x), (batch_size,), generator=order)

        def loss(params: Any, rows: Any = rows) -> Any:
            return torch.nn.functional.cross_entropy(torch.func.functional_call(module, params, (x[rows],)), y[rows])

        now, state = optimizer.update(torch.func.grad(loss), state, now, hyper)
    return now


STUDY = dlx.Study(
    name="rotation-invariance",
    question="Under which rules does a rotation of inputs and first weights change what a network learns?",
    template=twins(
        optimizer=dlx.grid(
            optim.SGD(lr=0.05, momentum=0.9), optim.Adam(lr=0.01), optim.SignDescent(lr=0.003),
            optim.AxisDescent(lr=0.1),
        ),
        inputs=dlx.grid(8, 16, 64), width=dlx.grid(32, 256), depth=dlx.grid(1, 3), samples=1_000, steps=300,
        batch_size=32,
    ),
    seeds=20,
    claims=(
        claims.Below("difference", SAME, where={"optimizer": "SGD"}, name="SGD does not see the rotation"),
        claims.Above("difference", DIFFERENT, where={"optimizer": ("Adam", "SignDescent", "AxisDescent")},
                     name="rules by entry do"),
    ),
    figures=(
        figures.Dots(
            rows="optimizer", metric="difference", panels=("depth",), log=True, name="difference_by_rule",
            where={"inputs": 16, "width": 32}, x_label="largest difference of outputs on the test set",
            title="A network and its rotated twin after training, by hidden layers",
        ),
    ),
    presets={
        "quick": {
            "template.inputs": dlx.grid(16), "template.width": dlx.grid(32), "template.steps": 100, "seeds": 5,
        },
    },
)
