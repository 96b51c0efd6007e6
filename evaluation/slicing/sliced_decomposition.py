"""Where the Brier score of every slice comes from: its CORP decomposition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import head_names, label_matrix, probability_matrix, weight_vector
from evaluation.decomposition import brier_decomposition
from evaluation.slicing.slice_counts import check_slice_rows
from evaluation.slicing.slices import Slices

PARTS = ("miscalibration", "discrimination", "uncertainty")


def slice_decomposition(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    weights: npt.ArrayLike | None,
    slices: Sequence[Slices],
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Brier = miscalibration - discrimination + uncertainty, exactly, of every head in every slice.

    Each slice is recalibrated by itself [Dimitriadis, Gneiting & Jordan 2021]: what a slice's own monotone map would
    gain is not what the map of all rows gains there.

    Args:
        labels: `(N, T)` 0, 1 or NaN for a missing label, which is left out of that head alone.
        probabilities: `(N, T)` calibrated probabilities.
        weights: `(N,)` >= 0; 1 / keep_prob on a sampled log.
        slices: The columns' partitions of the N rows.
        names: The heads' names in column order.

    Returns:
        Columns head, column, slice, metric ("brier_miscalibration", "brier_discrimination", "brier_uncertainty"),
        value; NaN where no row with a label carries weight.

    Raises:
        ValueError: labels other than 0, 1, NaN; probabilities outside [0, 1]; negative weights; shapes that differ.

    >>> device = Slices.of("device", ["desk", "desk", "phone", "phone"])
    >>> table = slice_decomposition([[1], [0], [1], [0]], [[0.75], [0.25], [0.5], [0.5]], None, [device], ["click"])
    >>> table[table["slice"] == "desk"].set_index("metric")["value"].to_dict()
    {'brier_miscalibration': 0.0625, 'brier_discrimination': 0.25, 'brier_uncertainty': 0.25}
    """
    y = label_matrix("labels", labels)
    p = probability_matrix("probabilities", probabilities, y.shape)
    w = weight_vector(weights, len(y))
    check_slice_rows(slices, len(y))
    records = []
    for part in slices:
        order = np.argsort(part.codes, kind="stable")
        ends = np.cumsum(part.rows())
        parts = np.split(order, ends[:-1])
        for index, head in enumerate(head_names(names, y.shape[1])):
            known = ~np.isnan(y[:, index])
            for name, rows in zip(part.names, parts):
                kept = rows[known[rows]]
                found = brier_decomposition(y[kept, index], p[kept, index], w[kept])
                records += [
                    {"head": head, "column": part.column, "slice": name}
                    | {"metric": f"brier_{term}", "value": getattr(found, term)}
                    for term in PARTS
                ]
    return pd.DataFrame(records, columns=["head", "column", "slice", "metric", "value"])
