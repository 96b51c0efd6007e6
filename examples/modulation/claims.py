"""What the studies of modulation are to show."""

from __future__ import annotations

from collections.abc import Sequence

from examples.studies.claims import Claim
from examples.studies.seeds import differences, percent


def ahead(name: str, values: Sequence[float], other: str, baseline: Sequence[float], points: float) -> Claim:
    """`name` is at least `points` of accuracy above `other` (below 0: behind it by no more than that)."""
    gaps = differences(values, baseline)
    asked = f"at least {points:+.0f} points" if points > 0 else f"not behind by more than {-points:.0f}"
    return Claim(
        f"{name} less {other}: {percent(gaps, signed=True)} points, {asked}", sum(gaps) / len(gaps) >= points / 100
    )


def above(what: str, values: Sequence[float], baseline: Sequence[float]) -> Claim:
    """The mean of `values` is above that of `baseline`."""
    new, old = sum(values) / len(values), sum(baseline) / len(baseline)
    return Claim(f"{what}: {new:.3f}, was {old:.3f}", new > old)
