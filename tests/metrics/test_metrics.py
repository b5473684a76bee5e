"""The contract of the shelf: every metric alone = in a pack beside a diverged member, and what is not finite shows."""


import pytest
import torch
from shelves import METRICS

from dlx import losses, metrics, models, optim
from dlx.data import Dimensions
from dlx.errors import DeclarationError
from dlx.stacking import stack, unstack
from dlx.vectorise import vectorise

F64 = torch.float64
N, FEATURES, CLASSES, MEMBERS = 48, 5, 4, 3
GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(N, FEATURES, generator=GENERATOR, dtype=F64)
TARGETS = torch.randint(0, CLASSES, (N,), generator=GENERATOR)
MODULE = models.MLP(width=6, depth=2, activation="tanh").build(Dimensions(FEATURES, CLASSES, (FEATURES,))).double()
DIVERGED = MEMBERS - 1
ONE_HOT = torch.nn.functional.one_hot(TARGETS, CLASSES).double()


def weights(member, bad=torch.nan):
    generator = torch.Generator().manual_seed(member)
    params = {k: torch.randn(p.shape, generator=generator, dtype=F64) for k, p in MODULE.named_parameters()}
    if member == DIVERGED:
        params["2.weight"][1, 2] = bad
    return params


def measure(metric, params, key, loss=losses.CrossEntropy(), inputs=INPUTS):
    """As training measures each kind."""
    def outputs(params, inputs=inputs):
        return torch.func.functional_call(MODULE, params, (inputs,))

    def objective(params):
        samples = slice(metric.samples)
        found = loss(outputs(params)[samples], TARGETS[samples])
        return found.view(metric.batches, -1).mean(1) if hasattr(metric, "batches") else found.mean()

    if isinstance(metric, metrics.OutputMetric):
        return metric.measure(outputs(params), ONE_HOT if isinstance(metric, metrics.psnr) else TARGETS, loss)
    if isinstance(metric, metrics.WeightMetric):
        return metric.measure_weights(params)
    if isinstance(metric, metrics.NetworkMetric):
        return metric.measure_network(outputs, params, inputs[: metric.samples])
    return metric.measure_loss(objective, params, key)


@pytest.mark.parametrize("metric", METRICS, ids=repr)
def test_every_metric_is_the_same_alone_and_beside_a_diverged_member(metric):
    members, keys = [weights(i) for i in range(MEMBERS)], [torch.tensor(7 * i) for i in range(MEMBERS)]
    together = vectorise(lambda params, key: measure(metric, params, key))
    found = unstack(together(stack(members, "cpu", F64), stack(keys, "cpu", F64)), MEMBERS)
    for params, key, value in list(zip(members, keys, found, strict=True))[:DIVERGED]:
        alone = measure(metric, params, key)
        assert alone.ndim == 0 and alone.isfinite()
        torch.testing.assert_close(value, alone, rtol=1e-10, atol=1e-10)
    assert not found[DIVERGED].isfinite()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("metric", [m for m in METRICS if isinstance(m, metrics.OutputMetric)], ids=repr)
def test_an_output_that_is_not_finite_shows(metric, bad):
    outputs = torch.func.functional_call(MODULE, weights(0), (INPUTS,)).clone()
    outputs[3, (TARGETS[3] + 1) % CLASSES] = bad
    if metric == metrics.loss() and bad == -torch.inf:
        pytest.skip("a wrong class with probability 0 has a finite cross-entropy")
    targets = ONE_HOT if isinstance(metric, metrics.psnr) else TARGETS
    assert not metric.measure(outputs, targets, losses.CrossEntropy()).isfinite()


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf])
@pytest.mark.parametrize("metric", [m for m in METRICS if isinstance(m, metrics.WeightMetric)], ids=repr)
def test_a_weight_that_is_not_finite_shows(metric, bad):
    assert not metric.measure_weights(weights(DIVERGED, bad)).isfinite()


@pytest.mark.parametrize("metric", [m for m in METRICS if not isinstance(m, metrics.OutputMetric)], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_is_near_float64(metric, dtype):
    exact, key = {k: p / 3 for k, p in weights(0).items()}, torch.tensor(3)
    low = measure(metric, {k: p.to(dtype) for k, p in exact.items()}, key, inputs=INPUTS.to(dtype)).double()
    tolerance = 1e-3 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(low, measure(metric, exact, key), rtol=tolerance, atol=tolerance)


def test_every_metric_has_a_name_of_its_own_and_one_kind():
    defaults = {metric.name for metric in METRICS}
    assert len(defaults) == len(METRICS)
    kinds = (metrics.OutputMetric, metrics.WeightMetric, metrics.LossMetric, metrics.NetworkMetric)
    for metric in METRICS:
        assert sum(isinstance(metric, kind) for kind in kinds) == 1 and isinstance(metric, metrics.Metric)
    assert not isinstance(losses.MSE(), metrics.Metric) and not isinstance(optim.SGD(lr=0.1), metrics.Metric)


REFUSED = [
    metrics.ece(bins=0), metrics.psnr(peak=0.0), metrics.singular_value(k=0), metrics.sharpness(iterations=0),
    metrics.sharpness(samples=0), metrics.jacobian_norm(samples=0), metrics.hessian_trace(probes=0),
    metrics.sam_sharpness(rho=0.0), metrics.gradient_noise(batches=1), metrics.gradient_noise(batches=7),
    metrics.LogSpaced(0), metrics.Every(0), metrics.At((3, 0)), metrics.fourier_sparsity(p=2),
    metrics.fourier_sparsity(p=5, k=3),
]


@pytest.mark.parametrize("component", REFUSED, ids=repr)
def test_values_out_of_range_are_refused_in_one_sentence(component):
    with pytest.raises(DeclarationError, match=r"^\w+ is [^.]*(\.\d[^.]*)?\.$"):
        component.check()


def test_defaults_are_in_range():
    for metric in METRICS:
        if hasattr(metric, "check"):
            metric.check()
