"""Any ``torch.nn.Module`` as its user wrote it, made a pure function of parameters, buffers and inputs.

Imported inside functions only. Layers that draw from a global generator, change buffers in place or call kernels that
cannot be vectorised become twins with the same parameters: the class of the layer is exchanged and the object stays,
so that whatever refers to it refers to the twin.
"""

from torch import nn

from dlx.models import attention, batchnorm, dropout, recurrence
from dlx.models.dropout import Noisy

TWINS: dict[type[nn.Module], type[nn.Module]] = {
    **dropout.TWINS, **batchnorm.TWINS, **recurrence.TWINS, nn.MultiheadAttention: attention.MultiheadAttention,
}

REASONS = {  # what an error of torch.func or of recording says → what the module does
    "data-dependent control flow": "what it computes depends on values of tensors (an if, a loop or .item())",
    "randomness error mode": "it draws random numbers other than by torch.nn.Dropout",
    "dynamic shape": "the shape of what it computes depends on values of tensors",
    "in-place": "it changes a tensor in place",
    "have storage": "it leaves PyTorch for NumPy",
    "Batching rule not implemented": "it uses an operation that PyTorch cannot vectorise",
}


def why_not(error: Exception) -> str:
    """Why a module cannot be vectorised, as half a sentence, from the error that vectorising or recording it raised."""
    said = str(error)
    known = (reason for part, reason in REASONS.items() if part in said)
    return next(known, f"PyTorch says {said.partition(chr(10))[0]!r}")


def stateless(module: nn.Module) -> nn.Module:
    """The module itself, its layers exchanged for their twins in ``TWINS``; subclasses of these layers are left alone.

    Under ``torch.func.functional_call`` with one dict of parameters and buffers the new buffers stand in that dict
    afterwards. Keys of dropout are drawn from PyTorch's global generator. The ``state_dict`` stays as it was.
    """
    for part in list(module.modules()):
        twin = TWINS.get(type(part))
        if twin is not None and not _peculiar(part):
            part.__class__ = twin
            if isinstance(part, Noisy):
                part.begin(_rate(part))
        if isinstance(part, nn.TransformerEncoderLayer):
            part.activation_relu_or_gelu = 0  # its fused path would go round the twins in eval mode
    return module


def _rate(part: nn.Module) -> float:
    """The rate of dropout of a layer: ``p`` where dropping is all it does."""
    return float(getattr(part, "p", getattr(part, "dropout", 0.0)))


def _peculiar(part: nn.Module) -> bool:
    """Whether a layer uses options that its twin does not have: projections of an LSTM, extra keys in attention."""
    if isinstance(part, nn.MultiheadAttention):
        return part.bias_k is not None or part.add_zero_attn
    return getattr(part, "proj_size", 0) > 0
