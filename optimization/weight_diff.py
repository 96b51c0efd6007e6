"""Two sets of utility weights side by side, and what changing from one to the other does to the order of candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray
from optimization.objective.pr_auc import utilities
from ranking.utility import Utility

if TYPE_CHECKING:
    from optimization.score_table import ScoreTable


Weights = Mapping[str, float] | Utility


def as_utility(weights: Weights) -> Utility:
    """Weights in either form as a `Utility`, which checks them."""
    return weights if isinstance(weights, Utility) else Utility.from_mapping(weights)


def weight_vector(weights: Weights, table: ScoreTable) -> FloatArray:
    """Weights `(T,)` in the order of the table's heads; a head that is not named weighs 0.

    Raises:
        ValueError: unknown heads, weights against a declared sign, all weights 0.
    """
    utility = as_utility(weights)
    utility.check(dict(zip(table.heads, table.signs)))
    return np.array([utility.weights.get(head, 0.0) for head in table.heads])


def diff_weights(a: Utility, b: Utility, names: tuple[str, str] = ("a", "b")) -> pd.DataFrame:
    """The weights of `a` and `b`, both scaled to sum |w| = 1: only ratios matter to a ranking.

    Args:
        a, b: The utilities; a head that one of them does not name weighs 0 there.
        names: The names of their columns.

    Returns:
        Columns head, the two names, difference (b - a), ratio (b / a; NaN where a is 0); heads in the order of `a`,
        then those only `b` has.

    Raises:
        ValueError: names that are equal or those of other columns.

    >>> diff_weights(Utility(click=1, save=1), Utility(click=3, save=1))["difference"].tolist()
    [0.25, -0.25]
    """
    taken = {"head", "difference", "ratio"}
    if len(set(names)) < 2 or set(names) & taken:
        raise ValueError(f"`names` must be two different names, none of them in {sorted(taken)}, got {names}")
    first, second = a.scaled().weights, b.scaled().weights
    heads = list(dict.fromkeys([*first, *second]))
    ours = np.array([first.get(head, 0.0) for head in heads])
    theirs = np.array([second.get(head, 0.0) for head in heads])
    ratio = np.divide(theirs, ours, out=np.full(len(heads), np.nan), where=ours != 0.0)
    return pd.DataFrame({"head": heads, names[0]: ours, names[1]: theirs, "difference": theirs - ours, "ratio": ratio})


def cosine(a: Utility, b: Utility) -> float:
    """The cosine of the angle between two sets of weights: 1 = the same ranking whatever the probabilities are.

    >>> cosine(Utility(click=1), Utility(click=2)), cosine(Utility(click=1), Utility(save=1))
    (1.0, 0.0)
    """
    table = diff_weights(a, b)
    ours, theirs = table["a"].to_numpy(), table["b"].to_numpy()
    return min(1.0, float(ours @ theirs / math.sqrt((ours @ ours) * (theirs @ theirs))))


@dataclass(frozen=True)
class OrderChange:
    """What another set of weights changes in the order of the candidates within their requests.

    Attributes:
        requests: Requests with at least two candidates: only there is an order.
        top_changed: Share of these requests whose first candidate is another one.
        pairs_swapped: Share of all pairs of candidates of one request that stand the other way round.
    """

    requests: int
    top_changed: float
    pairs_swapped: float

    def to_dict(self) -> dict[str, float]:
        """As it stands in metrics.json."""
        return {"requests": self.requests, "top_changed": self.top_changed, "pairs_swapped": self.pairs_swapped}


def order_change(table: ScoreTable, a: Utility, b: Utility) -> OrderChange:
    """How far the candidates of each request change places when `b` ranks them instead of `a`.

    Equal utilities count as no change: a pair is swapped when both utilities order it and in opposite ways, a first
    candidate is another one when no candidate is first by both.

    Args:
        table: The rows; row weights are not used, what is counted is what stands in the table.
        a, b: The utilities.

    Raises:
        ValueError: no request with two candidates; weights of unknown heads or against a declared sign.
    """
    scores = utilities(table.probabilities, np.vstack([weight_vector(utility, table) for utility in (a, b)]))
    codes, count = table.requests.codes, table.requests.count
    sizes = np.bincount(codes, minlength=count)
    requests = int(np.count_nonzero(sizes > 1))
    if requests == 0:
        raise ValueError("`table` must have a request with two candidates: without one there is no order to change")
    best = np.full((2, count), -np.inf, dtype=scores.dtype)
    for line, values in zip(best, scores):
        np.maximum.at(line, codes, values)
    first_by_both = (scores[0] == best[0, codes]) & (scores[1] == best[1, codes])
    kept = np.bincount(codes[first_by_both], minlength=count) > 0
    pairs = float((sizes * (sizes - 1) // 2).sum())
    return OrderChange(
        requests=requests,
        top_changed=float(np.mean(~kept[sizes > 1])),
        pairs_swapped=_swapped_pairs(codes, scores[0], scores[1]) / pairs,
    )


def _swapped_pairs(codes: npt.NDArray[np.intp], a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> int:
    """Pairs of one request with a_i > a_j and b_i < b_j, counted bit by bit of the ranks: O(N log C), not O(N C)."""
    rank = _dense_rank(codes, b)
    order = np.lexsort((rank, -a, codes))  # best by `a` first; equal by `a`: in the order of `b`, so never swapped
    group, rank = codes[order].astype(np.int64), rank[order]
    swapped = 0
    width = int(rank.max()).bit_length()
    for bit in reversed(range(width)):
        # rows with the same request and the same higher bits stand together, still in the order of `a`
        high = (group << (width - bit)) + (rank >> (bit + 1))
        one = (rank >> bit) & 1
        before = np.cumsum(one) - one
        start = np.r_[True, np.diff(high) != 0]
        within = before - before[np.flatnonzero(start)][np.cumsum(start) - 1]
        swapped += int(within[one == 0].sum())
        again = np.argsort((group << (width - bit)) + (rank >> bit), kind="stable")
        group, rank = group[again], rank[again]
    return swapped


def _dense_rank(codes: npt.NDArray[np.intp], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """The place of each row within its request, best 0, equal scores equal."""
    order = np.lexsort((-scores, codes))
    code, score = codes[order], scores[order]
    new_request = np.r_[True, np.diff(code) != 0]
    new = new_request | np.r_[True, np.diff(score) != 0]
    place = np.cumsum(new)
    rank = np.empty(len(codes), dtype=np.int64)
    rank[order] = place - place[np.flatnonzero(new_request)][np.cumsum(new_request) - 1]
    return rank
