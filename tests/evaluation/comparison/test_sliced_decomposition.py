"""The Brier score of every slice, split: an identity, and each slice is as if it were alone."""

from __future__ import annotations

import numpy as np

from evaluation.decomposition import brier_decomposition
from evaluation.slicing.sliced_decomposition import slice_decomposition
from evaluation.slicing.sliced_metrics import slice_metrics
from evaluation.slicing.slices import Slices


def test_each_slice_adds_up_and_is_what_its_rows_say_alone() -> None:
    rng = np.random.default_rng(0)
    p = np.round(rng.beta(1, 4, (3000, 2)), 2)  # ties
    y = (rng.random(p.shape) < p**1.2).astype(float)
    y[::7, 1] = np.nan
    w = rng.choice([0.0, 1.0, 10.0], 3000)
    parts = [
        Slices.of("platform", rng.choice(["web", "app"], 3000), expected=["web", "app", "tv"]),
        Slices.of("price", rng.normal(size=3000)),
    ]
    table = slice_decomposition(y, p, w, parts, ["click", "save"])
    wide = table.pivot(index=["head", "column", "slice"], columns="metric", values="value")
    briers = slice_metrics(y, p, np.arange(3000) // 10, w, parts, ["click", "save"], ["brier"])
    brier = briers.set_index(["head", "column", "slice"])["value"].reindex(wide.index)
    total = wide["brier_miscalibration"] - wide["brier_discrimination"] + wide["brier_uncertainty"]
    np.testing.assert_allclose(total, brier, rtol=0, atol=1e-12)
    assert wide.loc[("click", "platform", "tv")].isna().all()  # no row
    rows = (parts[0].codes == parts[0].names.index("app")) & ~np.isnan(y[:, 1])
    alone = brier_decomposition(y[rows, 1], p[rows, 1], w[rows])
    assert wide.loc[("save", "platform", "app"), "brier_miscalibration"] == alone.miscalibration
