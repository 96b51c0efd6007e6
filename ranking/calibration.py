"""The refits of a ranker: one two-parameter map per node, for each of the two ways in which position can be given.

Scoring sets the position to the schema's serving value on every row; evaluation may also use the logged position. The
two predict different things (the average over the log's positions, or at this position), so each has refits of its own.
With `refit_by` each refit has offsets per value of one feature, shrunk to 0: see `ranking.segment_refit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranking.heads import Refit
from ranking.refit import AffineRefit
from ranking.segment_refit import SegmentRefit

WAYS = ("serving", "logged")  # of giving the position


@dataclass(frozen=True)
class SegmentRefits:
    """Offsets per node (T + 1) at the serving position and at the logged one.

    `by` is the feature whose value chooses the offset, `values` what is known of it: code 1 is the first of them.
    """

    by: str
    values: tuple[str, ...]
    serving: tuple[SegmentRefit, ...]
    logged: tuple[SegmentRefit, ...]


@dataclass(frozen=True)
class Calibration:
    """Refits per node (T + 1), at the serving position and at the logged position; `segments` with `refit_by`."""

    serving: tuple[AffineRefit, ...]
    logged: tuple[AffineRefit, ...]
    segments: SegmentRefits | None = None

    def refits(self, logged_position: bool, codes: np.ndarray | None = None) -> tuple[Refit, ...]:
        """The refits that belong to the given treatment of the position, for rows of these segments.

        `codes` (N,) is the segment of every row to be refitted, read only where there are offsets per segment.

        Raises ValueError where there are and the codes are not given: the refit of all rows would be silently another.
        """
        affine = self.logged if logged_position else self.serving
        if self.segments is None:
            return affine
        if codes is None:
            raise ValueError(f"these refits differ by `{self.segments.by}`: the segment of each row must be given")
        offsets = self.segments.logged if logged_position else self.segments.serving
        return tuple(_InSegments(a, o, codes) for a, o in zip(affine, offsets, strict=True))

    def to_dict(self, nodes: tuple[str, ...]) -> dict[str, Any]:
        """JSON-able, keyed by node name."""
        out: dict[str, Any] = {w: {n: r.to_dict() for n, r in zip(nodes, getattr(self, w))} for w in WAYS}
        if self.segments is not None:
            own = self.segments
            out["segments"] = {"by": own.by, "values": list(own.values)} | {
                w: {n: r.to_dict() for n, r in zip(nodes, getattr(own, w))} for w in WAYS
            }
        return out

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], nodes: tuple[str, ...], by: str | None = None, values: Sequence[str] = ()
    ) -> Calibration:
        """Inverse of `to_dict`; `by` and its known `values` are those of the ranker that it belongs to.

        Raises:
            ValueError: the refits of another ranker, or damaged ones: what is wrong with them.
        """
        expected = {*WAYS} | ({"segments"} if by is not None else set())
        if data.keys() != expected:
            raise ValueError(f"must have the parts {sorted(expected)}, got {sorted(data)}")
        serving, logged = (tuple(AffineRefit.from_dict(r) for r in _by_node(data, way, nodes)) for way in WAYS)
        if by is None:
            return cls(serving, logged)
        own = data["segments"]
        for name, wanted in (("by", by), ("values", list(values))):
            if own.get(name) != wanted:
                raise ValueError(f"`segments.{name}` must be that of the model, {_short(wanted)}")
        offsets = {way: tuple(SegmentRefit.from_dict(r) for r in _by_node(own, way, nodes)) for way in WAYS}
        for way in WAYS:
            for node, refit in zip(nodes, offsets[way], strict=True):
                if len(refit.offsets) != len(values) + 1:
                    raise ValueError(
                        f"`segments.{way}.{node}` must have {len(values) + 1} offsets, one per value and one for "
                        f"unknown ones, got {len(refit.offsets)}"
                    )
        return cls(serving, logged, SegmentRefits(by, tuple(values), **offsets))


@dataclass(frozen=True)
class _InSegments:
    """A refit of N given rows: the affine map of all, then the offset of each row's own segment."""

    affine: AffineRefit
    offsets: SegmentRefit
    codes: np.ndarray  # (N,)

    def apply(self, logits: np.ndarray) -> np.ndarray:
        return self.offsets.apply(self.affine.apply(logits), self.codes)


def _by_node(data: Mapping[str, Any], way: str, nodes: tuple[str, ...]) -> list[Mapping[str, Any]]:
    part = data.get(way)
    if not isinstance(part, dict) or set(part) != set(nodes):
        raise ValueError(f"`{way}` must have one refit for each of {list(nodes)}")
    return [part[node] for node in nodes]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
