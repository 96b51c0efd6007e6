from __future__ import annotations

import numpy as np
import pytest

from evaluation.calibration import implication_violations
from ranking.heads import HeadTree
from ranking.refit import AffineRefit


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_heads_that_imply_others_violate_nothing_by_construction(kind: type) -> None:
    """Methods 1.3: p(parent) * sigmoid(z) and a refit of the conditional: "violations are zero by construction"."""
    rng = np.random.default_rng(0)
    implications = {"long_click": "click", "buy": "long_click"}
    tree = HeadTree.build(["click", "long_click", "buy"], implications, "any_head")
    z = 6.0 * rng.normal(size=(50_000, 4))
    refits = [AffineRefit(1.7, 0.6), AffineRefit(0.5, 2.0), AffineRefit(1.2, 4.0), AffineRefit(1.0, 0.0)]
    p = np.exp(tree.log_probabilities(z, 0.1, "calibrated", refits))[:, :3].astype(kind)
    table = implication_violations(p, implications, tree.heads)
    assert table["violations"].tolist() == [0, 0]
    assert table["largest_excess"].tolist() == [0.0, 0.0]
    assert table["row"].tolist() == [-1, -1]
    # the positive control: heads of their own
    own = 1.0 / (1.0 + np.exp(-z[:, :3]))
    assert (implication_violations(own.astype(kind), implications, tree.heads)["share"] > 0.4).all()


def test_rounding_is_no_violation_and_the_worst_row_is_named() -> None:
    p = np.array([[0.3, 0.3 * (1 + 1e-7)], [0.2, 0.25], [0.1, 0.4], [0.5, 0.1]])
    line = implication_violations(p, {"b": "a"}, ["a", "b"]).iloc[0]
    assert (line["violations"], line["row"], line["rows"]) == (2, 2, 4)
    assert line["largest_excess"] == pytest.approx(0.3)
    assert implication_violations(p, {}, ["a", "b"]).empty


def test_unknown_heads_all_at_once() -> None:
    with pytest.raises(ValueError, match=r"`implications` must name heads out of \['a', 'b'\], got \['c', 'd'\]"):
        implication_violations([[0.1, 0.2]], {"c": "a", "b": "d"}, ["a", "b"])
