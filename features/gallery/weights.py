"""Weights of a network from a local file, read without running code from it, every tensor accounted for."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from features.errors import Fault, InputError


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU.

    Parameters
    ----------
    path : Path
        ``.safetensors``, or a dict of tensors written by ``torch.save``, which may lie under the key "state_dict" or
        "model". Pickled objects of any other kind are refused: loading them would run code.

    Raises
    ------
    InputError
        The file is missing, cannot be read, or holds something else.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "weights.pt"
    >>> torch.save({"weight": torch.ones(2)}, path)
    >>> read_weights(path)
    {'weight': tensor([1., 1.])}
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(Fault("weights file does not exist", path))
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(Fault("must hold tensors only; loading anything else could run code", path)) from error
    except Exception as error:  # each of the two readers has a family of exceptions of its own
        raise InputError(Fault(f"cannot be read as weights: {error}", path)) from error
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise InputError(Fault("must hold tensors by name", path, value=type(found).__name__))
    return dict(found)


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Copies `tensors` into a module of the same names and shapes; `path` is where they came from, for messages.

    Raises
    ------
    InputError
        A tensor is missing, left over, or has another shape: a network that is half random looks like a bad network.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> load_weights(layer, {"weight": torch.zeros(1, 2), "bias": torch.ones(1)}, "w.pt")
    >>> layer.bias.item()
    1.0
    """
    own = module.state_dict()
    # A counter that only BatchNorm with `momentum=None` reads; files made elsewhere may lack it.
    needed = {name for name in own if not name.endswith("num_batches_tracked")}
    faults = []
    if missing := sorted(needed - tensors.keys()):
        faults.append(Fault(f"lacks {_some(missing)} of the network's tensors", path))
    if unknown := sorted(tensors.keys() - own.keys()):
        faults.append(Fault(f"holds {_some(unknown)} tensors that the network does not have", path))
    for name in sorted(needed & tensors.keys()):
        if tensors[name].shape != own[name].shape:
            expected, got = tuple(own[name].shape), tuple(tensors[name].shape)
            faults.append(Fault(f"tensor {name!r} must have shape {expected}", path, value=got))
    if faults:
        raise InputError(faults)
    module.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in tensors.items()}, strict=False)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} ({shown})"
