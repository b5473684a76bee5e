import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error
from torchmetrics.functional.image import peak_signal_noise_ratio
from torchmetrics.functional.text import perplexity

from dlx import losses, metrics
from dlx.errors import DeclarationError

N, LENGTH, CLASSES = 50, 6, 4
OUTPUTS = torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = torch.randint(0, CLASSES, (N,), generator=torch.Generator().manual_seed(1))
SEQUENCES = torch.randn(N, LENGTH, CLASSES, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
SYMBOLS = torch.randint(0, CLASSES, (N, LENGTH), generator=torch.Generator().manual_seed(3))
SIGNS = torch.where(TARGETS < 2, -1.0, 1.0).unsqueeze(1).double()
OF_CLASSES = [metrics.error(), metrics.accuracy(), metrics.nll(), metrics.perplexity(), metrics.brier(), metrics.ece(),
              metrics.margin(), metrics.margin("min"), metrics.margin(normalised=True)]


def measure(metric, outputs=OUTPUTS, targets=TARGETS, loss=losses.CrossEntropy()):
    return metric.measure(outputs, targets, loss).item()


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_equal_scikit_learn(scale):
    outputs = scale * OUTPUTS
    probabilities = outputs.softmax(1)
    accuracy = accuracy_score(TARGETS, outputs.argmax(1))
    assert measure(metrics.accuracy(), outputs) == pytest.approx(accuracy, rel=1e-12)
    assert measure(metrics.error(), outputs) == pytest.approx(1 - accuracy, rel=1e-12)
    nll = log_loss(TARGETS, probabilities)
    for metric in (metrics.loss(), metrics.nll()):
        assert measure(metric, outputs) == pytest.approx(nll, rel=1e-12)
    assert measure(metrics.nll(), outputs, loss=losses.MSE()) == pytest.approx(nll, rel=1e-12)
    brier = brier_score_loss(TARGETS, probabilities, scale_by_half=False)
    assert measure(metrics.brier(), outputs) == pytest.approx(brier, rel=1e-12)


@given(st.integers(0, 1_000), st.floats(0.1, 8), st.sampled_from([1, 5, 15]))
def test_equal_torchmetrics(seed, scale, bins):
    generator = torch.Generator().manual_seed(seed)
    outputs = scale * torch.randn(N, CLASSES, generator=generator, dtype=torch.float64)
    targets = torch.where(torch.rand(N, generator=generator) < 0.6, outputs.argmax(1), TARGETS)
    expected = multiclass_calibration_error(outputs.softmax(1), targets, CLASSES, n_bins=bins).item()
    assert measure(metrics.ece(bins), outputs, targets) == pytest.approx(expected, abs=1e-6)
    expected = perplexity(outputs.unsqueeze(0), targets.unsqueeze(0)).item()
    assert measure(metrics.perplexity(), outputs, targets) == pytest.approx(expected, rel=1e-4)
    pictures = torch.rand(N, 3, generator=generator, dtype=torch.float64)
    expected = peak_signal_noise_ratio(outputs[:, :3], pictures, data_range=scale).item()
    assert measure(metrics.psnr(peak=scale), outputs[:, :3], pictures) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_perfect_fit_is_finite():
    assert measure(metrics.psnr(), OUTPUTS, OUTPUTS.clone()) == pytest.approx(-20 * math.log10(2**-52))
    sure = 1e4 * torch.nn.functional.one_hot(TARGETS, CLASSES).double()
    for metric, best in [(metrics.perplexity(), 1), (metrics.brier(), 0), (metrics.ece(), 0), (metrics.error(), 0)]:
        assert measure(metric, sure) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("metric", OF_CLASSES, ids=repr)
def test_of_sequences_is_that_of_all_positions(metric):
    expected = measure(metric, SEQUENCES.flatten(0, 1), SYMBOLS.flatten())
    assert measure(metric, SEQUENCES, SYMBOLS) == pytest.approx(expected, rel=1e-12)


def test_margin_is_negative_where_the_class_is_wrong():
    found = [measure(metrics.margin(), OUTPUTS[i : i + 1], TARGETS[i : i + 1]) for i in range(N)]
    right = (OUTPUTS.argmax(1) == TARGETS).tolist()
    assert [value > 0 for value in found] == right
    for i, value in enumerate(found):
        ordered = sorted(OUTPUTS[i].tolist())
        own = OUTPUTS[i, TARGETS[i]].item()
        assert value == pytest.approx(own - (ordered[-2] if right[i] else ordered[-1]), rel=1e-12)
    assert measure(metrics.margin()) == pytest.approx(sum(found) / N)
    assert measure(metrics.margin("min")) == pytest.approx(min(found))


def test_normalised_margin_is_over_the_spread_of_the_outputs():
    spread = math.sqrt(OUTPUTS.numpy().var(axis=0).sum())
    normalised = metrics.margin("min", normalised=True)
    assert measure(normalised) == pytest.approx(measure(metrics.margin("min")) / spread)
    assert measure(normalised, 7 * OUTPUTS + 2) == pytest.approx(measure(normalised))


def test_signs_as_targets():
    outputs = OUTPUTS[:, :1]
    wrong = (outputs.sign() != SIGNS).double().mean().item()
    assert measure(metrics.error(), outputs, SIGNS) == pytest.approx(wrong)
    assert measure(metrics.accuracy(), outputs, SIGNS) == pytest.approx(1 - wrong)
    assert measure(metrics.margin("min"), outputs, SIGNS) == pytest.approx((outputs * SIGNS).min().item())


@pytest.mark.parametrize("metric", OF_CLASSES, ids=repr)
def test_numbers_as_targets_are_refused_where_classes_are_due(metric):
    with pytest.raises(DeclarationError, match=r"classes as targets.*metrics\.loss\(\)"):
        measure(metric, OUTPUTS, torch.zeros_like(OUTPUTS))
