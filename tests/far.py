"""A device that is not the CPU: what lies on ``far`` is computed by the CPU, but the two never mix unseen.

As CUDA does it refuses an operation on tensors of both, numbers apart; it notes what makes the CPU wait for it, and
what is moved to it. PyTorch knows such a device from then on, so it is used in processes of their own.
"""

import contextlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from dlx.context import Context
from dlx.loop import Loop
from dlx.member import begin
from dlx.worker import Stopped, run_pack

aten = torch.ops.aten
NAME = "far:0"
COPIES = {aten._to_copy.default, aten.copy_.default}
WAITING = {aten._local_scalar_dense.default, aten.equal.default, aten._linalg_check_errors.default,
           aten._linalg_eigh.default, aten._linalg_svd.default}


class FarTensor(torch.Tensor):
    """A tensor that says it is far, and the one of the CPU's that has its numbers."""

    @staticmethod
    def __new__(cls, near):
        return torch.Tensor._make_wrapper_subclass(
            cls, near.size(), strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype,
            device=NAME,
        )

    def __init__(self, near):
        super().__init__()
        self.near = near

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise RuntimeError(f"{function} where there is no such device")

    def untyped_storage(self):
        return self.near.untyped_storage()

    def data_ptr(self):
        return self.near.data_ptr()

    def tolist(self):
        return self.cpu().tolist()


class Far(TorchDispatchMode):
    """The device, while it is there; ``crossings``: operations that waited for it or moved a tensor to it."""

    def __init__(self):
        super().__init__()
        self.crossings = []

    @classmethod
    def _should_skip_dynamo(cls):
        return False

    def __enter__(self):
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(…, device=) comes by as a copy
        return super().__enter__()

    def __exit__(self, *error):
        torch._C._set_only_lift_cpu_tensors(False)
        return super().__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        far = [tensor for tensor in tensors if isinstance(tensor, FarTensor)]
        near = [tensor for tensor in tensors if not isinstance(tensor, FarTensor)]
        if far and any(tensor.ndim for tensor in near) and function not in COPIES:
            raise RuntimeError(f"{function} has tensors of two devices")
        there = bool(far) if kwargs.get("device") is None else torch.device(kwargs["device"]).type == "far"
        if function is aten.copy_.default:
            there = isinstance(args[0], FarTensor)
        counts = torch.Tag.dynamic_output_shape in function.tags or _masks(function, args)
        waits = far and (not there or counts or function in WAITING)
        if waits or (near and there and function in COPIES):
            self.crossings.append(str(function))
        if there and "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        known = {id(tensor.near): tensor for tensor in far}
        args, kwargs = tree_map(lambda leaf: leaf.near if isinstance(leaf, FarTensor) else leaf, (args, kwargs))

        def placed(leaf):
            if not isinstance(leaf, torch.Tensor):
                return leaf
            return known.get(id(leaf)) if id(leaf) in known else FarTensor(leaf) if there else leaf

        return tree_map(placed, function(*args, **kwargs))


def _masks(function, args):
    """Whether it puts something where a mask says, whose numbers are counted first."""
    indices = args[1] if function in (aten.index_put.default, aten.index_put_.default) else ()
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def process():
    """A process that has the device."""
    return ProcessPoolExecutor(1, get_context("spawn"), _begin)


def _begin():
    torch.set_num_threads(1)
    _setup_privateuseone_for_python_backend("far")


def compared(trials):
    """Members trained as one pack, here and there: whether all is equal, and what crossed over in steps."""
    (finals, curves, _), far = _trained(trials, "cpu", Far()), Far()
    with far:
        finals_there, curves_there, crossings = _trained(trials, NAME, far)
    same = all(one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
               for one, other in zip(finals, finals_there, strict=True))
    return same and repr(curves) == repr(curves_there), sorted(set(crossings))


def _trained(trials, device, far):
    contexts = [Context(seed, device) for seed in range(len(trials))]
    loop = Loop(trials[0], [begin(t, c) for t, c in zip(trials, contexts, strict=True)], contexts)
    loop.advance(1)
    far.crossings.clear()
    loop.advance(trials[0].steps)
    crossings = list(far.crossings)
    loop.measure(tuple(range(len(trials[0].metrics))))
    return loop.finals(), [ctx.history for ctx in contexts], crossings


def _same(one, other):
    return one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())


def ran(pack, device, dies_at):
    """What a pack gives that was stopped once on its way: rows without times and places, and curves."""
    with Far() if device == NAME else contextlib.nullcontext():
        try:
            run_pack(pack, device, on_log=lambda step, metrics: _stop(step, dies_at))
        except Stopped:
            records = run_pack(pack, device)
    columns = "key", "status", "metrics", "error", "members"
    return records.trials.select(columns).to_pylist(), records.history.to_pylist(), records.notes


def _stop(step, dies_at):
    if step >= dies_at:
        raise Stopped
