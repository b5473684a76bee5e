"""Modules trained one by one in plain PyTorch, and all together as ``torch.func`` vectorises them."""

import torch
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.fx.experimental.proxy_tensor import make_fx

LR = 0.05


def built(model, of, seed, dtype=torch.float64):
    """A module as dlx trains it: drawn from a seed, made stateless."""
    from dlx.models.stateless import stateless

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return stateless(model.build(of)).to(dtype)


def alone(module, batches):
    """Losses, and then all parameters and buffers, of plain gradient descent on mean squares; float64."""
    losses = []
    for x, y in batches:
        loss = (module(x) - y).square().mean()
        grads = torch.autograd.grad(loss, list(module.parameters()))
        with torch.no_grad():
            for p, g in zip(module.parameters(), grads, strict=True):
                p -= LR * g
        losses.append(loss.detach())
    return torch.stack(losses), {k: v.detach() for k, v in [*module.named_parameters(), *module.named_buffers()]}


def together(modules, batches):
    """The same of all modules at once, one recorded step: batches of (members, batch, ...); a result for each."""
    params, buffers = stack_module_state(modules)
    params = {k: p.detach() for k, p in params.items()}

    def step(params, buffers, x, y):
        def objective(params):
            whole = {**params, **buffers}
            loss = (functional_call(modules[0], whole, (x,)) - y).square().mean()
            return loss, {k: whole[k] for k in buffers}

        grads, (loss, moved) = grad_and_value(objective, has_aux=True)(params)
        return {k: p - LR * grads[k] for k, p in params.items()}, moved, loss

    recorded, losses = None, []
    with torch.no_grad():
        for x, y in batches:
            recorded = recorded or make_fx(vmap(step))(params, buffers, x, y)
            params, buffers, loss = recorded(params, buffers, x, y)
            losses.append(loss)
    whole = params | buffers
    return [(torch.stack(losses)[:, i], {k: v[i] for k, v in whole.items()}) for i in range(len(modules))]


def outputs_together(modules, x):
    """Outputs (members, batch, ...) of modules in the mode they are in, for inputs (members, batch, ...)."""
    params, buffers = stack_module_state(modules)
    with torch.no_grad():
        return vmap(lambda p, b, x: functional_call(modules[0], {**p, **b}, (x,)))(params, buffers, x)
