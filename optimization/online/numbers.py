"""The numbers that an experiment platform gives back: read from CSV, Parquet or a frame, and checked as a whole.

One row per group and metric, columns `group`, `metric`, `value`, `standard_error` in any order, others ignored. A CSV
may be separated by commas, semicolons or tabs and may write decimal commas, as spreadsheets do.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features import Fault, InputError, open_parquet, raise_faults

COLUMNS = ("group", "metric", "value", "standard_error")
NEW, KNOWN, CORRECTED = "new", "known already", "corrected"
# float32 on its way through a platform, or seven digits in a CSV: still the same number.
SAME = 1e-6
BEFORE = ("value before", "error before")

Numbers = Mapping[tuple[str, str], tuple[float, float]]

_PLAIN = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class RawNumbers:
    """Rows as they were given: the four columns, still text where the source was text; the file they came from."""

    table: pd.DataFrame
    file: Path | None


def read_numbers(source: pd.DataFrame | str | Path) -> RawNumbers:
    """Read the four columns.

    Args:
        source: A frame, or the path of a CSV or Parquet file (told apart by content).

    Raises:
        InputError: no such file, not readable, rows of another length than the header, missing or doubled columns, no
            rows.

    >>> frame = pd.DataFrame({"Standard Error": [0.1], "Value": [1.0], "Metric": ["save"], "Group": ["r1-a"], "n": [9]})
    >>> read_numbers(frame).table.columns.tolist()
    ['group', 'metric', 'value', 'standard_error']
    """
    if isinstance(source, pd.DataFrame):
        return RawNumbers(_four_columns(source, None), None)
    path = Path(source)
    if not path.is_file():
        raise InputError(Fault("is not a file" if path.exists() else "does not exist", path))
    content = path.read_bytes()
    if content.startswith(_MAGIC):
        with open_parquet(path) as file:
            return RawNumbers(_four_columns(file.read().to_pandas(), path), path)
    return RawNumbers(_four_columns(_read_text(content, path), path), path)


def check_numbers(
    raw: RawNumbers, groups: Collection[str], metrics: Sequence[str], known: Numbers, *, correct: bool = False
) -> pd.DataFrame:
    """Numbers that can be believed, each group and metric once, or every fault.

    Args:
        raw: As read.
        groups: The groups proposed so far.
        metrics: The metrics that are ingested.
        known: What was ingested before.
        correct: Let other numbers of a known group and metric replace the known ones.

    Returns:
        Columns group, metric, value, standard_error and state: "new", "known already" (the same numbers within
        1e-6 of themselves) or "corrected".

    Raises:
        InputError: unknown groups or metrics; values that are missing, no number or not finite; standard errors that
            are missing, no number, not finite or not > 0; other numbers than those known, or two different ones for
            one group and metric; all at once.
    """
    table, file, faults = raw.table, raw.file, list[Fault]()
    names = pd.DataFrame({name: table[name].astype(object).where(table[name].notna(), "") for name in COLUMNS[:2]})
    names = names.astype(str).apply(lambda column: column.str.strip())
    for column, allowed in (("group", groups), ("metric", metrics)):
        shown = ", ".join(list(allowed)[-9:])
        words = f"unknown {column} (the {'latest ' if len(allowed) > 9 else ''}{column}s are {shown or 'none'})"
        for name, rows in names[~names[column].isin(list(allowed))].groupby(column, sort=False).groups.items():
            faults.append(_fault(words, file, column, np.asarray(rows), str(name)))
    values, errors = _decimals(table, file, faults)
    finite = np.isfinite(values)
    faults += _where(~finite, "a metric's value must be a finite number", file, "value", table["value"])
    needed = "a metric needs its standard error, finite and > 0"
    bad = ~(np.isfinite(errors) & (errors > 0))
    faults += _where(bad, needed, file, "standard_error", table["standard_error"])
    result = names.assign(value=values, standard_error=errors)
    sound = result[finite & ~bad]
    faults += _doubled(sound, file)
    before = pd.DataFrame([(*key, *pair) for key, pair in known.items()], columns=["group", "metric", *BEFORE])
    pairs = names.astype(object).merge(before.astype({"group": object, "metric": object}), how="left", sort=False)
    was = pairs[[*BEFORE]].to_numpy(dtype=np.float64)  # NaN where nothing is known
    now = np.c_[values, errors]
    differs = ~np.isclose(was, now, rtol=SAME, atol=0.0).all(axis=1)
    other = np.isfinite(was).all(axis=1) & np.isfinite(now).all(axis=1) & differs
    result["state"] = np.select([other, ~differs], [CORRECTED, KNOWN], NEW)
    if not correct:
        faults += [
            Fault(
                f"{metric} of {group} is known already as {_pair(*old)}, but here it is {_pair(*new)}: numbers are "
                "ingested once, when they are final. If the known ones are wrong, replace them by `correct`",
                file,
                row=int(row),
            )
            for row, (group, metric), old, new in zip(
                np.flatnonzero(other), names[other].to_numpy(), was[other], now[other]
            )
        ]
    raise_faults(faults)
    return result.drop_duplicates(["group", "metric"]).reset_index(drop=True)


def _read_text(content: bytes, path: Path) -> pd.DataFrame:
    """A separated text file, everything as text."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            Fault(f"is neither Parquet nor UTF-8 text: {error.reason} at byte {error.start}", path)
        ) from error
    header = text.split("\n", 1)[0]
    found = {mark: sum(_plain(name) in COLUMNS for name in header.split(mark)) for mark in (",", ";", "\t")}
    mark = max(found, key=lambda m: found[m])
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark) if any(map(str.strip, row))]
    if not rows:
        raise InputError(Fault("is empty", path))
    head, body = rows[0], rows[1:]
    lengths = np.array([len(row) for row in body], dtype=np.int64)
    wrong = np.flatnonzero(lengths != len(head))
    if len(wrong):
        hint = " (numbers with a decimal comma need ; or a tab between columns, or quotes)" if mark == "," else ""
        message = f"a row must have {len(head)} fields as the header has{hint}"
        raise InputError(_fault(message, path, None, wrong, int(lengths[wrong[0]])))
    return pd.DataFrame(body, columns=head, dtype=object)


