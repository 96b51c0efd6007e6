"""What a refit per segment does to calibration: one for all, one each, and one each shrunk to the one for all.

    python examples/correction/segments.py [--seeds 40] [--rows 60000]

Requests of 15 rows belong to segments of very different size, and the truth of each segment is shifted by its own
constant in the logit, of which the score knows nothing. Every refit is fitted on one log and judged on a fresh one
against the true probabilities: |log(predicted / true)| of the segments, its mean and its worst, averaged over seeds.
Rows of one request share a random effect, so that the errors are clustered.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranking import AffineRefit
from ranking.segment_likelihood import Segments
from ranking.segment_refit import SegmentRefit

Vector = NDArray[np.float64]

ROWS_PER_REQUEST = 15
BASE, SPREAD, SHARED = -4.5, 1.0, 0.5  # of the logit: mean, deviation of the score, deviation of a request's own effect
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(12)  # to average the request's effect out of the truth
WORLDS = (  # segments, largest over smallest, standard deviation of their shifts
    (12, 200, 0.3), (12, 200, 0.1), (40, 50, 0.3), (40, 50, 0.1), (3, 5, 0.3), (3, 5, 0.1),
    (12, 200, 0.0), (40, 50, 0.0), (3, 5, 0.0),
)  # fmt: skip


@dataclass(frozen=True)
class Log:
    """N rows: score (a logit), outcome, true probability, segment, request."""

    score: Vector
    outcome: Vector
    truth: Vector
    segment: NDArray[np.int64]
    request: NDArray[np.int64]


def sigmoid(z: Vector) -> Vector:
    return np.asarray(1.0 / (1.0 + np.exp(-z)))


def draw(random: np.random.Generator, rows: int, shares: Vector, shifts: Vector) -> Log:
    requests = rows // ROWS_PER_REQUEST
    request = np.repeat(np.arange(requests), ROWS_PER_REQUEST)
    segment = random.choice(len(shares), requests, p=shares)[request]
    score = random.normal(BASE, SPREAD, len(request))
    logit = score + shifts[segment]
    outcome = random.random(len(request)) < sigmoid(logit + random.normal(0.0, SHARED, requests)[request])
    weights = NODE_WEIGHTS / NODE_WEIGHTS.sum()
    truth = sum(w * sigmoid(logit + SHARED * x) for x, w in zip(NODES, weights, strict=True))
    return Log(score, outcome.astype(np.float64), np.asarray(truth), segment, request)


def offsets(log: Log, logits: Vector, segments: int) -> dict[str, Vector]:
    """Each way's offset per segment (K,) on top of the affine refit, `logits` being that refit's on `log`."""
    codes = log.segment + 1  # 0 is what training did not know
    shrunk = SegmentRefit.fit(logits, log.outcome, codes, segments + 1, None, log.request)
    ones = np.ones(len(codes))
    own = Segments.of(logits, log.outcome, ones, codes, segments + 1, 1.0).at(10.0, np.zeros(segments + 1))
    return {"one for all": np.zeros(segments), "one each": own.delta[1:], "shrunk": np.array(shrunk.offsets[1:])}


def errors(log: Log, logits: Vector, shift: Vector) -> tuple[float, float]:
    """(worst, mean) of |log(predicted / true)| over the segments that the log holds."""
    predicted = np.bincount(log.segment, sigmoid(logits + shift[log.segment]), len(shift))
    true = np.bincount(log.segment, log.truth, len(shift))
    off = np.abs(np.log(predicted[true > 0] / true[true > 0]))
    return float(off.max()), float(off.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--rows", type=int, default=60_000)
    arguments = parser.parse_args()
    print("| segments | shifts | refit | mean error | worst error | worst - that of one for all |")
    print("|---|---|---|---|---|---|")
    for segments, ratio, spread in WORLDS:
        shares = np.geomspace(1.0, 1.0 / ratio, segments)
        shares /= shares.sum()
        found: dict[str, list[tuple[float, float]]] = {}
        for seed in range(arguments.seeds):
            random = np.random.default_rng([seed, segments, int(100 * spread)])
            shifts = random.normal(0.0, spread, segments)
            log, fresh = (draw(random, arguments.rows, shares, shifts) for _ in range(2))
            affine = AffineRefit.fit(log.score, log.outcome, groups=log.request)
            for way, shift in offsets(log, affine.apply(log.score), segments).items():
                found.setdefault(way, []).append(errors(fresh, affine.apply(fresh.score), shift))
        for way, values in found.items():
            worst, mean = np.array(values).T
            more = worst - np.array(found["one for all"])[:, 0]
            error = more.std(ddof=1) / np.sqrt(len(more))
            print(
                f"| {segments}, 1 to {ratio} | {spread:g} | {way} | {mean.mean():.3f} | {worst.mean():.3f} "
                f"| {more.mean():+.3f} +- {error:.3f} |"
            )


if __name__ == "__main__":
    main()
