"""What can be wrong with guardrails, told all at once when they are made."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

from features import Fault, InputError
from optimization.search.space import SearchSpace

if TYPE_CHECKING:
    from optimization.guardrails import Guardrails

__all__ = ["SUM_TOLERANCE", "guardrail_faults"]

SUM_TOLERANCE = 1e-6


def _must(rails: Guardrails, head: str) -> str:
    return "may reach" if rails.signs.get(head) == -1 else "must keep"


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def guardrail_faults(rails: Guardrails) -> list[Fault]:
    """Everything that is wrong with guardrails; they need not be sound in any respect."""
    heads, faults = ", ".join(rails.signs) or "none", []
    for name, given in (("baseline", rails.baseline), ("floors", rails.floors), ("bounds", rails.bounds)):
        faults += [
            Fault(f"`{name}`: unknown head `{h}` (the heads are {heads})") for h in given if h not in rails.signs
        ]
    faults += [
        Fault(
            f"`floors`: the share of the baseline that `{head}` {_must(rails, head)} must be finite and > 0",
            value=floor,
        )
        for head, floor in rails.floors.items()
        if not (_finite(floor) and floor > 0)
    ]
    if not (_finite(rails.margin) and rails.margin >= 0):
        faults.append(Fault("`margin` must be finite and >= 0 (in paired standard errors)", value=rails.margin))
    try:
        known = {head: pair for head, pair in rails.bounds.items() if head in rails.signs}
        SearchSpace.of(rails.signs, known, rails.total)
    except InputError as error:
        faults += error.faults
    return faults + _baseline_faults(rails)


def _baseline_faults(rails: Guardrails) -> list[Fault]:
    missing = [head for head in rails.signs if head not in rails.baseline]
    faults = (
        [Fault(f"`baseline` must name every head (0 is a weight), missing {', '.join(missing)}")] if missing else []
    )
    unfit = [f"{head} = {weight!r}" for head, weight in rails.baseline.items() if not _finite(weight)]
    if unfit:
        return [*faults, Fault(f"`baseline` must hold finite numbers, got {', '.join(unfit)}")]
    faults += [
        Fault(f"`baseline`: `{head}` has sign {rails.signs[head]:+d}, so its weight must not be {weight:g}")
        for head, weight in rails.baseline.items()
        if head in rails.signs and weight * rails.signs[head] < 0
    ]
    size = math.fsum(abs(weight) for weight in rails.baseline.values())
    if not missing and _finite(rails.total) and abs(size - rails.total) > SUM_TOLERANCE * rails.total > 0:
        scaled = (
            {head: round(weight / size * rails.total, 6) for head, weight in rails.baseline.items()} if size else {}
        )
        remedy = f"; scaled: {', '.join(f'{head} = {weight:g}' for head, weight in scaled.items())}" if size else ""
        faults.append(Fault(f"`baseline` must sum to {rails.total:g} in |w| (S1), got {size:g}{remedy}"))
    return faults
