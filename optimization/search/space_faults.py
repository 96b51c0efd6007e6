"""What can be wrong with a search space, told all at once when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from features import Fault

if TYPE_CHECKING:
    from optimization.search.space import SearchSpace


def space_faults(space: SearchSpace) -> Sequence[Fault]:
    """Everything that is wrong with a space."""
    heads, signs, bounds, total = space.heads, space.signs, space.bounds, space.total
    faults = []
    if len(heads) < 2:
        faults.append(Fault(f"a search space needs at least 2 heads, got {list(heads)}"))
    faults += [Fault(f"head `{head}` is named twice") for head in dict.fromkeys(heads) if heads.count(head) > 1]
    if len(signs) != len(heads):
        faults.append(Fault(f"`signs` must name {len(heads)} sign(s), one per head, got {len(signs)}"))
    faults += [Fault(f"sign of `{h}` must be 1 or -1", value=s) for h, s in zip(heads, signs) if s not in (1, -1)]
    if not (np.isfinite(total) and total > 0):
        faults.append(Fault("`total` must be finite and > 0", value=total))
    if len(bounds) != len(heads):
        faults.append(Fault(f"`bounds` must hold {len(heads)} pair(s), one per head, got {len(bounds)}"))
        return faults
    broken = [h for h, b in zip(heads, bounds) if len(b) != 2 or not 0.0 <= b[0] <= b[1] <= 1.0]
    faults += [Fault(f"bounds of `{h}` must be 0 <= low <= high <= 1", value=bounds[heads.index(h)]) for h in broken]
    if broken or len(heads) < 2:
        return faults
    lows, highs = sum(low for low, _ in bounds), sum(high for _, high in bounds)
    if lows > 1 + 1e-9 or highs < 1 - 1e-9:
        faults.append(
            Fault(f"the bounds leave no point: shares sum to 1, but the lows to {lows:g} and the highs to {highs:g}")
        )
    elif len(space.movable) < 2:
        faults.append(Fault("the bounds leave only one point: there is nothing to search", value=bounds))
    return faults
