"""Several tests at once: p-values adjusted so that the chance of any false alarm stays at the level."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, float_array


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Holm's step-down adjusted p-values: max over j <= i of (m - j + 1) p_(j), cut at 1 [Holm 1979].

    Valid whatever the tests' dependence on one another, and never weaker than Bonferroni.

    Args:
        p_values: `(K,)` within [0, 1]; NaN is a test that was not made and does not count.

    Returns:
        `(K,)` in the same order, NaN where it was NaN.

    >>> holm([0.01, 0.04, float("nan"), 0.03]).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    p = float_array("p_values", p_values)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    stepped = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1))
    out = np.full(len(p), np.nan)
    out[order] = np.minimum(stepped, 1.0)
    return out
