"""The gate: its statistic is the paired one, its verdicts are what the rules say, and it does not cry wolf."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from evaluation.average_precision import ap_influence
from evaluation.checks import FloatArray
from evaluation.comparison import GateRules, compare, gate
from evaluation.holm import holm
from evaluation.proper_scores import log_loss_influence
from evaluation.slicing.slices import Slices
from features import InputError

NAMES = ["click", "save"]


def sigmoid(z: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-z)))


def log(
    seed: int, requests: int, size: int = 10, base: tuple[float, ...] = (-2.0, -3.0), noise: float = 0.3
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Labels, two equally good models' probabilities, requests; rows of one request share a good part of their luck."""
    rng = np.random.default_rng(seed)
    request = np.repeat(np.arange(requests), size)
    shared = rng.normal(size=(requests, 1))[request]
    signal = rng.normal(size=(len(request), len(base)))
    labels = (rng.random(signal.shape) < sigmoid(base + shared + signal)).astype(float)
    models = [sigmoid(base + 0.5 * shared + signal + noise * rng.normal(size=signal.shape)) for _ in range(2)]
    return labels, models[0], models[1], request


def device(request: FloatArray, seed: int = 0) -> Slices:
    names = np.random.default_rng(seed).choice(["phone", "desk", "tv"], int(request.max()) + 1, p=[0.6, 0.35, 0.05])
    return Slices.of("device", names[request.astype(int)], expected=["phone", "desk", "tv", "watch"])


def test_each_line_is_the_paired_statistic_with_students_quantiles() -> None:
    y, a, b, request = log(0, 200)
    w = np.random.default_rng(1).choice([1.0, 3.0], len(y))
    y[::11, 1] = np.nan
    part = device(request)
    tests = gate(
        y, a, b, request, w, names=NAMES, slices=[part], rules=GateRules(tolerances={"ap": 0.97, "log_loss": 0.99})
    ).tests
    assert len(tests) == 2 * 2 * (1 + 4)
    for line in tests[tests["p"].notna()].to_dict("records"):
        column = NAMES.index(line["head"])
        rows = ~np.isnan(y[:, column])
        if not line["overall"]:
            rows &= part.codes == part.names.index(line["slice"])
        metric = {"ap": ap_influence, "log_loss": log_loss_influence}[line["metric"]]
        label, weight = y[rows, column], w[rows]
        (ours, of_ours), (theirs, of_theirs) = (
            metric(label, a[rows, column], weight),
            metric(label, b[rows, column], weight),
        )
        c = line["tolerance"]
        if line["metric"] == "ap":
            d, influence = ours - c * theirs, of_ours - c * of_theirs
        else:
            d, influence = (2 - c) * theirs - ours, (2 - c) * of_theirs - of_ours
        summed = np.bincount(request[rows], weights=influence)
        kinds = [np.bincount(request[rows], weights=weight * part_of) for part_of in (label, 1 - label)]
        effective = min(n.sum() ** 2 / (n**2).sum() for n in kinds)
        se = np.sqrt((summed**2).sum() * effective / (effective - 1))
        quantile = stats.t.ppf(0.975, effective - 1)
        expected = [ours, theirs, d, se, effective - 1, d - quantile * se, d + quantile * se]
        assert [line[key] for key in ("candidate", "baseline", "d", "se", "df", "low", "high")] == pytest.approx(
            expected
        )
        assert line["p"] == pytest.approx(stats.t.cdf(d / se, effective - 1))
        assert line["rows"], line["positives"] == (rows.sum(), label.sum())
        sign = 1 if line["metric"] == "ap" else -1
        assert line["change"] == pytest.approx(sign * (ours / theirs - 1))
    tested = tests["p"].notna()
    assert tests.loc[tested, "p_holm"].tolist() == holm(tests.loc[tested, "p"]).tolist()
    assert tests.loc[~tested, "p_holm"].isna().all()


def test_production_against_itself_passes_and_must_rise_where_a_rise_is_asked_for() -> None:
    y, a, _, request = log(1, 400)
    rules = GateRules(tolerances={"ap": 1.0, "log_loss": 1.0, "ratio": 1.0, "ndcg@5": 1.0})
    found = gate(y, a, a, request, names=NAMES, slices=[device(request)], rules=rules)
    assert found.verdict == "pass"
    assert set(found.tests["outcome"]) == {"holds", "not tested"}
    assert (found.tests["d"].dropna() == 0.0).all()
    assert (found.tests["p"].dropna() == 1.0).all()
    rise = gate(y, a, a, request, names=NAMES, rules=GateRules(tolerances={"ap": 1.5}))
    assert rise.verdict == "regression"
    tolerant = gate(y, a, a, request, names=NAMES, rules=GateRules(tolerances={"ap": 0.5, "ratio": 0.5}))
    assert tolerant.verdict == "pass"


