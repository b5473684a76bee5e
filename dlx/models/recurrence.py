"""Recurrent layers as a loop over time in plain tensor operations: twins of ``torch.nn.LSTM``, ``GRU`` and ``RNN``.

Imported inside functions only. The fused kernels of the originals have no batching rule on CUDA and no second
derivative. Names of parameters, and all numbers, are those of the originals.
"""

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import PackedSequence

from dlx.models.dropout import Noisy

State = tuple[Tensor, ...]  # hidden state and, of an LSTM, cell state: (batch, hidden) each


class _Loop(Noisy, nn.RNNBase):
    def cell(self, given: Tensor, hidden: Tensor, state: State) -> State:
        """The state one step on, from W_ih x + b_ih and W_hh h + b_hh, both (batch, gates · hidden)."""
        raise NotImplementedError

    def begin(self, rate: float) -> None:
        """Register the buffers of dropout where there is some between the layers."""
        if rate > 0 and self.num_layers > 1:
            super().begin(rate)

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Tensor, Tensor | State]:
        """Outputs (batch, length, directions · hidden) and last states; packed and single sequences as the base."""
        if isinstance(input, PackedSequence) or input.ndim == 2:
            return super().forward(input, hx)
        x = input if self.batch_first else input.transpose(0, 1)
        states = self._initial(x) if hx is None else (hx,) if isinstance(hx, Tensor) else tuple(hx)
        last: list[State] = []
        directions = 2 if self.bidirectional else 1
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                place = layer * directions + direction
                output, state = self._run(x, tuple(s[place] for s in states), layer, direction == 1)
                outputs.append(output)
                last.append(state)
            x = torch.cat(outputs, -1)
            if layer < self.num_layers - 1 and self.dropout > 0:
                x = self.dropped(x, x.shape)
        ends = tuple(torch.stack(s) for s in zip(*last, strict=True))
        return (x if self.batch_first else x.transpose(0, 1)), ends if len(ends) > 1 else ends[0]

    def _run(self, x: Tensor, state: State, layer: int, backwards: bool) -> tuple[Tensor, State]:
        """One layer in one direction over (batch, length, inputs): its outputs and its last state."""
        suffix = f"l{layer}{'_reverse' if backwards else ''}"
        names = itertools.product(("weight", "bias"), ("ih", "hh"))
        weights: list[Any] = [getattr(self, f"{kind}_{way}_{suffix}", None) for kind, way in names]
        w_ih, w_hh, b_ih, b_hh = weights
        steps = linear(x, w_ih, b_ih).unbind(1)
        outputs = []
        for given in reversed(steps) if backwards else steps:
            state = self.cell(given, linear(state[0], w_hh, b_hh), state)
            outputs.append(state[0])
        return torch.stack(outputs[::-1] if backwards else outputs, 1), state

    def _initial(self, x: Tensor) -> State:
        directions = 2 if self.bidirectional else 1
        zeros = x.new_zeros(self.num_layers * directions, x.shape[0], self.hidden_size)
        return (zeros, zeros) if self.mode == "LSTM" else (zeros,)


class LSTM(_Loop, nn.LSTM):  # type: ignore[misc]
    """Twin of ``torch.nn.LSTM`` (Hochreiter and Schmidhuber 1997)."""

    def cell(self, given: Tensor, hidden: Tensor, state: State) -> State:
        """c ← σ(f) c + σ(i) tanh(g), h ← σ(o) tanh(c)."""
        i, f, g, o = (given + hidden).chunk(4, -1)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class GRU(_Loop, nn.GRU):  # type: ignore[misc]
    """Twin of ``torch.nn.GRU`` (Cho et al. 2014, arXiv:1406.1078; the reset gate acts after the product)."""

    def cell(self, given: Tensor, hidden: Tensor, state: State) -> State:
        """n ← tanh(n + σ(r) n′), h ← (1 − σ(z)) n + σ(z) h."""
        (r, z, n), (rh, zh, nh) = given.chunk(3, -1), hidden.chunk(3, -1)
        new = (n + (r + rh).sigmoid() * nh).tanh()
        return (new + (z + zh).sigmoid() * (state[0] - new),)


class RNN(_Loop, nn.RNN):  # type: ignore[misc]
    """Twin of ``torch.nn.RNN`` (Elman 1990)."""

    def cell(self, given: Tensor, hidden: Tensor, state: State) -> State:
        """h ← tanh(W_ih x + W_hh h), or its relu."""
        total = given + hidden
        return (total.tanh() if self.mode == "RNN_TANH" else total.relu(),)


TWINS: dict[type[nn.Module], type[Noisy]] = {nn.LSTM: LSTM, nn.GRU: GRU, nn.RNN: RNN}
