"""`tune`: the best is observed and feasible, infeasible problems say why, bad input leaves no journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.checks import FloatArray
from features import InputError
from optimization.evaluating import Evaluator
from optimization.guardrails import Guardrails
from optimization.score_table import ScoreTable
from optimization.search.ax_search import Observation
from optimization.search.space import SearchSpace
from optimization.study import STARTS
from optimization.trials import AX, NELDER_MEAD, PHASES, RANDOM, SWEEP
from optimization.tune import tune
from optimization.tuning import SEARCHES, Tuning

HEADS = ("closeup", "save", "long_click")
BASELINE = {"closeup": 0.4, "save": 0.3, "long_click": 0.3}


def landscape(seed: int = 0, requests: int = 200) -> ScoreTable:
    """Heads that contradict each other: long clicks avoid what is saved, and their head knows them badly."""
    rng = np.random.default_rng(seed)
    rows = 10 * requests
    latent = rng.normal(size=(rows, 3)) @ np.array([[1.0, 0.2, 0.3], [0.0, 1.0, -0.6], [0.0, 0.0, 0.9]])
    latent += 0.5 * np.repeat(rng.normal(size=(requests, 1)), 10, axis=0)
    truth = 1.0 / (1.0 + np.exp(-(np.array([-1.0, -2.0, -2.0]) + latent)))
    seen = 1.0 / (1.0 + np.exp(-(np.array([-1.0, -2.0, -2.0]) + 0.7 * latent + 0.6 * rng.normal(size=(rows, 3)))))
    return ScoreTable.of(seen, rng.random((rows, 3)) < truth, np.arange(rows) // 10, HEADS, name="tune rows")


def rails(**changes: Any) -> Guardrails:
    given = {"baseline": BASELINE, "signs": dict.fromkeys(HEADS, 1), "floors": {"closeup": 0.9, "save": 0.8}}
    return Guardrails(**(given | changes))


def near_the_best(
    space: SearchSpace,
    observations: Sequence[Observation],
    *,
    objectives: Sequence[str],
    constraints: Sequence[str] = (),
    count: int = 1,
    seed: int,
) -> FloatArray:
    """Stands in for Ax: a random step from the best feasible observation."""

    def rank(observation: Observation) -> tuple[float, float]:
        worst = min([0.0, *(observation.values[name][0] for name in constraints)])
        return worst, sum(observation.values[name][0] for name in objectives)

    best = np.asarray(max(observations, key=rank).shares)
    rng = np.random.default_rng(seed)
    return space.nearest(best + 0.1 * rng.standard_normal((count, len(best))))


def search(rows: ScoreTable | None = None, guardrails: Guardrails | None = None, **changes: Any) -> Tuning:
    given: dict[str, Any] = {"sweep": 64, "trials": 10, "propose": near_the_best}
    return tune(rows or landscape(), guardrails or rails(), changes.pop("objective", "long_click"), **(given | changes))


@pytest.fixture(scope="module")
def found() -> Tuning:
    return search()


def test_the_best_is_observed_feasible_and_beaten_by_no_feasible_trial(found: Tuning) -> None:
    best = found.best
    assert best is not None
    assert best in found.trials
    assert best.feasible
    feasible = [trial for trial in found.trials if trial.feasible]
    assert best.objective == max(trial.objective for trial in feasible) > found.baseline.objective
    assert rails().violations(best.weights, landscape(), margin=rails().margin) == []
    assert found.utility is not None
    assert dict(found.utility.weights) == best.weights
    for trial in found.trials[:40]:
        broken = rails().violations(trial.weights, landscape(), margin=rails().margin)
        assert trial.feasible == (broken == [])


def test_the_best_comes_near_the_optimum_of_a_dense_grid(found: Tuning) -> None:
    evaluator = Evaluator(landscape(), rails(), "long_click")
    steps = np.array([(i, j, 40 - i - j) for i in range(41) for j in range(41 - i)]) / 40
    optimum = max(outcome.objective for outcome in evaluator.outcomes(steps) if outcome.holds)
    assert found.best is not None
    assert found.best.objective >= 0.98 * optimum


def test_of_equals_the_earliest() -> None:
    """Shares that rank alike: only one head varies."""
    rng = np.random.default_rng(0)
    p = np.column_stack([np.full(200, 0.5), rng.random(200)])
    rows = ScoreTable.of(p, rng.random((200, 2)) < p, np.arange(200) // 5, ["flat", "click"])
    guard = Guardrails({"flat": 0.5, "click": 0.5}, {"flat": 1, "click": 1})
    found = search(rows, guard, objective="click")
    assert found.best is found.baseline
    assert "nothing feasible was better" in found.sentences()[0]
    text = " ".join(search(rows, guard, objective="click", trials=3).sentences())
    assert "neither Ax nor its cross-checks found anything better than the baseline" in text
    assert "Ax did not beat the sweep" in text  # a tie is no win
    assert "agree" not in text  # they agree on the baseline only, which all of them are given


def test_best_of_convergence_and_equal_evaluations(found: Tuning) -> None:
    curves = found.convergence()
    equal = 1 + STARTS + 10
    assert {name: len(found.evaluated(name)) for name in SEARCHES} == {
        AX: equal, SWEEP: 65, NELDER_MEAD: equal, RANDOM: equal,
    }  # fmt: skip
    for name in SEARCHES:
        trials = found.evaluated(name)
        assert trials[0] is found.baseline
        curve = curves[curves["phase"] == name]
        assert curve["evaluations"].tolist() == list(range(1, len(trials) + 1))
        for count in (1, 5, len(trials)):
            best = found.best_of(name, count)
            expected = max((t.objective for t in trials[:count] if t.feasible), default=np.nan)
            assert curve["best"].iloc[count - 1] == pytest.approx(expected, nan_ok=True)
            assert (best is None) == np.isnan(expected)
    assert [t.phase for t in found.evaluated(AX)] == ["baseline"] + [SWEEP] * STARTS + [AX] * 10
    with pytest.raises(ValueError, match="must be one of ax, sweep"):
        found.best_of("annealing")


def test_the_guardrail_that_stops_the_search_is_named() -> None:
    """Maximise long clicks while saves must stay: the best lies on that boundary, and only on that one."""
    found = search(guardrails=rails(floors={"save": 1.0, "closeup": 0.3}), trials=40, sweep=128)
    assert found.binding == ("save",)
    assert search(guardrails=rails(floors={"closeup": 0.1})).binding == ()


def test_the_price_of_a_guardrail() -> None:
    """The tighter the floor, the less of the objective; and with 1 the baseline itself is always feasible."""
    best = [search(guardrails=rails(floors={"save": floor})).best for floor in (0.2, 0.8, 1.0)]
    values = [trial.objective for trial in best if trial is not None]
    assert len(values) == 3
    assert values[0] > values[1] > values[2] >= search().baseline.objective


@pytest.mark.parametrize(
    ("floors", "parts"),
    [
        ({"save": 5.0, "closeup": 0.5}, ["no weights keep the guardrail of save (at least", "5.000 of the baseline's "
                                         "PR-AUC", "the nearest trial has", "none would be either"]),
        ({"save": 5.0, "closeup": 4.0}, ["guardrail of closeup (", "nor of save ("]),
        ({"save": 1.1, "long_click": 1.1}, ["kept alone, but not both of", "save (", "long_click ("]),
        ({"save": 1.005}, ["no weights keep the guardrail of save"]),
    ],
)  # fmt: skip
def test_an_infeasible_problem_says_which_guardrail_binds(floors: dict[str, float], parts: list[str]) -> None:
    margin = 100.0 if floors == {"save": 1.005} else 1.0
    found = search(guardrails=rails(floors=floors, margin=margin))
    assert found.best is None
    assert found.utility is None
    assert found.infeasible_reason is not None
    for part in ["None of 111 trials is feasible", *parts]:
        assert part in found.infeasible_reason, found.infeasible_reason
    if margin == 100.0:
        assert "tune on more rows" in found.infeasible_reason
    assert found.binding == ()
    assert found.frontier == []
    assert found.convergence()["best"].isna().all()
    assert found.sentences() == []
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_frontier_is_that_of_the_feasible_trials() -> None:
    found = search(pareto=("long_click", "save"))
    feasible = [trial for trial in found.trials if trial.feasible]
    pairs = np.array([[trial.values["long_click"], trial.values["save"]] for trial in feasible])
    expected = [t for t, p in zip(feasible, pairs) if not ((pairs >= p).all(1) & (pairs > p).any(1)).any()]
    assert found.frontier == expected
    assert 1 < len(expected) < len(feasible)
    assert found.pareto == ("long_click", "save")
    assert found.best in found.frontier
    ours = sum(trial.phase == AX for trial in found.frontier)
    sentences = found.sentences()  # Ax did not look for the best of one objective, so it is not blamed for missing it
    assert len(sentences) == 2
    assert f"{len(expected)} trials lie on the frontier of long_click and save, {ours} of them among" in sentences[1]


def test_tables_and_json_hold_the_trials(found: Tuning) -> None:
    frame = found.table()
    assert len(frame) == len(found.trials)
    assert frame["phase"].isin(PHASES).all()
    row, trial = frame.iloc[20], found.trials[20]
    assert row["weight_save"] == trial.weights["save"]
    assert row["value_long_click"] == row["objective"] == trial.objective
    assert row["gain"] == pytest.approx(trial.objective - found.baseline.objective)
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert found.best is not None
    assert content["trials"][content["best"]]["weights"] == content["weights"] == found.best.weights
    assert [trial["index"] for trial in content["trials"]] == list(range(len(found.trials)))
    assert content["guardrails"]["floors"] == {"closeup": 0.9, "save": 0.8}
    assert content["timing"]["evaluating"] == pytest.approx(
        sum(t.seconds["evaluating"] for t in found.trials), abs=2e-3
    )
    assert content["pareto"]["heads"] == ["closeup", "save", "long_click"]


def test_the_sentences_compare_at_equal_evaluations(found: Tuning) -> None:
    ax, sweep = found.best_of(AX, 19), found.best_of(SWEEP, 19)
    assert ax is not None
    assert sweep is not None
    text = " ".join(found.sentences())
    assert "At 19 evaluations each, Ax reaches" in text
    assert ("Ax beat the sweep" in text) == (ax.objective > sweep.objective)
    assert "Cross-checks at as many evaluations: Nelder-Mead" in text
    assert "The whole sweep of 65 evaluations" in text
    alone = search(trials=0, sweep=16).sentences()
    assert len(alone) == 1
    assert "found by the sweep" in alone[0]


def test_the_cross_checks_can_be_left_out_or_have_a_number_of_their_own() -> None:
    assert {trial.phase for trial in search(trials=2, cross_checks=False).trials} == {"baseline", SWEEP, AX}
    own = search(trials=0, sweep=8, cross_checks=25)
    assert len(own.evaluated(NELDER_MEAD)) == len(own.evaluated(RANDOM)) == 26
    assert own.evaluated(AX) == []


def test_business_values_as_the_objective() -> None:
    found = search(objective={"long_click": 2.0, "save": 1.0}, metric="expected_utility@3", guardrails=rails(floors={}))
    assert found.objective == {"save": 1.0, "long_click": 2.0}
    for trial in found.trials[:5]:
        expected = 2.0 * trial.values["long_click"] + trial.values["save"]
        assert trial.objective == pytest.approx(expected, abs=1e-12)


def test_all_faults_at_once_and_nothing_journaled(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    other = Guardrails({"closeup": 0.5, "share": 0.5}, {"closeup": 1, "share": 1})
    with pytest.raises(InputError) as caught:
        search(
            guardrails=other, objective="long_clicks", sweep=0, trials=-1, seconds=0.0, seed=-1, pareto=["save", "buy"],
            journal=path,
        )  # fmt: skip
    for part in (
        "heads and signs must be those of the table", "long_clicks", "`sweep` must be an integer >= 1, got 0",
        "`trials` must be an integer >= 0, got -1", "`seconds` must be > 0", "`seed` must be", "`pareto`: unknown head",
    ):  # fmt: skip
        assert part in str(caught.value), part
    with pytest.raises(ValueError, match="`metric` must be one of"):
        search(metric="auc", journal=path)
    with pytest.raises(InputError, match="at least two different heads"):
        search(pareto=["save", "save"], journal=path)
    with pytest.raises(InputError, match="`sweep` must be >= 2 for `trials` > 0"):  # one point makes no model
        search(guardrails=rails(bounds={"closeup": (0.5, 1.0)}), sweep=1, journal=path)
    assert not path.exists()


def test_an_unwanted_head_is_no_objective() -> None:
    rows = landscape()
    hidden = ScoreTable.of(rows.probabilities, rows.labels, rows.requests, ["a", "b", "hide"], [1, 1, -1])
    guard = Guardrails({"a": 0.5, "b": 0.4, "hide": -0.1}, {"a": 1, "b": 1, "hide": -1})
    for objective in ("hide", {"a": 1.0, "hide": 0.5}):
        with pytest.raises(InputError, match="value of `hide` must be negative"):
            search(hidden, guard, objective=objective)
    for objective in ({"a": 1.0, "b": -2.0}, {"b": -2.0}):  # only a weight of 0 could serve it
        with pytest.raises(InputError, match=r"value of `b` must be >= 0, as the head is wanted .* got -2.0"):
            search(hidden, guard, objective=objective)
    found = search(hidden, guard, objective={"hide": -1.0}, sweep=16, trials=2)
    assert found.best is not None
    assert found.best.values["hide"] == min(trial.values["hide"] for trial in found.trials)
    found = search(hidden, guard, objective="a", sweep=16, trials=2, pareto=["a", "hide"])
    lowest = min((trial for trial in found.trials if trial.feasible), key=lambda trial: trial.values["hide"])
    assert lowest in found.frontier  # of an unwanted head less is better


def test_a_journal_of_another_study_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    small = {"sweep": 8, "trials": 1, "cross_checks": False, "journal": path}
    search(**small)
    before = path.read_bytes()
    for changes, part in (
        ({"seed": 1}, "`seed` was 0, is now 1"),
        ({"guardrails": rails(margin=1.0)}, "`guardrails.margin` was 2.5, is now 1.0"),
        ({"rows": landscape(1)}, "`table.sha256` was"),
        ({"objective": "save"}, "`objective.save` was absent, is now 1.0"),
        ({"metric": "mean_ap"}, "`metric` was pr_auc, is now mean_ap"),
    ):
        with pytest.raises(InputError) as caught:
            search(**(small | changes))
        assert part in str(caught.value)
    assert path.read_bytes() == before


def test_with_ax_itself(tmp_path: Path) -> None:
    """Two proposals, one of them after a resume, are those of a study that was not interrupted."""
    from optimization.search import ax_search

    path, rows = tmp_path / "journal.jsonl", landscape(requests=60)
    small: dict[str, Any] = {"sweep": 8, "cross_checks": False, "propose": ax_search.propose}
    search(rows, trials=1, journal=path, **small)
    resumed = search(rows, trials=2, journal=path, **small)
    again = ax_search.propose(
        resumed.space, resumed.observations[:-1], objectives=resumed.objectives, constraints=resumed.constraints,
        seed=_seed_of_the_second(),
    )  # fmt: skip
    assert tuple(again[0]) == resumed.trials[-1].shares
    assert [trial.phase for trial in resumed.trials[-2:]] == [AX, AX]


def _seed_of_the_second() -> int:
    from optimization.study import trial_seed

    return trial_seed(0, AX, 1)


def hiding() -> tuple[ScoreTable, Guardrails]:
    """The third head is unwanted, and the more there is of the second, the fewer of the third."""
    rows = landscape()
    guard = Guardrails({"a": 0.4, "b": 0.4, "hide": -0.2}, {"a": 1, "b": 1, "hide": -1}, margin=1.0)
    return ScoreTable.of(rows.probabilities, rows.labels, rows.requests, ["a", "b", "hide"], [1, 1, -1]), guard


def test_a_ceiling_keeps_hides_from_rising() -> None:
    rows, guard = hiding()
    free = search(rows, guard, objective="a")
    strict = search(rows, replace(guard, floors={"hide": 1.0}), objective="a")
    assert free.best is not None
    assert strict.best is not None
    base = free.baseline.values["hide"]
    assert free.best.values["hide"] > base  # nothing forbids it
    assert strict.best.values["hide"] <= base
    assert strict.best.objective < free.best.objective
    for trial in strict.trials:
        error = trial.slack_errors.get("hide", 0.0)
        assert trial.slacks["hide"] == pytest.approx(base - trial.values["hide"] - error, abs=1e-15)
        assert trial.feasible == (trial.slacks["hide"] >= -1e-12)
    told = strict.observations[3]  # Ax keeps its slack >= 0
    trial = next(trial for trial in strict.trials if trial.shares == tuple(told.shares))
    assert told.values["slack_hide"] == (trial.slacks["hide"], trial.slack_errors["hide"])


def test_a_ceiling_that_nothing_keeps_is_named() -> None:
    rows, guard = hiding()
    found = search(rows, replace(guard, floors={"hide": 0.01}), objective="a", trials=2)
    first, last = found.infeasible_sentences
    for part in ("no weights keep the guardrail of hide (at most", "0.01000 of the baseline's PR-AUC less a margin of"):
        assert part in first, first
    assert last == "Without the margin none would be either: raise a ceiling."
    both = search(rows, replace(guard, floors={"hide": 0.01, "a": 9.0}, margin=0.0), objective="b", trials=2)
    assert both.infeasible_sentences[-1] == "Lower a floor or raise a ceiling."
    assert both.infeasible_reason == " ".join(both.infeasible_sentences)


def test_a_head_of_which_the_baseline_has_nothing_divides_nothing() -> None:
    """No hide among the first: its ceiling is 0, and relative slacks have no unit."""
    rng = np.random.default_rng(0)
    p = np.column_stack([rng.random(400), rng.random(400)])
    labels = np.column_stack([rng.random(400) < p[:, 0], np.zeros(400)])
    labels[p[:, 1].reshape(40, 10).argmax(axis=1) + 10 * np.arange(40), 1] = 1  # the likeliest of each request
    rows = ScoreTable.of(p, labels, np.arange(400) // 10, ["click", "hide"], [1, -1])
    guard = Guardrails({"click": 0.0, "hide": -1.0}, {"click": 1, "hide": -1}, {"hide": 1.0}, {"click": (0.5, 1.0)})
    found = search(rows, guard, objective="click", metric="expected_utility@1", sweep=16, trials=2)
    assert found.baseline.values["hide"] == 0.0
    assert found.best is None or found.best.values["hide"] == 0.0
    assert (found.best is None) == bool(found.infeasible_sentences)


def test_a_sweep_below_the_starts_of_ax_cannot_grow(tmp_path: Path) -> None:
    """The proposals of the journal came from 4 starts; with 8 they would have been others."""
    small: dict[str, Any] = {"trials": 1, "cross_checks": False, "journal": tmp_path / "journal.jsonl"}
    search(sweep=4, **small)
    before = small["journal"].read_bytes()
    with pytest.raises(InputError, match=r"`starts` was 4, is now 8"):
        search(sweep=16, **small)
    assert small["journal"].read_bytes() == before
    assert len(search(sweep=4, **(small | {"trials": 2})).evaluated(AX)) == 1 + 4 + 2
