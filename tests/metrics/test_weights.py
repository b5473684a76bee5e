import numpy as np
import pytest
import torch

from dlx import metrics
from dlx.errors import DeclarationError

GENERATOR = torch.Generator().manual_seed(0)
PARAMS = {
    "conv.weight": torch.randn(6, 2, 3, 3, generator=GENERATOR, dtype=torch.float64),
    "conv.bias": torch.randn(6, generator=GENERATOR, dtype=torch.float64),
    "head.weight": torch.randn(4, 6, generator=GENERATOR, dtype=torch.float64),
    "scale": torch.tensor(2.0, dtype=torch.float64),
}
MATRICES = [PARAMS["conv.weight"].reshape(6, 18).numpy(), PARAMS["head.weight"].numpy()]
SPECTRA = [np.linalg.svd(m, compute_uv=False) for m in MATRICES]


def measure(metric, params=PARAMS):
    return metric.measure_weights(params).item()


def test_equal_numpy():
    everything = np.concatenate([p.numpy().ravel() for p in PARAMS.values()])
    assert measure(metrics.weight_norm()) == pytest.approx(np.linalg.norm(everything), rel=1e-12)
    norms = [np.linalg.norm(m, 2) for m in MATRICES]
    assert measure(metrics.spectral_norm()) == pytest.approx(np.prod(norms), rel=1e-12)
    stable = [np.linalg.norm(m, "fro") ** 2 / n**2 for m, n in zip(MATRICES, norms, strict=True)]
    assert measure(metrics.stable_rank()) == pytest.approx(np.mean(stable), rel=1e-12)
    entropies = [-(s / s.sum() * np.log(s / s.sum())).sum() for s in SPECTRA]
    assert measure(metrics.effective_rank()) == pytest.approx(np.mean(np.exp(entropies)), rel=1e-12)


@pytest.mark.parametrize("k", [1, 4])
def test_singular_values_of_a_named_matrix_or_the_largest(k):
    assert measure(metrics.singular_value(k)) == pytest.approx(SPECTRA[0][k - 1], rel=1e-12)
    assert measure(metrics.singular_value(k, "head.weight")) == pytest.approx(SPECTRA[1][k - 1], rel=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_ranks_of_equal_singular_values_are_the_rank(rank):
    q = torch.linalg.qr(torch.randn(8, 8, generator=GENERATOR, dtype=torch.float64))[0]
    params = {"w": 3 * q[:, :rank] @ q[:rank, :]}
    assert measure(metrics.stable_rank(), params) == pytest.approx(rank)
    assert measure(metrics.effective_rank(), params) == pytest.approx(rank)


def test_product_of_norms_bounds_the_network_with_slopes_up_to_1():
    module = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).double()
    bound = measure(metrics.spectral_norm(), dict(module.named_parameters()))
    inputs = torch.randn(100, 5, generator=GENERATOR, dtype=torch.float64)
    jacobians = torch.func.vmap(torch.func.jacrev(module))(inputs)
    assert torch.linalg.matrix_norm(jacobians, 2).max() <= bound


def test_what_the_model_has_not_is_said():
    with pytest.raises(DeclarationError, match=r"'body\.weight', no matrix .* conv\.weight, head\.weight\."):
        measure(metrics.singular_value(of="body.weight"))
    with pytest.raises(DeclarationError, match=r"k is 5, and head\.weight is .* at most 4"):
        measure(metrics.singular_value(5, "head.weight"))
    with pytest.raises(DeclarationError, match="two axes"):
        measure(metrics.stable_rank(), {"bias": torch.ones(3)})
