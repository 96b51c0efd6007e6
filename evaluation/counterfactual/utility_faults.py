"""Whether a utility can be valued: finite weights, not all 0, of heads that are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ranking import Utility

__all__ = ["UTILITY", "utility_faults"]

UTILITY = "utility"  # the name of its lines in the table


def utility_faults(weights: Mapping[str, float], heads: Sequence[str]) -> list[str]:
    """Everything that is wrong with the weights of a utility.

    Args:
        weights: Of heads; None of them needs to be positive.
        heads: Those that are measured.

    >>> for fault in utility_faults({"click": float("nan"), "hide": 1.0}, ["click", "utility"]):
    ...     print(fault)
    utility weights must be finite numbers, got click = nan
    `utility` must name heads that are measured (click, utility), got hide
    no head may be called "utility" beside a utility: its lines have that name
    """
    faults = []
    try:
        Utility.from_mapping(weights)
    except ValueError as error:
        faults.append(str(error))
    if unknown := [name for name in weights if name not in heads]:
        faults.append(f"`utility` must name heads that are measured ({', '.join(heads)}), got {', '.join(unknown)}")
    if UTILITY in heads:
        faults.append(f'no head may be called "{UTILITY}" beside a utility: its lines have that name')
    return faults
