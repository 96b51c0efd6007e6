"""How many rows, positives and requests stand behind a number in a slice, and why there may be no number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, IntArray
from evaluation.metric_kinds import metric_kind
from evaluation.metrics import undefined_reason
from evaluation.per_request.request_weights import SAMPLED_ROWS
from evaluation.slicing.sliced_influences import HeadScores, SlicePairs
from evaluation.slicing.slices import Slices


@dataclass(frozen=True)
class SliceCounts:
    """What each of a column's S slices holds, for one head.

    Attributes:
        everything: `(S,)` rows, with or without a label.
        rows: `(S,)` rows with a label.
        positives, negatives: `(S,)` rows with a label of that kind and a weight above 0.
        requests: `(S,)` requests with weight.
        engaged: `(S,)` requests with a positive row.
        effective: `(S,)` how many requests carry the evidence: Kish's (sum n_r)^2 / sum n_r^2 over the weight n_r of
            the request's positives, or of its negatives where there are any and that is less.
        sampled: Whether rows were sampled within requests, so that ranks in them are estimates.
    """

    everything: IntArray
    rows: IntArray
    positives: IntArray
    negatives: IntArray
    requests: IntArray
    engaged: IntArray
    effective: FloatArray
    sampled: bool = False

    @classmethod
    def of(
        cls, head: HeadScores, labelled: npt.NDArray[np.bool_], pairs: SlicePairs, *, sampled: bool = False
    ) -> SliceCounts:
        """The counts of one head; `labelled` `(N,)` says which rows have a label, `sampled` whether rows were."""
        codes, count = pairs.slices.codes, pairs.slices.count

        def number(where: npt.NDArray[np.bool_]) -> IntArray:
            return np.bincount(codes[where], minlength=count)

        weighed = head.weights > 0.0
        weight, positive = pairs.sums(head.weights), pairs.sums(head.weights * head.labels)

        def requests_of(per_pair: FloatArray) -> IntArray:
            return np.rint(pairs.totals((per_pair > 0.0).astype(np.float64))).astype(np.intp)

        positives = number(weighed & (head.labels > 0.0))
        negatives = number(weighed) - positives
        most = _kish(positive, pairs)
        against = _kish(np.where(weight > positive, weight - positive, 0.0), pairs)
        most = np.where(negatives > 0, np.minimum(most, against), most)
        requests, engaged = requests_of(weight), requests_of(positive)
        return cls(pairs.slices.rows(), number(labelled), positives, negatives, requests, engaged, most, sampled)

    def counted(self, index: int) -> dict[str, int]:
        """rows, positives, requests of one slice."""
        return {name: int(getattr(self, name)[index]) for name in ("rows", "positives", "requests")}

    def error(self, index: int, metric: str, error: float) -> float:
        """The standard error, or NaN where fewer than two requests have a say: 0 would read as certainty."""
        said = self.engaged if metric_kind(metric).per_request else self.requests
        return error if said[index] > 1 else float("nan")

    def reason(self, index: int, metric: str, value: float) -> str | None:
        """Why a metric has no value in this slice; None where it has one."""
        kind = metric_kind(metric)
        if not self.everything[index]:
            return "no row"
        undefined = undefined_reason(metric, int(self.positives[index]), int(self.negatives[index]))
        if undefined is not None:
            return undefined
        if self.sampled and kind.per_request and metric != "gauc":
            return SAMPLED_ROWS
        return f"{kind.label} is undefined on these rows" if np.isnan(value) else None


def check_slice_rows(slices: Sequence[Slices], rows: int) -> None:
    """Refuse slices of another number of rows, and two of one column."""
    faults = [
        f"`slices` of column {part.column!r} must have {rows} row(s), got {len(part.codes)}"
        for part in slices
        if len(part.codes) != rows
    ]
    columns = [part.column for part in slices]
    if len(set(columns)) != len(columns):
        faults.append(f"`slices` must be of columns that differ, got {columns}")
    if faults:
        raise ValueError("; ".join(faults))


def _kish(per_pair: FloatArray, pairs: SlicePairs) -> FloatArray:
    """(sum of n)^2 / sum of n^2 over the pairs of each slice; 0 where all are 0."""
    squares = pairs.totals(per_pair**2)
    return np.divide(pairs.totals(per_pair) ** 2, squares, out=np.zeros_like(squares), where=squares > 0.0)
