"""The verdict on held-out rows: equal to the paired comparisons of `evaluation`, and said as the evidence deserves."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evaluation import Clusters, ap_interval, average_precision, paired_ap_difference
from evaluation.average_precision import ap_influence
from evaluation.clusters import clustered_standard_error
from features import InputError
from optimization.guardrails import Guardrails
from optimization.objective.pr_auc import utilities
from optimization.score_table import ScoreTable
from optimization.verdict import EQUAL, HAND, OBJECTIVE, TUNED, Verdict, candidates, judge
from ranking import Utility

HEADS = ("click", "save", "hide")
SIGNS = dict(zip(HEADS, (1, 1, -1)))
HAND_PICKED = {"click": 0.5, "save": 0.375, "hide": -0.125}
TUNED_WEIGHTS = Utility(click=0.25, save=0.625, hide=-0.125)


def score_table(rows: int = 3_000, seed: int = 0, weighted: bool = True, signal: float = 1.0) -> ScoreTable:
    """Scores that know each head with noise of its own; one label in twenty missing."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=(rows, 3)) - [1.5, 2.5, 2.5]
    labels = (rng.random((rows, 3)) < 1 / (1 + np.exp(-logit))).astype(float)
    labels[rng.random((rows, 3)) < 0.05] = np.nan
    p = 1 / (1 + np.exp(-(signal * logit + rng.normal(size=(rows, 3)))))
    weights = rng.choice([1.0, 4.0], rows) if weighted else None
    return ScoreTable.of(p, labels, np.arange(rows) // 10, HEADS, SIGNS.values(), weights, "test rows of a log")


def rails(**floors: float) -> Guardrails:
    return Guardrails(HAND_PICKED, SIGNS, floors=floors)


def standard(table: ScoreTable, objective: object = "save", **floors: float) -> Verdict:
    return judge(table, candidates(TUNED_WEIGHTS, HAND_PICKED, SIGNS), rails(**floors), objective=objective)


@pytest.fixture(scope="module")
def table() -> ScoreTable:
    return score_table()


@pytest.fixture(scope="module")
def verdict(table: ScoreTable) -> Verdict:
    return standard(table, click=0.9, save=1.0)


def known(table: ScoreTable, head: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, weights and requests of the rows that have this head's label."""
    column = table.heads.index(head)
    rows = ~np.isnan(table.labels[:, column])
    weights = np.ones(table.rows) if table.row_weights is None else table.row_weights
    return rows, table.labels[rows, column], table.requests.codes[rows], weights[rows]


@pytest.mark.parametrize("weighted", [True, False])
def test_values_and_differences_are_those_of_the_paired_comparison(weighted: bool) -> None:
    table = score_table(weighted=weighted)
    found = standard(table)
    vectors = np.array([list(weights.values()) for weights in found.weights.values()])
    scores = dict(zip(found.weights, utilities(table.probabilities, vectors)))
    assert len(found.values) == len(found.weights) * 4
    for row in found.values[~found.values["combined"]].itertuples():
        rows, labels, groups, weights = known(table, row.head)
        ours, theirs = scores[row.candidate][rows], scores[HAND][rows]
        assert row.value == pytest.approx(average_precision(labels, ours, weights), rel=1e-9)
        assert row.se == pytest.approx(ap_interval(labels, ours, groups, weights)[1], rel=1e-9)
        difference, error = paired_ap_difference(labels, ours, theirs, groups, weights)
        assert row.difference == pytest.approx(difference, abs=1e-12)
        assert row.difference_se == pytest.approx(error, rel=1e-9, abs=1e-12)
        assert row.difference_high - row.difference_low == pytest.approx(2 * 1.959963984540054 * error, abs=1e-12)


def test_a_guardrail_is_checked_with_its_own_error(table: ScoreTable, verdict: Verdict) -> None:
    """S3-S5 of the article: f_h(w) / b_h >= c_h; by the delta method b SE(f / b) = |I(w) - (f / b) I(b)|."""
    assert set(verdict.guardrails["head"]) == {"click", "save"}
    vectors = np.array([list(weights.values()) for weights in (verdict.weights[TUNED], verdict.weights[HAND])])
    scores = utilities(table.probabilities, vectors)
    for head, floor in (("click", 0.9), ("save", 1.0)):
        rows, labels, groups, weights = known(table, head)
        value, influence = ap_influence(labels, scores[0][rows], weights)
        base, base_influence = ap_influence(labels, scores[1][rows], weights)
        row = verdict.guardrails.set_index(["candidate", "head"]).loc[(TUNED, head)]
        assert row["required"] == pytest.approx(floor * base, rel=1e-9)
        assert row["slack"] == pytest.approx(value - floor * base, abs=1e-12)
        error = clustered_standard_error(influence - value / base * base_influence, Clusters.of(groups), weights)
        assert row["se"] == pytest.approx(error, rel=1e-9)
        assert bool(row["holds"]) == (value >= floor * base)


def test_the_baseline_keeps_a_floor_of_one_exactly(verdict: Verdict) -> None:
    row = verdict.guardrails.set_index(["candidate", "head"]).loc[(HAND, "save")]
    assert (row["slack"], row["se"], row["holds"], row["decided"]) == (0.0, 0.0, True, True)


def test_the_baseline_keeps_a_floor_below_one_for_certain(table: ScoreTable) -> None:
    """Its share is 1 whatever the level of a rare head is."""
    found = standard(table, click=0.999).guardrails.set_index(["candidate", "head"]).loc[(HAND, "click")]
    assert found["se"] == pytest.approx(0.0, abs=1e-15)
    assert (found["holds"], found["decided"]) == (True, True)


def test_the_objective_is_the_sum_of_values_with_the_error_of_the_sum(table: ScoreTable) -> None:
    """SE^2 = sum over requests of (sum_h a_h (I_h - I'_h))^2: heads of one request are not independent."""
    values = {"click": 0.5, "hide": -2.0}
    found = standard(table, values)
    frame = found.values.set_index(["candidate", "head"])
    mine = frame.loc[(TUNED, OBJECTIVE)]
    expected = sum(value * frame.loc[(TUNED, head), "value"] for head, value in values.items())
    assert mine["value"] == pytest.approx(expected, abs=1e-12)
    vectors = np.array([list(found.weights[name].values()) for name in (TUNED, HAND)])
    scores = utilities(table.probabilities, vectors)
    total = np.zeros(table.rows)
    for head, value in values.items():
        rows, labels, _, weights = known(table, head)
        pair = [ap_influence(labels, line[rows], weights)[1] for line in scores]
        total[rows] += value * (pair[0] - pair[1])
    assert mine["difference_se"] == pytest.approx(clustered_standard_error(total, table.requests), rel=1e-9)
    assert found.objective == values


def test_of_an_unwanted_head_less_is_better(table: ScoreTable) -> None:
    """Ranking by the probability of hide alone, highest first, would be refused; lowest first lowers its PR-AUC."""
    frame = standard(table).values.set_index(["candidate", "head"])
    assert frame.loc[("only hide", "hide"), "difference"] < 0.0
    assert frame.loc[("only hide", "hide"), "verdict"] == "better"
    assert frame.loc[("only click", "hide"), "verdict"] == "worse"


def test_only_ratios_of_weights_count(table: ScoreTable, verdict: Verdict) -> None:
    doubled = {**candidates(TUNED_WEIGHTS, HAND_PICKED, SIGNS), TUNED: TUNED_WEIGHTS.scaled(2.0)}
    again = judge(table, doubled, rails(click=0.9, save=1.0), objective="save")
    assert again.values.equals(verdict.values)
    assert again.guardrails.equals(verdict.guardrails)


def test_weights_that_are_better_are_said_to_be(verdict: Verdict) -> None:
    row = verdict.values.set_index(["candidate", "head"]).loc[(TUNED, OBJECTIVE)]
    assert row["difference_low"] > 0.0
    assert "On 300 requests (test rows of a log), the tuned weights are better than the hand-picked ones" in (
        verdict.sentence()
    )
    assert "not distinguishable" not in verdict.sentence()


def test_an_interval_that_contains_zero_is_said_in_words() -> None:
    """[Pinterest 2020]: tuned weights "did not outperform the model with hand-picked utility weights"."""
    table = score_table(rows=1_000, seed=5)
    near = Utility(click=0.5, save=0.4, hide=-0.1)
    found = judge(table, candidates(near, HAND_PICKED, SIGNS), rails(click=0.5), objective="save")
    row = found.values.set_index(["candidate", "head"]).loc[(TUNED, OBJECTIVE)]
    assert row["difference_low"] < 0.0 < row["difference_high"]
    assert row["verdict"] == "no difference shown"
    assert "the tuned weights are not distinguishable from the hand-picked ones" in found.sentence()
    assert "the interval contains 0" in found.sentence()
    assert "Every guardrail holds on these rows" in found.sentence()


def test_weights_that_are_worse_and_break_a_guardrail_are_said_to(table: ScoreTable) -> None:
    found = judge(table, candidates({"hide": -1.0}, HAND_PICKED, SIGNS), rails(click=0.95), objective="click")
    text = found.sentence()
    assert "the tuned weights are worse than the hand-picked ones" in text
    assert "The guardrail of click fails on these rows, by more than chance explains" in text
    assert "holds" not in text


def test_a_guardrail_within_chance_is_said_to_be() -> None:
    near = Utility(click=0.51, save=0.365, hide=-0.125)
    found = judge(
        score_table(rows=600), candidates(near, HAND_PICKED, SIGNS), rails(click=1.0, save=1.0), objective="click"
    )
    rows = found.guardrails[found.guardrails["candidate"] == TUNED].set_index("head")
    assert rows["holds"].tolist() == [True, False]
    assert rows["decided"].tolist() == [False, False]
    assert (rows["low"] < 0.0).all()
    assert (rows["high"] > 0.0).all()
    assert "The guardrail of save fails on these rows, but within what chance explains" in found.sentence()
    assert "Held: click; for click chance alone could explain it, as 0 is inside the interval" in found.sentence()


def test_the_hand_picked_weights_chosen_again_are_no_difference(table: ScoreTable) -> None:
    found = judge(table, candidates(HAND_PICKED, HAND_PICKED, SIGNS), rails(save=1.0), objective="save")
    row = found.values.set_index(["candidate", "head"]).loc[(TUNED, "save")]
    assert (row["difference"], row["difference_se"], row["verdict"]) == (0.0, 0.0, "no difference shown")
    assert found.sentence().startswith("The tuned weights are the hand-picked ones")


def test_without_tuned_weights_the_others_are_judged(table: ScoreTable) -> None:
    found = judge(table, candidates(None, HAND_PICKED, SIGNS), rails(), objective="save")
    assert list(found.weights) == [HAND, EQUAL, "only click", "only save", "only hide"]
    assert found.guardrails.empty
    assert "equal weights" in found.sentence(EQUAL)
    with pytest.raises(ValueError, match="`candidate` must be one of hand-picked, equal"):
        found.sentences(TUNED)


def test_other_metrics_stand_behind_the_same_door(table: ScoreTable) -> None:
    found = judge(
        table, candidates(TUNED_WEIGHTS, HAND_PICKED, SIGNS), rails(click=0.9), objective="save", metric="ndcg@5"
    )
    assert found.label == "NDCG@5"
    assert "NDCG@5 of save" in found.sentence()
    assert found.values["value"].between(0.0, 1.0).sum() == len(found.values)


def test_it_is_strict_json(verdict: Verdict) -> None:
    read = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert read["requests"] == 300
    assert len(read["values"]) == len(verdict.values)
    assert read["weights"][TUNED] == TUNED_WEIGHTS.to_dict()


def test_all_faults_at_once(table: ScoreTable) -> None:
    bad = {"a": {"clck": 1.0}, "b": {"hide": 1.0}, "c": {"click": 0.0}}
    with pytest.raises(InputError) as caught:
        judge(table, bad, rails(), objective="save")
    text = str(caught.value)
    assert len(caught.value.faults) == 4
    for part in (
        "the reference must be one of the candidates a, b, c",
        "unknown head `clck`",
        "`hide` has sign -1",
        "0",
    ):
        assert part in text


def test_a_ceiling_is_checked_from_above(table: ScoreTable) -> None:
    """f_hide(w) <= c b: the slack is what is left below it, with the same error as a floor's."""
    other = Utility(click=0.25, save=0.74, hide=-0.01)  # hides are let through
    sets = candidates(other, HAND_PICKED, SIGNS)
    found = judge(table, sets, rails(hide=1.0, save=0.5), objective="save")
    row = found.guardrails.set_index(["candidate", "head"]).loc[(TUNED, "hide")]
    value, base = (found.values.set_index(["candidate", "head"]).loc[(name, "hide"), "value"] for name in (TUNED, HAND))
    assert value > base
    assert row["sign"] == -1
    assert row["slack"] == pytest.approx(base - value, abs=1e-12)
    assert row["low"] < row["slack"] < row["high"]
    assert (row["holds"], row["decided"]) == (False, bool(row["high"] < 0))
    text = found.sentence()
    assert "The guardrail of hide fails on these rows" in text
    assert "where at most" in text
    own = found.guardrails.set_index(["candidate", "head"]).loc[(HAND, "hide")]
    assert (own["slack"], own["holds"], own["decided"]) == (0.0, True, True)
    loose = judge(table, sets, rails(hide=1.01 * value / base), objective="save")
    assert loose.guardrails.set_index(["candidate", "head"]).loc[(TUNED, "hide"), "holds"]
