"""Lets torchvision be imported beside a torch that its compiled half was not built for.

The package registries' torchvision is built for CUDA. Beside a CPU torch its library of operators does not load, which
torchvision itself would survive; but on import it registers shape functions for two of them, `nms` and `qnms`, and
stops with "operator torchvision::nms does not exist". timm imports torchvision and needs neither operator: they belong
to object detection. So they are declared, without an implementation, and only where the compiled ones are missing.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import torch

_OPERATORS = ("nms", "qnms")
_declared: list[torch.library.Library] = []  # a declaration lasts as long as its library object


def declare_missing_operators() -> bool:
    """Declares torchvision's operators where its compiled library does not load; call it before importing torchvision.

    Returns
    -------
    bool
        Whether anything was declared. False: torchvision is absent, already imported, or whole.

    Examples
    --------
    >>> _ = declare_missing_operators()
    >>> declare_missing_operators()  # nothing is missing any more
    False
    """
    if "torchvision" in sys.modules:
        return False
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    _load_compiled(Path(spec.origin).parent)
    missing = [name for name in _OPERATORS if not hasattr(torch.ops.torchvision, name)]
    if not missing:
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in missing:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
    return True


def _load_compiled(folder: Path) -> bool:
    """Loads torchvision's compiled library as torchvision does; it does no harm to load it twice."""
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        library = folder / f"_C{suffix}"
        if library.is_file():
            try:
                torch.ops.load_library(library)
            except OSError:  # built for another torch or for CUDA: what this module is for
                return False
            return True
    return False
