"""The rows and weights of the importance-weighted single score."""

from __future__ import annotations

import numpy as np
import pytest

from ranking.importance import importance_rows

IMPORTANCE = [1.0, 2.0, 5.0]


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    y = (rng.random((3000, 3)) < 0.2).astype("float32")
    return np.where(rng.random(y.shape) < 0.1, np.float32("nan"), y)


def by_hand(labels, importance, expand):
    """Row after row, as the article describes it."""
    rows = []
    for index, y in enumerate(labels):
        values = [value for value, label in zip(importance, y, strict=True) if label == 1]
        if values:
            rows += [(index, 1.0, value) for value in (values if expand else [max(values)])]
        elif not np.isnan(y).all():
            rows.append((index, 0.0, 1.0))
    return np.array(rows)


@pytest.mark.parametrize("expand", [False, True])
def test_equals_the_rows_made_by_hand(labels, expand):
    np.testing.assert_array_equal(
        np.stack(importance_rows(labels, IMPORTANCE, expand), axis=1), by_hand(labels, IMPORTANCE, expand)
    )


def test_a_row_with_several_engagements_takes_the_largest_weight_or_one_row_each():
    labels = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    rows = importance_rows(labels, IMPORTANCE)
    assert [r.tolist() for r in rows] == [[0, 1, 2], [1.0, 0.0, 1.0], [5.0, 1.0, 2.0]]
    expanded = importance_rows(labels, IMPORTANCE, expand=True)
    assert [r.tolist() for r in expanded] == [[0, 0, 1, 2], [1.0, 1.0, 0.0, 1.0], [1.0, 5.0, 1.0, 2.0]]


def test_expanding_keeps_every_engagement_once(labels):
    rows = importance_rows(labels, IMPORTANCE, expand=True)
    assert rows.weight[rows.label == 1].sum() == np.nansum(labels * np.array(IMPORTANCE))
    assert (np.diff(rows.row) >= 0).all()


def test_the_loss_is_that_of_the_article(labels):
    """[Pinterest 2020] eq. (1): the best constant score is the weighted share of engaged rows."""
    rows = importance_rows(labels, IMPORTANCE)
    grid = np.linspace(0.001, 0.999, 999)[:, None]
    loss = -(rows.weight * (rows.label * np.log(grid) + (1 - rows.label) * np.log(1 - grid))).mean(axis=1)
    assert grid[loss.argmin(), 0] == pytest.approx((rows.weight * rows.label).sum() / rows.weight.sum(), abs=1e-3)


def test_missing_labels():
    nan = float("nan")
    rows = importance_rows([[nan, 1], [nan, 0], [nan, nan]], [1.0, 3.0])
    assert [r.tolist() for r in rows] == [[0, 1], [1.0, 0.0], [3.0, 1.0]]


def test_types_and_emptiness():
    rows = importance_rows(np.zeros((0, 3), dtype=bool), IMPORTANCE, expand=True)
    assert [r.dtype for r in rows] == [np.int64, np.float32, np.float32]
    assert len(rows.row) == 0
    assert importance_rows(np.array([[True, False]]), [2.0, 1.0]).weight.tolist() == [2.0]


def test_errors_name_what_was_found():
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(2,\)"):
        importance_rows(np.zeros((2, 3)), [1.0, 1.0])
    with pytest.raises(ValueError, match=r"must be 0, 1 or NaN, got 2.0 in row 1, head 2 \(1 such labels\)"):
        importance_rows([[0, 0, 0], [0, 1, 2]], IMPORTANCE)
    for bad in ([1.0, -1.0], [1.0, float("nan")], [0.0, 0.0], [float("inf"), 1.0]):
        with pytest.raises(ValueError, match="`importance` must be finite, >= 0 and not all 0, got"):
            importance_rows(np.zeros((2, 2)), bad)
