"""The held-out attribute that a command asks for, and whether enough of it is known to probe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.types as pt

from evaluation.gallery.probe_design import ProbeDesign
from features import Fault, InputError
from features.errors import raise_faults
from features.findings import Findings
from features.gallery import GalleryData
from features.ids import is_string

FEWEST, FEWEST_GROUPS = 20, 10  # labelled items, and groups of them: five folds need two each
FEWEST_IN_SPLIT = 2000  # groups from which one test part is large enough; below, every item is tested once
MANY_VALUES = 20  # an attribute with more different numbers is a number: it is cut into five equal parts


@dataclass(frozen=True, eq=False)
class HeldOut:
    """An attribute that no training saw.

    Attributes:
        name: Its column.
        rows: `(N,)` rows of the items table that have a value and a vector.
        values: `(N,)` as they are.
        labels: `(N,)` the classes: the values, or fifths of a number.
        number: Whether the classes are parts of a number.
        design: How the N items are divided.
    """

    name: str
    rows: np.ndarray
    values: np.ndarray
    labels: np.ndarray
    number: bool
    design: ProbeDesign


def holdout_name(data: GalleryData, name: str | None) -> str:
    """The held-out column of the items table that is asked for, or the only one.

    Raises:
        InputError: It is not held out, or several are and none is named.
    """
    known = data.schema.item_holdout
    if name is None and len(known) == 1:
        return known[0]
    if name is None or name not in known:
        found = ", ".join(known) or "[columns].holdout in dataset.toml names none"
        raise InputError(Fault(f"must name a held-out column: {found}", key="--holdout", value=name))
    return name


def held_out(data: GalleryData, name: str, has_vector: np.ndarray) -> HeldOut:
    """The attribute `name` of the items `has_vector` `(V,)` bool.

    Raises:
        InputError: Its values are neither numbers nor text nor booleans, or infinite; too few items have one, or too
            few another value than the most frequent one: some part of the division would hold one class only.
    """
    values = _values(data, name)
    rows = np.flatnonzero(values.notna().to_numpy() & has_vector)
    groups, known = data.groups[rows], values.iloc[rows]
    units, number = len(np.unique(groups)), pd.api.types.is_numeric_dtype(values) and known.nunique() > MANY_VALUES
    labels = pd.qcut(known, 5, labels=False, duplicates="drop").to_numpy() if number else _classes(known)
    file = data.items_at[0][0]
    if len(rows) < FEWEST or units < FEWEST_GROUPS:
        message = (
            f"must be known for at least {FEWEST} items that have a vector, in {FEWEST_GROUPS} groups: "
            f"got {len(rows):,} in {units:,}"
        )
        raise InputError(Fault(message, file, name))
    others = len(np.unique(groups[labels != pd.Series(labels).mode()[0]]))
    if others < FEWEST_GROUPS:
        message = (
            f"must differ from its most frequent value in at least {FEWEST_GROUPS} groups of items: got {others:,}"
        )
        raise InputError(Fault(message, file, name))
    design = ProbeDesign.split(groups) if units >= FEWEST_IN_SPLIT else ProbeDesign.by_folds(groups)
    return HeldOut(name, rows, known.to_numpy(), labels, bool(number), design)


def _values(data: GalleryData, name: str) -> pd.Series:
    """The held-out column `(V,)`, as numbers, text or booleans.

    Raises:
        InputError: It is of another type, or holds an infinite number.
    """
    array = data.holdout(name)
    array = array.dictionary_decode() if pt.is_dictionary(array.type) else array
    dtype = array.type
    array = array.cast(pa.float64()) if pt.is_decimal(dtype) else array
    number = pt.is_integer(dtype) or pt.is_floating(dtype) or pt.is_decimal(dtype)
    if not (number or pt.is_boolean(dtype) or pt.is_null(dtype) or is_string(dtype)):
        message = f"must be numbers, text or booleans to be probed, got type {dtype}"
        raise InputError(Fault(message, data.items_at[0][0], name))
    values = array.to_pandas()
    if number:
        infinite, findings, start = np.isinf(values.to_numpy(np.float64)), Findings(), 0
        for file, rows in data.items_at:
            part = slice(start, start + rows)
            findings.rows(infinite[part], "must be finite", file, name, 0, array[part])
            start += rows
        raise_faults(findings.faults())
    return values


def _classes(known: pd.Series) -> np.ndarray:
    """The values as classes; whole numbers that missing ones turned into floats are integers again: 1, not 1.0."""
    if pd.api.types.is_float_dtype(known) and (known == known.round()).all() and (known.abs() < 2**53).all():
        return known.to_numpy().astype(np.int64)
    return known.to_numpy()
