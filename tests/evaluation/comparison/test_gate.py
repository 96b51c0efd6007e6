"""The gate: its statistic is the paired one, its verdicts are what the rules say, and it does not cry wolf."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from evaluation.average_precision import ap_influence
from evaluation.checks import FloatArray
from evaluation.comparison import GateResult, GateRules, compare, gate
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
    assert tests["p"].notna().sum() >= 12
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
        assert (line["rows"], line["positives"]) == (rows.sum(), label.sum())
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


@pytest.mark.parametrize("share", [1.0, 0.98])
def test_the_same_model_rounded_to_float32_passes_either_way(share: float) -> None:
    y, a, _, request = log(8, 2000, base=(-2.0, -5.0), noise=0.0)
    a[:50, 0] = 1.0 - 1e-12  # float32 knows no such number: log losses must be clipped alike
    a[:50, 1] = 1e-12
    rounded = a.astype(np.float32)
    metrics = ("log_loss", "brier", "normalised_entropy", "ratio", "ap", "auc", "ndcg@5")
    rules = GateRules(tolerances=dict.fromkeys(metrics, share))
    for candidate, baseline in ((rounded, a), (a, rounded), (rounded.astype(float), rounded)):
        found = gate(y, candidate, baseline, request, names=NAMES, slices=[device(request)], rules=rules)
        assert found.verdict == "pass", found.sentence
        assert set(found.tests["outcome"]) <= {"holds", "not tested"}
        if share == 1.0:
            tested = found.tests[found.tests["p"].notna()]
            assert (tested[["d", "se"]] == 0.0).all(axis=None)
            assert (tested["p"] == 1.0).all()
    assert (compare(y, rounded, a, request, metrics=("ratio", "brier"))["difference"] == 0.0).all()


def test_a_ratio_of_nearly_one_is_rounded_without_regard_to_its_side() -> None:
    """log ratios of +3e-9 and -2e-9 lie on two sides of 0, and are one."""
    y = np.tile([1.0, 0.0, 0.0, 0.0], 100)[:, None]
    noise = np.random.default_rng(0).normal(scale=0.01, size=y.shape)
    p = 0.25 + noise - noise.mean()
    rules = GateRules(tolerances={"ratio": 1.0})
    found = gate(y, p * (1 + 3e-9), p * (1 - 2e-9), np.arange(400) // 4, names=["click"], rules=rules)
    assert found.tests[["d", "se", "p"]].to_numpy().tolist() == [[0.0, 0.0, 1.0]]


def test_a_difference_that_happens_to_be_small_is_not_taken_for_rounding() -> None:
    """Two unlike models of equal log loss: what is known of the difference is not 1e-5 of it."""
    y, a, b, request = log(9, 100, base=(-2.0,), noise=0.5)

    def found(share: float) -> GateResult:
        return gate(y, a, b, request, names=["click"], rules=GateRules(tolerances={"log_loss": share}))

    [line] = found(1.0).tests.to_dict("records")
    [even] = found(2.0 - line["candidate"] / line["baseline"] - 1e-7).tests.to_dict("records")
    assert 0.0 < abs(even["d"]) < 1e-6 * even["baseline"]
    assert even["se"] == pytest.approx(line["se"], rel=0.1)
    assert even["outcome"] == "undecided"


def test_a_candidate_that_predicts_nothing_is_a_regression_of_its_ratio() -> None:
    y, a, _, request = log(10, 300)
    rules = GateRules(tolerances={"ratio": 0.9})
    zero = a.copy()
    zero[:, 1] = 0.0
    found = gate(y, zero, a, request, names=NAMES, slices=[device(request)], rules=rules)
    assert found.verdict == "regression"
    assert found.sentence.startswith("Regression: save predicts nothing: predicted / observed ")
    save = found.tests[(found.tests["head"] == "save") & found.tests["p"].notna()]
    assert (save["outcome"] == "regression").all()
    assert (save[["p", "p_holm"]] == 0.0).all(axis=None)
    [first] = [test for test in found.to_dict()["tests"] if test["head"] == "save" and test["overall"]]
    assert (first["candidate"], first["d"], first["reason"]) == (0.0, None, None)
    [row] = compare(y[:, 1:], zero[:, 1:], a[:, 1:], request, metrics=["ratio"]).to_dict("records")
    assert row["reason"] == "predicted / observed is 0: one of the two predicts nothing"
    for candidate in (a, zero):  # against a production that predicts nothing nothing can be said
        back = gate(y, candidate, zero, request, names=NAMES, rules=rules)
        assert back.verdict == "inconclusive"
        assert back.tests["reason"].iloc[1] == "production predicts nothing: its predicted / observed is 0"
        assert back.sentence == (
            "Inconclusive: all that can be judged holds, but some heads cannot be judged: save (predicted / observed): "
            "production predicts nothing: its predicted / observed is 0."
        )


def test_without_a_negative_row_losses_are_judged_and_orders_are_not() -> None:
    y, a, _, request = log(11, 100, base=(0.0,))
    y[:] = 1.0
    metrics = ("ap", "auc", "normalised_entropy", "ndcg@5", "log_loss", "brier", "ratio")
    rules = GateRules(tolerances=dict.fromkeys(metrics, 0.98))
    worse = gate(y, 0.5 * a, a, request, rules=rules).tests.set_index("metric")
    assert set(worse.loc[["ap", "auc", "normalised_entropy", "ndcg@5"], "reason"]) == {"no negative row"}
    assert set(worse.loc[["log_loss", "brier", "ratio"], "outcome"]) == {"regression"}
    assert worse.loc["brier", "df"] == 99.0  # 100 requests of equally many positives
    part = Slices.of("half", np.where(request < 50, "bought", "all"))
    y[request >= 50] = log(11, 100, base=(0.0,))[0][request >= 50]
    sliced = gate(y, a, a, request, slices=[part], rules=rules).tests.set_index(["slice", "metric"])
    assert sliced.loc[("bought", "ap"), ["outcome", "reason"]].tolist() == ["not tested", "no negative row"]
    assert set(sliced.loc["bought"].loc[["log_loss", "brier", "ratio"], "outcome"]) == {"holds"}


def test_heads_without_a_rule_are_named() -> None:
    y, a, _, request = log(12, 200)
    found = gate(y, a, a, request, names=NAMES, rules=GateRules(tolerances={}, head_tolerances={"click": {"ap": 1.0}}))
    assert found.sentence.startswith("Pass: at least 100 % of production's PR-AUC is kept on click, by")
    assert found.warnings == ["Not gated: save."]


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
        "Inconclusive: all that can be judged holds, but some heads cannot be judged: save (PR-AUC): no positive row.",
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


def test_heads_that_production_lacks_are_named_beside_the_verdict() -> None:
    y, a, _, request = log(1, 400)
    found = gate(y, a, a, request, names=NAMES, rules=GateRules(tolerances={"ap": 0.9}), ungated=["hide"])
    assert found.verdict == "pass"
    assert "every head" not in found.sentence
    assert "Not gated: hide." in found.warnings
