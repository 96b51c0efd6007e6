"""Refitting a fitted model on held-out rows: two parameters per node, and offsets per segment where asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from features import EncodedLog, Encoders
from ranking.calibration import Calibration, SegmentRefits
from ranking.heads import NO_PARENT, HeadTree
from ranking.log_space import logit_from_log
from ranking.refit import AffineRefit
from ranking.refit_shrinkage import Shift, kept_shifts
from ranking.scorer import Scorer
from ranking.segment_refit import SegmentRefit
from ranking.segments import segment_codes, segment_values


@dataclass(frozen=True)
class Fitted:
    """Per node (T + 1) at one treatment of the position: refit, shift with variance, offsets (none without codes)."""

    refits: tuple[AffineRefit, ...]
    shifts: tuple[Shift, ...]
    offsets: tuple[SegmentRefit, ...]


def fit_calibration(
    tree: HeadTree,
    scorer: Scorer,
    encoders: Encoders,
    serving: EncodedLog,
    logged: EncodedLog,
    negative_rate: float | np.ndarray,
    *,
    shrink: bool = False,
    by: str | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """The refits on calibrate rows, at the serving position and at the logged one.

    `serving` and `logged` are the same rows with the position set either way; one and the same log where there is no
    position. `shrink` takes off what is chance in the nodes' shifts (`ranking.refit_shrinkage`). `by` is the feature
    whose values get offsets of their own (`ranking.segment_refit`), None: no offsets.
    """
    values = () if by is None else segment_values(encoders, by)

    def fitted(rows: EncodedLog) -> Fitted:
        codes = None if by is None else segment_codes(encoders, by, rows.inputs)
        return fit_refits(tree, scorer.logits(rows.inputs), negative_rate, rows, codes, len(values) + 1)

    at_logged = fitted(logged)
    at_serving = at_logged if serving is logged else fitted(serving)
    segments = None
    if by is not None:
        segments = SegmentRefits(by, values, at_serving.offsets, at_logged.offsets)
        spread = ", ".join(f"{node} {r.tau:.3f}" for node, r in zip(tree.nodes, segments.serving, strict=True))
        log(f"refit by {by}: spread of the logit between {len(values)} segments {spread} (0: one refit for all)")
    if not shrink:
        return Calibration(at_serving.refits, at_logged.refits, segments)
    kept, tau = kept_shifts(at_logged.shifts)
    chance = [shift.value - float(k) for shift, k in zip(at_logged.shifts, kept)]
    log(f"spread of the logit's shift between nodes {tau:.3f}; taken for chance: {_listed(tree.nodes, chance)}")
    return Calibration(_without(at_serving.refits, chance), _without(at_logged.refits, chance), segments)


def fit_refits(
    tree: HeadTree,
    z: np.ndarray,
    negative_rate: float | np.ndarray,
    log: EncodedLog,
    codes: np.ndarray | None = None,
    n_codes: int = 1,
) -> Fitted:
    """Refit every node on held-out rows weighted by 1 / pi [methods 1.2]: closed form first, then the affine map.

    `z` (N, T + 1) node logits of the N rows of `log`. A child is refitted on the rows where its parent happened, so the
    product keeps the declared implications. Standard errors are clustered by request. With `codes` (N,), the segment of
    each row, 0 .. `n_codes` - 1 and 0 = unknown, there are offsets per segment too, on the same rows and weights.
    """
    corrected = tree.log_probabilities(z, negative_rate, "corrected")
    node_labels = tree.node_labels(log.labels.numpy(), log.protected.numpy())
    weights, requests = 1.0 / log.keep_prob.numpy(), log.requests.numpy()
    refits, shifts, offsets = [], [], []
    for node, parent in enumerate(tree.parents):
        own = logit_from_log(corrected[:, node] - (corrected[:, parent] if parent != NO_PARENT else 0.0))
        labels = node_labels[:, node]
        refit = AffineRefit.fit(own, labels, weights, groups=requests)
        refits.append(refit)
        shifts.append(Shift.of(refit, own, labels, weights, requests))
        if codes is not None:
            # On top of the refit before it is shrunk: what that takes for chance must not come back per segment.
            offsets.append(SegmentRefit.fit(refit.apply(own), labels, codes, n_codes, weights, requests))
    return Fitted(tuple(refits), tuple(shifts), tuple(offsets))


def _without(refits: tuple[AffineRefit, ...], chance: list[float]) -> tuple[AffineRefit, ...]:
    return tuple(replace(refit, intercept=refit.intercept - x) for refit, x in zip(refits, chance, strict=True))


def _listed(nodes: tuple[str, ...], values: list[float]) -> str:
    return ", ".join(f"{node} {value:+.3f}" for node, value in zip(nodes, values, strict=True))
