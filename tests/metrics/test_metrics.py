import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss

from dlx import losses, metrics

OUTPUTS = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = torch.randint(0, 4, (50,), generator=torch.Generator().manual_seed(1))


def measure(metric, outputs=OUTPUTS, loss=losses.CrossEntropy()):
    return metric.measure(outputs, TARGETS, loss).item()


def test_equal_scikit_learn():
    accuracy = accuracy_score(TARGETS, OUTPUTS.argmax(1))
    assert measure(metrics.accuracy()) == pytest.approx(accuracy)
    assert measure(metrics.error()) == pytest.approx(1 - accuracy)
    assert measure(metrics.loss()) == pytest.approx(log_loss(TARGETS, OUTPUTS.softmax(1)))


@pytest.mark.parametrize("metric", [metrics.loss(), metrics.error(), metrics.accuracy()])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_outputs_that_are_not_finite_show(metric, bad):
    outputs = OUTPUTS.clone()
    outputs[3, (TARGETS[3] + 1) % 4] = bad
    if metric == metrics.loss() and bad == float("-inf"):
        pytest.skip("a wrong class with probability 0 has a finite cross-entropy")
    assert not torch.isfinite(torch.tensor(measure(metric, outputs)))


def test_names_and_protocol():
    assert [m.name for m in (metrics.loss(), metrics.error(), metrics.accuracy())] == ["loss", "error", "accuracy"]
    assert isinstance(metrics.error(), metrics.Metric) and not isinstance(losses.MSE(), metrics.Metric)


def test_cross_entropy_equals_pytorch():
    large = OUTPUTS * 1_000
    for outputs in (OUTPUTS, large):
        expected = torch.nn.functional.cross_entropy(outputs, TARGETS, reduction="none")
        torch.testing.assert_close(losses.CrossEntropy()(outputs, TARGETS), expected)


def test_mse_of_classes_is_that_of_one_hot_vectors():
    one_hot = torch.nn.functional.one_hot(TARGETS, 4).double()
    expected = torch.nn.functional.mse_loss(OUTPUTS, one_hot, reduction="none").mean(1)
    torch.testing.assert_close(losses.MSE()(OUTPUTS, TARGETS), expected)
    torch.testing.assert_close(losses.MSE()(OUTPUTS, one_hot), expected)


def test_losses_are_losses():
    assert isinstance(losses.CrossEntropy(), losses.Loss) and not isinstance("mse", losses.Loss)
