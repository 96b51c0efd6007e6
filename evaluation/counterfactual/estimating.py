"""Every estimator on every head, beside what the log itself earned, with the clipping report: one table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray, float_array, head_names, label_matrix
from evaluation.counterfactual.doubly_robust import doubly_robust
from evaluation.counterfactual.inverse_propensity import inverse_propensity
from evaluation.counterfactual.position_based import position_based, position_effect
from evaluation.counterfactual.reranking import Reranking
from evaluation.counterfactual.self_normalised import self_normalised
from evaluation.counterfactual.support import Support, measure_support
from evaluation.counterfactual.utility_faults import UTILITY, utility_faults
from evaluation.counterfactual.valued import Valued
from evaluation.counterfactual.weights import check_clip, default_clip
from evaluation.metrics_json import jsonable

__all__ = ["ESTIMATORS", "CounterfactualResult", "estimate_reranking"]

ESTIMATORS = ("ips", "snips", "dr", "pbm")
WITHOUT_MODEL = "no probabilities to start from: the new ranking has a score only"
WITHOUT_REQUESTS = "no request whose every candidate has a label"
WITHOUT_POSITIVES = "no positive row"
WITHOUT_SHARED = "no positive row among the placements that both orders share"


@dataclass(frozen=True, eq=False)
class CounterfactualResult:
    """What a new ranking of the logged candidates would have earned per request.

    Attributes:
        table: head, estimator ("logged": what the log earned; then ips, snips, dr, pbm), value, se, low, high, reason,
            requests, and of the new ranking minus the logged one difference, difference_se, difference_low,
            difference_high. Heads in order, then "utility" where its weights are given.
        effects: head, position, effect: of the position on an engagement as pbm has it, 1 at the top.
        support: The clipping report.
        cutoff: K, where only the first K positions count.
        notes: Sentences for the reader.
    """

    table: pd.DataFrame
    effects: pd.DataFrame
    support: Support
    cutoff: int | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: table, effects, support, positions, clip, cutoff, notes."""
        found: dict[str, Any] = jsonable(
            {
                "table": self.table.astype(object).where(self.table.notna(), None),
                "effects": self.effects,
                "support": self.support.numbers,
                "positions": self.support.positions,
                "clip": self.support.clip,
                "cutoff": self.cutoff,
                "notes": list(self.notes),
            }
        )
        return found


def estimate_reranking(
    reranking: Reranking,
    labels: npt.ArrayLike,
    *,
    names: Sequence[str] | None = None,
    model: npt.ArrayLike | None = None,
    relevance: npt.ArrayLike | None = None,
    utility: Mapping[str, float] | None = None,
    clip: float | None = None,
    notes: Sequence[str] = (),
) -> CounterfactualResult:
    """Estimate the expected engagements per request under a new ranking, head by head.

    Args:
        reranking: N logged candidates and their new positions.
        labels: `(N, T)` 0, 1 or NaN; for each head only requests without a missing label count.
        names: The heads.
        model: `(N, T)` predicted engagement of each item at its **new** position, for dr. None: `relevance` times the
            position's effect as pbm has it.
        relevance: `(N, T)` predicted engagement at one position for all, for pbm. None: all items alike, and without a
            `model` dr has none.
        utility: Weights of heads, finite and not all 0; adds the head "utility", sum_t w_t V_t.
        clip: The smallest propensity that is divided by; None for `default_clip`.
        notes: Sentences to put before those of the clipping report.

    Raises:
        ValueError: arrays that do not fit together, a clip outside [0, 1), a utility that cannot be valued.
        InputError: the new order follows the logged one.

    >>> requests, places = np.repeat(np.arange(40), 2), np.tile([1, 2], 40)       # items 0, 1, 0, 1, ... or 1, 0, ...
    >>> items = np.tile([0, 1, 1, 0], 20)
    >>> new = Reranking.of(-items, items, requests, places, np.full(80, 0.5))     # item 0 first
    >>> clicks = ((items == 0) & (places == 1)).astype(float)[:, None]
    >>> estimate_reranking(new, clicks, names=["click"]).table[["estimator", "value"]].values.tolist()
    [['logged', 0.5], ['ips', 1.0], ['snips', 1.0], ['dr', nan], ['pbm', nan]]
    """
    y = label_matrix("labels", labels)
    heads = head_names(names, y.shape[1])
    rows = (len(reranking.new), len(heads))
    predicted, ranked = (_matrix(name, p, rows) for name, p in (("model", model), ("relevance", relevance)))
    if y.shape != rows:
        raise ValueError(f"`labels` must have shape {rows}, got {y.shape}")
    if utility is not None and (faults := utility_faults(utility, heads)):
        raise ValueError("; ".join(faults))
    least = default_clip(reranking) if clip is None else check_clip(clip)
    support = measure_support(reranking, least)
    support.refuse_dependent()
    found: dict[str, dict[str, Valued]] = {}
    counts, effects, left_out = {}, [], {}
    for t, head in enumerate(heads):
        part, label = reranking.labelled(y[:, t])
        counts[head] = part.requests
        if part.requests < reranking.requests:
            left_out[head] = reranking.requests - part.requests
        own = None if ranked is None else ranked[:, t]
        found[head], effect = _of_head(part, label, None if predicted is None else predicted[:, t], own, least)
        effects.append(pd.DataFrame({"head": head, "position": np.arange(1, len(effect) + 1), "effect": effect}))
    bounds = dict.fromkeys(heads, 0.0)  # engagements cannot be fewer than none
    if utility is not None:
        weighted = {head: weight for head, weight in utility.items() if weight != 0.0}
        found[UTILITY] = {
            name: Valued.mixed({head: found[head][name] for head in weighted}, weighted)
            for name in ("logged", *ESTIMATORS)
        }
        counts[UTILITY] = min(counts[head] for head in weighted)
        bounds[UTILITY] = 0.0 if min(weighted.values()) > 0.0 else -math.inf
    said = [*notes, *support.notes()]
    if left_out:
        counted = ", ".join(f"{head} {n:,}" for head, n in left_out.items())
        said.append(f"Requests left out because some label is missing: {counted}.")
    lines = [line for head, values in found.items() for line in _lines(head, values, counts[head], bounds[head])]
    return CounterfactualResult(
        pd.DataFrame(lines), pd.concat(effects, ignore_index=True), support, reranking.cutoff,
        tuple(dict.fromkeys(said)),
    )  # fmt: skip


