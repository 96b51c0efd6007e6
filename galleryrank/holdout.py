"""The held-out attribute that a command asks for, and whether enough of it is known to probe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.gallery.probe_design import ProbeDesign
from features import Fault, InputError
from features.gallery import GalleryData

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
        InputError: Too few items have a value, or too few another value than the most frequent one: some part of the
            division would hold one class only.
    """
    values = data.holdout(name).to_pandas()
    rows = np.flatnonzero(values.notna().to_numpy() & has_vector)
    groups, known = data.groups[rows], values.iloc[rows]
    units, number = len(np.unique(groups)), pd.api.types.is_numeric_dtype(values) and known.nunique() > MANY_VALUES
    labels = pd.qcut(known, 5, labels=False, duplicates="drop").to_numpy() if number else known.to_numpy()
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
