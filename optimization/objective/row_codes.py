"""What a metric has to know of a row besides its score, as a small integer that a sort can carry.

Rows with the same labels, the same missing labels and the same weight are one class; a log has few of them (4 heads: at
most 81; 1 / keep_prob takes a handful of values). The class stands in a code's high bits and, below it, one of
nothing, the row's request, or its number, where its weight or its request must be looked up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, IntArray, float_array
from evaluation.clusters import Clusters
from optimization.objective.packed_keys import CodeArray

BoolArray = npt.NDArray[np.bool_]

FEW_WEIGHTS = 64  # that many different weights are part of the class; beyond, rows are looked up instead
CODE_BITS = 32  # a code shares 64 bits with a float32 score
MOST_ROWS = 1 << 31
SMALL = 1 << 16  # codes below this are counted, higher ones hashed


@dataclass(frozen=True)
class RowCodes:
    """Codes of rows, and how to read them.

    Classes without a positive label come first, so the rows that count for any head have the highest codes.

    Attributes:
        codes: `(N,)` class << low_bits | (0, request or row number); or row numbers, where that exceeds 32 bits.
        bits: How many bits a code takes.
        positive_from: The first code of a row with a positive label.
        positive: `(T, K)` whether a head's label is 1 in a class.
        known: `(T, K)` whether a head has a label in a class; None when no label is missing.
        low_bits: How many bits stand below the class.
        class_weight: `(K,)` the weight of a class; None when all rows weigh the same or `row_weight` is given.
        row_weight: `(N,)` the weight of each row by its number, or None.
        row_request: `(N,)` the request of each row by its number; None when the code holds it or nobody asks for it.
        row_class: `(N,)` the class of each row by its number; None when the code holds it.
        requests: R, the number of requests; 0 without them.

    >>> codes = RowCodes.of(np.array([[1, 0], [0, 0], [1, 0]]))
    >>> codes.codes.tolist(), codes.positive.tolist(), codes.positive_from
    ([1, 0, 1], [[False, True], [False, False]], 1)
    """

    codes: npt.NDArray[np.uint32]
    bits: int
    positive_from: int
    positive: BoolArray
    known: BoolArray | None
    low_bits: int = 0
    class_weight: FloatArray | None = None
    row_weight: FloatArray | None = None
    row_request: IntArray | None = None
    row_class: npt.NDArray[np.uint32] | None = None
    requests: int = 0

    @classmethod
    def of(cls, labels: npt.NDArray[Any], row_weights: npt.ArrayLike | None = None) -> RowCodes:
        """Codes the rows.

        Args:
            labels: `(N, T)` 0, 1 or, in floating point, NaN for a label that is missing for that head alone.
            row_weights: `(N,)` finite and >= 0; None: all the same. Only their ratios count, so equal ones are None.

        Raises:
            ValueError: other labels, weights that are negative, not finite, or so large that their sum is not.
        """
        rows = len(labels)
        if rows > MOST_ROWS:
            raise ValueError(f"`labels` must have at most {MOST_ROWS} rows, got {rows}")
        positive, known = _label_table(labels)
        weight = _uneven(row_weights, rows)
        classes, count = _patterns([*positive, *([] if known is None else known)])
        by_class = False
        if weight is not None:
            of_weight, values = pd.factorize(weight)
            by_class = len(values) <= FEW_WEIGHTS
            if by_class:
                classes, count = _without_gaps(classes + of_weight * np.int64(count), count * len(values))
        example = np.zeros(count, np.intp)  # a row of each class
        example[classes] = np.arange(rows)
        order = np.argsort(positive[:, example].any(axis=0), kind="stable")
        place = np.empty(count, np.uint32)
        place[order] = np.arange(count, dtype=np.uint32)
        example = example[order]
        table = positive[:, example]
        coded = cls(
            codes=place.take(classes),
            bits=(count - 1).bit_length(),
            positive_from=int(np.count_nonzero(~table.any(axis=0))),
            positive=table,
            known=None if known is None else known[:, example],
            class_weight=weight[example] if weight is not None and by_class else None,
        )
        return coded if weight is None or by_class else coded._numbered(weight, None)

    def with_requests(self, requests: Clusters) -> RowCodes:
        """The same rows with each row's request in its code, or to be looked up where that takes too many bits."""
        codes = requests.codes.astype(np.uint32)
        if self.row_weight is not None:
            by_number = np.empty(len(codes), np.intp)
            by_number[self._low(self.codes)] = requests.codes
            return replace(self, row_request=by_number, requests=requests.count)
        low_bits = max(requests.count - 1, 0).bit_length()
        if self.bits + low_bits > CODE_BITS:
            return replace(self._numbered(None, requests.codes), requests=requests.count)
        codes |= self.codes << np.uint32(low_bits)
        return replace(self._shifted(codes, low_bits), requests=requests.count)

    def _numbered(self, weight: FloatArray | None, request: IntArray | None) -> RowCodes:
        """The same rows with each row's number in its code, and what is looked up by it."""
        rows = len(self.codes)
        numbers, low_bits = np.arange(rows, dtype=np.uint32), (rows - 1).bit_length()
        if self.bits + low_bits <= CODE_BITS:
            shifted = self._shifted(self.codes << np.uint32(low_bits) | numbers, low_bits)
            return replace(shifted, row_weight=weight, row_request=request)
        order = np.argsort(self.codes, kind="stable")  # numbered by class: rows with a positive label come last
        codes = np.empty(rows, np.uint32)
        codes[order] = numbers
        row_class = self.codes[order]
        return replace(
            self,
            codes=codes,
            bits=low_bits,
            low_bits=low_bits,
            positive_from=int(np.searchsorted(row_class, self.positive_from)),
            row_class=row_class,
            row_weight=None if weight is None else weight[order],
            row_request=None if request is None else request[order],
        )

    def _shifted(self, codes: npt.NDArray[np.uint32], low_bits: int) -> RowCodes:
        positive_from = self.positive_from << low_bits
        return replace(self, codes=codes, bits=self.bits + low_bits, low_bits=low_bits, positive_from=positive_from)

    def classes_of(self, codes: CodeArray) -> IntArray:
        """The class of each of `codes`."""
        if self.row_class is not None:
            codes = self.row_class.take(codes)
        elif self.low_bits:
            codes = codes >> codes.dtype.type(self.low_bits)
        return codes.astype(np.intp)  # what is looked up by smaller integers converts them every time

    def weights_of(self, codes: CodeArray) -> FloatArray | None:
        """The weight of each of `codes`; None when all rows weigh the same."""
        if self.class_weight is not None:
            return self.class_weight.take(self.classes_of(codes))
        return None if self.row_weight is None else self.row_weight.take(self._low(codes))

    def requests_of(self, codes: CodeArray) -> IntArray:
        """The request of each of `codes`, of rows that were coded with requests."""
        low = self._low(codes)
        return low if self.row_request is None else self.row_request.take(low)

    def _low(self, codes: CodeArray) -> IntArray:
        return (codes & codes.dtype.type((1 << self.low_bits) - 1)).astype(np.intp)


