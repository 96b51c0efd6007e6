"""Heads that imply one another: where a head is given a higher probability than the head that it implies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import head_names, probability_matrix

ROUNDING = 4.0 * float(np.finfo(np.float32).eps)  # relative: probabilities are kept as float32 nearly everywhere


def implication_violations(
    probabilities: npt.ArrayLike, implications: Mapping[str, str], names: Sequence[str]
) -> pd.DataFrame:
    """Per declared implication (long_click implies click): rows with p_head > p_parent, which cannot be true of both.

    A model that learns P(head | parent) violates none by construction; heads that were learned one by one do, and
    cutting them to the parent would break their calibration [methods 1.3].

    Args:
        probabilities: `(N, T)`.
        implications: Head -> the head that it implies.
        names: The heads' names in column order.

    Returns:
        One row per implication: head, parent, rows, violations (rows in which p_head exceeds p_parent by more than the
        rounding of a float32), share, largest_excess (the largest p_head - p_parent among them, 0 without any), row (-1
        without any).

    Raises:
        ValueError: names that are no heads, all at once; probabilities outside [0, 1].

    >>> table = implication_violations([[0.2, 0.1], [0.2, 0.3]], {"long_click": "click"}, ["click", "long_click"])
    >>> table[["head", "violations", "row"]].to_dict("records"), round(float(table["largest_excess"][0]), 6)
    ([{'head': 'long_click', 'violations': 1, 'row': 1}], 0.1)
    """
    p = probability_matrix("probabilities", probabilities)
    heads = head_names(names, p.shape[1])
    unknown = sorted({name for pair in implications.items() for name in pair} - set(heads))
    if unknown:
        raise ValueError(f"`implications` must name heads out of {list(heads)}, got {unknown}")
    records = []
    for head, parent in implications.items():
        child, above = p[:, heads.index(head)], p[:, heads.index(parent)]
        excess = child - above
        violated = excess > ROUNDING * above
        worst = int(np.where(violated, excess, -1.0).argmax()) if violated.any() else -1
        records.append(
            {
                "head": head,
                "parent": parent,
                "rows": len(p),
                "violations": int(violated.sum()),
                "share": float(violated.mean()) if len(p) else float("nan"),
                "largest_excess": float(excess[worst]) if worst >= 0 else 0.0,
                "row": worst,
            }
        )
    columns = ["head", "parent", "rows", "violations", "share", "largest_excess", "row"]
    return pd.DataFrame(records, columns=columns)
