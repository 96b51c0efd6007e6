"""The declared negative rate against the keep probabilities that the log carries: they must tell one story.

Unprotected rows were kept with the declared rate and carry it as keep_prob; protected rows, and rows of roles that were
not sampled, were all kept and carry 1. When whole requests were sampled, one engaged row protects its request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from features.findings import Findings
from features.ids import hash_ids
from features.protection import TOLERANCE
from features.schema import ROLES
from features.validation_rows import as_floats, is_probability

if TYPE_CHECKING:
    from features.log import Log, RawBatch


class SamplingChecks:
    """Checks [sampling] batch by batch; does nothing when it is not declared or its columns are not usable.

    Parameters
    ----------
    dataset : Log
    findings : Findings
        Where the faults go.
    usable : set of str
        Columns that exist with the right type.
    roles : ndarray (num_rows,) int8 or None
        Roles of the rows; None when the split is faulty, then rates are checked only if all roles were sampled.
    """

    def __init__(self, dataset: Log, findings: Findings, usable: set[str], roles: np.ndarray | None) -> None:
        self.schema, self.findings, self.roles, self.dataset = dataset.schema, findings, roles, dataset
        self.columns: list[str] = []
        self.reduced = 0  # rows with keep_prob < 1
        self.undecided = 0  # rows whose protecting columns are null
        self.undecided_kept = 0  # of them those with keep_prob 1
        self.unprotected: dict[str, int] = {}  # head -> rows where it is 1 and nothing protected them
        sampling, columns = self.schema.sampling, self.schema.columns
        self.keep_prob = columns.keep_prob if columns.keep_prob in usable else None
        self.protected_by = self.schema.protected_by
        self.active = sampling is not None and usable.issuperset([*self.protected_by, columns.request])
        if sampling is not None and (roles is None and set(sampling.roles) != set(ROLES)):
            self.active = False
        rate_column = sampling.negative_rate_column if sampling is not None else None
        if rate_column is not None and rate_column not in usable:
            self.active = False
        if self.keep_prob is not None:
            self.columns.append(self.keep_prob)
        if not self.active or sampling is None:
            return
        self.sampling = sampling
        self.sampled = np.isin(np.arange(len(ROLES)), [ROLES.index(role) for role in sampling.roles])
        heads = [head.column for head in self.schema.heads.values() if head.column in usable]
        self.columns += [*self.protected_by, *heads, *([rate_column] if rate_column else [])]
        self.requests: np.ndarray | None = None  # sorted hashes of the requests that one row protects
        self.unsure: np.ndarray | None = None
        if sampling.unit == "request":
            self.columns.append(columns.request)
            self._protect_requests()

    def check(self, batch: RawBatch) -> None:
        """Check one batch of the whole log."""
        keep = None if self.keep_prob is None else as_floats(batch.table.column(self.keep_prob))
        valid = None if self.keep_prob is None else is_probability(batch.table.column(self.keep_prob))
        if keep is not None and valid is not None:
            self.reduced += int((valid & (keep < 1)).sum())
        if not self.active:
            return
        sampled = self._sampled(batch)
        protected, unsure = self._protection(batch)
        self.undecided += int((unsure & sampled).sum())
        self._heads(batch, sampled & ~protected & ~unsure)
        rate, known = self._rate(batch, sampled)
        if keep is None or valid is None or self.keep_prob is None:
            return
        one = np.abs(keep - 1) <= TOLERANCE
        self.undecided_kept += int((unsure & sampled & one).sum())
        with np.errstate(invalid="ignore"):
            as_declared = np.abs(keep - rate) <= np.minimum(TOLERANCE, 1e-3 * rate)
        self._rows(batch, valid & ~sampled & ~one, f"must be 1: only {_list(self.sampling.roles)} rows were sampled")
        whole = "a row of the request" if self.sampling.unit == "request" else "the row"
        engaged = f"must be 1: {whole} is protected ({_list(self.protected_by)})"
        self._rows(batch, valid & sampled & protected & ~one, engaged)
        free = valid & known & sampled & ~protected & ~as_declared
        declared = self.sampling.negative_rate_column
        told = (
            f"the rate in `{declared}`" if declared else f"the declared negative_rate {self.sampling.negative_rate:g}"
        )
        unprotected = "rows of unprotected requests" if self.sampling.unit == "request" else "unprotected rows"
        self._rows(batch, free & ~unsure, f"must equal {told} on {unprotected}")
        self._rows(batch, free & unsure & ~one, f"must equal {told}, or 1, where the protecting columns are null")

    @property
    def sampled_without_rate(self) -> bool:
        """Rows were dropped, as keep_prob says, at a rate that nobody declares."""
        return self.schema.sampling is None and self.reduced > 0

    @property
    def missing_before_sampling(self) -> bool:
        """Labels were null already when rows were dropped: of the rows with a null and no 1 not one was protected.

        The protecting event is then "an engagement that was *observed*", whose rate differs between rows with and
        without labels; a head is learned on the labelled ones only, and the closed form does not hold for it.
        """
        return self.undecided > 0 and self.undecided_kept == 0

    def warnings(self) -> Iterator[str]:
        """After the last batch: what is allowed, yet worth knowing."""
        if self.sampled_without_rate:
            yield (
                f"{self.reduced} rows have keep_prob < 1, yet no [sampling] is declared: declare the rate, or train "
                'with correction = "inverse_propensity"'
            )
        for name, rows in self.unprotected.items():
            yield (
                f"head `{name}` is 1 on {rows} sampled rows that no column of [sampling].protected_by "
                f"({_list(self.protected_by)}) protects, so positives of it were dropped too: name its column in "
                'protected_by if it did protect rows, or train with correction = "inverse_propensity"'
            )
        if self.undecided:
            yield f"{self.undecided} sampled rows have null and no 1 in protected_by: their keep_prob alone tells"

    def _rows(self, batch: RawBatch, bad: np.ndarray, message: str) -> None:
        column = str(self.keep_prob)
        self.findings.rows(bad, message, batch.file, column, batch.first_row, batch.table.column(column))

    def _sampled(self, batch: RawBatch) -> np.ndarray:
        """(n,) bool: the row's role was sampled."""
        if self.roles is None:
            return np.ones(batch.table.num_rows, bool)
        return self.sampled[self.roles[batch.start : batch.start + batch.table.num_rows]]

    def _protection(self, batch: RawBatch) -> tuple[np.ndarray, np.ndarray]:
        """(n,) bool twice: the unit of the row is protected; it is unknown whether it is (a null and no 1)."""
        protected, unsure = self._row_protection(batch)
        if self.requests is not None and self.unsure is not None:
            hashes = hash_ids(batch.table.column(self.schema.columns.request))
            protected = _among(hashes, self.requests)
            unsure = _among(hashes, self.unsure) & ~protected
        return protected, unsure

    def _row_protection(self, batch: RawBatch) -> tuple[np.ndarray, np.ndarray]:
        labels = [as_floats(batch.table.column(name)) for name in self.protected_by]
        protected = np.any([label == 1 for label in labels], axis=0)
        return protected, np.any([np.isnan(label) for label in labels], axis=0) & ~protected

    def _protect_requests(self) -> None:
        """A pass of its own: one engaged row protects rows of its request that came batches earlier."""
        request = self.schema.columns.request
        protected, unsure = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
        for batch in self.dataset.raw(list(dict.fromkeys([request, *self.protected_by]))):
            hashes, sampled = hash_ids(batch.table.column(request)), self._sampled(batch)
            engaged, unknown = self._row_protection(batch)
            protected.append(np.unique(hashes[engaged & sampled]))
            unsure.append(np.unique(hashes[unknown & sampled]))
        self.requests, self.unsure = np.unique(np.concatenate(protected)), np.unique(np.concatenate(unsure))

    def _heads(self, batch: RawBatch, unprotected: np.ndarray) -> None:
        """A head that does not imply the protecting event lost positives too, which no closed form can undo."""
        for name, head in self.schema.heads.items():
            if head.column in self.columns and head.column not in self.protected_by:
                found = int((unprotected & (as_floats(batch.table.column(head.column)) == 1)).sum())
                if found:
                    self.unprotected[name] = self.unprotected.get(name, 0) + found

    def _rate(self, batch: RawBatch, sampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The declared rate (n,) float64, and (n,) bool where it is one."""
        column = self.sampling.negative_rate_column
        if column is None:
            rate = np.full(batch.table.num_rows, self.sampling.negative_rate, dtype=np.float64)
            return rate, np.ones(len(rate), bool)
        values = batch.table.column(column)
        known = is_probability(values)
        self.findings.rows(~known & sampled, "must be in (0, 1]", batch.file, column, batch.first_row, values)
        return as_floats(values), known


def _among(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """(n,) bool: which `values` are in the sorted `ordered`."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    return ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
