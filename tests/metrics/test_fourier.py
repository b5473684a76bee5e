import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx import data, metrics, models
from dlx.errors import DeclarationError

GENERATOR = np.random.default_rng(0)


def measure(metric, weights):
    return metric.measure_weights({"0.weight": torch.as_tensor(weights)}).item()


def power(rows):
    """(rows, frequencies above 0)."""
    return np.abs(np.fft.fft(rows, axis=1)[:, 1 : rows.shape[1] // 2 + 1]) ** 2


@given(p=st.integers(3, 12), units=st.integers(1, 6), k=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_equals_numpy(p, units, k, seed):
    k, weights = min(k, p // 2), np.random.default_rng(seed).normal(size=(units, 2, p))
    each = power(weights.reshape(-1, p))
    by_unit = np.sort(each)[:, -k:].sum() / each.sum()
    assert measure(metrics.fourier_sparsity(p, k=k), weights.reshape(units, -1)) == pytest.approx(by_unit, rel=1e-12)
    whole = np.sort(each.sum(0))[-k:].sum() / each.sum()
    together = metrics.fourier_sparsity(p, k=k, together=True)
    assert measure(together, weights.reshape(units, -1)) == pytest.approx(whole, rel=1e-12)


def test_waves_are_sparse_and_noise_is_not():
    p, units = 31, 15
    a, phases = np.arange(p), GENERATOR.uniform(0, 2 * np.pi, (units, 2, 1))
    waves = 3.0 + np.cos(2 * np.pi * np.arange(1, units + 1)[:, None, None] * a / p + phases)
    waves = waves.reshape(units, -1)
    assert measure(metrics.fourier_sparsity(p), waves) == pytest.approx(1.0)
    assert measure(metrics.fourier_sparsity(p, together=True), waves) == pytest.approx(1 / 15)
    noise = GENERATOR.normal(size=(2_000, 2 * p))
    harmonic = np.sum(1 / np.arange(1, 16)) / 15  # the largest of 15 exponential variables
    assert measure(metrics.fourier_sparsity(p), noise) == pytest.approx(harmonic, rel=0.02)


def test_embeddings_have_residues_in_rows_and_the_sign_of_equality_does_not_count():
    embedding = np.vstack([GENERATOR.normal(size=(7, 5)), np.full((1, 5), 1e6)])
    each = power(embedding[:7].T)
    found = measure(metrics.fourier_sparsity(7), embedding)
    assert found == pytest.approx(each.max(1).sum() / each.sum())


@pytest.mark.parametrize("one_hot", [True, False])
def test_reads_the_first_layer_of_models_of_modular_arithmetic(one_hot):
    model = models.MLP(9, 1) if one_hot else models.Transformer(8, 1, 2, readout="last")
    built = model.build(data.ModularArithmetic(p=11, one_hot=one_hot).dimensions())
    params = dict(built.named_parameters())
    found = metrics.fourier_sparsity().measure_weights(params).item()
    assert found == metrics.fourier_sparsity(11).measure_weights(params).item() and 0.2 < found < 1


def test_what_the_model_has_not_is_said():
    with pytest.raises(DeclarationError, match=r"of is '1\.weight', no parameter of this model; it has 0\.weight\."):
        measure(metrics.fourier_sparsity(7, of="1.weight"), np.ones((3, 14)))
    with pytest.raises(DeclarationError, match=r"p is 7, and 0\.weight is \(3, 13\); it must be \(units, 14\)"):
        measure(metrics.fourier_sparsity(7), np.ones((3, 13)))
    with pytest.raises(DeclarationError, match=r"k is 4; weights over 7 residues have 3 frequencies"):
        measure(metrics.fourier_sparsity(k=4), np.ones((7, 14)))
