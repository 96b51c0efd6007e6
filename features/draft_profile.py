"""What the columns of a log look like: the facts, from its first rows, that a drafted dataset.toml rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from features.ids import is_id_type, is_string
from features.reading import as_type, read_batches
from features.sidetables import merged_types
from features.validation_columns import is_label_type
from features.validation_rows import as_floats

SAMPLE_ROWS = 500_000
MOSTLY = 0.99  # a fact may fail on this share of rows: `check` drafts the logs whose faults it then lists


@dataclass(frozen=True)
class Column:
    """One column of the sample.

    Parameters
    ----------
    name : str
    values : Arrow array (N,)
    """

    name: str
    values: pa.Array

    @property
    def type(self) -> pa.DataType:
        """Its Arrow type, dictionaries decoded."""
        return self.values.type

    @cached_property
    def codes(self) -> np.ndarray:
        """(N,) int64: equal values have equal codes; null is -1."""
        if pt.is_nested(self.type):  # lists are not compared with each other
            return np.where(self.values.is_valid().to_numpy(zero_copy_only=False), 0, -1)
        encoded = self.values.dictionary_encode()
        return np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)

    @cached_property
    def distinct(self) -> int:
        """How many different values there are, null not counted."""
        return int(self.codes.max(initial=-1)) + 1

    @cached_property
    def numbers(self) -> np.ndarray | None:
        """(N,) float64 with NaN for null; None for what is no number or boolean."""
        return as_floats(pa.chunked_array([self.values])) if is_label_type(self.type) else None

    @property
    def known(self) -> np.ndarray:
        """The numbers that are neither null nor NaN."""
        return np.empty(0) if self.numbers is None else self.numbers[~np.isnan(self.numbers)]

    @property
    def is_constant(self) -> bool:
        """Whether it says nothing: one value throughout, or none."""
        return self.distinct == 0 or (self.distinct == 1 and not self.values.null_count and not pt.is_nested(self.type))

    @property
    def is_flag(self) -> bool:
        """Whether it holds 0 and 1 and (nearly) nothing else."""
        known = self.known
        flags = (known == 0) | (known == 1)
        return bool(len(known) and flags.mean() >= MOSTLY and (known == 0).any() and (known == 1).any())

    @property
    def is_integer(self) -> bool:
        """Whether its numbers are whole."""
        return bool(pt.is_integer(self.type) or (len(self.known) and (self.known == np.floor(self.known)).all()))

    @property
    def is_id(self) -> bool:
        """Whether its type can be an id."""
        return is_id_type(self.type)

    @property
    def is_text(self) -> bool:
        """Whether it is text."""
        return is_string(self.type)

    @property
    def looks_like_lists(self) -> bool:
        """Whether some text holds "|", the usual sign of a list written as text."""
        return self.is_text and bool(pc.any(pc.match_substring(self.values, "|")).as_py())

    def varies_within(self, other: Column) -> bool:
        """Whether rows that agree in `other` differ in this column, in at least two groups (one may be a fault)."""
        width = self.distinct + 1
        pairs = np.unique((other.codes + 1) * width + self.codes + 1)
        _, values_per_group = np.unique(pairs // width, return_counts=True)
        return int((values_per_group > 1).sum()) >= 2


def profile(files: Sequence[Path], rows: int = SAMPLE_ROWS) -> dict[str, Column]:
    """The columns of the first `rows` rows of `files`, in the order of the file."""
    types = merged_types(files)
    batches: list[pa.RecordBatch] = []
    left = rows
    for file in files:
        for batch in read_batches(file, list(types), 65536):
            batches.append(batch.slice(0, left))
            left -= len(batches[-1])
            if not left:
                break
        if not left:
            break
    columns = {}
    for name, dtype in types.items():
        parts = [as_type(batch.column(name), dtype) for batch in batches]
        columns[name] = Column(name, pa.chunked_array(parts, dtype).combine_chunks())
    return columns


def repeats(request: Column, item: Column) -> int:
    """Rows that show an item of an earlier row in the same request."""
    pairs = request.codes * (item.distinct + 1) + item.codes
    return len(pairs) - len(np.unique(pairs))


def gives_away(column: Column, heads: Sequence[Column]) -> str | None:
    """The head whose label `column` tells: non-zero only where the label is 1, or known only there.

    A count of clicks is zero exactly where there was no click, a dwell time is null there: such a column is an outcome
    of its own. A label that is 1 nearly everywhere, or fewer than 20 telling rows, prove nothing.
    """
    told = []
    if column.numbers is not None:
        told.append(np.nan_to_num(column.numbers) != 0)
    if column.values.null_count:
        told.append(column.values.is_valid().to_numpy(zero_copy_only=False))
    for head in heads:
        label = head.numbers
        if label is None or np.nanmean(label) > 0.9:
            continue
        for rows in told:
            if rows.sum() >= 20 and (label[rows] == 1).mean() >= MOSTLY:
                return head.name
    return None


def pair_counts(files: Sequence[Path], heads: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Over the whole log, (H, H) int64: rows with head i at 1 and head j at 0 (the diagonal: rows with head i at 1).

    The second array (H,) int64 counts the rows with head i at 0.
    """
    zeros = np.zeros(len(heads), np.int64)
    counts = np.zeros((len(heads), len(heads)), np.int64)
    for file in files:
        for batch in read_batches(file, heads, 131072):
            labels = np.stack([as_floats(pa.chunked_array([batch.column(name)])) for name in heads])  # (H, n)
            ones = (labels == 1).astype(np.float64)
            zeros += (labels == 0).sum(1)
            counts += (ones @ (labels == 0).T.astype(np.float64) + np.diag(ones.sum(1))).astype(np.int64)
    return counts, zeros
