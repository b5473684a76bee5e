"""A case for every model on the shelf, with data that it reads."""

import dataclasses
from dataclasses import dataclass

import torch

from dlx import models
from dlx.data import Dimensions, Split
from dlx.models import (
    GRU,
    LSTM,
    MLP,
    CNN1d,
    CNN2d,
    CoordinateNet,
    DiagonalLinear,
    DLinear,
    GaussianKernelNet,
    Linear,
    Patched,
    RandomFeatures,
    ResNet,
    Transformer,
    ViT,
)

VECTORS = Dimensions(6, 3, (6,))
PICTURES = Dimensions(2 * 8 * 8, 3, (2, 8, 8))
SERIES = Dimensions(14, 3, (7, 2))
TOKENS = Dimensions(5, 3, (7,), tokens=True)
CONTINUED = Dimensions(12, 4, (6, 2))
COORDINATES = Dimensions(2, 3, (2,))


class Own(torch.nn.Module):
    def __init__(self, inputs, outputs, dim: int = 4, rate: float = 0.1):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(inputs, dim), torch.nn.BatchNorm1d(dim), torch.nn.Dropout(rate), torch.nn.SiLU(),
            torch.nn.Linear(dim, outputs),
        )

    def forward(self, x):
        return self.layers(x)


CASES = {
    "linear": (Linear(), VECTORS),
    "linear, pictures": (Linear(bias=False), PICTURES),
    "linear, tokens": (Linear(), TOKENS),
    "mlp": (MLP(8, 2), VECTORS),
    "mlp, deep": (MLP(3, 4, activation="tanh", bias=False, init="orthogonal", init_scale=1.5), VECTORS),
    "mlp, batch norm, dropout": (MLP(8, 3, norm="batch", dropout=0.2, residual=True), VECTORS),
    "mlp, layer norm": (MLP(8, 2, activation="gelu", norm="layer", init="xavier"), TOKENS),
    "mlp, mup-sgd": (MLP(8, 3, parameterisation="mup-sgd", base_width=4, init="kaiming"), VECTORS),
    "mlp, mup-adam": (MLP(8, 3, parameterisation="mup-adam", base_width=4), PICTURES),
    "random features": (RandomFeatures(9, scale=1.0), VECTORS),
    "random fourier features": (RandomFeatures(9, "fourier", bandwidth=2.0, scale=0.5), PICTURES),
    "gaussian kernels": (GaussianKernelNet(7, bandwidth=2.0), VECTORS),
    "fixed gaussian kernels": (GaussianKernelNet(7, bandwidth=2.0, spread=0.5, trained=False), VECTORS),
    "cnn 1d": (CNN1d((3, 4)), VECTORS),
    "cnn 1d, series": (CNN1d((3, 4), norm="batch", readout="flat", dropout=0.3), SERIES),
    "cnn 2d": (CNN2d((3, 4), norm="batch", activation="gelu"), PICTURES),
    "cnn 2d, no pool": (CNN2d((3,), kernel=5, pool=False, readout="flat", dropout=0.1), PICTURES),
    "resnet": (ResNet(blocks=1, width=3), PICTURES),
    "lstm": (LSTM(5), SERIES),
    "lstm, deep": (LSTM(5, depth=2, readout="each", dropout=0.2), TOKENS),
    "gru": (GRU(5, readout="mean", embedding=3), VECTORS),
    "gru, deep": (GRU(5, depth=2, dropout=0.2), SERIES),
    **{f"transformer, {positions}": (Transformer(8, 2, 2, positions=positions), TOKENS)
       for positions in ("none", "sinusoid", "learnt", "rope", "alibi")},
    "encoder": (Transformer(8, 1, 2, causal=False, positions="alibi", readout="mean", dropout=0.1), SERIES),
    "transformer, no norm": (Transformer(8, 1, 4, hidden=6, activation="relu", norm="none", readout="last"), VECTORS),
    "transformer, mup-adam": (Transformer(8, 1, 2, parameterisation="mup-adam", base_dim=4), TOKENS),
    "vit": (ViT(patch=4, dim=8, depth=1, heads=2, dropout=0.1), PICTURES),
    "vit, class token": (ViT(patch=2, dim=8, depth=1, heads=2, readout="token"), PICTURES),
    "fourier features": (CoordinateNet(8, 2, frequencies=5, scale=1.0), COORDINATES),
    "fourier features, basic": (CoordinateNet(8, 2, "basic"), COORDINATES),
    "fourier features, log": (CoordinateNet(8, 1, "log", frequencies=4), COORDINATES),
    "gaussian bumps": (CoordinateNet(8, 2, "bumps", frequencies=5, scale=4.0), COORDINATES),
    "radial codes": (CoordinateNet(8, 2, "rbf", frequencies=5, scale=4.0), COORDINATES),
    "one-hot codes": (CoordinateNet(8, 2, "onehot", frequencies=6, scale=2.0), COORDINATES),
    "siren": (CoordinateNet(8, 2, "none", activation="sine", omega=10.0), COORDINATES),
    "diagonal linear": (DiagonalLinear(scale=0.3), VECTORS),
    "diagonal linear, deep": (DiagonalLinear(scale=0.5, depth=3), VECTORS),
    "dlinear": (DLinear(kernel=3), CONTINUED),
    "dlinear, one channel": (DLinear(kernel=5), VECTORS),
    "patched lstm": (Patched(LSTM(5), patch=2, anchor=0.8), CONTINUED),
    "patched encoder": (
        Patched(Transformer(8, 1, 2, causal=False, readout="mean", dropout=0.1), patch=3, anchor=0.5), VECTORS),
    "own": (models.Module(Own, rate=0.3), VECTORS),
}


def members(model):
    """Three settings of a model that may train in one pack: what varies differs."""
    changes = [{n: v * f for n in getattr(model, "varies", ()) if (v := getattr(model, n)) is not None}
               for f in (1.0, 0.5, 0.8)]
    return [dataclasses.replace(model, **change) for change in changes]


def each(model):
    """Whether a model answers at each position."""
    return getattr(model, "readout", None) == "each"


@dataclass(frozen=True)
class Noise:
    """Random samples and targets of any dimensions."""

    of: Dimensions
    positions: bool

    def dimensions(self):
        return self.of

    def samples(self):
        return 20

    def load(self, streams):
        generator = torch.Generator().manual_seed(5)
        shape = (30, *self.of.shape)
        x = (torch.randint(self.of.inputs, shape, generator=generator) if self.of.tokens
             else torch.randn(shape, generator=generator, dtype=torch.float64))
        y = torch.randn(30, *([self.of.shape[0]] if self.positions else []), self.of.outputs, generator=generator,
                        dtype=torch.float64)
        rows = torch.from_numpy(streams.rng("data").permutation(30))
        return {"train": Split(x, y, rows[:20]), "val": Split(x, y, rows[20:])}
