"""Steepest descent under five norms: which one should it use, and can one tell beforehand?

θ ← θ − η T(m), with T(m) the direction of a norm for the averaged gradient m (Bernstein and Newhouse 2024,
arXiv:2409.20325): ``Spectral`` is Muon's orthogonalised update (Jordan et al. 2024), ``MaxNorm`` sign descent,
``Frobenius`` normalised gradient descent layer by layer, ``Rows`` and ``Columns`` lie between. Learning rates are tuned
over one range on equal budgets, by validation error. Stated beforehand: the spectral norm wins, and the rule says so.

The rule: minimising ⟨g, Δ⟩ + L‖Δ‖²/2 lowers the loss by ‖g‖*²/2L at best, so take the norm for which this is largest.
g: gradient of the mean loss over SAMPLES training samples; ‖·‖: the largest of the norms of all tensors, whose dual is
Σ ⟨g, T(g)⟩ over them; L = |T(g)ᵀ H T(g)|, the curvature along the direction, of which ‖T(g)‖ is 1, by one
Hessian-vector product. ``rule/at_start`` and ``rule/after_probe`` are log₁₀ of this decrease over the largest one of
the other four norms, so that the rule picks the norm where it is above 0: at the initial parameters, and after PROBE
steps of SGD (learning rate 0.1, momentum 0.9), a fifth of the quick budget.

On pilot seeds (1000–1002, other searches) the rule picked the winner after the probe and not at the start, where it
favoured rows. On its own seeds quick says the same of the probe and leaves the start undecided, for there the
curvature along a direction is close to zero on some seeds and not on others.

``update/spectral_norm`` and ``update/share`` belong to spectral directions of gradients after the probe (those of
SPECTRA batches, all matrices): the largest singular value, and the share of those in [0.5, 1.25] among the gradient's
singular values that are not null (``torch.linalg.matrix_rank`` in float32). NanoGPT's: see charlm_optimizers.py.

Full: ten methods, 3 searches each of 16 asks + 6 rechecks + 5 finals, 810 trials of 4,000 steps, about one GPU-hour
(estimated, not measured); a pack holds up to 48. ``--preset polar`` sets Muon's five quintic steps against the exact
polar factor, stated to make no difference: 162 trials of 1,000 steps in packs of up to 48, a tenth of a GPU-hour
(estimated); it has not been run. ``--preset speedrun`` trains a ResNet of 20 layers, twice as wide as ResNet-20, on
CIFAR-10 towards 94 %, known from the original pictures (the local copy is re-compressed, which costs a little): 60
trials of 2,700 steps in packs of up to 24, about 4 GPU-hours (estimated); it has not been run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dlx
from dlx import claims, data, figures, losses, metrics, models, optim

if TYPE_CHECKING:
    import torch

LARGEST, SMALLEST_SHARE = 1.25, 0.9  # of Muon's update: spectral norm, share of singular values in BAND
BAND = (0.5, 1.25)
MARK = 0.94  # test accuracy that CIFAR-10 speedruns are after, on the original pictures
PROBE, BATCH, SPECTRA, SAMPLES = 40, 100, 8, 1_000  # steps; samples in each; batches; samples
RULES = ("rule/at_start", "rule/after_probe")
NORMS = {
    **{type(norm).__name__: optim.SteepestDescent(1.0, norm=norm)
       for norm in (optim.Spectral(), optim.Frobenius(), optim.Rows(), optim.Columns())},
    "MaxNorm": optim.SteepestDescent(1.0, norm=optim.MaxNorm(), vectors=optim.MaxNorm()),
}
SPECTRAL = {"norm": "Spectral"}


class Descent(dlx.Training):
    """A training that also says what the rule makes of its norm, and what a spectral update does to a gradient."""

    def metric_names(self) -> tuple[str, ...] | None:
        """Those of a training, of the rule and of the update."""
        known = super().metric_names()
        return known and (*known, *RULES, "update/spectral_norm", "update/share")

    @classmethod
    def run_pack(
        cls, trials: "Sequence[Descent]", contexts: Sequence[dlx.Context]
    ) -> Sequence[Mapping[str, float] | Exception]:
        """As of a training; trials whose optimizer has one of the five norms return its numbers as well."""
        results = list(super().run_pack(trials, contexts))
        for i, (trial, ctx, result) in enumerate(zip(trials, contexts, results, strict=True)):
            norm = type(getattr(trial.optimizer, "norm", None)).__name__
            if norm in NORMS and isinstance(result, Mapping):
                found = beforehand(trial.data, trial.model, ctx.seed)
                own = {k: v[norm] if k in RULES else v for k, v in found.items() if k in RULES or norm == "Spectral"}
                results[i] = {**result, **own}
        return results


@lru_cache(maxsize=1_000)
def beforehand(source: data.Data, model: models.Model, seed: int) -> "dict[str, Any]":
    """What is known of the norms before any training under them, in float64: by name, and by norm what differs."""
    import torch
    from torch.func import functional_call, grad

    ctx = dlx.Context(seed)
    train = source.load(ctx)["train"]
    x, y = train.take(train.rows[:SAMPLES])
    x = x.double()
    module = dlx.Training(source, model, optim.SGD(lr=0.1), steps=1, dtype="float64").trained(ctx)

    def loss(params: "dict[str, torch.Tensor]", rows: slice = slice(None)) -> "torch.Tensor":
        return losses.CrossEntropy()(functional_call(module, params, (x[rows],)), y[rows]).mean()

    found: dict[str, Any] = {"rule/at_start": predicted(loss, dict(module.named_parameters()))}
    sgd = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    for step in range(PROBE):
        sgd.zero_grad()
        loss(dict(module.named_parameters()), slice(step * BATCH % len(x), step * BATCH % len(x) + BATCH)).backward()
        sgd.step()
    params = {name: p.detach() for name, p in module.named_parameters()}
    gradients = [grad(loss)(params, slice(first, first + BATCH)) for first in range(0, len(x), BATCH)[:SPECTRA]]
    return {**found, "rule/after_probe": predicted(loss, params), **spectrum(gradients)}


def predicted(loss: "Callable[[Any], torch.Tensor]", params: "dict[str, torch.Tensor]") -> dict[str, float]:
    """By norm, log₁₀ of the predicted decrease over the largest one of other norms."""
    import torch
    from torch.func import grad, jvp

    params = {name: p.detach() for name, p in params.items()}
    gradient, decrease = grad(loss)(params), {}
    for norm, descent in NORMS.items():
        direction = {name: descent.direction(g) for name, g in gradient.items()}
        product = jvp(grad(loss), (params,), (direction,))[1]
        dual, curvature = (sum((v[k] * t).sum() for k, t in direction.items()) for v in (gradient, product))
        decrease[norm] = float(torch.as_tensor(dual**2 / curvature.abs() / 2))
    return {n: math.log10(d / max(v for m, v in decrease.items() if m != n)) for n, d in decrease.items()}


def spectrum(gradients: "list[dict[str, torch.Tensor]]") -> dict[str, float]:
    """Of Muon's directions for the matrices of some gradients: largest σ, share of those not null that lie in BAND."""
    import torch

    matrices = [g.float() for gradient in gradients for g in gradient.values() if g.ndim == 2]
    not_null = sum(int(torch.linalg.matrix_rank(g)) for g in matrices)
    sigma = torch.cat([torch.linalg.svdvals(optim.Spectral().direction(g)) for g in matrices])
    within = int(((sigma >= BAND[0]) & (sigma <= BAND[1])).sum())
    return {"update/spectral_norm": float(sigma.max()), "update/share": within / not_null}


