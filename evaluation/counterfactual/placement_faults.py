"""What can be wrong with logged positions and propensities, found in one place for arrays and for logs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray
from evaluation.clusters import Clusters

__all__ = ["PlacementFault", "placement_faults"]


@dataclass(frozen=True)
class PlacementFault:
    """One kind of bad value.

    Attributes:
        argument: "positions" or "propensities".
        expectation: What they must do, "lie within (0, 1]".
        value, row: The first that does not, and where it stands.
        count: The rows that do not.
    """

    argument: str
    expectation: str
    value: float
    row: int
    count: int


def placement_faults(clusters: Clusters, positions: FloatArray, propensities: FloatArray) -> list[PlacementFault]:
    """Everything that is wrong with N rows' positions and propensities.

    Args:
        clusters: The request of each row.
        positions: `(N,)` should be whole numbers from 1, different within a request.
        propensities: `(N,)` should lie within (0, 1].

    >>> for fault in placement_faults(Clusters.of([7, 7]), np.array([1.0, 1.0]), np.array([0.5, np.nan])):
    ...     print(fault.argument, fault.expectation, fault.value, fault.row)
    positions differ within a request 1.0 1
    propensities lie within (0, 1] nan 1
    """
    whole = (positions >= 1) & (positions == np.floor(positions)) & np.isfinite(positions)  # False for NaN
    again = np.zeros(len(positions), bool)
    order = np.lexsort((positions, clusters.codes))
    place, request = positions[order], clusters.codes[order]
    again[order[1:]] = (request[1:] == request[:-1]) & (place[1:] == place[:-1])
    checks = (
        ("positions", "be whole numbers from 1", positions, ~whole),
        ("positions", "differ within a request", positions, again & whole),
        ("propensities", "lie within (0, 1]", propensities, ~((propensities > 0) & (propensities <= 1))),
    )
    return [_fault(*check) for check in checks if check[3].any()]


def _fault(argument: str, expectation: str, values: FloatArray, bad: npt.NDArray[np.bool_]) -> PlacementFault:
    row = int(bad.argmax())
    return PlacementFault(argument, expectation, float(values[row]), row, int(bad.sum()))
