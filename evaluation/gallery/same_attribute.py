"""Are the nearest galleries of the same kind? Same-attribute retrieval [Etsy, section 4]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray
from evaluation.gallery.retrieval import ExactIndex
from evaluation.gallery.retrieval_metrics import chance_ndcg, chance_precision, ndcg_at, precision_at, query_mean

COLUMNS = [
    "attribute", "metric", "value", "se", "low", "high", "chance", "lift", "queries", "left_out", "missing", "reason",
]  # fmt: skip
MEANS = ("value", "chance", "lift")


def same_attribute(
    matrix: npt.ArrayLike,
    labels: Mapping[str, npt.ArrayLike],
    *,
    k: int = 10,
    numeric: Sequence[str] = (),
    parts: int = 5,
    queries: int = 1000,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Precision@k and nDCG@k of galleries that share the query's value of an attribute, by cosine.

    Args:
        matrix: `(V, D)` vectors of the galleries.
        labels: Attribute -> `(V,)` values of any kind; an item without one (None, NaN) is neither query nor result
            for this attribute.
        k: Places looked at, the query itself left out; all others where fewer have a value.
        numeric: Attributes that are numbers: cut into `parts` of equal size (fifths), which then are the values.
        parts: See `numeric`.
        queries: At most so many items are drawn as queries of an attribute.
        replicates, seed: Of the draw and of the bootstrap over queries.

    Returns:
        Two rows per attribute, and two named "mean" over the attributes: attribute, metric, value, se, low, high
        (95 %), chance (what random pairs of the same queries earn), lift = value / chance, queries, left_out (queries
        whose value no other item has), missing (items without a value), reason (why there is no number).

    Raises:
        ValueError: labels of another length; a name in `numeric` without labels; an attribute named "mean".

    >>> matrix = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
    >>> table = same_attribute(matrix, {"pool": [True, True, False, False]}, k=1)
    >>> table.loc[0, ["value", "chance", "lift"]].tolist()
    [1.0, 0.3333333333333333, 3.0]
    """
    array = np.asarray(matrix)
    unknown = [name for name in numeric if name not in labels]
    if unknown:
        raise ValueError(f"`numeric` must name attributes of `labels`, got {unknown[0]!r}")
    if "mean" in labels:
        raise ValueError("`labels` must not name an attribute 'mean': so the row over all attributes is called")
    if k < 1 or parts < 2 or queries < 1:
        raise ValueError(f"`k` and `queries` must be at least 1, `parts` at least 2, got {k}, {queries} and {parts}")
    rows: list[dict[str, object]] = []
    for name, values in labels.items():
        codes = _codes(name, values, len(array), parts if name in numeric else None)
        rows += _attribute(array, name, codes, k, queries, replicates, seed)
    table = pd.DataFrame(rows, columns=COLUMNS)
    for metric in dict.fromkeys(table["metric"]):
        of_metric = table[table["metric"] == metric]
        known = of_metric[of_metric["value"].notna()]
        average = {column: float(known[column].mean()) if len(known) else np.nan for column in MEANS}
        total = {column: int(of_metric[column].sum()) for column in ("queries", "left_out", "missing")}
        reason = None if len(known) else "no attribute has a value"
        rows.append({"attribute": "mean", "metric": metric, **average, **total, "reason": reason})
    return pd.DataFrame(rows, columns=COLUMNS)


def _attribute(
    matrix: np.ndarray, name: str, codes: np.ndarray, k: int, queries: int, replicates: int, seed: int
) -> list[dict[str, object]]:
    labelled = np.flatnonzero(codes >= 0)
    missing = len(codes) - len(labelled)
    depth = min(k, len(labelled) - 1)
    classes = len(np.unique(codes[labelled]))
    base = {"attribute": name, "missing": missing}
    if depth < 1 or classes < 2:
        reason = f"needs two labelled items of different values, got {len(labelled)} item(s) of {classes} value(s)"
        return [
            {**base, "metric": f"{metric}@{k}", "queries": 0, "left_out": 0, "reason": reason}
            for metric in ("precision", "nDCG")
        ]
    own = np.sort(np.random.default_rng(seed).permutation(len(labelled))[:queries])
    code = codes[labelled]
    relevant = np.bincount(code)[code[own]] - 1.0
    vectors = matrix[labelled]
    found, _ = ExactIndex(vectors).search(vectors[own], depth, exclude=own)
    same = code[found] == code[own][:, None]
    others = len(labelled) - 1
    return [
        {**base, **_row(f"precision@{k}", precision_at(same, relevant, depth), chance_precision(relevant, others),
                        replicates, seed)},
        {**base, **_row(f"nDCG@{k}", ndcg_at(same, relevant, depth), chance_ndcg(relevant, others, depth),
                        replicates, seed)},
    ]  # fmt: skip


def _row(metric: str, values: FloatArray, chances: FloatArray, replicates: int, seed: int) -> dict[str, object]:
    estimate, left_out = query_mean(values, replicates=replicates, seed=seed)
    chance = float(np.nanmean(chances)) if left_out < len(values) else np.nan
    return {
        "metric": metric,
        "value": estimate.value,
        "se": estimate.standard_error,
        "low": estimate.low,
        "high": estimate.high,
        "chance": chance,
        "lift": estimate.value / chance,
        "queries": len(values) - left_out,
        "left_out": left_out,
        "reason": estimate.reason,
    }


def _codes(name: str, values: npt.ArrayLike, items: int, parts: int | None) -> np.ndarray:
    """The number of each item's value, -1 without one."""
    series = pd.Series(np.asarray(values) if not isinstance(values, pd.Series) else values.to_numpy())
    if len(series) != items:
        raise ValueError(f"`labels[{name!r}]` must have {items} row(s) as `matrix`, got {len(series)}")
    if parts is not None:
        numbers = series.astype(float)
        if not numbers.notna().any():
            return np.full(items, -1)
        edges = np.unique(np.nanquantile(numbers, np.arange(1, parts) / parts))
        return np.where(numbers.isna(), -1, np.searchsorted(edges, numbers, side="right"))
    return np.asarray(pd.factorize(series)[0], np.int64)
