import pytest
import torch
from torch.nn import functional as F

from dlx import losses

N, LENGTH, CLASSES = 50, 6, 4
OUTPUTS = torch.randn(N, LENGTH, CLASSES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = torch.randint(0, CLASSES, (N, LENGTH), generator=torch.Generator().manual_seed(1))
SIGNS = 2.0 * torch.randint(0, 2, OUTPUTS.shape, generator=torch.Generator().manual_seed(2)).double() - 1.0
ONE_HOT = F.one_hot(TARGETS, CLASSES).double()


def exact(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1_000.0])
def test_cross_entropy_equals_pytorch(scale):
    outputs = scale * OUTPUTS
    expected = F.cross_entropy(outputs.flatten(0, 1), TARGETS.flatten(), reduction="none").view(N, LENGTH)
    exact(losses.CrossEntropy()(outputs[:, 0], TARGETS[:, 0]), expected[:, 0])
    exact(losses.CrossEntropy()(outputs, TARGETS), expected.mean(1))


def test_mse_equals_pytorch_and_takes_classes_as_one_hot_vectors():
    expected = F.mse_loss(OUTPUTS, ONE_HOT, reduction="none").mean(2)
    for targets in (TARGETS, ONE_HOT):
        exact(losses.MSE()(OUTPUTS[:, 0], targets[:, 0]), expected[:, 0])
        exact(losses.MSE()(OUTPUTS, targets), expected.mean(1))


@pytest.mark.parametrize("scale", [1.0, 1_000.0])
def test_logistic_equals_pytorch(scale):
    outputs = scale * OUTPUTS
    expected = F.soft_margin_loss(OUTPUTS, SIGNS, reduction="none") if scale == 1.0 else None
    crossed = F.binary_cross_entropy_with_logits(outputs, (SIGNS + 1) / 2, reduction="none")
    for reference in (expected, crossed):
        if reference is not None:
            exact(losses.Logistic()(outputs[:, 0], SIGNS[:, 0]), reference[:, 0].mean(1))
            exact(losses.Logistic()(outputs, SIGNS), reference.mean((1, 2)))


def test_logistic_of_one_output_is_cross_entropy_of_two():
    output = OUTPUTS[:, 0, :1]
    two = torch.cat([-output / 2, output / 2], dim=1)
    exact(losses.Logistic()(output, SIGNS[:, 0, :1]), losses.CrossEntropy()(two, (SIGNS[:, 0, 0] > 0).long()))


@pytest.mark.parametrize("loss", [losses.CrossEntropy(), losses.MSE(), losses.Logistic()])
def test_gradients_are_finite_at_large_outputs(loss):
    targets = TARGETS if isinstance(loss, losses.CrossEntropy) else SIGNS
    grads = torch.func.grad(lambda outputs: loss(outputs, targets).mean())(1e4 * OUTPUTS)
    assert grads.isfinite().all() and grads.abs().max() > 0


def test_losses_are_losses():
    assert all(isinstance(loss, losses.Loss) for loss in (losses.CrossEntropy(), losses.MSE(), losses.Logistic()))
    assert not isinstance("mse", losses.Loss)