def _of_head(
    reranking: Reranking, labels: FloatArray, model: FloatArray | None, relevance: FloatArray | None, clip: float
) -> tuple[dict[str, Valued], FloatArray]:
    """The estimates by name, and the effect `(P,)` of the positions."""
    if not reranking.requests:
        return _nothing(reranking, WITHOUT_REQUESTS), np.empty(0)
    positive = (labels > 0.0) & (reranking.weights[reranking.clusters.codes] > 0.0)
    if not positive.any():  # a model alone is no evidence either
        return _nothing(reranking, WITHOUT_POSITIVES), np.empty(0)
    effect = position_effect(reranking, labels, relevance, clip)
    relative = np.empty(0) if effect is None else effect.relative()
    if model is None and relevance is not None:
        # a number that is no probability (a score beyond 1) is a poorer model, not a wrong one: dr corrects it
        model = relevance if effect is None else relevance * effect.theta[effect.groups[reranking.new - 1]]
    robust = (
        Valued.missing(reranking.clusters.count, WITHOUT_MODEL)
        if model is None
        else doubly_robust(reranking, labels, model, clip)
    )
    values = {
        "logged": logged_value(reranking, labels),
        "ips": inverse_propensity(reranking, labels, clip),
        "snips": self_normalised(reranking, labels, clip),
        "dr": robust,
        "pbm": position_based(reranking, labels, relevance, clip),
    }
    seen = positive if reranking.cutoff is None else positive & (reranking.logged <= reranking.cutoff)
    if not seen.any():
        reason = f"{WITHOUT_POSITIVES} at positions up to {reranking.cutoff}"
        values["logged"] = Valued.missing(reranking.clusters.count, reason)
    if reranking.matched.any() and not (seen & reranking.matched).any():
        values |= dict.fromkeys(("ips", "snips"), Valued.missing(reranking.clusters.count, WITHOUT_SHARED))
    return values, relative


def _nothing(reranking: Reranking, reason: str) -> dict[str, Valued]:
    return dict.fromkeys(("logged", *ESTIMATORS), Valued.missing(reranking.clusters.count, reason))


def logged_value(reranking: Reranking, labels: FloatArray) -> Valued:
    """What the log earned per request, at positions up to the cutoff.

    >>> one = Reranking.of([1, 0], ["a", "b"], [1, 1], [1, 2], [0.5, 0.5], cutoff=1)
    >>> logged_value(one, np.array([0.0, 1.0])).value
    0.0
    """
    earned = labels if reranking.cutoff is None else labels * (reranking.logged <= reranking.cutoff)
    parts = reranking.per_request(earned)
    value = float(parts.sum())
    return Valued(value, parts - value * reranking.weights / reranking.total)


def _lines(head: str, values: Mapping[str, Valued], requests: int, least: float) -> list[dict[str, Any]]:
    lines = []
    for estimator, valued in values.items():
        line = {"head": head, "estimator": estimator, **valued.to_dict(least), "requests": requests}
        gap = {} if estimator == "logged" else valued.minus(values["logged"]).to_dict()
        line |= {"difference": gap.get("value")}
        line |= {f"difference_{key}": gap.get(key) for key in ("se", "low", "high")}
        lines.append(line)
    return lines


def _matrix(name: str, values: npt.ArrayLike | None, shape: tuple[int, int]) -> FloatArray | None:
    if values is None:
        return None
    array = float_array(name, values, ndim=2)
    if array.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"`{name}` must be finite, got {array[row, column]:g} at row, column {row}, {column}")
    return array
