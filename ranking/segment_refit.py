"""Offsets per segment on top of a node's affine refit, shrunk towards it by empirical Bayes.

One refit for all rows is right on average and may be wrong on every platform; one refit per platform is right where
there are many engagements and noise where there are few. Between the two, per node and segment s:

    logit p'_i = a z_i + b + delta_s(i),   delta_s ~ N(0, tau^2),   delta = 0 for a value that training did not know

    delta_s = argmax l_s(delta) / d - delta^2 / (2 tau^2),   l_s(delta) = sum_i in s w_i log p(y_i | a z_i + b + delta)

    tau = argmax sum_s (l_s(delta_s) - l_s(0)) / d - delta_s^2 / (2 tau^2) - log(1 + tau^2 I_s / d) / 2      (the gain)

the posterior mode of a random intercept, and the marginal likelihood of its spread by Laplace's approximation [Morris
1983, "Parametric empirical Bayes inference"; Breslow and Clayton 1993]. I_s is the information of l_s at delta_s, and

    d = sum over requests r and segments s (sum_i in r, s w_i (y_i - p_i))^2 / sum_i w_i p_i (1 - p_i)

the design effect: rows of one request are not independent and a weighted row is not w rows, so that the log likelihood
counts 1 / d of what it seems to [Rao and Scott 1981]. There is one d per node: a segment without a positive would have
one near 0, and its silence would pass for certainty.

The offsets are used where they are worth their one parameter, tau (gain > 1, Akaike's criterion); else tau is 0 and
the affine refit stands bit for bit. There is no slope per segment: refits of their
own for the larger segments made the log loss of later rows worse (docs/log.md).

Notation: z the logit of a corrected probability, a and b the affine refit, w = 1 / keep_prob.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ranking.log_space import log_sigmoid
from ranking.segment_likelihood import Segments

__all__ = ["SegmentRefit"]

Vector = NDArray[np.float64]
Codes = NDArray[np.int64]

LEAST_EFFECT = 0.1  # of d: where rows of a request happen to cancel, the log likelihood would count without bound
LEAST_GAIN = 1.0  # in log likelihood: what Akaike's criterion asks of one more parameter


@dataclass(frozen=True)
class SegmentRefit:
    """The fitted offsets of one node: logit p' = a logit p + b + offsets[code].

    Attributes:
        offsets: delta of each of the K codes, in logits; that of code 0 (unseen, rare or missing value) is 0.
        errors: standard deviation of each delta given the data and tau (tau where there is no row); 0 without offsets.
        positives: labelled engagements of each segment among the rows it was fitted on.
        tau: the spread of the offsets between segments; 0 = the affine refit as it is.
        design_effect: d.
        gain: of the log likelihood by letting tau be what it is.
        reason: why there are no offsets; None where there are.

    >>> rng = np.random.default_rng(0)
    >>> code = rng.integers(1, 4, 60_000)                              # three segments, base rate 12 %
    >>> y = rng.random(60_000) < 1 / (1 + np.exp(2 - np.array([0, 0.4, 0, -0.4])[code]))
    >>> fitted = SegmentRefit.fit(np.full(60_000, -2.0), y, code, 4)
    >>> [round(x, 1) for x in fitted.offsets], fitted.tau > 0.2
    ([0.0, 0.4, 0.0, -0.4], True)
    """

    offsets: tuple[float, ...]
    errors: tuple[float, ...]
    positives: tuple[int, ...]
    tau: float = 0.0
    design_effect: float = 1.0
    gain: float = 0.0
    reason: str | None = None

    def __post_init__(self) -> None:
        if faults := self._faults():
            raise ValueError("; ".join(faults))

    def _faults(self) -> list[str]:
        """Values that no fit can have, all of them: a refit read from a file is applied to every score."""
        columns = {name: getattr(self, name) for name in ("offsets", "errors", "positives")}
        if unlisted := [name for name, column in columns.items() if not isinstance(column, tuple)]:
            return [f"`{name}` must be a list of numbers, got {columns[name]!r}" for name in unlisted]
        faults = []
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1 or not self.offsets:
            faults.append(f"`offsets`, `errors` and `positives` must have one length >= 1, got {lengths}")
        checks = (
            ("offsets", "finite", self.offsets, _finite),
            ("errors", "finite and >= 0", self.errors, lambda x: _finite(x) and x >= 0),
            ("positives", "whole numbers >= 0", self.positives, lambda x: isinstance(x, int) and _finite(x) and x >= 0),
            ("tau", "finite and >= 0", (self.tau,), lambda x: _finite(x) and x >= 0),
            ("design_effect", "finite and > 0", (self.design_effect,), lambda x: _finite(x) and x > 0),
            ("gain", "finite", (self.gain,), _finite),
            ("reason", "a text or null", (self.reason,), lambda x: x is None or isinstance(x, str)),
        )
        for name, expected, values, fits in checks:
            if bad := [value for value in values if not fits(value)]:
                faults.append(f"`{name}` must be {expected}, got {bad[0]!r}")
        if self.offsets and _finite(self.offsets[0]) and self.offsets[0] != 0.0:
            faults.append(f"`offsets` must be 0 for code 0, got {self.offsets[0]!r}")
        return faults

    @classmethod
    def fit(
        cls,
        logits: ArrayLike,
        labels: ArrayLike,
        codes: ArrayLike,
        n_codes: int,
        weights: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> SegmentRefit:
        """Fit the offsets of one node on held-out rows.

        Args:
            logits: (N,) logits after the affine refit, a z + b.
            labels: (N,) 0/1; NaN = missing, left out. For an implied head: NaN where the parent is 0.
            codes: (N,) segment of each row, 0 .. K - 1; 0 = unseen, rare or missing.
            n_codes: K.
            weights: (N,) 1 / pi, as for the affine refit; None = 1. Weight 0 leaves out.
            groups: (N,) request of each row; None = every row by itself.

        Raises:
            ValueError: differing lengths; all at once: a logit that is not finite, a label outside {0, 1}, a negative
                weight, a code that is no whole number within 0 .. K - 1.
        """
        eta, y, w, s, g = _rows(logits, labels, codes, n_codes, weights, groups)
        counts = np.bincount(s, y, n_codes).astype(np.int64)
        nothing = cls((0.0,) * n_codes, (0.0,) * n_codes, tuple(counts.tolist()))
        if not 0 < counts.sum() < len(y):
            none = "negatives" if counts.sum() else "positives"
            return replace(nothing, reason=f"no {none}: left as it was")
        d = _design_effect(eta, y, w, s, g)
        found = Segments.of(eta, y, w, s, n_codes, d).best()
        if found is None or found.gain <= LEAST_GAIN:
            gain = 0.0 if found is None else found.gain
            reason = "the segments differ by no more than chance: the refit of all rows"
            return replace(nothing, design_effect=d, gain=gain, reason=reason)
        delta = tuple(float(x) for x in found.delta)
        return cls(delta, tuple(found.errors.tolist()), nothing.positives, found.tau, d, found.gain)

    def apply(self, logits: NDArray[Any], codes: NDArray[Any]) -> Vector:
        """logits + offsets[codes], (N,) float64.

        Raises:
            ValueError: another number of codes than of logits, or a code that is no whole number within 0 .. K - 1.
        """
        z, s = np.asarray(logits, dtype=np.float64), np.asarray(codes)
        if z.shape != s.shape:
            raise ValueError(f"`logits`, `codes` must have one shape (N,), got {z.shape}, {s.shape}")
        if (bad := _bad_codes(s, len(self.offsets))).any():
            raise ValueError(_found("codes", _known(len(self.offsets)), s, bad))
        result: Vector = z + np.asarray(self.offsets)[s.astype(np.int64)]
        return result

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SegmentRefit:
        """The inverse of `to_dict`.

        Raises:
            ValueError: unknown or missing names, all of them at once, or values outside their range.
        """
        names = {field.name for field in fields(cls)}
        if values.keys() != names:
            unknown, missing = sorted(values.keys() - names), sorted(names - values.keys())
            raise ValueError(
                f"a segment refit has the fields {sorted(names)}, got unknown {unknown}, missing {missing}"
            )
        plain: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        return cls(**plain)


def _design_effect(eta: Vector, y: Vector, w: Vector, s: Codes, g: Codes | None) -> float:
    """Variance of the scores, clustered by request within segment, over the information."""
    p = np.exp(log_sigmoid(eta))
    score = w * (y - p)
    if g is not None:
        pair = np.unique(g * (int(s.max()) + 1) + s, return_inverse=True)[1]
        score = np.bincount(pair, score)
    return max(float((score @ score) / (w @ (p * (1.0 - p)))), LEAST_EFFECT)


def _rows(
    logits: ArrayLike,
    labels: ArrayLike,
    codes: ArrayLike,
    n_codes: int,
    weights: ArrayLike | None,
    groups: ArrayLike | None,
) -> tuple[Vector, Vector, Vector, Codes, Codes | None]:
    """The labelled rows of positive weight, checked; groups as codes 0, 1, ..."""
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    w = np.ones(y.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    s, g = np.asarray(codes), None if groups is None else np.asarray(groups)
    named = {"logits": z, "labels": y, "codes": s, "weights": w} | ({} if g is None else {"groups": g})
    shapes = {name: values.shape for name, values in named.items()}
    if z.ndim != 1 or len(set(shapes.values())) > 1:
        raise ValueError(f"{', '.join(f'`{name}`' for name in shapes)} must have one shape (N,), got {shapes}")
    observed = ~np.isnan(y)
    faults = (
        ("labels", "0, 1 or NaN", y, observed & (y != 0) & (y != 1)),
        ("weights", "finite and >= 0", w, ~(np.isfinite(w) & (w >= 0))),
        ("logits", "finite on labelled rows", z, observed & ~np.isfinite(z)),
        ("codes", _known(n_codes), s, _bad_codes(s, n_codes)),
    )
    if any(bad.any() for *_, bad in faults):
        raise ValueError("; ".join(_found(*fault) for fault in faults if fault[3].any()))
    keep = observed & (w > 0)
    requests = None if g is None else np.unique(g[keep], return_inverse=True)[1].astype(np.int64)
    return z[keep], y[keep], w[keep], s[keep].astype(np.int64), requests


def _bad_codes(codes: NDArray[Any], n_codes: int) -> NDArray[np.bool_]:
    """(N,) which codes are no place of the table; an index of -1 would take the last segment's offset, unseen."""
    if codes.dtype.kind in "iu":
        return (codes < 0) | (codes >= n_codes)
    if codes.dtype.kind != "f":
        return np.ones(codes.shape, bool)
    return ~((codes >= 0) & (codes < n_codes) & (codes == np.floor(codes)))  # also where NaN


def _known(n_codes: int) -> str:
    return f"whole numbers, 0 .. {n_codes - 1}"


def _found(name: str, expected: str, values: NDArray[Any], bad: NDArray[np.bool_]) -> str:
    row = int(bad.argmax())
    return f"`{name}` must be {expected}, got {values[row]} in row {row} ({int(bad.sum())} such rows)"


def _finite(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, float) and math.isfinite(value))
