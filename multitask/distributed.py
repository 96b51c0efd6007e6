"""Several processes under `torchrun`: one global batch, equal slices, averaged gradients."""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor

# The others may wait long for the first process, which validates and saves alone; a dead one is noticed at once anyway.
_PATIENCE = timedelta(hours=24)


def rank() -> int:
    """This process's number: 0 outside `torchrun`."""
    return dist.get_rank() if _joined() else int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """The number of processes: 1 outside `torchrun`."""
    return dist.get_world_size() if _joined() else int(os.environ.get("WORLD_SIZE", "1"))


def default_device() -> torch.device:
    """The CUDA device of this process (`LOCAL_RANK`) if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def join(device: torch.device) -> None:
    """Joins the process group that the environment describes; nothing outside `torchrun`.

    Tensors on CUDA devices travel by nccl, those on the CPU by gloo.

    Args:
        device: this process's own; it becomes the current one if it is a CUDA device.
    """
    if world_size() == 1:
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not _joined():
        # The optimisers load this module, whose default arguments would keep the group, and its threads, alive until
        # Python itself is gone: every third run then ended in an abort. Loaded before there is a group, it keeps none.
        import_module("torch.distributed.nn")

        cuda = torch.cuda.is_available() and dist.is_nccl_available()
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_PATIENCE)
        atexit.register(_leave)


def barrier() -> None:
    """Waits until every process has come here; nothing outside `torchrun`.

    Joins the process group if no training has done so yet.

    >>> barrier()
    """
    if world_size() > 1:
        join(torch.device("cpu"))
        dist.all_reduce(torch.zeros(1))  # no sum is known before all have sent their part


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _leave() -> None:
    if _joined():
        dist.destroy_process_group()


def copy_from_first(tensors: Sequence[Tensor]) -> None:
    """Overwrites the tensors with those of rank 0, in place."""
    if world_size() > 1:
        with torch.no_grad():
            for tensor in tensors:
                dist.broadcast(tensor, src=0)


def from_first(value: Any) -> Any:
    """Rank 0's `value` on every rank; anything that JSON can hold (NaN and infinities too), as it travels as JSON.

    >>> from_first({"loss": 0.5})
    {'loss': 0.5}
    """
    if world_size() == 1:
        return value
    data = bytearray(json.dumps(value).encode() if rank() == 0 else b"")
    length = torch.tensor([len(data)])
    dist.broadcast(length, src=0)
    data = data or bytearray(int(length))
    dist.broadcast(torch.frombuffer(data, dtype=torch.uint8), src=0)  # written into `data`
    return json.loads(data)


def gather_to_all(tensor: Tensor) -> Tensor:
    """`(...)` on every rank to `(world, ...)` on all, in the ranks' order, on the CPU."""
    tensor = tensor.cpu()
    if world_size() == 1:
        return tensor[None]
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(parts, tensor)
    return torch.stack(parts)


def gather_tensors(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Every rank's named tensors on every rank, in the ranks' order, on the CPU; names and shapes may differ.

    >>> gather_tensors({"sums": torch.ones(2)})
    [{'sums': tensor([1., 1.])}]
    """
    own = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    if world_size() == 1:
        return [own]
    data = torch.frombuffer(bytearray(save(own)), dtype=torch.uint8)
    lengths = gather_to_all(torch.tensor(len(data))).tolist()
    padded = torch.zeros(max(lengths), dtype=torch.uint8)
    padded[: len(data)] = data
    return [load(row[:n].numpy().tobytes()) for row, n in zip(gather_to_all(padded), lengths, strict=True)]


class GradientAverage:
    """Replaces gradients by their mean over the processes, in one all-reduce of one flat buffer.

    One collective per step instead of one per parameter; a flag rides along in the last place, so that all processes
    learn at the same step that one of them has been asked to stop. A parameter without a gradient counts as zeros.
    """

    def __init__(self, parameters: Sequence[Tensor], device: torch.device) -> None:
        self.parameters = list(parameters)
        self.sizes = [parameter.numel() for parameter in self.parameters]
        self.flat = torch.zeros(sum(self.sizes) + 1, device=device)

    def __call__(self, stop: bool) -> Tensor:
        """Averages the gradients in place; returns a scalar above 0 if `stop` is set on any process."""
        *parts, flag = torch.split(self.flat, [*self.sizes, 1])
        for parameter, part in zip(self.parameters, parts, strict=True):
            if parameter.grad is None:
                part.zero_()
            else:
                part.copy_(parameter.grad.flatten())
        flag.fill_(float(stop))
        dist.all_reduce(self.flat)
        self.flat /= world_size()
        for parameter, part in zip(self.parameters, parts, strict=True):
            if parameter.grad is None:
                parameter.grad = part.view_as(parameter).clone()
            else:
                parameter.grad.copy_(part.view_as(parameter))
        return flag.squeeze()
