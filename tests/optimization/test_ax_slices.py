"""Slices and posteriors: exact where the data are, shrunk where they are noisy, along lines of constant proportions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evaluation.checks import FloatArray
from optimization.search.ax_search import Observation
from optimization.search.ax_slices import posterior, slice_shares, slices
from optimization.search.space import SearchSpace

SPACE = SearchSpace.of({"a": 1, "b": 1, "c": 1})
TARGET = np.array([0.5, 0.3, 0.2])


def value(shares: FloatArray) -> FloatArray:
    return np.asarray(2.0 - ((shares - TARGET) ** 2).sum(axis=-1))


POINTS = SPACE.sobol(14, seed=3)
EXACT = [
    Observation(shares, {"f": (float(value(shares)), 0.0), "slack": (0.6 - float(shares[0]), 0.0)}) for shares in POINTS
]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return slices(SPACE, EXACT, objective="f", constraints=["slack"], at=[0.4, 0.4, 0.2], points=21, seed=0)


def test_there_is_one_line_per_head_over_its_range(table: pd.DataFrame) -> None:
    assert list(table.columns) == ["head", "share", "mean", "sd", "acquisition"]
    assert table["head"].tolist() == [head for head in SPACE.heads for _ in range(21)]
    for _, line in table.groupby("head"):
        np.testing.assert_allclose(line["share"], np.linspace(0, 1, 21), atol=2e-6)
    assert np.isfinite(table.drop(columns="head").to_numpy()).all()
    assert (table["sd"] >= 0).all()
    assert (table["acquisition"] >= 0).all()


def test_the_mean_follows_the_function_within_its_band_and_does_not_jump(table: pd.DataFrame) -> None:
    line = table[table["head"] == "a"]
    truth = value(slice_shares(SPACE, [0.4, 0.4, 0.2], 0, 21))
    error = np.abs(line["mean"].to_numpy() - truth)
    assert (error <= 3 * line["sd"].to_numpy()).all()
    assert error.max() < 0.1 < np.ptp(truth)
    assert np.abs(np.diff(line["mean"], n=2)).max() < 0.03


def test_the_acquisition_vanishes_where_the_guardrail_fails(table: pd.DataFrame) -> None:
    """slack = 0.6 - x_a is exact, so beyond 0.6 nothing promises a feasible improvement."""
    line = table[table["head"] == "a"]
    assert line["acquisition"].max() > 1e-4
    assert (line.loc[line["share"] > 0.7, "acquisition"] < 1e-6 * line["acquisition"].max()).all()


def test_the_posterior_passes_through_exact_observations_only() -> None:
    mean, sd = posterior(SPACE, EXACT, "f", POINTS)
    np.testing.assert_allclose(mean, value(POINTS), atol=1e-3)
    assert sd.max() < 0.01
    lucky = [
        Observation(o.shares, {"f": (o.values["f"][0] + (0.3 if i == 4 else 0.0), 0.1)}) for i, o in enumerate(EXACT)
    ]
    shrunk, wide = posterior(SPACE, lucky, "f", POINTS)
    assert shrunk[4] < lucky[4].values["f"][0] - 0.1
    assert wide.min() > sd.max()


def test_slices_keep_the_others_proportions_and_the_bounds() -> None:
    space = SearchSpace.of(dict.fromkeys("abcd", 1), {"a": (0.1, 0.5), "b": (0.0, 0.35), "d": (0.1, 0.1)})
    at = space.random(1, seed=0)[0]
    for head in space.movable:
        shares = slice_shares(space, at, int(head), 11)
        assert space.contains(shares, tol=1e-12).all()
        np.testing.assert_allclose(shares[:, head], np.linspace(space.low[head], space.high[head], 11), atol=1e-6)
    free = slice_shares(SPACE, [0.2, 0.6, 0.2], 0, 7)
    np.testing.assert_allclose(free[:, 1] / free[:, 2], 3.0, rtol=1e-6)
    # Through the point itself.
    through = slice_shares(SPACE, [0.5, 0.3, 0.2], 0, 3)
    np.testing.assert_allclose(through[1], [0.5, 0.3, 0.2], atol=1e-12)
    # Nothing to keep a proportion of: equal shares.
    np.testing.assert_allclose(slice_shares(SPACE, [1.0, 0.0, 0.0], 0, 3)[1], [0.5, 0.25, 0.25])


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="`points` must be >= 2, got 1"):
        slices(SPACE, EXACT, objective="f", at=[0.4, 0.4, 0.2], points=1, seed=0)
    with pytest.raises(ValueError, match="`at` must be shares within the space"):
        slices(SPACE, EXACT, objective="f", at=[0.4, 0.4, 0.4], seed=0)
    with pytest.raises(ValueError, match="sum to 1"):
        posterior(SPACE, EXACT, "f", [[0.9, 0.9, 0.9]])
