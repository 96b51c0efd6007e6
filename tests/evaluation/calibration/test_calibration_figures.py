from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from evaluation.calibration import calibration_tests, cumulative_figure, segments_figure, worst_segments
from evaluation.formatting import chance, format_number
from evaluation.slicing.slices import Slices


def log() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = rng.beta(1.0, 12.0, (6_000, 3))
    return (rng.random(p.shape) < p).astype(float), p, np.arange(6_000) // 6


def words(svg: str) -> str:
    return " ".join(element.text or "" for element in ElementTree.fromstring(svg).iter() if element.text)


def test_the_curves_panel_says_what_the_test_says() -> None:
    y, p, request = log()
    q = p.copy()
    q[:, 1] *= 0.7
    y[:, 2] = np.nan
    tests, curves = calibration_tests(y, q, request, None, ["fine", "little$", "gone"])
    svg = cumulative_figure(tests, curves)
    assert svg is not None
    text, label = words(svg), ElementTree.fromstring(svg).get("aria-label") or ""
    assert f"not shown to be off, {chance(tests.loc[0, 'p_adjusted'])} (Holm)" in text
    low, high = (format_number(tests.loc[1, end]) for end in ("low", "high"))
    assert f"too little from {low} to {high}, p = 0.002 (Holm)" in text
    assert f"fine: No sign of miscalibration over the range of scores ({chance(tests.loc[0, 'p_adjusted'])})." in label
    assert "little$" in text
    assert "gone: Calibration was not tested: no row with a label." in label
    assert svg == cumulative_figure(tests, curves)  # the same bytes
    assert cumulative_figure(tests.iloc[2:], curves) is None


def test_the_segments_have_their_ratios_and_p_values() -> None:
    y, p, request = log()
    codes = np.arange(len(y)) % 5
    q = p.copy()
    q[codes == 0, 0] *= 0.5
    y[codes == 1, 1] = 0.0
    part = Slices("platform", ("a$b", "b", "c" * 80, "d", "e", "nobody"), codes)
    table = worst_segments(y, q, request, None, [part], ["x", "y", "z"])
    svg = segments_figure(table, most=8)
    assert svg is not None
    text = words(svg)
    assert "x, platform: a$b" in text
    assert "none observed in 1,200 rows" in text
    assert text.count("p = ") + text.count("p < 0.0001") == 8
    assert "nobody" not in text
    assert re.search(r"c{10,}…", text) is not None or "ccc" not in text
    assert "2 are off beyond chance" in (ElementTree.fromstring(svg).get("aria-label") or "")
    assert segments_figure(table[table["p"].isna()]) is None
    assert segments_figure(worst_segments(y, q, request, None, [])) is None
