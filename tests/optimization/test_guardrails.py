"""Guardrails: refused when they make no sense, and violated exactly when a rule is broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.average_precision import ap_influence, average_precision
from evaluation.clusters import clustered_standard_error
from features import InputError
from optimization.guardrails import MARGIN, Guardrails
from optimization.score_table import ScoreTable
from ranking import Utility

SIGNS = {"click": 1, "save": 1, "hide": -1}
BASELINE = {"click": 0.5, "save": 0.25, "hide": -0.25}


def rails(**changes: Any) -> Guardrails:
    return Guardrails(**({"baseline": BASELINE, "signs": SIGNS} | changes))


def table(seed: int = 0, rows: int = 600) -> ScoreTable:
    rng = np.random.default_rng(seed)
    truth = 1.0 / (1.0 + np.exp(2.0 - rng.normal(size=(rows, 3)) @ np.array([[1.2, 0.4, 0.1], [0, 1, 0.3], [0, 0, 1]])))
    seen = 1.0 / (1.0 + np.exp(-np.log(truth / (1 - truth)) - 0.7 * rng.normal(size=(rows, 3))))
    return ScoreTable.of(seen, rng.random((rows, 3)) < truth, np.arange(rows) // 10, list(SIGNS), list(SIGNS.values()))


def rules(violations: list[Any]) -> list[tuple[str, str | None]]:
    return [(violation.rule, violation.head) for violation in violations]


def test_every_fault_of_the_input_at_once() -> None:
    with pytest.raises(InputError) as caught:
        rails(
            baseline={"click": 0.5, "save": -0.4, "buy": 0.3},
            floors={"click": 0.0, "hide": -1.0, "share": 1.0},
            bounds={"save": (0.6, 0.2), "like": (0.0, 1.0)},
            margin=-1.0,
        )
    text = str(caught.value)
    for part in (
        "`baseline`: unknown head `buy`", "missing hide", "`save` has sign +1, so its weight must not be -0.4",
        "`floors`: unknown head `share`", "`click` must keep must be finite and > 0, got 0.0",
        "`hide` may reach must be finite and > 0, got -1.0",
        "`bounds`: unknown head `like`", "bounds of `save`", "`margin` must be finite and >= 0",
    ):  # fmt: skip
        assert part in text, (part, text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": {"click": 2.0, "save": 1.0, "hide": -1.0}}, r"must sum to 1 in \|w\| \(S1\), got 4; scaled: "
         "click = 0.5, save = 0.25, hide = -0.25"),
        ({"baseline": {"click": 0.0, "save": 0.0, "hide": 0.0}}, "must sum to 1 .* got 0$"),
        ({"baseline": {"click": float("nan"), "save": 0.5, "hide": 0.0}}, "finite numbers, got click = nan"),
        ({"total": 0.0}, "`total` must be finite and > 0"),
        ({"bounds": {"click": (0.0, 0.2), "save": (0.0, 0.2), "hide": (0.0, 0.2)}}, "leave no point"),
        ({"floors": {"save": float("inf")}}, "finite and > 0"),
    ],
)  # fmt: skip
def test_one_fault(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        rails(**changes)
    assert len(caught.value.faults) == 1


def test_a_baseline_of_another_total() -> None:
    """S1: the weights add up to "any constant" [Pinterest 2020]."""
    assert rails(baseline=Utility(click=2.0, save=1.0, hide=-1.0), total=4.0).violations(
        {"click": 4.0, "save": 0.0, "hide": 0.0}
    ) == []  # fmt: skip
    assert rails().margin == MARGIN > 0


def test_s1_signs_and_s2_with_equality() -> None:
    bounded = rails(bounds={"click": (0.4, 0.6)})
    assert bounded.violations({"click": 0.4, "save": 0.6}) == []
    assert bounded.violations({"click": 0.6, "save": 0.2, "hide": -0.2}) == []
    assert rules(bounded.violations({"click": 0.3, "save": 0.7})) == [("S2", "click")]
    assert rules(bounded.violations({"click": 0.5, "save": 0.3, "hide": 0.2})) == [("sign", "hide")]
    assert rules(bounded.violations({"click": 0.5, "save": 0.1})) == [("S1", None)]
    assert rules(bounded.violations({"click": 0.5, "save": 0.5, "buy": 0.0})) == [("S1", "buy")]
    assert rules(bounded.violations({"click": 0.5, "save": float("nan")})) == [("S1", None)]
    assert rules(bounded.violations(Utility(click=1.5, hide=0.5))) == [("S1", None), ("S2", "click"), ("sign", "hide")]


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=50, derandomize=True)
def test_every_point_of_the_space_keeps_s1_and_s2(seed: int) -> None:
    bounded = rails(bounds={"click": (0.1, 0.6), "hide": (0.05, 0.5)})
    space = bounded.space()
    for weights in space.weights(space.random(5, seed)):
        assert bounded.violations(dict(zip(SIGNS, weights))) == []


def test_s3_to_s5_against_the_metrics_themselves() -> None:
    """f_h(w) >= c_h b_h, and with a margin: + m SE of the paired difference; both computed here by other code."""
    rows = table()
    weights = {"click": 0.2, "save": 0.7, "hide": -0.1}

    def scores(vector: dict[str, float]) -> np.ndarray:
        p = rows.probabilities.astype(np.float64)
        return sum(vector[head] * p[:, t] for t, head in enumerate(SIGNS))

    labels = rows.labels[:, 0]
    value, base = (average_precision(labels, scores(vector)) for vector in (weights, BASELINE))
    c = value / base
    for floor, broken in ((c * (1 - 1e-6), False), (c * (1 + 1e-6), True)):
        found = rails(floors={"click": floor}).violations(weights, rows)
        assert rules(found) == ([("S3-S5", "click")] if broken else [])
    # With c = 1 the slack is the difference; its error is that of the ratio, by the delta method on whole requests.
    (ours, influence), (theirs, other) = (ap_influence(labels, scores(vector)) for vector in (BASELINE, weights))
    error = clustered_standard_error(influence - ours / theirs * other, rows.requests)
    assert ours > theirs
    swapped = rails(baseline=weights, floors={"click": 1.0})
    for margin, broken in (((ours - theirs) / error - 1e-3, False), ((ours - theirs) / error + 1e-3, True)):
        found = swapped.violations(BASELINE, rows, margin=margin)
        assert rules(found) == ([("S3-S5", "click")] if broken else [])
    assert "paired standard errors" in str(found[0])


def test_the_baseline_keeps_itself_at_equality() -> None:
    """c = 1 "forbids any loss" [Pinterest 2020], and none is lost: no rounding may turn equality into a breach."""
    strict = rails(floors={"click": 1.0, "save": 1.0})
    assert strict.violations(BASELINE, table(), margin=3.0) == []
    assert strict.violations(BASELINE, table(), metric="ndcg@5", margin=3.0) == []


def test_a_table_of_other_heads_is_refused() -> None:
    other = Guardrails({"click": 1.0, "save": 0.0}, {"click": 1, "save": 1}, floors={"save": 0.9})
    with pytest.raises(InputError, match="heads and signs must be those of the table"):
        other.violations({"click": 1.0, "save": 0.0}, table())


def test_heads_may_come_in_another_order_than_the_tables() -> None:
    weights = {"click": 0.2, "save": 0.7, "hide": -0.1}
    reordered = dict(reversed(SIGNS.items()))
    texts = [
        [str(v) for v in rails(signs=signs, floors={"click": 1.0}).violations(weights, table())]
        for signs in (SIGNS, reordered)
    ]
    assert texts[0] == texts[1] != []


def test_round_trip() -> None:
    given = rails(floors={"save": 0.9}, bounds={"click": (0.1, 0.9)}, margin=1.5)
    assert Guardrails.from_dict(given.to_dict()) == given


def test_the_baseline_keeps_its_own_floors_for_certain() -> None:
    """A ratio of 1 has no error, however rare the head: the margin never puts the weights in production in doubt."""
    everything = rails(floors={"click": 1.0, "save": 0.5})
    assert everything.violations(BASELINE, table(rows=60), margin=100.0) == []


def test_an_unwanted_head_has_a_ceiling() -> None:
    """f_h(w) <= c_h b_h - m SE of the paired ratio: hides may not rise; both sides computed here by other code."""
    rows = table()
    weights = {"click": 0.2, "save": 0.3, "hide": -0.5}

    def scores(vector: dict[str, float]) -> np.ndarray:
        p = rows.probabilities.astype(np.float64)
        return sum(vector[head] * p[:, t] for t, head in enumerate(SIGNS))

    labels = rows.labels[:, 2]
    (value, influence), (base, other) = (ap_influence(labels, scores(vector)) for vector in (weights, BASELINE))
    assert value < base  # a larger negative weight of hide ranks fewer of them first
    c = value / base
    for ceiling, broken in ((c * (1 + 1e-6), False), (c * (1 - 1e-6), True)):
        found = rails(floors={"hide": ceiling}).violations(weights, rows)
        assert rules(found) == ([("S3-S5", "hide")] if broken else [])
    error = clustered_standard_error(influence - c * other, rows.requests)
    strict = rails(floors={"hide": 1.0})
    for margin, broken in (((base - value) / error - 1e-3, False), ((base - value) / error + 1e-3, True)):
        found = strict.violations(weights, rows, margin=margin)
        assert rules(found) == ([("S3-S5", "hide")] if broken else [])
    assert "PR-AUC of `hide` must be at most" in str(found[0])
    assert "below it are asked for" in str(found[0])
    assert strict.violations(BASELINE, rows, margin=100.0) == []  # "must not rise", and it does not
    rising = rails(baseline=weights, floors={"hide": 1.0})
    assert rules(rising.violations(BASELINE, rows)) == [("S3-S5", "hide")]
    assert rails(baseline=weights, floors={"hide": base / value * (1 + 1e-6)}).violations(BASELINE, rows) == []


def test_a_floor_that_is_none_is_said_in_a_sentence() -> None:
    with pytest.raises(InputError) as caught:
        rails(floors={"click": 0.0, "hide": -1.0})
    said = [fault.message for fault in caught.value.faults]
    assert said == [
        "`floors`: the share of the baseline that `click` must keep must be finite and > 0",
        "`floors`: the share of the baseline that `hide` may reach must be finite and > 0",
    ]