def test_a_certain_fall_needs_no_error() -> None:
    """Every request ranks its one positive first in production and second in the candidate: d has no variance."""
    y, production, candidate = [[1], [0], [0]] * 50, [[3], [2], [1]] * 50, [[2], [3], [1]] * 50
    found = gate(
        y, candidate, production, np.arange(150) // 3, names=["click"], rules=GateRules(tolerances={"mrr": 1.0})
    )
    [line] = found.tests.to_dict("records")
    assert (line["d"], line["se"], line["p"], line["outcome"]) == (-0.5, 0.0, 0.0, "regression")
    assert (
        gate(y, production, candidate, np.arange(150) // 3, rules=GateRules(tolerances={"mrr": 1.0})).verdict == "pass"
    )


def test_a_fall_in_one_slice_is_found_and_named() -> None:
    y, a, b, request = log(2, 1500, noise=0.1)
    part = device(request)
    phone = part.codes == part.names.index("phone")
    a[phone, 1] = sigmoid(-3 + 2 * np.random.default_rng(3).normal(size=int(phone.sum())))
    rules = GateRules(tolerances={"ap": 0.9})
    found = gate(y, a, b, request, names=NAMES, slices=[part], rules=rules)
    fallen = found.tests[found.tests["outcome"] == "regression"]
    assert set(fallen["head"]) == {"save"}
    assert set(fallen["slice"]) == {"all", "phone"}
    assert found.sentence.startswith("Regression: save lost ")
    assert "save in device phone (PR-AUC -" in found.sentence
    assert gate(y, b, a, request, names=NAMES, slices=[part], rules=rules).verdict == "pass"


def test_what_cannot_be_judged_keeps_a_release_from_passing_and_costs_the_others_nothing() -> None:
    y, a, _, request = log(4, 400)
    part = device(request)
    alone = gate(y[:, :1], a[:, :1], a[:, :1], request, names=["click"], slices=[part]).tests.set_index("slice")
    y[:, 1] = 0.0
    found = gate(y, a, a, request, names=NAMES, slices=[part])
    save = found.tests[found.tests["head"] == "save"].set_index("slice")
    assert save.loc["all", "outcome"] == "undecided"
    assert save.loc["all", "reason"] == "no positive row"
    assert np.isnan(save.loc["all", "candidate"])
    assert save.loc["watch", "reason"] == "no row"
    assert save["p"].isna().all()
    assert (found.verdict, found.sentence) == (
        "inconclusive",
        "Inconclusive: no fall is seen, but some heads cannot be judged: save (PR-AUC): no positive row.",
    )
    click = found.tests[found.tests["head"] == "click"].set_index("slice")
    assert click["p_holm"].equals(alone["p_holm"])
    few = gate(y[:, :1], a[:, :1], a[:, :1], request, slices=[part], rules=GateRules(min_positives=100)).tests
    assert (
        few.set_index("slice").loc["tv", "reason"]
        == f"too few positives: {int(y[part.codes == 2, 0].sum())} of at least 100"
    )


def test_a_single_request_holding_the_positives_is_not_evidence() -> None:
    y = np.zeros((200, 1))
    y[:10] = 1.0
    score = np.random.default_rng(0).random((200, 1))
    rules = GateRules(min_positives=5)
    one = gate(y, score, score, np.arange(200) // 10, rules=rules)
    assert one.tests["reason"].tolist() == [
        "one request holds nearly all positives or nearly all negatives: no interval"
    ]
    assert gate(y, score, score, np.zeros(200), rules=rules).tests["reason"].tolist() == [
        "fewer than two requests: no interval"
    ]
    assert one.verdict == "inconclusive"


def test_the_detectable_effect_is_found_with_the_stated_power() -> None:
    """Move d by the detectable effect and see the normal chance of d / SE falling below Holm's first step: 80 %."""
    y, a, b, request = log(5, 3000, base=(-2.0,), noise=0.2)
    [line] = gate(y, a, b, request, names=["click"]).tests.to_dict("records")
    threshold = stats.t.ppf(0.025, line["df"])
    assert stats.norm.cdf(threshold + line["detectable"] / line["se"]) == pytest.approx(0.8, abs=0.003)
    assert line["detectable_share"] == pytest.approx(0.02 + line["detectable"] / line["baseline"])


def test_it_does_not_cry_wolf_on_small_logs() -> None:
    """Two equally good models, 20-60 positives per head, 11 slices, no fall allowed: exit 1 in at most 5 %."""
    verdicts = []
    for seed in range(120):
        y, a, b, request = log(seed, 60, base=(-2.3, -2.6))
        slices = [device(request, seed), Slices.of("position", np.arange(len(y)) % 10, most=3, bins=3)]
        rules = GateRules(tolerances={"ap": 1.0, "log_loss": 1.0}, min_positives=10)
        verdicts.append(gate(y, a, b, request, names=NAMES, slices=slices, rules=rules).verdict)
    assert verdicts.count("regression") <= 6
    assert verdicts.count("pass") <= 6


def test_few_dense_requests_know_their_error_poorly() -> None:
    """With the normal quantile a test over 6 requests errs about twice as often as it says; with G - 1 it does not."""
    p, normal = [], []
    for seed in range(40):
        y, a, b, request = log(seed, 6, base=(-0.3,) * 20)
        tests = gate(y, a, b, request, rules=GateRules(tolerances={"ap": 1.0}, min_positives=5)).tests.dropna(
            subset="p"
        )
        p.extend(tests["p"])
        normal.extend(stats.norm.cdf(tests["d"] / (tests["se"] * np.sqrt(tests["df"] / (tests["df"] + 1)))))
    assert len(p) >= 750
    assert np.mean(np.array(p) <= 0.025) <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / len(p))
    assert np.mean(np.array(normal) <= 0.025) > 0.04


def test_results_are_plain_json() -> None:
    y, a, b, request = log(6, 50)
    found = gate(y, a, b, request, names=NAMES, slices=[device(request)]).to_dict()
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    assert found["tested"] == sum(test["p"] is not None for test in found["tests"])
    assert [test["overall"] for test in found["tests"]] == [True] * 2 + [False] * 8


def test_faults_are_named() -> None:
    y, a, b, request = log(7, 20)
    with pytest.raises(ValueError, match=r"scored on different rows: 200 and 190 \(10 fewer\)"):
        gate(y, a, b[10:], request)
    with pytest.raises(ValueError, match="`slices` must hold the columns that the rules ask for, got none of age"):
        gate(y, a, b, request, slices=[device(request)], rules=GateRules(slices=("device", "age")))
    with pytest.raises(InputError, match=r"\[heads.hide\]: unknown head \(the heads are click, save\)"):
        gate(y, a, b, request, names=NAMES, rules=GateRules(head_tolerances={"hide": {"ap": 0.9}}))
    with pytest.raises(ValueError, match="`weights` must be finite and >= 0, got -1"):
        gate(y, a, b, request, -np.ones(len(y)))
    with pytest.raises(ValueError, match=r"`candidate` must lie within \[0, 1\] where probabilities are compared"):
        gate(y, 10 * a, b, request, rules=GateRules(tolerances={"brier": 1.0}))
    a[2, 1] = np.nan
    with pytest.raises(ValueError, match="`candidate` must be numbers without NaN, got nan at row 2"):
        gate(y, a, b, request)


def test_ranks_within_requests_whose_rows_were_sampled_decide_nothing() -> None:
    y, a, b, request = log(2, 300)
    w = np.where(y.any(axis=1), 1.0, 10.0)  # negatives were dropped one by one
    rules = GateRules(tolerances={"ndcg@5": 0.98, "gauc": 0.98})
    found = gate(y, a, b, request, w, names=NAMES, rules=rules).tests.set_index("metric")
    assert (found.loc["ndcg@5", "outcome"] == "undecided").all()
    assert found.loc["ndcg@5", "reason"].str.contains("sampled within requests").all()
    assert found.loc["gauc", "reason"].isna().all()
    table = compare(y, a, b, request, w, NAMES, metrics=("ndcg@5", "ap")).set_index("metric")
    assert table.loc["ndcg@5", ["se", "verdict"]].isna().all(axis=None)
    assert table.loc["ap", "se"].notna().all()
    whole = gate(y, a, b, request, np.repeat(3.0, len(y)), names=NAMES, rules=rules).tests  # whole requests were
    assert whole["reason"].isna().all()