def _four_columns(frame: pd.DataFrame, path: Path | None) -> pd.DataFrame:
    """The four columns by their names, in order."""
    plain = [_plain(str(name)) for name in frame.columns]
    faults = [
        Fault(f"column `{name}` {'is missing' if name not in plain else 'is there twice'} "
              f"(the columns are {', '.join(map(str, frame.columns)) or 'none'})", path)
        for name in COLUMNS if plain.count(name) != 1
    ]  # fmt: skip
    if not faults and not len(frame):
        faults = [Fault("has no rows", path)]
    raise_faults(faults)
    table = frame.iloc[:, [plain.index(name) for name in COLUMNS]].reset_index(drop=True)
    table.columns = pd.Index(COLUMNS)
    return table


def _plain(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", name.strip().strip('"').strip().casefold())


def _decimals(table: pd.DataFrame, file: Path | None, faults: list[Fault]) -> tuple[np.ndarray, np.ndarray]:
    """value and standard_error as float64 (N,), NaN where they are no numbers.

    A decimal comma is one for the whole file; "1,234" alone may be either mark, which is a fault.
    """
    texts = pd.concat([table["value"], table["standard_error"]], ignore_index=True)
    is_text = texts.map(lambda cell: isinstance(cell, str)).to_numpy(dtype=bool)
    words = texts.where(is_text, "").astype(str).str.strip()
    number = words.str.fullmatch(_PLAIN)
    comma, point = number & words.str.contains(","), number & words.str.contains(".", regex=False)
    rows = len(table)
    if comma.any() and point.any():
        first = np.array([int(comma.to_numpy().argmax()) % rows])
        message = "decimal commas and decimal points must not be mixed in one file"
        faults.append(_fault(message, file, "value", first, words[comma].iloc[0]))
    elif comma.any() and words[comma].str.fullmatch(_THOUSANDS).all():
        first = np.array([int(comma.to_numpy().argmax()) % rows])
        message = "cannot be told from a number with thousands separators: write a decimal point, or more digits"
        faults.append(_fault(message, file, "value", first, words[comma].iloc[0]))
    plain = words.where(number, "nan").str.replace(",", ".", regex=False).astype(np.float64)
    others = pd.to_numeric(texts.where(~is_text, np.nan), errors="coerce").astype(np.float64)
    both = np.where(is_text, plain, others)
    return both[:rows], both[rows:]


def _doubled(sound: pd.DataFrame, file: Path | None) -> list[Fault]:
    """One group and metric with two different numbers in one source."""
    faults = []
    for (group, metric), rows in sound.groupby(["group", "metric"], sort=False):
        pairs = rows[["value", "standard_error"]].to_numpy()
        others = np.flatnonzero(~np.isclose(pairs, pairs[0], rtol=SAME, atol=0.0).all(axis=1))
        if len(others):
            first, second = _pair(*pairs[0]), _pair(*pairs[others[0]])
            message = f"{metric} of {group} is there twice with different numbers: {first} and {second}"
            faults.append(Fault(message, file, row=int(rows.index[others[0]])))
    return faults


def _where(mask: np.ndarray, message: str, file: Path | None, column: str, cells: pd.Series) -> list[Fault]:
    """One fault for all rows of a mask."""
    rows = np.flatnonzero(mask)
    if not len(rows):
        return []
    cell = cells.iloc[rows[0]]
    return [_fault(message, file, column, rows, "nothing" if isinstance(cell, str) and not cell.strip() else cell)]


def _fault(message: str, file: Path | None, column: str | None, rows: np.ndarray, value: object) -> Fault:
    return Fault(message, file, column, int(rows[0]), value, count=len(rows))


def _pair(value: float, error: float) -> str:
    return f"{float(value)!r} with standard error {float(error)!r}"
