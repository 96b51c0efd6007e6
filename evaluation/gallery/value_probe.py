"""The probe of a held-out number (a price): ridge regression on frozen vectors, judged by R2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, float_array
from evaluation.clusters import Clusters, clustered_standard_error
from evaluation.estimate import Estimate
from evaluation.gallery.probe_design import Part, ProbeDesign
from evaluation.gallery.probe_result import verdict
from evaluation.gallery.threads import one_thread
from evaluation.proper_scores import ratio_of_sums

ALPHAS = tuple(float(alpha) for alpha in np.logspace(0, 6, 13))  # L2 strengths on standardised columns


@one_thread()
def probe_values(
    values: npt.ArrayLike,
    arms: Mapping[str, npt.ArrayLike],
    design: ProbeDesign,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    alphas: Sequence[float] = ALPHAS,
) -> pd.DataFrame:
    """R2 of a ridge regression from each arm's vectors, and the first arm's advantage over the others.

    R2 = 1 - sum (y - yhat)^2 / sum (y - mean y)^2 over the tested items; the squared errors are means over the seeds,
    the standard error is the ratio's, clustered by group. The strength is chosen by grouped inner folds (design
    "folds") or on the validation part (design "split").

    Args:
        values: `(N,)` finite numbers; take a price's logarithm before.
        arms: Name -> `(N, D)` vectors.
        design: How the items are divided.
        seeds: As in `HoldoutProbe`.
        alphas: L2 strengths tried.

    Returns:
        One row per arm: arm, items (tested), r2, se, low, high, and against the first arm difference (the first one's
        R2 less this one's), difference_low, difference_high, verdict (of the first one).

    Raises:
        ValueError: lengths that differ, a value or a vector that is not finite, values that are all equal.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 4))
    >>> table = probe_values(x @ [1, 2, 0, 0], {"vectors": x}, ProbeDesign.by_folds(np.arange(200)), seeds=[0])
    >>> table["r2"].round(2).tolist()
    [1.0]
    """
    y = float_array("values", values)
    if len(y) != len(design.groups.codes):
        raise ValueError(f"`values` must have {len(design.groups.codes)} row(s), got {len(y)}")
    if not np.isfinite(y).all():
        raise ValueError("`values` must be finite, got NaN or infinities: take these items out before")
    tested = design.tested
    groups = Clusters.of(design.groups.codes[tested])
    spread = (y[tested] - y[tested].mean()) ** 2
    if not spread.any():
        raise ValueError(f"`values` must differ among the tested items, got {y[tested][0]:g} for all of them")
    rows: list[dict[str, object]] = []
    first: tuple[float, FloatArray] | None = None
    for name, matrix in arms.items():
        x = float_array(name, matrix, ndim=2)
        if len(x) != len(y) or not np.isfinite(x).all():
            raise ValueError(f"arm {name!r} must hold {len(y)} finite vectors, one per value, got shape {x.shape}")
        errors = np.mean([_squared_errors(y, x, design, seed, alphas) for seed in seeds], axis=0)
        ratio, influence = ratio_of_sums(errors, spread, np.ones(len(errors)))
        if first is None:
            first = (ratio, influence)
        r2 = Estimate.linear(1.0 - ratio, clustered_standard_error(influence, groups), bounds=(-np.inf, 1.0))
        gain = Estimate.linear(ratio - first[0], clustered_standard_error(first[1] - influence, groups))
        rows.append(
            {
                "arm": name,
                "items": len(tested),
                "r2": r2.value,
                "se": r2.standard_error,
                "low": r2.low,
                "high": r2.high,
                "difference": gain.value,
                "difference_low": gain.low,
                "difference_high": gain.high,
                "verdict": verdict(gain.low, gain.high),
            }
        )
    return pd.DataFrame(rows)


def _squared_errors(
    y: FloatArray, x: FloatArray, design: ProbeDesign, seed: int, alphas: Sequence[float]
) -> FloatArray:
    """`(tested,)` squared errors of one seed."""
    predicted = np.full(len(y), np.nan)
    for part in design.parts(seed):
        predicted[part.test] = _ridge(y, x, part, design.groups, alphas)
    return np.asarray((predicted - y)[design.tested] ** 2)


def _ridge(y: FloatArray, x: FloatArray, part: Part, groups: Clusters, alphas: Sequence[float]) -> FloatArray:
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if part.inner_folds:
        rows = np.concatenate([part.train, part.validation])
        folds = list(GroupKFold(part.inner_folds).split(rows, groups=groups.codes[rows]))
    else:
        rows = part.train
        folds = []
    losses = []
    for alpha in alphas:
        model = make_pipeline(StandardScaler(), Ridge(alpha=alpha))
        pairs = [(rows[inner], rows[held]) for inner, held in folds] if folds else [(rows, part.validation)]
        losses.append(
            np.concatenate([(model.fit(x[inner], y[inner]).predict(x[held]) - y[held]) ** 2 for inner, held in pairs])
        )
    best = alphas[int(np.argmin([loss.mean() for loss in losses]))]
    answer = make_pipeline(StandardScaler(), Ridge(alpha=best)).fit(x[rows], y[rows]).predict(x[part.test])
    return np.asarray(answer, dtype=np.float64)
