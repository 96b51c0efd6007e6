"""Several processes under `torchrun`: one global batch, equal slices, averaged gradients."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


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
    """Joins the process group that the environment describes (nccl on CUDA, else gloo); nothing outside `torchrun`."""
    if world_size() == 1 or _joined():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    atexit.register(_leave)


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
    """Rank 0's `value` on every rank (a picklable one: it travels between the processes of one run only)."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather_to_all(tensor: Tensor, device: torch.device) -> Tensor:
    """`(...)` on every rank to `(world, ...)` on all, in the ranks' order, on the CPU."""
    if world_size() == 1:
        return tensor[None].cpu()
    parts = [torch.empty_like(tensor, device=device) for _ in range(world_size())]
    dist.all_gather(parts, tensor.to(device))
    return torch.stack(parts).cpu()


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