BY_NORM = optim.SteepestDescent(
    lr=dlx.loguniform(1e-3, 1.0),
    norm=dlx.grid(*(descent.norm for descent in NORMS.values())),
    vectors=dlx.derived(lambda t: NORMS[type(t.optimizer.norm).__name__].vectors, name="vectors"),
    momentum=0.9,
)
WHY = "it is known before any training under the norm, and tuning has no part in it"
STUDY = dlx.Study(
    name="steepest-descent",
    question="Which norm should steepest descent use, and can it be chosen beforehand?",
    template=Descent(
        data=data.MNIST1D(), model=models.MLP(width=64, depth=2),
        optimizer=dlx.grid(
            BY_NORM,
            optim.SGD(lr=dlx.loguniform(1e-3, 1.0), momentum=0.9),
            optim.AdamW(lr=dlx.loguniform(1e-4, 0.1)),
            optim.Muon(lr=dlx.loguniform(1e-3, 1.0)),
            optim.Shampoo(lr=dlx.loguniform(1e-3, 1.0), momentum=0.9),
            optim.SOAP(lr=dlx.loguniform(1e-4, 0.1)),
        ),
        batch_size=BATCH, steps=4_000, schedule=optim.Cosine(), measure=12,
    ),
    objective=dlx.minimize("val/error"),
    search=dlx.TPE(trials=16, repeats=3),
    seeds=5,
    claims=(
        *(claims.Lower("test/error", SPECTRAL, than={"norm": norm}, name=f"spectral beats {norm}")
          for norm in ("Frobenius", "MaxNorm")),
        claims.Lower("test/error", SPECTRAL, than={"norm": ("Rows", "Columns")}, name="spectral beats rows, columns"),
        claims.Above("rule/at_start", 0.0, where=SPECTRAL, because=WHY, name="the rule picks it at the start"),
        claims.Above("rule/after_probe", 0.0, where=SPECTRAL, because=WHY, name="the rule picks it after a probe"),
        claims.Below("update/spectral_norm", LARGEST, where=SPECTRAL, because=WHY, name="spectral norm of its updates"),
        claims.Above("update/share", SMALLEST_SHARE, where=SPECTRAL, because=WHY, name="share of σ in [0.5, 1.25]"),
    ),
    figures=(
        *(figures.Scatter(
            x=f"rule/{when}", y="test/error", colour="norm", name=f"rule_{when}",
            title=f"MNIST-1D: the rule {when.replace('_', ' ')}, and the tuned error",
            x_label="log₁₀ of the predicted decrease over the other norms' best", y_label="test error (share)",
        ) for when in ("after_probe", "at_start")),
        figures.BestAgainstBudget(scale=100, y_label="validation error (%)", title="MNIST-1D: tuned norms by budget"),
    ),
    presets={
        "quick": {
            "template.optimizer": BY_NORM, "template.steps": 200, "template.measure": 2, "seeds": 5,
            "search": dlx.TPE(trials=8, repeats=5, recheck=0),
        },
        "polar": {
            "template.optimizer": BY_NORM, "template.steps": 1_000,
            "template.optimizer.norm": dlx.grid(optim.Spectral(), optim.Spectral(exact=True)),
            "claims": (claims.Equivalent("test/error", {"norm": "Spectral(exact=False)"},
                                         {"norm": "Spectral(exact=True)"}, margin=0.01),),
        },
        "speedrun": {
            "template": dlx.Training(
                data=data.CIFAR10(recompressed=True), model=models.ResNet(blocks=3, width=32),
                optimizer=dlx.grid(
                    optim.SGD(lr=dlx.loguniform(1e-2, 3.0), momentum=0.9, nesterov=True, weight_decay=5e-4),
                    optim.SteepestDescent(lr=dlx.loguniform(1e-3, 1.0), momentum=0.9),
                ),
                batch_size=500, steps=2_700, schedule=optim.Cosine(warmup=0.1), measure=20,
                augment=(data.Flip(), data.Crop(padding=4)), metrics=(metrics.loss(), metrics.accuracy()),
            ),
            "objective": dlx.maximize("val/accuracy"), "search": dlx.TPE(trials=8, repeats=3, recheck=0), "seeds": 2,
            "resources": dlx.Resources(cpus=4, gpus=1),
            "claims": (claims.Above("test/accuracy", MARK, where={"optimizer": "SteepestDescent"}),),
            "figures": tuple(figures.LearningCurves("test/accuracy", x=x, name=f"accuracy_by_{x}", log_x=True)
                             for x in ("step", "seconds")),
        },
    },
)
