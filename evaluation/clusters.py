"""Standard errors clustered by request: rows of one request are not independent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, IntArray
from evaluation.freedom import variance_freedom


@dataclass(frozen=True)
class Clusters:
    """Rows grouped by request.

    Attributes:
        codes: `(N,)` the number of each row's cluster, 0 .. count - 1.
        count: The number of clusters.

    >>> Clusters.of(["b", "a", "b"])
    Clusters(codes=array([0, 1, 0]), count=2)
    """

    codes: IntArray
    count: int

    @classmethod
    def of(cls, groups: npt.ArrayLike | Clusters, rows: int | None = None) -> Clusters:
        """The clusters of `groups` `(N,)`: request ids of any kind (integers, strings).

        Args:
            groups: One id per row; clusters made before are passed on as they are.
            rows: The number of rows that is expected.

        Raises:
            ValueError: a missing id, or another number of rows.
        """
        if isinstance(groups, Clusters):
            clusters = groups
        else:
            ids = pd.Series(groups)  # hashing: several times faster than a sort, and strings need no conversion
            codes, uniques = pd.factorize(ids)
            if len(codes) and codes.min() < 0:
                raise ValueError(f"`groups` must hold an id in every row, got a missing one at row {codes.argmin()}")
            clusters = cls(codes.astype(np.intp, copy=False), len(uniques))
        if rows is not None and len(clusters.codes) != rows:
            raise ValueError(f"`groups` must have {rows} row(s), got {len(clusters.codes)}")
        return clusters

    def sums(self, values: FloatArray) -> FloatArray:
        """Sums `(count,)` of `values` `(N,)` per cluster."""
        return np.asarray(np.bincount(self.codes, weights=values, minlength=self.count))


class ClusteredError(NamedTuple):
    """A standard error, and how well it is known.

    Attributes:
        standard_error: SE >= 0; NaN where it is undefined.
        freedom: Degrees of freedom of SE^2, for Student's quantile; see `evaluation.freedom`.
    """

    standard_error: float
    freedom: float


def clustered_error(
    influence: npt.ArrayLike, groups: npt.ArrayLike | Clusters, weights: npt.ArrayLike | None = None
) -> ClusteredError:
    """The standard error of a metric from its rows' influences: SE^2 = sum over requests of (sum of influence)^2.

    Args:
        influence: `(N,)` w_j dM/dw_j, what each row adds to the metric's first-order error; sums to 0.
            For the difference of two metrics over the same rows it is the difference of their influences.
        groups: `(N,)` request ids or `Clusters`.
        weights: `(N,)` row weights, only to see which requests count at all.

    Returns:
        The standard error and its degrees of freedom. Both NaN where the influence is undefined, or where fewer than
        two requests carry weight (the sum over a single request is always 0, which would read as certainty).

    >>> error, freedom = clustered_error([0.1, 0.1, -0.2], [1, 1, 2])
    >>> round(error, 4), round(freedom, 4)
    (0.2828, 2.0)
    """
    values = np.asarray(influence, dtype=np.float64)
    clusters = Clusters.of(groups, len(values))
    if weights is None:
        active = clusters.count
    else:
        active = int(np.count_nonzero(clusters.sums(np.asarray(weights, dtype=np.float64))))
    sums = clusters.sums(values)
    if active < 2 or np.isnan(sums).any():
        return ClusteredError(float("nan"), float("nan"))
    return ClusteredError(float(np.sqrt(np.sum(sums**2))), variance_freedom(sums))


def clustered_standard_error(
    influence: npt.ArrayLike, groups: npt.ArrayLike | Clusters, weights: npt.ArrayLike | None = None
) -> float:
    """The standard error alone of `clustered_error`.

    >>> round(clustered_standard_error([0.1, 0.1, -0.2], [1, 1, 2]), 4)
    0.2828
    """
    return clustered_error(influence, groups, weights).standard_error
