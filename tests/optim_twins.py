"""Every optimizer of dlx beside a well-known implementation of it, with all hyperparameters times a factor s.

The twins are those of torch.optim, and of pytorch-optimizer where torch has none; wrappers are wrapped around torch's.
"""

import pytorch_optimizer as reference
import torch
from pytorch_optimizer.optimizer import scion
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dlx import optim

TORCH = torch.optim
INPUTS = torch.randn(40, 5, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
TARGETS = torch.randn(40, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def objective(params):
    """Noise to fit: its gradient stays away from 0, where Muon would normalise rounding errors."""
    x = INPUTS
    for w in params.values():
        x = x @ w.T if w.ndim == 2 else torch.tanh(x + w)
    return (x - TARGETS).square().mean()


class Twin:
    """Steps of PyTorch optimizers; ``measured``: the parameters that count."""

    def __init__(self, params, *optimizers, before_step=lambda params: None):
        self.params, self.optimizers, self.before_step = params, optimizers, before_step

    def backward(self):
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss = objective(self.params)
        loss.backward()
        return loss

    def step(self, number):
        self.backward()
        self.before_step(list(self.params.values()))
        for optimizer in self.optimizers:
            optimizer.step()

    def measured(self):
        return self.params


def twin(make, **given):
    return lambda params: Twin(params, make(list(params.values())), **given)


class Sharp(Twin):
    def step(self, number):
        self.backward()
        self.optimizers[0].step(self.backward)


class FromIdentity(Twin):
    """SOAP, of which the first step only prepares, from bases I instead of the eigenvectors of the first gradient."""

    def step(self, number):
        if number == 1:
            super().step(0)
            for state in self.optimizers[0].state.values():
                state["GG"] = [torch.zeros_like(m) if len(m) else m for m in state["GG"]]
                state["Q"] = [torch.eye(len(m), dtype=m.dtype) if len(m) else m for m in state["GG"]]
        super().step(number)


class Averaged(Twin):
    def __init__(self, params, optimizer, counts, **given):
        super().__init__(params, optimizer)
        self.counts = counts
        self.module = torch.nn.ParameterList(params.values())
        self.average = AveragedModel(self.module, **given)
        if counts(0):
            self.average.update_parameters(self.module)

    def step(self, number):
        super().step(number)
        if self.counts(number):
            self.average.update_parameters(self.module)

    def measured(self):
        return dict(zip(self.params, self.average.module.parameters(), strict=True))


class Penalised(Twin):
    """The loss with λ/2 (uᵀWv)² for each matrix added, u and v as ``spectral_norm`` of PyTorch finds them."""

    def __init__(self, params, optimizer, strength):
        super().__init__(params, optimizer)
        self.strength = strength
        self.left = {k: torch.full_like(p[:, 0], len(p) ** -0.5).detach() for k, p in params.items() if p.ndim == 2}

    def backward(self):
        self.optimizers[0].zero_grad()
        loss = objective(self.params)
        for k, u in self.left.items():
            normed = torch.nn.Linear(*self.params[k].T.shape, bias=False, dtype=u.dtype)
            normed.weight.data = self.params[k].detach().clone()
            hook = torch.nn.utils.spectral_norm(normed, eps=1e-12)
            hook.weight_u = u
            hook(torch.zeros(1, normed.in_features, dtype=u.dtype))
            self.left[k] = hook.weight_u.clone()
            loss = loss + self.strength / 2 * (hook.weight_u @ self.params[k] @ hook.weight_v).square()
        loss.backward()


class ByAxis(Twin):
    """Of the first matrix only each row's largest weight moves, the others shrink."""

    def __init__(self, params, optimizer, decay):
        super().__init__(params, optimizer)
        self.decay, self.first = decay, next(p for p in params.values() if p.ndim == 2)

    def step(self, number):
        before = self.first.detach().clone()
        super().step(number)
        with torch.no_grad():
            for row, old in zip(self.first, before, strict=True):
                own, shrunk = old.abs().argmax(), (1 - self.decay) * old
                shrunk[own] = row[own]
                row.copy_(shrunk)


def muon_twin(params, lr, weight_decay, **more):
    hidden = [p for p in params.values() if p.shape in [(7, 6), (6, 7)]]
    rest = [p for p in params.values() if not any(p is h for h in hidden)]
    return Twin(
        params,
        TORCH.Muon(hidden, lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw", **more),
        TORCH.AdamW(rest, lr, weight_decay=weight_decay),
    )


def scion_twin(norm, momentum, lr, **more):
    def make(params):
        matrices = {"params": [p for p in params.values() if p.ndim == 2], "norm_type": norm, "norm_kwargs": more}
        vectors = {"params": [p for p in params.values() if p.ndim == 1], "norm_type": scion.LMONorm.BIAS}
        return Twin(params, reference.SCION([matrices, vectors], lr, momentum=1 - momentum, foreach=False))

    return make


def steepest(norm, s):
    return optim.SteepestDescent(0.003 * s, norm, optim.Frobenius(rms=True), momentum=0.9 * s)


KIND = scion.LMONorm
CASES = {
    "SGD": lambda s: (optim.SGD(0.02 * s), twin(lambda p: TORCH.SGD(p, 0.02 * s))),
    "SGD with all": lambda s: (
        optim.SGD(0.02 * s, momentum=0.9 * s, nesterov=True, weight_decay=0.01 * s),
        twin(lambda p: TORCH.SGD(p, 0.02 * s, momentum=0.9 * s, nesterov=True, weight_decay=0.01 * s)),
    ),
    "SGD with momentum": lambda s: (
        optim.SGD(0.02 * s, momentum=0.7 * s), twin(lambda p: TORCH.SGD(p, 0.02 * s, momentum=0.7 * s)),
    ),
    "Adam": lambda s: (
        optim.Adam(0.003 * s, betas=(0.8 * s, 0.95 * s), eps=1e-6 * s, weight_decay=0.1 * s),
        twin(lambda p: TORCH.Adam(p, 0.003 * s, (0.8 * s, 0.95 * s), 1e-6 * s, weight_decay=0.1 * s)),
    ),
    "AdamW": lambda s: (optim.AdamW(0.01 * s), twin(lambda p: TORCH.AdamW(p, 0.01 * s))),
    "RMSprop": lambda s: (
        optim.RMSprop(0.001 * s, alpha=0.95 * s, eps=1e-6 * s, momentum=0.9 * s, weight_decay=0.1 * s),
        twin(lambda p: TORCH.RMSprop(p, 0.001 * s, 0.95 * s, 1e-6 * s, momentum=0.9 * s, weight_decay=0.1 * s)),
    ),
    "RMSprop, centred": lambda s: (
        optim.RMSprop(0.001 * s, alpha=0.9 * s, eps=0.01 * s, centered=True),
        twin(lambda p: TORCH.RMSprop(p, 0.001 * s, 0.9 * s, 0.01 * s, centered=True)),
    ),
    "Adagrad": lambda s: (
        optim.Adagrad(0.1 * s, eps=1e-8 * s, weight_decay=0.01 * s),
        twin(lambda p: TORCH.Adagrad(p, 0.1 * s, eps=1e-8 * s, weight_decay=0.01 * s)),
    ),
    "Lion": lambda s: (
        optim.Lion(0.001 * s, betas=(0.9 * s, 0.99 * s), weight_decay=0.1 * s),
        twin(lambda p: reference.Lion(p, 0.001 * s, betas=(0.9 * s, 0.99 * s), weight_decay=0.1 * s, foreach=False)),
    ),
    "SignDescent": lambda s: (
        optim.SignDescent(0.001 * s, momentum=0.9 * s),
        twin(lambda p: reference.SignSGD(p, 0.001 * s, momentum=0.9 * s, foreach=False)),
    ),
    "AxisDescent": lambda s: (
        optim.AxisDescent(0.02 * s, momentum=0.9 * s, decay=0.02 * s),
        lambda p: ByAxis(p, TORCH.SGD(p.values(), 0.02 * s, momentum=0.9 * s), 0.02 * s),
    ),
    "Muon": lambda s: (
        optim.Muon(0.01 * s, weight_decay=0.1 * s), lambda p: muon_twin(p, 0.01 * s, weight_decay=0.1 * s),
    ),
    "Muon without Nesterov": lambda s: (
        optim.Muon(0.01 * s, momentum=0.8 * s, nesterov=False),
        lambda p: muon_twin(p, 0.01 * s, momentum=0.8 * s, nesterov=False, weight_decay=0.0),
    ),
    "Shampoo": lambda s: (
        optim.Shampoo(0.1 * s, eps=1e-4 * s), twin(lambda p: reference.Shampoo(p, 0.1 * s, matrix_eps=1e-4 * s)),
    ),
    "SOAP": lambda s: (
        optim.SOAP(0.003 * s, betas=(0.95 * s, 0.99 * s), eps=1e-4 * s, weight_decay=0.1 * s, precondition_every=7),
        lambda p: FromIdentity(p, reference.SOAP(
            list(p.values()), 0.003 * s, (0.95 * s, 0.99 * s), eps=1e-4 * s, weight_decay=0.1 * s,
            precondition_frequency=7,
        )),
    ),
    "steepest, spectral": lambda s: (
        steepest(optim.Spectral(rms=True), s), scion_twin(KIND.SPECTRAL, 0.9 * s, 0.003 * s),
    ),
    "steepest, rows": lambda s: (
        steepest(optim.Rows(), s), scion_twin(KIND.ROW, 0.9 * s, 0.003 * s, normalized=False),
    ),
    "steepest, columns": lambda s: (
        steepest(optim.Columns(rms=True), s), scion_twin(KIND.COL, 0.9 * s, 0.003 * s),
    ),
    "steepest, largest entry": lambda s: (
        steepest(optim.MaxNorm(), s), scion_twin(KIND.SIGN, 0.9 * s, 0.003 * s, normalize=False),
    ),
    "SAM": lambda s: (
        optim.SAM(optim.SGD(0.02 * s, momentum=0.9 * s), rho=0.1 * s),
        lambda p: Sharp(p, reference.SAM(list(p.values()), TORCH.SGD, rho=0.1 * s, lr=0.02 * s, momentum=0.9 * s)),
    ),
    "ASAM": lambda s: (
        optim.ASAM(optim.Adam(0.01 * s), rho=0.1 * s, eta=0.0),
        lambda p: Sharp(p, reference.SAM(list(p.values()), TORCH.Adam, rho=0.1 * s, adaptive=True, lr=0.01 * s)),
    ),
    "SpectralPenalty": lambda s: (
        optim.SpectralPenalty(optim.SGD(0.02 * s, momentum=0.9 * s), strength=0.1 * s),
        lambda p: Penalised(p, TORCH.SGD(p.values(), 0.02 * s, momentum=0.9 * s), 0.1 * s),
    ),
    "Clip": lambda s: (
        optim.Clip(optim.SGD(0.1 * s, momentum=0.9), norm=0.5 * s),
        twin(lambda p: TORCH.SGD(p, 0.1 * s, momentum=0.9),
             before_step=lambda p: torch.nn.utils.clip_grad_norm_(p, 0.5 * s)),
    ),
    "DecoupledDecay": lambda s: (
        optim.DecoupledDecay(optim.Clip(optim.Adam(0.01 * s), norm=0.5 * s), weight_decay=0.1 * s),
        twin(lambda p: TORCH.AdamW(p, 0.01 * s, weight_decay=0.1 * s),
             before_step=lambda p: torch.nn.utils.clip_grad_norm_(p, 0.5 * s)),
    ),
    "EMA": lambda s: (
        optim.EMA(optim.SGD(0.1 * s), decay=0.99 * s),
        lambda p: Averaged(p, TORCH.SGD(p.values(), 0.1 * s), lambda step: True,
                           multi_avg_fn=get_ema_multi_avg_fn(0.99 * s)),
    ),
    "SWA": lambda s: (
        optim.Clip(optim.SWA(optim.SGD(0.1 * s), start=round(40 * s), every=7), norm=1e6),
        lambda p: Averaged(p, TORCH.SGD(p.values(), 0.1 * s),
                           lambda step: step >= round(40 * s) and (step - round(40 * s)) % 7 == 0),
    ),
}
