"""Validation: every fault of a log in one go, in a stream, each with file, column, row, value and count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features.duplicates import duplicate_rows, pair_hashes, pick_rows
from features.errors import Fault, InputError, raise_faults
from features.findings import SHOWN, Findings
from features.reading import open_parquet, resolve_files
from features.schema import ROLES
from features.sidetables import SideTable
from features.splits import NO_ROLE, row_roles
from features.validation_columns import usable_columns
from features.validation_rows import HeadCounts, RowChecks
from features.validation_sampling import SamplingChecks
from features.validation_tables import check_side_table, check_vectors

if TYPE_CHECKING:
    from features.log import Log
    from features.schema import Schema


@dataclass(frozen=True)
class ValidationReport:
    """What a pass over the whole log found.

    Parameters
    ----------
    faults : tuple of Fault
        Everything that is wrong; empty for a sound log. Rows are counted from 0 within their file.
    warnings : tuple of str
        What is allowed, yet worth knowing.
    rows : int
        Rows that were read.
    heads : mapping of head -> HeadCounts
        Rows with a label, positives, and rows and labels too young for the head's maturity.
    role_rows : mapping of role -> int
        Rows per role; empty when the split itself is faulty.
    unprotected_heads : tuple of str
        Heads that are 1 on sampled rows which nothing protected: their positives were dropped like negatives. Weights
        1 / keep_prob undo that (`correction = "inverse_propensity"`), the closed-form corrections do not.
    sampled_without_rate : bool
        Rows have keep_prob < 1 and no [sampling] says at which rate: only weights can undo that as well.
    missing_before_sampling : bool
        Labels were null already when rows were dropped, so a null protected nothing: the event of the closed-form
        corrections differs between rows with and without labels, and only loss weights are exact.
    """

    faults: tuple[Fault, ...] = ()
    warnings: tuple[str, ...] = ()
    rows: int = 0
    heads: Mapping[str, HeadCounts] = field(default_factory=dict)
    role_rows: Mapping[str, int] = field(default_factory=dict)
    unprotected_heads: tuple[str, ...] = ()
    sampled_without_rate: bool = False
    missing_before_sampling: bool = False

    @property
    def ok(self) -> bool:
        """Whether the log can be used."""
        return not self.faults

    def raise_if_faulty(self) -> None:
        """Raise one `InputError` with every fault; do nothing for a sound log."""
        raise_faults(self.faults)


def validate(dataset: Log) -> ValidationReport:
    """Check files, columns, types, every row, and the log as a whole against the schema of `dataset`.

    A file that cannot be read is a fault and the others are checked all the same; so is a column that is missing.
    Memory: one batch, the side tables, 8 bytes per row for duplicates and 1 for roles.
    """
    findings = Findings()
    files = _readable(dataset, dataset.schema.files.impressions, findings)
    side_tables, lost = _side_tables(dataset, findings)
    while files:
        sound = dataset.replace_files(files, side_tables)
        attempt = Findings(*findings.faults())
        try:
            return _checked(sound, attempt, lost)
        except InputError as error:  # a file whose footer is whole while its pages are not: go on without it
            findings.add(*error.faults)
            damaged = {fault.file for fault in error.faults} & set(files)
            files = [file for file in files if damaged and file not in damaged]
            if not files:  # what was found before the damage is true all the same
                findings.add(*attempt.faults())
    return ValidationReport(findings.faults())


def _readable(dataset: Log, names: Sequence[str], findings: Findings) -> list[Path]:
    """The files that `names` mean and that open; what is wrong with the others goes into `findings`."""
    files: list[Path] = []
    for name in names:
        try:
            files += resolve_files(dataset.folder, [name])
        except InputError as error:
            findings.add(*error.faults)
    opened = []
    for file in dict.fromkeys(files):
        try:
            open_parquet(file).close()
            opened.append(file)
        except InputError as error:
            findings.add(*error.faults)
    return opened


def _side_tables(dataset: Log, findings: Findings) -> tuple[dict[str, SideTable], set[str]]:
    """The side tables that can be joined, and the names of those that cannot."""
    tables: dict[str, SideTable] = {}
    lost: set[str] = set()
    for name, (paths, key) in dataset.side_files.items():
        before = len(findings.faults())
        table = SideTable(_readable(dataset, paths, findings), key)
        numeric = [n.removeprefix(f"{name}.") for n in dataset.schema.columns.numeric]
        if len(findings.faults()) == before and check_side_table(table, numeric, findings):
            tables[name] = table
        else:
            lost.add(name)
    return tables, lost


def _checked(dataset: Log, findings: Findings, lost: set[str]) -> ValidationReport:
    """All checks on files that open; raises `InputError` when one of them turns out to be damaged."""
    schema, columns = dataset.schema, dataset.schema.columns
    usable = usable_columns(dataset, findings, lost)
    if schema.files.vectors is not None:
        check_vectors(dataset, usable, findings)
    roles = _roles(dataset, usable)
    last_time = dataset.last_time if columns.time in usable else None
    by_row = RowChecks(dataset, findings, usable, roles)
    sampling = SamplingChecks(dataset, findings, usable, roles)
    pairs = usable.issuperset([columns.request, columns.item])
    hashes = np.empty(dataset.num_rows if pairs else 0, np.uint64)
    needed = list(dict.fromkeys([*by_row.columns, *sampling.columns]))
    for batch in dataset.raw(needed) if needed else ():
        by_row.check(batch, last_time)
        sampling.check(batch)
        if pairs:
            pair = pair_hashes(batch.table.column(columns.request), batch.table.column(columns.item))
            hashes[batch.start : batch.start + len(pair)] = pair
    repeats = duplicate_rows(dataset, hashes) if pairs else np.empty(0, np.int64)
    if schema.policy.duplicates == "error":
        _duplicates(dataset, repeats, findings)
    if not dataset.num_rows:
        findings.add(Fault("holds no rows", dataset.impression_files[0]))
    if roles is not None and schema.policy.duplicates == "drop":
        roles[repeats] = NO_ROLE
    role_rows = {} if roles is None else {name: int((roles == i).sum()) for i, name in enumerate(ROLES)}
    warnings = [*_role_warnings(schema, role_rows), *_head_warnings(by_row.heads), *sampling.warnings()]
    if len(repeats) and schema.policy.duplicates != "error":
        done = "dropped" if schema.policy.duplicates == "drop" else "kept"
        warnings.append(f"{len(repeats)} duplicate impressions are {done}, as [policy].duplicates says")
    return ValidationReport(
        findings.faults(),
        tuple(warnings),
        dataset.num_rows,
        by_row.heads,
        role_rows,
        tuple(name for name in schema.heads if name in sampling.unprotected),
        sampling.sampled_without_rate,
        sampling.missing_before_sampling,
    )


def _roles(dataset: Log, usable: set[str]) -> np.ndarray | None:
    """The role of every row; None when the split cannot be made, which the row checks report in full."""
    split, columns = dataset.schema.split, dataset.schema.columns
    by_time: set[str | None] = {columns.request, columns.time}
    needs: dict[str, set[str | None]] = {"time": by_time, "request": {columns.request}, "item": {columns.item}}
    if not usable.issuperset(needs.get(split.by, {split.column})):
        return None
    try:
        return row_roles(dataset)
    except InputError as error:
        if any(fault.row is None for fault in error.faults):
            raise
        return None


def _duplicates(dataset: Log, repeats: np.ndarray, findings: Findings) -> None:
    """One fault per file, with the ids of its first duplicates."""
    columns = dataset.schema.columns
    ends = np.cumsum(dataset.file_rows)
    for file, start, end in zip(dataset.impression_files, ends - dataset.file_rows, ends, strict=True):
        rows = repeats[(repeats >= start) & (repeats < end)]
        if len(rows):
            table = pick_rows(dataset, [columns.request, columns.item], rows[:SHOWN])
            pairs = zip(*(table.column(i).to_pylist() for i in range(2)), strict=True)
            shown: list[tuple[int, object]] = list(zip((rows[:SHOWN] - start).tolist(), pairs, strict=True))
            message = 'an item must be shown once per request ([policy].duplicates = "drop" or "keep" lets it pass)'
            findings.counted(len(rows), shown, message, file, f"{columns.request}, {columns.item}")


def _role_warnings(schema: Schema, role_rows: Mapping[str, int]) -> Iterator[str]:
    for role, share in zip(ROLES, schema.split.shares, strict=True):
        if role_rows and not role_rows[role] and (share > 0 or schema.split.by == "column"):
            yield f"role {role} has no rows"


def _head_warnings(heads: Mapping[str, HeadCounts]) -> Iterator[str]:
    for name, counts in heads.items():
        if not counts.labelled:
            yield f"head `{name}` has no labelled row"
        elif counts.positives in (0, counts.labelled):
            yield f"head `{name}` is {int(counts.positives > 0)} on all of its {counts.labelled} labelled rows"
        if counts.refused:
            yield f"head `{name}`: {counts.refused} train and calibrate rows are younger than its maturity: left out"
        if counts.immature:
            yield f"head `{name}`: {counts.immature} tune and test labels are younger than its maturity: left out"
