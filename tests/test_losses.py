import numpy as np
import pytest
import torch
from sklearn.metrics import mean_pinball_loss
from torch.nn import functional as F

from dlx import losses
from dlx.errors import DeclarationError

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


def test_pinball_equals_scikit_learn_and_names_a_wrong_number_of_quantiles():
    quantiles = (0.05, 0.3, 0.5, 0.95)
    each = [mean_pinball_loss(np.zeros(N), SIGNS[:, 0, i], alpha=q) for i, q in enumerate(quantiles)]
    exact(losses.Pinball(quantiles)(SIGNS[:, 0], torch.zeros(N, CLASSES).double()).mean().item(), float(np.mean(each)))
    exact(losses.Pinball(quantiles)(OUTPUTS, SIGNS)[:, None],
          losses.Pinball(quantiles)(OUTPUTS.flatten(0, 1), SIGNS.flatten(0, 1)).view(N, LENGTH).mean(1, keepdim=True))
    with pytest.raises(DeclarationError, match="4 outputs and Pinball has 2 quantiles"):
        losses.Pinball((0.1, 0.9))(OUTPUTS, SIGNS)
    with pytest.raises(DeclarationError, match="give one in"):
        losses.Pinball((0.1, 1.0)).check()


def test_the_quantile_has_the_least_pinball_loss():
    values, q = OUTPUTS[:, :1, :1].flatten(1), 0.3
    constants = torch.linspace(-2, 2, 401, dtype=torch.float64)
    means = [losses.Pinball((q,))(c.expand(N, 1), values).mean() for c in constants]
    best = constants[torch.stack(means).argmin()]
    assert values.lt(best).double().mean() <= q + 1 / N and values.le(best + 0.01).double().mean() >= q - 1 / N


@pytest.mark.parametrize("loss", [losses.CrossEntropy(), losses.MSE(), losses.Logistic(),
                                  losses.Pinball((0.1, 0.3, 0.5, 0.9))])
def test_gradients_are_finite_at_large_outputs(loss):
    targets = TARGETS if isinstance(loss, losses.CrossEntropy) else SIGNS
    grads = torch.func.grad(lambda outputs: loss(outputs, targets).mean())(1e4 * OUTPUTS)
    assert grads.isfinite().all() and grads.abs().max() > 0


def test_losses_are_losses():
    assert all(isinstance(loss, losses.Loss) for loss in (losses.CrossEntropy(), losses.MSE(), losses.Logistic(),
                                                      losses.Pinball((0.5,))))
    assert not isinstance("mse", losses.Loss)
