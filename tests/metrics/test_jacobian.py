"""Norms of Jacobians against those of autograd, sample by sample, and against the product of the layers' norms."""

import pytest
import torch

from dlx import metrics, models
from dlx.data import Dimensions

INPUTS = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def measured(model, **given):
    torch.manual_seed(1)
    module = model.build(Dimensions(5, 3, (5,))).double()
    params = dict(module.named_parameters())

    def network(params, inputs):
        return torch.func.functional_call(module, params, (inputs,))

    return module, params, metrics.jacobian_norm(**given).measure_network(network, params, INPUTS)


@pytest.mark.parametrize("model", [models.MLP(width=7, depth=3), models.MLP(width=6, depth=3, residual=True)], ids=repr)
def test_is_the_mean_largest_singular_value(model):
    module, params, found = measured(model)
    each = [torch.autograd.functional.jacobian(module, x.unsqueeze(0)).squeeze() for x in INPUTS]
    expected = torch.stack([torch.linalg.svdvals(j)[0] for j in each]).mean()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    relative = measured(model, relative=True)[2]
    torch.testing.assert_close(relative, found / metrics.spectral_norm().measure_weights(params), rtol=1e-10, atol=0)


def test_layers_bound_a_chain_and_meet_a_single_one():
    assert 0 < measured(models.MLP(width=7, depth=3), relative=True)[2] < 1
    torch.testing.assert_close(measured(models.Linear(), relative=True)[2].item(), 1.0)
