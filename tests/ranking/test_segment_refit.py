"""Offsets per segment: what they are, that they are shrunk, and that every way of scoring applies them alike."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from features import InputError, encode_log
from features.artifact import sha256
from optimization.score_table import ScoreTable
from ranking import AffineRefit, Prepared, Ranker, RankerConfig, TreesConfig, fit_prepared, prepare, score_parquet
from ranking.calibration import Calibration, SegmentRefits
from ranking.refitting import fit_calibration
from ranking.segment_likelihood import Segments
from ranking.segment_refit import SegmentRefit
from ranking.segments import segment_codes, segment_values

BY = "segment"  # of the small marketplace's users, four values


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


def draw(
    rows: int, shifts: np.ndarray, seed: int, base: float = -2.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(logits, labels, codes 1 .. K of sizes 1 to 1/30, requests of ten rows of one segment)."""
    random = np.random.default_rng(seed)
    shares = np.geomspace(1.0, 1 / 30, len(shifts))
    requests = np.repeat(np.arange(rows // 10), 10)
    codes = random.choice(len(shifts), rows // 10, p=shares / shares.sum())[requests]
    z = random.normal(base, 1.0, rows)
    return z, (random.random(rows) < sigmoid(z + shifts[codes])).astype(float), codes + 1, requests


# ---------------------------------------------------------------------------------------------------------- references
def test_modes_are_those_of_an_independent_optimiser() -> None:
    z, y, codes, _ = draw(4_000, np.array([0.5, -0.4, 0.8, 0.0]), seed=1)
    d, tau = 1.3, 0.4
    found = Segments.of(z, y, np.ones(len(z)), codes, 5, d).at(tau, np.zeros(5))
    for segment in range(1, 5):
        zs, ys = z[codes == segment], y[codes == segment]

        def negative(delta: float, zs: np.ndarray = zs, ys: np.ndarray = ys) -> float:
            eta = zs + delta
            return float((np.logaddexp(0, eta) - ys * eta).sum() / d + delta**2 / (2 * tau**2))

        assert found.delta[segment] == pytest.approx(minimize_scalar(negative).x, abs=1e-4)
    assert found.delta[0] == 0.0


def test_laplace_is_close_to_the_integral() -> None:
    """The gain in log likelihood at a tau against numerical integration over the offset, segment by segment."""
    z, y, codes, _ = draw(1_500, np.array([0.5, -0.4, 0.8]), seed=2)
    tau = 0.5
    found = Segments.of(z, y, np.ones(len(z)), codes, 4, 1.0).at(tau, np.zeros(4))
    exact = 0.0
    for segment in range(1, 4):
        zs, ys = z[codes == segment], y[codes == segment]

        def integrand(delta: float, zs: np.ndarray = zs, ys: np.ndarray = ys) -> float:
            gained = ys.sum() * delta - (np.logaddexp(0, zs + delta) - np.logaddexp(0, zs)).sum()
            return float(np.exp(gained - delta**2 / (2 * tau**2)) / (tau * np.sqrt(2 * np.pi)))

        exact += np.log(quad(integrand, -4, 4, limit=200, points=[float(found.delta[segment])])[0])
    assert found.gain == pytest.approx(exact, abs=0.05)


def test_the_spread_is_the_most_likely_one() -> None:
    z, y, codes, requests = draw(20_000, np.random.default_rng(3).normal(0, 0.4, 12), seed=3)
    fitted = SegmentRefit.fit(z, y, codes, 13, groups=requests)
    likelihoods = Segments.of(z, y, np.ones(len(z)), codes, 13, fitted.design_effect)
    others = [likelihoods.at(tau, np.zeros(13)).gain for tau in fitted.tau * np.array([0.8, 0.95, 1.05, 1.25])]
    assert fitted.gain > max(others)
    assert 0.2 < fitted.tau < 0.8


def test_the_design_effect_by_hand() -> None:
    """Two rows of one request at p = 1/2, one engaged: residuals cancel; both engaged: they add up."""
    zeros = np.zeros(4)
    fit = SegmentRefit.fit(zeros, [1, 0, 1, 0], [1, 1, 1, 1], 2, groups=[0, 0, 1, 1])
    assert fit.design_effect == 0.1  # 0 is taken for chance
    fit = SegmentRefit.fit(zeros, [1, 1, 0, 0], [1, 1, 1, 1], 2, groups=[0, 0, 1, 1])
    assert fit.design_effect == 2.0 / (4 * 0.25)
    assert SegmentRefit.fit(zeros, [1, 1, 0, 0], [1, 1, 1, 1], 2).design_effect == 1.0


# ---------------------------------------------------------------------------------------------------------- properties
def test_a_weight_is_that_many_rows_of_the_request() -> None:
    z, y, codes, requests = draw(6_000, np.array([0.6, -0.5, 0.4, -0.7, 0.0]), seed=4)
    weights = np.random.default_rng(4).integers(0, 4, len(z))
    one = SegmentRefit.fit(z, y, codes, 6, weights, requests)
    again = SegmentRefit.fit(*(np.repeat(x, weights) for x in (z, y, codes)), 6, groups=np.repeat(requests, weights))
    assert one.tau > 0.1
    np.testing.assert_allclose(one.offsets, again.offsets, rtol=1e-9)


def test_doubling_every_request_as_rows_of_it_changes_nothing() -> None:
    """Twice the same rows in one request are no more evidence: without the design effect they would be."""
    z, y, codes, requests = draw(6_000, np.array([0.4, -0.3, 0.3, -0.4]), seed=5)
    once = SegmentRefit.fit(z, y, codes, 5, groups=requests)
    twice = SegmentRefit.fit(*(np.repeat(x, 2) for x in (z, y, codes)), 5, groups=np.repeat(requests, 2))
    assert twice.design_effect == pytest.approx(2 * once.design_effect)
    np.testing.assert_allclose(twice.offsets, once.offsets, atol=1e-6)


def test_offsets_are_shrunk_the_more_the_fewer_the_rows() -> None:
    shifts = np.random.default_rng(6).normal(0, 0.4, 10)
    z, y, codes, requests = draw(20_000, shifts, seed=6)
    fitted = SegmentRefit.fit(z, y, codes, 11, groups=requests)
    own = Segments.of(z, y, np.ones(len(z)), codes, 11, 1.0).at(30.0, np.zeros(11)).delta
    share = np.array(fitted.offsets)[1:] / own[1:]
    assert ((share > 0) & (share < 1)).all()
    assert share[:3].min() > share[-3:].max()
    assert fitted.errors[1] < fitted.errors[10] < fitted.tau


def test_without_shifts_the_refit_of_all_rows_stands_bit_for_bit() -> None:
    z, y, codes, requests = draw(20_000, np.zeros(8), seed=7)
    fitted = SegmentRefit.fit(z, y, codes, 9, groups=requests)
    assert fitted.tau == 0.0
    assert fitted.offsets == (0.0,) * 9
    assert "no more than chance" in str(fitted.reason)
    np.testing.assert_array_equal(fitted.apply(z, codes), z)


def test_unknown_values_and_empty_segments_have_no_offset() -> None:
    z, y, codes, requests = draw(10_000, np.array([0.8, -0.8, 0.8]), seed=8)
    codes = np.where(np.arange(len(z)) % 5 == 0, 0, codes)  # a fifth of the rows is of an unknown value
    fitted = SegmentRefit.fit(z, y, codes, 6, groups=requests)  # nobody has codes 4 and 5
    assert fitted.tau > 0.3
    assert fitted.offsets[0] == fitted.offsets[4] == fitted.offsets[5] == 0.0
    assert fitted.errors[4] == pytest.approx(fitted.tau)  # what is known of it is the spread alone
    only_unknown = SegmentRefit.fit(z, y, np.zeros(len(z), int), 3, groups=requests)
    assert only_unknown.tau == 0.0


def test_a_segment_without_engagements_keeps_a_finite_offset() -> None:
    z, y, codes, requests = draw(10_000, np.array([0.5, -0.5, 0.6, -0.6]), seed=9)
    y[codes == 4] = 0.0
    fitted = SegmentRefit.fit(z, y, codes, 5, groups=requests)
    assert fitted.positives[4] == 0
    assert -5.0 < fitted.offsets[4] < -0.3


@pytest.mark.parametrize(("label", "missing"), [(0.0, "positives"), (1.0, "negatives")])
def test_without_both_outcomes_nothing_is_fitted(label: float, missing: str) -> None:
    fitted = SegmentRefit.fit(np.linspace(-1, 1, 50), np.full(50, label), np.ones(50, int), 2)
    assert fitted.reason == f"no {missing}: left as it was"
    assert fitted.offsets == (0.0, 0.0)


@pytest.mark.parametrize(("spread", "better"), [(0.35, True), (0.0, False)])
def test_calibration_of_segments_on_fresh_rows(spread: float, better: bool) -> None:
    """Mean |log(predicted / true)| over segments, against one refit for all and one each, over sixteen seeds."""
    found: dict[str, list[float]] = {"all": [], "shrunk": [], "each": []}
    for seed in range(16):
        shifts = np.random.default_rng(100 + seed).normal(0, spread, 12)
        z, y, codes, requests = draw(8_000, shifts, seed, base=-3.5)
        refit = AffineRefit.fit(z, y, groups=requests)
        eta = refit.apply(z)
        own = Segments.of(eta, y, np.ones(len(z)), codes, 13, 1.0).at(10.0, np.zeros(13)).delta
        fresh, _, where, _ = draw(16_000, shifts, 1_000 + seed, base=-3.5)
        true = np.bincount(where, sigmoid(fresh + shifts[where - 1]), 13)[1:]
        offsets = {"all": np.zeros(13), "shrunk": np.array(SegmentRefit.fit(eta, y, codes, 13, None, requests).offsets)}
        for name, delta in (offsets | {"each": own}).items():
            predicted = np.bincount(where, sigmoid(refit.apply(fresh) + delta[where]), 13)[1:]
            found[name].append(float(np.abs(np.log(predicted / true)).mean()))
    one, shrunk, each = (float(np.mean(found[name])) for name in ("all", "shrunk", "each"))
    assert shrunk < (0.75 if better else 1.1) * one
    assert shrunk < 0.8 * each


def test_arrays_that_do_not_fit_are_refused() -> None:
    z, y, codes = np.zeros(4), np.array([0.0, 1, 0, 1]), np.array([1, 1, 2, 2])
    with pytest.raises(ValueError, match=r"one shape \(N,\), got .*'codes': \(3,\)"):
        SegmentRefit.fit(z, y, codes[:3], 3)
    with pytest.raises(ValueError, match=r"`codes` must be whole numbers, 0 \.\. 1, got 2 in row 2 \(2 such rows\)"):
        SegmentRefit.fit(z, y, codes, 2)
    for wrong in ([1, 1, 2, 1.5], [1, 1, 2, np.nan], ["1", "1", "2", "2"], [1, 1, 2, -1]):
        with pytest.raises(ValueError, match="`codes` must be whole numbers"):
            SegmentRefit.fit(z, y, wrong, 3)
    with pytest.raises(ValueError, match=r"`labels` must be .*; `weights` must be .*; `codes` must be "):
        SegmentRefit.fit(z, y * 2, codes, 2, -y)
    with pytest.raises(ValueError, match="`labels` must be 0, 1 or NaN, got 2"):
        SegmentRefit.fit(z, y * 2, codes, 3)
    with pytest.raises(ValueError, match="`weights` must be finite and >= 0"):
        SegmentRefit.fit(z, y, codes, 3, -y)
    with pytest.raises(ValueError, match="`logits` must be finite"):
        SegmentRefit.fit(z + np.inf, y, codes, 3)


def test_a_code_beyond_the_table_gets_no_other_segments_offset() -> None:
    fitted = SegmentRefit((0.0, 0.5, -0.5), (0.1,) * 3, (9,) * 3, 0.5)
    np.testing.assert_array_equal(fitted.apply(np.ones(3), np.array([0, 1, 2])), [1.0, 1.5, 0.5])
    assert len(fitted.apply(np.empty(0), np.empty(0))) == 0
    for wrong in ([0, 1, -1], [0, 1, 3], [0, 1, 0.5], [False, True, True]):
        with pytest.raises(ValueError, match=r"`codes` must be whole numbers, 0 \.\. 2, got .* in row"):
            fitted.apply(np.ones(3), np.array(wrong))
    with pytest.raises(ValueError, match=r"one shape \(N,\), got \(3,\), \(1,\)"):
        fitted.apply(np.ones(3), np.array([1]))


def test_what_is_written_is_read_again() -> None:
    z, y, codes, requests = draw(5_000, np.array([0.5, -0.5, 0.5]), seed=10)
    for fitted in (SegmentRefit.fit(z, y, codes, 4, groups=requests), SegmentRefit((0.0,), (0.0,), (3,), reason="few")):
        assert SegmentRefit.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted
    good = fitted.to_dict()
    for damage, message in (
        ({"offsets": [0.1]}, "0 for code 0"),
        ({"offsets": [0.0, float("nan")], "errors": [0.0, 0.0], "positives": [0, 0]}, "finite"),
        ({"offsets": [0.0, 0.2]}, "one length"),
        ({"tau": -1.0}, "`tau` must be"),
        ({"tilt": 1.0}, r"unknown \['tilt'\]"),
        ({"errors": [float("nan")]}, "`errors` must be finite and >= 0, got nan"),
        ({"errors": [-0.1]}, "`errors` must be finite and >= 0, got -0.1"),
        ({"gain": float("nan")}, "`gain` must be finite, got nan"),
        ({"design_effect": "x"}, "`design_effect` must be finite and > 0, got 'x'"),
        ({"design_effect": 0.0}, "`design_effect` must be finite and > 0, got 0.0"),
        ({"positives": [-1.5]}, "`positives` must be whole numbers >= 0, got -1.5"),
        ({"positives": [True]}, "`positives` must be whole numbers >= 0, got True"),
        ({"positives": 3}, "`positives` must be a list of numbers, got 3"),
        ({"reason": 3}, "`reason` must be a text or null, got 3"),
        ({"tau": None, "gain": "x", "errors": ["x"]}, "`errors` must .*; `tau` must .*; `gain` must"),
    ):
        with pytest.raises(ValueError, match=message):
            SegmentRefit.from_dict(good | damage)


# ------------------------------------------------------------------------------------------------------- in the ranker
@pytest.fixture(scope="module")
def segmented(ranker: Ranker) -> Ranker:
    """The small ranker with offsets per user segment, large ones, other ones for each node and position."""
    values = segment_values(ranker.encoders, BY)

    def offsets(scale: float) -> tuple[SegmentRefit, ...]:
        zeros, counts = (0.0,) * (len(values) + 1), (5,) * (len(values) + 1)
        steps = [0.0, *(scale * (code - 2.0) for code in range(1, len(values) + 1))]
        nodes = range(len(ranker.tree.nodes))
        return tuple(SegmentRefit(tuple((j + 1) * x for x in steps), zeros, counts, 0.5) for j in nodes)

    refits = SegmentRefits(BY, values, offsets(0.2), offsets(-0.1))
    calibration = dataclasses.replace(ranker.calibration, segments=refits)
    config = ranker.config.model_copy(update={"refit_by": BY})
    return dataclasses.replace(ranker, calibration=calibration, config=config)


@pytest.fixture(scope="module")
def rows(prepared: Prepared, ranker: Ranker) -> pd.DataFrame:
    """Test rows with the segment in a column of their own, and all that scoring needs."""
    users = prepared.dataset.side_tables["users"]
    columns = dict.fromkeys(["request_id", "user_id", *ranker.encoders.required_columns(serving_position=False)])
    table = prepared.dataset.table("test", list(columns)).to_pandas().head(600)
    own = pd.DataFrame({"user_id": users.ids.to_numpy(), BY: users.take(users.ids, [BY])[0].to_numpy(False)})
    return table.merge(own, on="user_id", how="left", validate="m:1")


@pytest.mark.parametrize("logged_position", [False, True])
def test_every_row_gets_the_offset_of_its_segment(
    ranker: Ranker, segmented: Ranker, rows: pd.DataFrame, logged_position: bool
) -> None:
    def logit(r: Ranker) -> np.ndarray:
        p = r.predict(rows, include_any=True, logged_position=logged_position).to_numpy()
        return np.log(p / (1 - p))

    moved = logit(segmented)[:, [0, 4]] - logit(ranker)[:, [0, 4]]  # closeup and any: nodes without a parent
    known = dict(zip(segmented.calibration.segments.values, range(1, 99)))
    codes = rows[BY].astype(str).map(known).fillna(0).to_numpy(int)
    scale = -0.1 if logged_position else 0.2
    step = np.where(codes > 0, scale * (codes - 2.0), 0.0)
    assert len(set(codes)) > 2
    np.testing.assert_allclose(moved, np.column_stack([step, 5 * step]), atol=1e-9)


def test_null_and_unseen_values_get_the_refit_of_all_rows(
    ranker: Ranker, segmented: Ranker, rows: pd.DataFrame
) -> None:
    some = {name: rows[name].to_numpy() for name in rows.columns if name != "user_id"}
    strangers = pd.DataFrame(some | {"user_id": rows["user_id"].to_numpy() * 0 - 77}).drop(columns=BY)
    np.testing.assert_array_equal(segmented.predict(strangers), ranker.predict(strangers))
    assert not np.array_equal(segmented.predict(rows), ranker.predict(rows))


def test_earlier_stages_know_no_segments(ranker: Ranker, segmented: Ranker, rows: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(segmented.predict(rows, stage="corrected"), ranker.predict(rows, stage="corrected"))


def test_an_implied_head_never_exceeds_its_parent(segmented: Ranker, rows: pd.DataFrame) -> None:
    p = segmented.predict(rows)
    assert (p["long_click"] <= p["click"]).all()


def test_ranking_streaming_tuning_and_measuring_apply_them_alike(
    segmented: Ranker, prepared: Prepared, rows: pd.DataFrame, tmp_path: Path
) -> None:
    expected = segmented.predict(rows)
    ranked = segmented.rank(rows).sort_values(["request_id", "item_id"])
    order = rows.assign(**{f"p_{h}": expected[h] for h in segmented.heads}).sort_values(["request_id", "item_id"])
    np.testing.assert_array_equal(ranked["click"], order["p_click"])
    rows.to_parquet(tmp_path / "log.parquet")
    score_parquet(segmented, tmp_path / "log.parquet", tmp_path / "scores.parquet", batch_rows=128)
    streamed = pq.read_table(tmp_path / "scores.parquet").to_pandas()
    np.testing.assert_allclose(streamed[list(segmented.heads)], expected, rtol=1e-5)
    log = encode_log(prepared.dataset, segmented.encoders, "test", serving_position=True)
    table = ScoreTable.from_ranker(segmented, prepared.dataset, "test")
    np.testing.assert_allclose(table.probabilities[: len(rows)], expected, rtol=1e-5)
    logits = segmented.scorer.logits(log.inputs)
    p = np.exp(segmented.log_probabilities(logits, segmented.negative_rate(), inputs=log.inputs))
    np.testing.assert_allclose(p[: len(rows), :-1], expected, rtol=1e-5)
    with pytest.raises(ValueError, match="`segment`: the segment of each row must be given"):
        segmented.log_probabilities(logits, segmented.negative_rate())


def test_saved_with_the_model_and_named_in_its_card(segmented: Ranker, rows: pd.DataFrame, tmp_path: Path) -> None:
    segmented.save(tmp_path / "model")
    loaded = Ranker.load(tmp_path / "model")
    assert loaded.calibration == segmented.calibration
    pd.testing.assert_frame_equal(loaded.predict(rows), segmented.predict(rows), check_exact=True)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "Refitted by `segment` (4 values)" in card
    assert "`closeup`: standard deviation 0.50; " in card


def changed(model: Path, name: str, change: object) -> None:
    """Rewrite a JSON file of a model and its checksum."""
    content = json.loads((model / name).read_text())
    change(content)
    (model / name).write_text(json.dumps(content))
    if name != "manifest.json":
        changed(model, "manifest.json", lambda m: m["sha256"].update({name: sha256(model / name)}))


def test_a_model_saved_before_there_were_segments_still_loads(
    ranker: Ranker, rows: pd.DataFrame, tmp_path: Path
) -> None:
    ranker.save(tmp_path / "model")

    def before(config: dict[str, object]) -> None:
        del config["config"]["refit_by"], config["config"]["refit_shrink"]
        config["format"] = 2

    changed(tmp_path / "model", "config.json", before)
    changed(tmp_path / "model", "manifest.json", lambda manifest: manifest.update(format=2))
    old = Ranker.load(tmp_path / "model")
    pd.testing.assert_frame_equal(old.predict(rows), ranker.predict(rows), check_exact=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c.pop("segments"), r"must have the parts \['logged', 'segments', 'serving'\]"),
        (lambda c: c["segments"].update(by="city"), "`segments.by` must be that of the model, 'segment'"),
        (lambda c: c["segments"]["values"].reverse(), "`segments.values` must be that of the model"),
        (lambda c: c["segments"]["serving"].pop("click"), "`serving` must have one refit for each of"),
        (lambda c: c["segments"]["logged"]["any"].update(tau=-1.0), "`tau` must be finite and >= 0"),
        (
            lambda c: c["segments"]["logged"]["any"].update(offsets=[0.0], errors=[0.0], positives=[0]),
            "`segments.logged.any` must have 5 offsets",
        ),
    ],
)
def test_damaged_refits_are_refused_by_file(segmented: Ranker, tmp_path: Path, damage: object, message: str) -> None:
    segmented.save(tmp_path / "model")
    changed(tmp_path / "model", "calibration.json", damage)
    with pytest.raises(InputError, match=rf"calibration\.json: does not hold the refits of this model: .*{message}"):
        Ranker.load(tmp_path / "model")


# ----------------------------------------------------------------------------------------------------------- in fitting
def test_fitting_finds_planted_shifts_and_leaves_the_rest_alone(
    prepared: Prepared, ranker: Ranker, small: RankerConfig
) -> None:
    """More than half of one segment's closeups are taken from the held-out labels: its offset tells, on any model."""
    codes = segment_codes(prepared.encoders, BY, prepared.held_out.inputs)
    lost = (codes == 1) & (np.random.default_rng(0).random(len(codes)) < 0.6)
    labels = prepared.held_out.labels.clone()
    labels[torch.from_numpy(lost), 0] = 0.0
    planted = dataclasses.replace(
        prepared,
        held_out=dataclasses.replace(prepared.held_out, labels=labels),
        serving=dataclasses.replace(prepared.serving, labels=labels),
    )
    rate = ranker.negative_rate()
    given = (ranker.tree, ranker.scorer, planted.encoders, planted.serving, planted.held_out, rate)
    one, many = fit_calibration(*given), fit_calibration(*given, by=BY)
    assert (many.serving, many.logged) == (one.serving, one.logged)  # the refit of all rows is what it was
    assert one.segments is None
    said: list[str] = []
    config = small.model_copy(update={"model": "lightgbm", "refit_by": BY, "trees": TreesConfig(rounds=3, threads=1)})
    fitted = fit_prepared(planted, config, log=said.append)
    assert any("refit by segment: spread of the logit between 4 segments closeup 0." in line for line in said)
    for segments in (many.segments, fitted.calibration.segments):
        for refits in (segments.serving, segments.logged):
            assert refits[0].offsets[1] < -0.3
            assert min(refits[0].offsets[2:]) > -0.1


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (
            "platform",
            r"must name a categorical feature with one value per row, got `platform`; those of the log are .*city",
        ),
        ("price", "must name a categorical feature with one value per row, got `price`"),
        ("position", "must name a categorical feature with one value per row, got `position`"),
    ],
)
def test_what_one_cannot_refit_by_is_refused_with_the_candidates(
    prepared: Prepared, small: RankerConfig, by: str, message: str
) -> None:
    config = small.model_copy(update={"refit_by": by})
    with pytest.raises(InputError, match=message):
        fit_prepared(prepared, config)
    with pytest.raises(InputError, match=message):
        prepare(prepared.dataset, config, lambda _: None)


def test_a_feature_whose_values_are_all_rare_is_refused(prepared: Prepared, small: RankerConfig) -> None:
    rare = small.model_copy(
        update={"refit_by": BY, "encoding": small.encoding.model_copy(update={"min_count": 1_000_000})}
    )
    with pytest.raises(InputError, match=r"but of `segment` no value of it is seen `encoding\.min_count` times"):
        prepare(prepared.dataset, rare, lambda _: None)


def test_a_single_score_has_nothing_to_refit(prepared: Prepared, small: RankerConfig) -> None:
    config = small.model_copy(update={"refit_by": BY, "objective": "importance"})
    with pytest.raises(InputError, match='`refit_by` calibrates probabilities: objective = "importance" has none'):
        fit_prepared(prepared, config)


def test_codes_are_asked_for_only_where_there_are_segments(ranker: Ranker) -> None:
    plain = Calibration(ranker.calibration.serving, ranker.calibration.logged)
    assert plain.refits(False) == ranker.calibration.serving
