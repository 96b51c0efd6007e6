"""What a weight contributes, and what a small change of it does."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation import paired_ap_difference
from optimization.objective.pr_auc import utilities
from optimization.report.tuning_words import sensitivity_sentence
from optimization.score_table import ScoreTable
from optimization.sensitivity import contributions, sensitivity
from ranking import Utility

HEADS = ("click", "save", "hide")
SIGNS = (1, 1, -1)
UTILITY = Utility(click=0.5, save=0.375, hide=-0.125)


@pytest.fixture(scope="module")
def table() -> ScoreTable:
    rng = np.random.default_rng(1)
    p = rng.random((1_200, 3)) ** 2
    labels = (rng.random((1_200, 3)) < p).astype(float)
    return ScoreTable.of(p, labels, np.arange(1_200) // 8, HEADS, SIGNS, rng.choice([1.0, 5.0], 1_200))


def test_contribution_is_weight_times_mean_probability() -> None:
    """By hand: two requests of two rows, the second request weighs three times as much."""
    p = [[0.5, 0.25], [0.5, 0.75], [0.25, 0.0], [0.75, 0.0]]
    table = ScoreTable.of(p, [[1, 0], [0, 1], [0, 1], [1, 0]], [1, 1, 2, 2], ["a", "b"], row_weights=[1, 1, 3, 3])
    found = contributions(table, Utility(a=0.5, b=2.0)).set_index("head")
    assert found["mean_probability"].tolist() == [4 / 8, 1 / 8]
    assert found["contribution"].tolist() == [0.5 * 4 / 8, 2.0 * 1 / 8]
    assert found["share"].tolist() == [0.5, 0.5]
    # within requests: b orders the first one by 2 x .5, a the second one by .5 x .5, whose rows weigh three times
    order_b, order_a = 2 * (2.0 * 0.25) ** 2, 6 * (0.5 * 0.25) ** 2
    assert found["order_share"].tolist() == pytest.approx(
        [order_a / (order_a + order_b), order_b / (order_a + order_b)]
    )


def test_the_shares_add_up(table: ScoreTable) -> None:
    found = contributions(table, UTILITY)
    assert found["share"].sum() == pytest.approx(1.0)
    assert found["order_share"].sum() == pytest.approx(1.0)
    assert found["contribution"].tolist() == pytest.approx((found["weight"] * found["mean_probability"]).tolist())
    assert found.loc[found["head"] == "hide", "contribution"].item() < 0.0


def test_a_head_that_is_the_same_within_every_request_orders_nothing(table: ScoreTable) -> None:
    p = table.probabilities.copy()
    p[:, 0] = (table.requests.codes % 7) / 10 + 0.1
    flat = ScoreTable.of(p, table.labels, table.requests, HEADS, SIGNS, table.row_weights)
    found = contributions(flat, UTILITY).set_index("head")
    assert found.loc["click", "share"] > 0.3
    assert found.loc["click", "order_share"] == pytest.approx(0.0, abs=1e-12)
    constant = ScoreTable.of(np.full((4, 2), 0.5), [[1, 0], [0, 1]] * 2, [1, 1, 2, 2], ["a", "b"])
    assert contributions(constant, Utility(a=1.0))["order_share"].isna().all()


def test_effects_are_paired_differences_to_the_unchanged_weights(table: ScoreTable) -> None:
    found = sensitivity(table, UTILITY)
    assert len(found) == 3 * 2 * 3
    before = np.array([0.5, 0.375, -0.125])
    for (changed, factor), rows in found.groupby(["changed", "factor"]):
        after = before.copy()
        after[HEADS.index(changed)] *= factor
        after /= np.abs(after).sum()
        assert rows["weight"].tolist() == pytest.approx([after[HEADS.index(changed)]] * 3)
        scores = utilities(table.probabilities, np.array([after, before]))
        for row in rows.itertuples():
            labels = table.labels[:, HEADS.index(row.head)]
            difference, error = paired_ap_difference(
                labels, scores[0], scores[1], table.requests.codes, table.row_weights
            )
            assert row.difference == pytest.approx(difference, abs=1e-12)
            assert row.se == pytest.approx(error, rel=1e-8, abs=1e-12)
            assert row.low <= row.difference <= row.high


def test_more_weight_moves_a_head_up_and_less_moves_it_down(table: ScoreTable) -> None:
    """Here every head's probability is the truth about this head and knows nothing of the others."""
    found = sensitivity(table, UTILITY, change=0.5)
    own = found[found["changed"] == found["head"]]
    for row in own.itertuples():
        up = row.factor > 1.0
        assert (row.difference > 0.0) == (up if row.head != "hide" else not up)
        assert row.verdict == ("better" if up else "worse")  # less hide is better


def test_a_head_without_weight_is_left_out(table: ScoreTable) -> None:
    found = sensitivity(table, Utility(click=1.0))
    assert set(found["changed"]) == {"click"}
    assert (found["difference"] == 0.0).all()  # the only weight: its size changes no order
    assert (found["se"] == 0.0).all()


def test_the_sentence_names_the_head_of_an_objective_of_several(table: ScoreTable) -> None:
    records = sensitivity(table, UTILITY, change=0.5).to_dict("records")
    shown = [record for record in records if record["head"] != "save" and record["verdict"] in ("better", "worse")]
    largest = max(shown, key=lambda record: abs(record["difference"]))
    text = sensitivity_sentence(records, {"click": 1.0, "hide": -1.0})
    assert text is not None
    assert "the largest effect on click and hide is" in text
    assert f"] on {largest['head']}, from" in text
    alone = sensitivity_sentence([r for r in records if r["head"] == "click"], {"click": 1.0})
    assert alone is not None
    assert "], from" in alone


def test_bad_input_is_named(table: ScoreTable) -> None:
    for change in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="`change` must satisfy 0 < change < 1"):
            sensitivity(table, UTILITY, change=change)
    for call in (contributions, sensitivity):
        with pytest.raises(ValueError, match=r"unknown head `book`.*`hide` has sign -1"):
            call(table, Utility(book=1.0, hide=1.0))
