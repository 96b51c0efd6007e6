"""The study's phases: what they ask for, what they cost, and that a resumed study is the uninterrupted one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.checks import FloatArray
from optimization import study as study_module
from optimization.evaluating import Evaluator
from optimization.guardrails import Guardrails
from optimization.journal import Journal
from optimization.score_table import ScoreTable
from optimization.search.ax_search import Observation
from optimization.search.space import SearchSpace
from optimization.study import STARTS, Study, trial_seed
from optimization.trials import AX, NELDER_MEAD, RANDOM, SWEEP, Trial
from optimization.tune import tune
from optimization.tuning import Tuning

HEADS = ("click", "save", "hide")
SIGNS = (1, 1, -1)


def table(seed: int = 0, rows: int = 400, missing: bool = False) -> ScoreTable:
    rng = np.random.default_rng(seed)
    truth = 1.0 / (1.0 + np.exp(1.5 - rng.normal(size=(rows, 3)) @ np.array([[1.2, 0.4, 0.1], [0, 1, 0.3], [0, 0, 1]])))
    seen = 1.0 / (1.0 + np.exp(-np.log(truth / (1 - truth)) - 0.7 * rng.normal(size=(rows, 3))))
    labels = (rng.random((rows, 3)) < truth).astype(float)
    if missing:
        labels[rng.random((rows, 3)) < 0.1] = np.nan
    return ScoreTable.of(seen, labels, np.arange(rows) // 10, HEADS, SIGNS, name="tune rows")


def rails(**changes: Any) -> Guardrails:
    given = {"baseline": {"click": 0.6, "save": 0.3, "hide": -0.1}, "signs": dict(zip(HEADS, SIGNS))}
    return Guardrails(**(given | {"floors": {"click": 0.9}, "margin": 1.0} | changes))


class Cheap:
    """Stands in for Ax: a pure function of its arguments that looks at every value it is given."""

    def __init__(self, after: int | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.after = after

    def __call__(
        self,
        space: SearchSpace,
        observations: Sequence[Observation],
        *,
        objectives: Sequence[str],
        constraints: Sequence[str] = (),
        count: int = 1,
        seed: int,
    ) -> FloatArray:
        if self.after is not None and len(self.calls) >= self.after:
            raise KeyboardInterrupt
        values = [[*o.shares, *(v for pair in o.values.values() for v in pair)] for o in observations]
        self.calls.append({"observations": observations, "seed": seed, "names": (objectives, constraints)})
        digest = int(1e9 * np.abs(np.sum(np.cos(1e3 * np.array(values)))))
        return space.random(count, (seed + digest) % 2**32)


def search(journal: Path | None = None, propose: Any = None, **changes: Any) -> Tuning:
    given: dict[str, Any] = {"sweep": 12, "trials": 4, "seed": 5, "journal": journal, "propose": propose or Cheap()}
    return tune(changes.pop("table", table()), changes.pop("rails", rails()), "save", **(given | changes))


def contents(tuning: Tuning) -> list[dict[str, Any]]:
    return [trial.content() for trial in tuning.trials]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[dict[str, Any]]]:
    path = tmp_path_factory.mktemp("whole") / "journal.jsonl"
    return (contents(search(path)), path.read_bytes())[::-1]  # type: ignore[return-value]


def test_the_phases_in_order_at_equal_evaluations(whole: tuple[bytes, list[dict[str, Any]]]) -> None:
    phases = [trial["phase"] for trial in whole[1]]
    assert phases == ["baseline"] + ["sweep"] * 12 + ["ax"] * 4 + ["nelder_mead"] * 12 + ["random"] * 12
    for phase in set(phases):
        numbers = [trial["number"] for trial in whole[1] if trial["phase"] == phase]
        assert numbers == list(range(len(numbers)))


def test_the_same_seed_gives_the_same_trials_and_another_gives_others(
    whole: tuple[bytes, list[dict[str, Any]]],
) -> None:
    assert contents(search()) == whole[1]
    other = contents(search(seed=6))
    same = [a["phase"] for a, b in zip(whole[1], other, strict=True) if a["shares"] == b["shares"]]
    assert same == ["baseline"] + ["nelder_mead"] * same.count("nelder_mead")  # which starts alike from the baseline


def test_a_journal_cut_anywhere_is_resumed_to_the_same_trials(
    tmp_path: Path, whole: tuple[bytes, list[dict[str, Any]]]
) -> None:
    """Killed after any trial, or while any was written: nothing is lost, nothing is repeated, all comes out alike."""
    path, lines = tmp_path / "journal.jsonl", whole[0].splitlines(keepends=True)
    assert len(lines) == 1 + len(whole[1])
    for count in range(len(lines)):
        for torn in (0, len(lines[count]) // 2):
            path.write_bytes(b"".join(lines[:count]) + lines[count][:torn])
            propose, seen = Cheap(), list[Trial]()
            assert contents(search(path, propose, progress=seen.append)) == whole[1]
            kept = sum(trial["phase"] == AX for trial in whole[1][: max(count - 1, 0)])
            assert len(propose.calls) == 4 - kept
            assert [trial.content() for trial in seen] == whole[1]
            assert path.read_bytes().splitlines()[:count] == whole[0].splitlines()[:count]  # seconds included


def test_an_interrupt_keeps_what_was_done(tmp_path: Path, whole: tuple[bytes, list[dict[str, Any]]]) -> None:
    path = tmp_path / "journal.jsonl"
    with pytest.raises(KeyboardInterrupt):
        search(path, Cheap(after=2))
    with Journal.open(path, "study") as journal:  # its lock is free again
        assert [record["phase"] for record in journal.records] == ["baseline"] + ["sweep"] * 12 + ["ax"] * 2
    assert contents(search(path)) == whole[1]


def test_a_whole_journal_needs_no_evaluation(
    tmp_path: Path, whole: tuple[bytes, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(whole[0])
    calls = []
    for name in ("outcome", "outcomes"):
        evaluate = getattr(Evaluator, name)
        monkeypatch.setattr(Evaluator, name, lambda *a, e=evaluate: calls.append(a) or e(*a))  # type: ignore[misc,func-returns-value]
    propose = Cheap()
    assert contents(search(path, propose)) == whole[1]
    assert len(calls) == 1  # the baseline, which differences need
    assert propose.calls == []
    assert path.read_bytes() == whole[0]


def test_a_larger_budget_adds_trials(tmp_path: Path, whole: tuple[bytes, list[dict[str, Any]]]) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(whole[0])
    more = search(path, sweep=20, trials=6)
    assert contents(more)[: len(whole[1])] == whole[1]
    fresh = search(sweep=20, trials=6)
    key = [(trial.phase, trial.number) for trial in fresh.trials]
    assert sorted((t.phase, t.number) for t in more.trials) == sorted(key)
    by_key = {(trial.phase, trial.number): trial.content() for trial in more.trials}
    assert [by_key[k] for k in key] == contents(fresh)
    fewer = search(path, sweep=8, trials=1)  # what is there stays
    assert contents(fewer) == contents(more)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, whole: tuple[bytes, list[dict[str, Any]]]) -> None:
    monkeypatch.setattr(study_module, "BLOCK", 3)
    assert contents(search()) == whole[1]


def test_seconds_end_the_proposals_only() -> None:
    tuning = search(seconds=1e-9)
    assert [len(tuning.evaluated(name)) for name in (AX, SWEEP, NELDER_MEAD, RANDOM)] == [10, 13, 10, 10]
    assert len(search(seconds=1e9).evaluated(AX)) == 13


def test_what_ax_is_told() -> None:
    """The baseline and the first 8 of the sweep; the objective, and one slack per guardrail with its margin."""
    propose = Cheap()
    tuning = search(propose=propose)
    first, last = propose.calls[0], propose.calls[-1]
    assert first["names"] == (("objective",), ("slack_click",))
    assert [len(call["observations"]) for call in propose.calls] == [9, 10, 11, 12]
    assert [call["seed"] for call in propose.calls] == [trial_seed(5, AX, number) for number in range(4)]
    ours = tuning.evaluated(AX)
    assert len(tuning.observations) == len(ours) == 13
    for observation, trial in zip(last["observations"], ours[:-1], strict=True):
        assert tuple(observation.shares) == trial.shares
        assert observation.values == {
            "objective": (trial.values["save"], trial.objective_error),
            "slack_click": (trial.slacks["click"], trial.slack_errors["click"]),
        }
        base = tuning.baseline.values["click"]
        expected = trial.values["click"] - 0.9 * base - 1.0 * trial.slack_errors["click"]
        assert trial.slacks["click"] == pytest.approx(expected, abs=1e-15)
    quiet = Cheap()
    search(propose=quiet, noise=False)
    assert {error for o in quiet.calls[-1]["observations"] for _, error in o.values.values()} == {0.0}


def test_several_objectives() -> None:
    propose = Cheap()
    tuning = search(propose=propose, pareto=("save", "hide"))
    assert propose.calls[0]["names"] == (("signed_save", "signed_hide"), ("slack_click",))
    observation, trial = propose.calls[0]["observations"][0], tuning.baseline
    assert observation.values["signed_save"][0] == trial.values["save"]
    assert observation.values["signed_hide"][0] == -trial.values["hide"]  # an unwanted head is minimised


def test_a_baseline_off_the_bounds_is_trial_0_but_no_candidate() -> None:
    propose = Cheap()
    bounded = rails(bounds={"hide": (0.2, 0.5)}, floors={})
    tuning = search(propose=propose, rails=bounded)
    assert tuning.baseline.shares == pytest.approx((0.6, 0.3, 0.1))
    assert not tuning.baseline.feasible
    assert len(propose.calls[0]["observations"]) == STARTS
    space = bounded.space()
    assert all(space.contains(trial.shares)[0] == trial.feasible == (trial.index > 0) for trial in tuning.trials)
    assert len(tuning.evaluated(NELDER_MEAD)) == len(tuning.evaluated(RANDOM)) == len(tuning.evaluated(AX))


def test_nelder_mead_starts_from_the_baseline_without_repeating_it() -> None:
    tuning = search()
    first = tuning.evaluated(NELDER_MEAD)[1]
    assert first.shares != tuning.baseline.shares
    assert np.abs(np.array(first.shares) - tuning.baseline.shares).max() < 0.3


@pytest.mark.parametrize("metric", ["pr_auc", "mean_ap", "ndcg@5", "expected_utility@3"])
def test_errors_are_paired_and_computed_where_they_decide(metric: str) -> None:
    """Every trial that keeps its guardrails without the margin has errors; one that does not is infeasible without."""
    rows = table(3, missing=True)
    guard = rails(floors={"click": 0.97, "save": 0.9}, margin=2.0)
    tuning = search(table=rows, rails=guard, metric=metric, sweep=40)
    evaluator = Evaluator(rows, guard, "save", metric)
    bare = 0
    for trial in tuning.trials:
        outcome = evaluator.outcome(list(trial.weights.values()))
        assert trial.values == pytest.approx(outcome.values, abs=1e-12)
        assert trial.feasible == outcome.holds
        if trial.slack_errors:
            assert trial.errors == pytest.approx(outcome.errors, abs=1e-12)
            assert trial.slacks == pytest.approx(outcome.slacks, abs=1e-12)
            assert trial.objective_error == pytest.approx(outcome.errors["save"], abs=1e-12)
        else:
            bare += 1
            assert trial.phase in (SWEEP, RANDOM)
            assert min(trial.slacks.values()) < 0
            assert trial.slacks == pytest.approx(outcome.differences, abs=1e-12)
    assert 0 < bare < len(tuning.trials)
    assert set(tuning.baseline.errors.values()) == {0.0}


def test_a_study_without_a_journal_keeps_its_trials() -> None:
    evaluator = Evaluator(table(), rails(), {"save": 1.0, "hide": -0.5})
    study = Study(evaluator, seed=1)
    study.baseline()
    study.sweep(3)
    assert [trial.index for trial in study.trials] == [0, 1, 2, 3]
    for trial in study.trials:
        assert trial.objective == pytest.approx(trial.values["save"] - 0.5 * trial.values["hide"], abs=1e-15)