def _label_table(labels: npt.NDArray[Any]) -> tuple[BoolArray, BoolArray | None]:
    """Where labels are 1, `(T, N)`, and where they are known, None when all are."""
    if labels.dtype.kind not in "biuf":
        raise ValueError(f"`labels` must be numbers (0, 1 or NaN for a missing one), got {labels.dtype}")
    columns = np.ascontiguousarray(labels.T)
    positive = columns == 1
    good = positive | (columns == 0)
    if good.all():
        return positive, None
    missing = columns != columns  # NaN alone differs from itself
    good |= missing
    if not good.all():
        row, head = (bad := np.argwhere(~good.T))[0]
        raise ValueError(
            f"`labels` must be 0, 1 or NaN (missing), got {labels[row, head]} at row, column {row}, {head} "
            f"({len(bad)} value(s) in all)"
        )
    return positive, ~missing


def _uneven(row_weights: npt.ArrayLike | None, rows: int) -> FloatArray | None:
    """The checked weights `(N,)`; None when all rows weigh the same."""
    if row_weights is None:
        return None
    weight = float_array("row_weights", row_weights)
    if len(weight) != rows:
        raise ValueError(f"`row_weights` must have {rows} row(s), got {len(weight)}")
    if not (weight >= 0.0).all():  # NaN included
        row = int(np.argmin(weight >= 0.0))
        raise ValueError(f"`row_weights` must be >= 0, got {weight[row]} at row {row}")
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not np.isfinite(total):
        raise ValueError(f"`row_weights` must be finite and have a finite sum, got {total}")
    return None if weight[0] > 0.0 and (weight == weight[0]).all() else weight


def _patterns(columns: list[BoolArray]) -> tuple[npt.NDArray[np.uint32], int]:
    """Numbers `(N,)` of the different rows of `columns`, and how many there are."""
    codes, count = np.zeros(len(columns[0]), np.uint32), 1
    for column in columns:
        codes += np.multiply(column, count, dtype=np.uint32)
        count *= 2
        if count > SMALL:
            codes, count = _without_gaps(codes, count)
    return _without_gaps(codes, count)


def _without_gaps(codes: npt.NDArray[Any], count: int) -> tuple[npt.NDArray[np.uint32], int]:
    """The codes below `count` that occur, numbered anew, and how many there are."""
    if count > SMALL << 4:
        numbers, values = pd.factorize(codes)
        return numbers.astype(np.uint32), len(values)
    present = np.bincount(codes, minlength=count) > 0
    number = np.cumsum(present, dtype=np.uint32) - np.uint32(1)
    return number.take(codes), int(np.count_nonzero(present))
