from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score

from evaluation.gallery.probe import HoldoutProbe
from evaluation.gallery.probe_arms import FrozenArm, Trial
from evaluation.gallery.probe_design import ALL_LABELS, BUDGETS, Budget, ProbeDesign
from evaluation.gallery.probe_heads import Fitted, HeadConfig, fit_linear, fit_two_layer
from evaluation.gallery.probe_result import MAJORITY, ProbeResult
from evaluation.gallery.resumable import KeptResults
from evaluation.gallery.value_probe import probe_values

N, K, D = 240, 3, 6
QUICK = HeadConfig(hidden=16, epochs=40, patience=5)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(0).choice(["one", "three", "two"], size=N, p=[0.5, 0.2, 0.3])


@pytest.fixture(scope="module")
def arms(labels: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    signal = (labels[:, None] == np.array(["one", "two", "three"])) @ rng.normal(size=(K, D))
    return {"signal": 2 * signal + rng.normal(size=(N, D)), "noise": rng.normal(size=(N, D))}


@pytest.fixture(scope="module")
def result(labels: np.ndarray, arms: dict[str, np.ndarray]) -> ProbeResult:
    probe = HoldoutProbe(labels, ProbeDesign.split(np.arange(N) // 2), seeds=(0, 1))
    return probe.run(arms, config=QUICK)


def test_no_group_is_on_two_sides_and_every_row_is_on_one() -> None:
    groups = np.random.default_rng(2).integers(0, 40, N)
    for design in (ProbeDesign.split(groups), ProbeDesign.by_folds(groups, 4)):
        for part in design.parts(seed=3):
            sides = [set(groups[rows]) for rows in (part.train, part.validation, part.test)]
            assert all(sides)
            assert not (sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2])
            rows = np.concatenate([part.train, part.validation, part.test])
            assert np.array_equal(np.sort(rows), np.arange(N))


def test_folds_test_every_item_once_per_seed_and_the_split_tests_the_same_items_for_every_seed() -> None:
    groups = np.arange(N) // 3
    folds = ProbeDesign.by_folds(groups, 5)
    for seed in (0, 1):
        tested = np.concatenate([part.test for part in folds.parts(seed)])
        assert np.array_equal(np.sort(tested), np.arange(N))
    assert not np.array_equal(folds.parts(0)[0].test, folds.parts(1)[0].test)
    split = ProbeDesign.split(groups)
    first, second = split.parts(0)[0], split.parts(1)[0]
    assert np.array_equal(first.test, second.test)
    assert np.array_equal(np.sort(first.train), np.sort(second.train))
    assert not np.array_equal(first.train, second.train)


def test_budgets_are_nested_and_those_of_table_2() -> None:
    """[Booking] table 2: 20, 40, 60, 80, 100 % of the labels, and four epochs over all of them."""
    part = ProbeDesign.split(np.arange(N)).parts(0)[0]
    taken = [set(part.take(budget.share)) for budget in BUDGETS]
    assert [budget.share for budget in BUDGETS] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    assert [budget.epochs for budget in BUDGETS] == [None] * 5 + [4]
    assert all(smaller < larger for smaller, larger in pairwise(taken[:5]))
    shares = (0.2, 0.4, 0.6, 0.8, 1.0)
    assert [len(rows) for rows in taken[:5]] == [int(np.ceil(share * len(part.train))) for share in shares]


def test_signal_is_found_and_noise_and_shuffled_labels_are_at_chance(result: ProbeResult) -> None:
    table = result.accuracy().set_index(["arm", "head", "budget"]).sort_index()
    chance = table.loc[(MAJORITY, "", ""), "accuracy"]
    for head in ("two-layer", "linear"):
        assert table.loc[("signal", head, "100 %"), "low"] > chance + 0.1
        assert table.loc[("noise", head, "100 %"), "accuracy"] < chance + 0.08
    control = result.control()
    assert len(control) == 4
    assert control["at_chance"].all()
    assert (control["shuffles"] == 5).all()
    for row in control.to_dict(orient="records"):  # by hand: items and shuffles in quadrature
        scores = [s.correct for s in result.scores if s.shuffled and (s.arm, s.head) == (row["arm"], row["head"])]
        lead = np.mean(scores, axis=0) - result.majority.mean(axis=0)
        sums = np.bincount(result.groups.codes, weights=lead - lead.mean()) / len(lead)
        over_shuffles = 2.7764451 * np.std(np.mean(scores, axis=1), ddof=1) / np.sqrt(5)  # Student, 4 degrees
        half = np.hypot(1.959964 * np.sqrt((sums**2).sum()), over_shuffles)
        assert row["high"] - row["difference"] == pytest.approx(half, abs=1e-7)


def test_labels_that_reach_a_probe_by_another_way_are_seen_by_the_control(
    labels: np.ndarray, arms: dict[str, np.ndarray]
) -> None:
    truth = np.unique(labels, return_inverse=True)[1]

    class Peeking(FrozenArm):
        def fit(self, trial: Trial) -> Fitted:
            return super().fit(replace(trial, labels=truth))  # not those that it was given

    probe = HoldoutProbe(labels, ProbeDesign.split(np.arange(N)), seeds=[0], budgets=[ALL_LABELS])
    control = probe.run({"honest": FrozenArm(arms["signal"], "linear"), "peeking": Peeking(arms["signal"], "linear")})
    assert control.control().set_index("arm")["at_chance"].to_dict() == {"honest": True, "peeking": False}


def test_accuracy_is_the_mean_over_seeds_and_its_error_that_of_the_group_means(result: ProbeResult) -> None:
    record = result.accuracy().iloc[0]
    wanted = ("signal", "two-layer", "20 %", False)
    scores = [score for score in result.scores if (score.arm, score.head, score.budget, score.shuffled) == wanted]
    correct = np.mean([score.correct for score in scores], axis=0)
    assert record["accuracy"] == pytest.approx(correct.mean(), abs=1e-12)
    codes = result.groups.codes  # sum over groups of (sum of deviations / n)^2
    sums = np.bincount(codes, weights=correct - correct.mean()) / len(correct)
    assert record["se"] == pytest.approx(np.sqrt((sums**2).sum()), abs=1e-12)
    assert record["seed_sd"] == pytest.approx(np.std([s.correct.mean() for s in scores], ddof=1), abs=1e-12)


def test_differences_are_paired_on_the_same_items(result: ProbeResult) -> None:
    table = result.differences("signal").set_index(["head", "budget", "against"])
    wide = result.table_2("linear").set_index("budget")
    found = table.loc[("linear", "100 %", "noise")]
    assert found["difference"] == pytest.approx(wide.loc["100 %", "signal"] - wide.loc["100 %", "noise"], abs=1e-12)
    assert found["verdict"] == "better"
    same = ProbeResult(
        tuple(s if s.arm == "signal" else type(s)(**{**vars(s), "correct": _of(result, s)}) for s in result.scores),
        result.majority,
        result.groups,
        result.classes,
        result.items,
        result.design,
    )
    equal = same.differences("signal").set_index(["head", "budget", "against"]).loc[("linear", "100 %", "noise")]
    assert (equal["difference"], equal["low"], equal["high"]) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="must be one of the arms"):
        result.differences("nobody")


def _of(result: ProbeResult, score: Any) -> np.ndarray:
    """The signal arm's answers in place of another arm's."""
    return next(
        s.correct
        for s in result.scores
        if (s.arm, s.head, s.budget, s.seed, s.shuffled)
        == ("signal", score.head, score.budget, score.seed, score.shuffled)
    )


def test_the_linear_head_has_no_row_of_four_epochs(result: ProbeResult) -> None:
    assert list(result.table_2("linear")["budget"]) == ["20 %", "40 %", "60 %", "80 %", "100 %"]
    assert list(result.table_2("two-layer")["budget"]) == [budget.name for budget in BUDGETS]


def test_four_epochs_are_exactly_four_passes(result: ProbeResult) -> None:
    found = [s for s in result.scores if s.budget == "four epochs"]
    assert {s.details[0]["passes"] for s in found} == {4}
    assert {s.labels for s in found} == {s.labels for s in result.scores if s.budget == "100 %"}


def test_linear_head_is_scikit_learns_at_the_chosen_strength(arms: dict[str, np.ndarray], labels: np.ndarray) -> None:
    x, y = arms["signal"], np.unique(labels, return_inverse=True)[1]
    train, held, test = np.arange(150), np.arange(150, 190), np.arange(190, N)
    fitted = fit_linear((x[train], y[train]), (x[held], y[held]), x[test], K, strengths=(0.01, 1.0))
    standard = (x - x[train].mean(0)) / x[train].std(0)
    model = LogisticRegression(C=fitted.details["C"], tol=1e-8, max_iter=5000).fit(standard[train], y[train])
    assert fitted.probabilities == pytest.approx(model.predict_proba(standard[test]), abs=2e-3)
    assert accuracy_score(y[test], fitted.probabilities.argmax(1)) == pytest.approx(
        accuracy_score(y[test], model.predict(standard[test])), abs=1 / len(test)
    )


@pytest.mark.parametrize("inner", [None, np.arange(40) % 5], ids=["validation", "inner folds"])
def test_training_labels_of_one_class_are_answered_by_it(arms: dict[str, np.ndarray], inner: np.ndarray | None) -> None:
    """As in a small budget of a rare class; with inner folds, where the one other item is held out."""
    x, y = arms["signal"], np.full(40, 2)
    y[3] = 2 if inner is None else 0
    fitted = fit_linear((x[:30], y[:30]), (x[30:40], y[30:40]), x[40:50], K, inner=inner)
    assert fitted.probabilities.shape == (10, K)
    assert (fitted.probabilities.argmax(1) == 2).all()
    if inner is None:
        assert (fitted.probabilities[:, 2] == 1.0).all()


def test_inputs_are_standardised_so_that_their_units_do_not_matter(arms: dict[str, np.ndarray]) -> None:
    x, y = arms["signal"], np.arange(N) % 2
    scaled = x * np.array([1e3, 1e-3, 1, 10, 1, 1]) + 5
    for head in ("linear", "two-layer"):
        trial = Trial(y, 2, np.arange(150), np.arange(150, 190), np.arange(190, N), None, 2, 0)
        plain = FrozenArm(x, head, QUICK).fit(trial).probabilities
        assert FrozenArm(scaled, head, QUICK).fit(trial).probabilities == pytest.approx(plain, abs=2e-3)


def test_same_seed_same_answer_and_a_constant_column_harms_nothing(arms: dict[str, np.ndarray]) -> None:
    x, y = arms["signal"], np.arange(N) % 2
    first, again = (
        fit_two_layer((x[:150], y[:150]), (x[150:190], y[150:190]), x[190:], 2, QUICK, seed=4).probabilities
        for _ in range(2)
    )
    assert np.array_equal(first, again)
    constant = np.hstack([x, np.full((N, 1), 3.0)])
    fitted = fit_linear((constant[:150], y[:150]), (constant[150:190], y[150:190]), constant[190:], 2)
    plain = fit_linear((x[:150], y[:150]), (x[150:190], y[150:190]), x[190:], 2)
    assert fitted.probabilities == pytest.approx(plain.probabilities, abs=2e-3)


def test_a_killed_run_goes_on_with_what_it_kept(
    labels: np.ndarray, arms: dict[str, np.ndarray], tmp_path: Path
) -> None:
    class Counting:
        head, fits = "two-layer", 0

        def settings(self) -> dict[str, Any]:
            return {"who": "counting"}

        def fit(self, trial: Trial) -> Fitted:
            Counting.fits += 1
            if Counting.fits == 2 and not resumed:
                raise KeyboardInterrupt
            answer = np.zeros((len(trial.test), trial.classes))
            answer[:, trial.seed] = 1.0
            return Fitted(answer, {})

    probe = HoldoutProbe(labels, ProbeDesign.split(np.arange(N)), seeds=(0, 1, 2), budgets=[ALL_LABELS])
    resumed = False
    with pytest.raises(KeyboardInterrupt):
        probe.run({"own": Counting()}, folder=tmp_path)
    resumed = True
    found = probe.run({"own": Counting()}, folder=tmp_path)
    assert Counting.fits == 4  # the first seed was kept, the second and third fitted
    whole = probe.run({"own": Counting()})
    assert found.accuracy()["accuracy"].tolist() == whole.accuracy()["accuracy"].tolist()
    joined = found.joined(probe.run({"signal": arms["signal"]}, heads=["linear"], control=0))
    assert set(joined.accuracy()["arm"]) == {"own", "signal", MAJORITY}


def test_kept_results_are_made_again_when_settings_change_or_the_file_is_damaged(tmp_path: Path) -> None:
    kept, made = KeptResults(tmp_path), []

    def compute() -> dict[str, int]:
        made.append(1)
        return {"value": len(made)}

    assert kept.of("a b", {"seed": 0}, compute) == {"value": 1}
    assert kept.of("a b", {"seed": 1}, compute) == {"value": 2}
    (tmp_path / "a_b.json").write_text('{"name": "a b", ')
    assert kept.of("a b", {"seed": 1}, compute) == {"value": 3}
    assert kept.of("a b", {"seed": 1}, compute) == {"value": 3}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Budget("none", 0.0), "0 < share <= 1, got 0"),
        (lambda: Budget("none", 0.5, 0), "at least 1, got 0"),
        (lambda: ProbeDesign.split([1, 1, 2, 2]), "at least 4 groups"),
        (lambda: ProbeDesign.split(range(9), test=1.0), "0 < test < 1, got 1"),
        (lambda: ProbeDesign.by_folds(range(9), 5), "at least 10 groups for 5 folds"),
        (lambda: HoldoutProbe([1.0, np.nan] * 5, ProbeDesign.split(range(10))), "got NaN"),
        (lambda: HoldoutProbe(["a", None] * 5, ProbeDesign.split(range(10))), "got None"),
        (lambda: HoldoutProbe(["a"] * 10, ProbeDesign.split(range(10))), "at least 2 classes, got 1"),
        (lambda: HoldoutProbe(["a"] * 9, ProbeDesign.split(range(10))), r"shape \(10,\)"),
        (lambda: FrozenArm([[1.0, np.inf]], "linear"), "finite"),
    ],
)
def test_bad_input_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_value_probe_is_the_pooled_r2_of_scikit_learn_and_pairs_arms() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(N, 4))
    y = x[:, 0] + rng.normal(size=N)
    design = ProbeDesign.by_folds(np.arange(N) // 2)
    table = probe_values(y, {"all": x, "none": rng.normal(size=(N, 4))}, design, seeds=[0], alphas=[1.0, 100.0])
    predicted = np.empty(N)
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold
    from sklearn.preprocessing import StandardScaler

    for part in design.parts(0):
        rows = np.concatenate([part.train, part.validation])
        losses = []
        for alpha in (1.0, 100.0):
            errors = []
            for inner, held in GroupKFold(5).split(rows, groups=rows // 2):
                scaler = StandardScaler().fit(x[rows[inner]])
                model = RidgeCV([alpha]).fit(scaler.transform(x[rows[inner]]), y[rows[inner]])
                errors.append((model.predict(scaler.transform(x[rows[held]])) - y[rows[held]]) ** 2)
            losses.append(np.concatenate(errors).mean())
        scaler = StandardScaler().fit(x[rows])
        model = RidgeCV([(1.0, 100.0)[int(np.argmin(losses))]]).fit(scaler.transform(x[rows]), y[rows])
        predicted[part.test] = model.predict(scaler.transform(x[part.test]))
    assert table.loc[0, "r2"] == pytest.approx(r2_score(y, predicted), abs=1e-12)
    assert table.loc[0, "low"] > 0.2
    assert table.loc[1, "r2"] < 0.05
    assert table.loc[1, "difference"] == pytest.approx(table.loc[0, "r2"] - table.loc[1, "r2"], abs=1e-12)
    assert table.loc[1, "verdict"] == "better"
    with pytest.raises(ValueError, match="must differ"):
        probe_values(np.ones(N), {"all": x}, design)
