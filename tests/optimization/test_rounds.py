"""Online rounds: groups out, numbers in, whatever happens in between; every lift against its own round's control."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.estimate import Z95
from features import InputError
from optimization.online.model import Arms
from optimization.online.proposal import plain_shares
from optimization.online.rounds import JOURNAL, Rounds
from optimization.search.space import SearchSpace

HEADS = {"click": 1, "save": 1, "hide": -1}
BASELINE = {"click": 0.5, "save": 0.25, "hide": -0.25}


def cheap_propose(space, observations, *, objectives, constraints=(), count=1, seed):
    """In place of Ax: around the best observation, a pure function of its arguments."""
    best = max(observations, key=lambda o: o.values[objectives[0]][0])
    near = np.random.default_rng(seed).normal(0, 0.1, (count, len(space.heads))) + best.shares
    return space.nearest(near)


def halved(space, observations, metric, shares):
    """In place of Ax: every observed mean shrunk by its error."""
    known = {tuple(o.shares): o.values[metric] for o in observations}
    means = [known[tuple(row)][0] / (1 + (known[tuple(row)][1] / 0.02) ** 2) for row in shares]
    return np.array(means), np.full(len(means), 0.01)


@pytest.fixture
def create(tmp_path):
    def make(folder="rounds", heads=HEADS, baseline=BASELINE, **options):
        options = {"propose": cheap_propose, "posterior": halved, "groups": 3, **options}
        return Rounds.create(tmp_path / folder, heads, baseline, **options)

    return make


def numbers(values, metric="utility", error=0.01):
    return pd.DataFrame(
        {"group": list(values), "metric": metric, "value": list(values.values()), "standard_error": error}
    )


def truth(table):
    """Utility of weights: best where click, save and hide have shares .2, .6, .2."""
    return -((table["click"] - 0.2) ** 2 + (table["save"] - 0.6) ** 2 + (table["hide"] + 0.2) ** 2)


def play(rounds, count, noise=0.0, seed=0):
    """Rounds whose season differs from week to week."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        groups = rounds.propose()
        values = truth(groups) + random.normal(0, 10) + noise * random.normal(size=len(groups))
        rounds.ingest(numbers(dict(zip(groups["group"], values))))


def test_every_round_has_a_control_and_valid_treatments(create):
    rounds = create(bounds={"hide": (0.1, 0.4)}, total=2.0, baseline={h: 2 * w for h, w in BASELINE.items()})
    play(rounds, 3)
    table = rounds.state().frame()
    assert table["group"].tolist() == [f"r{r}-{g}" for r in (1, 2, 3) for g in ("control", "a", "b", "c")]
    assert (table.loc[table["kind"] == "control", list(HEADS)] == [1.0, 0.5, -0.5]).all(axis=None)
    assert rounds.design.space.contains(np.abs(table[list(HEADS)]) / 2.0).all()
    assert (table["hide"] < 0).all()
    assert table.duplicated(list(HEADS)).sum() == 2  # the controls of rounds 2 and 3
    assert rounds.export_weights("r2-b").weights == dict(table.loc[6, list(HEADS)])


def test_propose_gives_the_open_round_again_and_the_seed_decides_the_first(create):
    rounds = create()
    first = rounds.propose()
    rounds.ingest(numbers({"r1-control": 1.0, "r1-a": 1.1}))
    pd.testing.assert_frame_equal(rounds.propose(), first)
    assert rounds.waiting() == {"r1-b": ["utility"], "r1-c": ["utility"]}
    pd.testing.assert_frame_equal(create("same").propose(), first)
    assert not create("other", seed=1).propose().equals(first)


def test_it_goes_on_elsewhere_as_if_it_had_never_stopped(create, tmp_path):
    """The same groups, whether the folder was carried to another place after every step or not."""
    at_home, moving = create("home"), create("moving")
    play(at_home, 3)
    for step in range(3):
        play(moving, 1, seed=step)
        shutil.move(tmp_path / "moving", tmp_path / f"place{step}")
        shutil.move(tmp_path / f"place{step}", tmp_path / "moving")
        moving = Rounds.open(tmp_path / "moving", propose=cheap_propose, posterior=halved)
    pd.testing.assert_frame_equal(at_home.state().frame(), moving.state().frame(), rtol=1e-9)


def test_the_same_numbers_again_change_nothing_and_bad_ones_are_not_journaled(create):
    rounds = create()
    rounds.propose()
    table = numbers({"r1-control": 1.0, "r1-a": 1.1})
    assert rounds.ingest(table)["state"].tolist() == ["new", "new"]
    before = (rounds.folder / JOURNAL).read_bytes()
    assert rounds.ingest(table[::-1])["state"].tolist() == ["known already"] * 2
    bad = [
        numbers({"r1-b": 1.0, "r1-d": 1.0}),
        numbers({"r1-b": 1.0, "r1-a": 1.2}),
        numbers({"r1-b": 1.0}, metric="clicks"),
        numbers({"r1-b": 1.0}).drop(columns="standard_error"),
        numbers({"r1-b": 1.0}, error=0.0),
        numbers({"r1-b": np.nan}),
    ]
    for frame in bad:
        with pytest.raises(InputError):
            rounds.ingest(frame)
    assert (rounds.folder / JOURNAL).read_bytes() == before
    assert rounds.ingest(pd.concat([table, numbers({"r1-b": 1.0})]))["state"].tolist() == ["known already"] * 2 + [
        "new"
    ]


def test_seasons_do_not_count(create):
    """The control of the same round is taken off: weeks that are 100 better or worse lead to the same lifts."""
    lifts = []
    for season in (0.0, 100.0):
        rounds = create(f"season{season:.0f}")
        for week in range(2):
            groups = rounds.propose()
            values = truth(groups).round(3) + season * week
            rounds.ingest(numbers(dict(zip(groups["group"], values))))
        lifts.append(Arms.of(rounds.state()).lifts)
    np.testing.assert_allclose(lifts[0], lifts[1], atol=1e-12)


def test_lifts_and_slacks_by_hand(create):
    """Two rounds, the second repeating r1-a; all arithmetic written out."""
    rounds = create(constraints=["hides <= 0.1", "utility >= 0.9 * control"], groups=1)
    rounds.propose()
    rounds.ingest(pd.concat([numbers({"r1-control": 1.0, "r1-a": 1.5}, error=[0.3, 0.4]),
                             numbers({"r1-control": 0.06, "r1-a": 0.08}, "hides", [0.01, 0.02])]))  # fmt: skip
    second = rounds.propose(confirm=True)
    assert second["kind"].tolist() == ["control", "repeat"]
    rounds.ingest(pd.concat([numbers({"r2-control": 2.0, "r2-a": 2.1}, error=[0.6, 0.8]),
                             numbers({"r2-control": 0.08, "r2-a": 0.09}, "hides", [0.01, 0.02])]))  # fmt: skip
    arms = Arms.of(rounds.state())
    assert arms.groups == ((), ("r1-a", "r2-a"))
    # Variances of the lifts .5 and .1 are .3^2 + .4^2 = .25 and .6^2 + .8^2 = 1: weights .8 and .2.
    assert arms.lifts.tolist() == pytest.approx([0.0, 0.8 * 0.5 + 0.2 * 0.1])
    assert arms.errors.tolist() == pytest.approx([0.0, np.sqrt(0.8**2 * 0.25 + 0.2**2 * 1.0)])
    assert [arms.again[1], arms.again_errors[1]] == pytest.approx([0.1, 1.0])
    assert np.isnan(arms.again[0])
    # Hides: lifts .02 and .01 of equal error, controls .06 and .08, so the level in an average week is .07 + .015.
    assert arms.slacks[:, 0].tolist() == pytest.approx([0.1 - 0.07, 0.1 - 0.085])
    # Each treatment counts one half; each control -1/2 in the lift and +1/2 in the mean: nothing is left of them.
    assert arms.slack_errors[:, 0].tolist() == pytest.approx([0.01 / np.sqrt(2), 0.02 / np.sqrt(2)])
    # Utility: (1 - .9) of the controls' mean 1.5, plus the lift.
    assert arms.slacks[:, 1].tolist() == pytest.approx([0.15, 0.15 + 0.42])
    own = 0.8**2 * 0.4**2 + 0.2**2 * 0.8**2
    shared = (0.05 - 0.8) ** 2 * 0.3**2 + (0.05 - 0.2) ** 2 * 0.6**2
    assert arms.slack_errors[1, 1] == pytest.approx(np.sqrt(own + shared))


def test_the_best_is_shrunk_feasible_and_measured(create):
    rounds = create(constraints=["hides <= 0.1"])
    assert rounds.best() is None
    groups = rounds.propose()
    assert rounds.best() is None
    hides = numbers(dict(zip(groups["group"], [0.05, 0.2, 0.08, 0.09])), "hides", 0.001)
    # a has too many hides; b is the luckier one of two, c the surer one.
    utility = numbers(dict(zip(groups["group"], [1.0, 1.9, 1.2, 1.1])), error=[0.001, 0.001, 0.1, 0.001])
    rounds.ingest(pd.concat([hides, utility]))
    assert rounds.best() == rounds.export_weights("r1-c")
    status = rounds.status()
    assert status.best["groups"] == ["r1-c"]
    assert status.best["verdict"] == "better"
    assert status.arms["feasible"].tolist() == [True, False, True, True]
    assert any(
        "Best of 3 weight vectors measured: r1-c." in s and "better than the control" in s for s in status.sentences
    )
    assert json.loads(json.dumps(status.to_dict(), allow_nan=False))["rounds"] == 1


def test_a_better_control_is_kept(create):
    rounds = create()
    groups = rounds.propose()
    rounds.ingest(numbers(dict(zip(groups["group"], [1.0, 0.9, 0.8, 0.7]))))
    assert dict(rounds.best().weights) == BASELINE
    status = rounds.status()
    assert status.best["control"]
    assert any("keep the weights that are in production" in sentence for sentence in status.sentences)


def test_a_treatment_with_the_weights_of_the_baseline_is_one_more_control(create):
    """What lies between it and the control is chance: the baseline's lift stays 0."""

    def at_the_baseline(space, observations, *, objectives, constraints=(), count=1, seed):
        return np.tile(space.shares(list(BASELINE.values())), (count, 1))

    rounds = create(propose=at_the_baseline)
    rounds.ingest(numbers(dict(zip(rounds.propose()["group"], [1.0, 0.9, 1.05, 0.7]))))
    rounds.ingest(numbers(dict(zip(rounds.propose()["group"], [1.0, 1.5, 1.4, 1.3]))))
    arms = Arms.of(rounds.state())
    assert (arms.lifts[0], arms.errors[0], arms.groups[0], arms.compared) == (0.0, 0.0, (), 3)
    assert rounds.best() == rounds.export_weights("r1-b")


def test_what_is_not_shown_is_said(create):
    """1.96 errors above the control would be shown for one comparison, not for three."""
    rounds = create()
    groups = rounds.propose()
    error = 0.01 / np.sqrt(2)
    rounds.ingest(numbers(dict(zip(groups["group"], [1.0, 1.022, 0.9, 0.9])), error=error))
    status = rounds.status()
    row = status.arms.iloc[1]
    assert row["low"] == pytest.approx(0.022 - Z95 * 0.01)
    assert row["low"] > 0 > row["low_all"]
    assert row["low_all"] == pytest.approx(0.022 - 2.3939798 * 0.01)  # the normal quantile at 1 - .05 / 6
    assert any("not shown to be better" in s and "allowing for 3 comparisons" in s for s in status.sentences)


def test_when_nothing_is_feasible_the_constraint_is_named(create):
    rounds = create(constraints=["hides <= 0.01", "utility >= control"])
    groups = rounds.propose()
    for metric, values in (("utility", [1.0, 1.1, 1.1, 0.9]), ("hides", [0.05, 0.04, 0.02, 0.03])):
        rounds.ingest(numbers(dict(zip(groups["group"], values)), metric))
    assert rounds.best() is None
    assert rounds.status().best is None
    assert any("`hides <= 0.01` fails at all of them (the nearest, r1-b" in s for s in rounds.status().sentences)


def test_a_control_that_breaks_a_constraint_is_no_choice_and_that_is_said(create):
    """Else the best would be called worse than the control, and nobody would know why it is the best."""
    rounds = create(constraints=["hides <= 0.02"])
    groups = rounds.propose()
    for metric, values in (("utility", [0.01, 0.09, -0.1, -0.1]), ("hides", [0.05, 0.05, 0.015, 0.03])):
        rounds.ingest(numbers(dict(zip(groups["group"], values)), metric))
    assert rounds.best() == rounds.export_weights("r1-b")
    text = " ".join(rounds.status().sentences)
    assert "0.1100 below the control's (-1,100 %)" in text
    assert "worse than the control" in text
    assert "The control breaks `hides <= 0.02`, so keeping it was not among the choices." in text


def test_minimising_turns_everything_round(create):
    rounds = create(maximise=False, metric="hides")
    groups = rounds.propose()
    rounds.ingest(numbers(dict(zip(groups["group"], [1.0, 1.2, 0.8, 0.9])), "hides"))
    assert rounds.best() == rounds.export_weights("r1-b")
    assert any("0.2000 below the control's (-20 %)" in sentence for sentence in rounds.status().sentences)


def test_a_group_that_was_stopped_does_not_hold_up_the_next_round(create):
    rounds = create()
    rounds.propose()
    rounds.ingest(numbers({"r1-control": 1.0, "r1-a": 1.1, "r1-b": 0.9}))
    with pytest.raises(InputError, match="`r1-a` is not waited for"):
        rounds.propose(without=["r1-a", "r1-c"])
    assert rounds.state().given_up == frozenset()
    assert rounds.propose(without=["r1-c"])["round"].unique().tolist() == [2]
    assert rounds.propose(without=["r1-c"])["round"].unique().tolist() == [2]
    assert rounds.status().groups["state"].tolist()[:4] == ["measured"] * 3 + ["given up"]
    rounds.ingest(numbers({"r1-c": 1.05}))  # late, but it counts
    assert Arms.of(rounds.state()).compared == 3


def test_a_round_without_its_control_counts_for_nothing(create):
    rounds = create()
    first = rounds.propose()
    rounds.ingest(numbers({"r1-a": 1.0, "r1-b": 1.1, "r1-c": 0.9}))
    second = rounds.propose(without=["r1-control"])
    assert Arms.of(rounds.state()).compared == 0
    assert rounds.best() is None
    assert rounds.status().groups["state"].tolist()[1] == "without control"
    # Nothing was learned, so the pseudo-random sequence goes on instead of repeating itself.
    both = pd.concat([first, second])
    assert both[both["kind"] == "treatment"].duplicated(list(HEADS)).sum() == 0


def test_confirm_repeats_the_best_once(create):
    rounds = create()
    with pytest.raises(InputError, match="nothing has been measured"):
        rounds.propose(confirm=True)
    play(rounds, 1)
    best = rounds.best()
    table = rounds.propose(confirm=True)
    assert table["kind"].tolist() == ["control", "repeat", "treatment", "treatment"]
    assert rounds.export_weights("r2-a") == best
    with pytest.raises(InputError, match="round 2 is open"):
        rounds.propose(confirm=True)
    rounds.ingest(numbers(dict(zip(table["group"], truth(table) + 5.0))))
    assert any("Measured again" in s for s in rounds.status().sentences)


def test_numbers_that_were_wrong_can_be_corrected(create):
    rounds = create(record=["clicks"])
    rounds.propose()
    rounds.ingest(numbers({"r1-a": 1.1}, "clicks"))
    rounds.ingest(numbers({"r1-a": 1.2}, "clicks"), correct=True)
    assert rounds.state().numbers["r1-a", "clicks"] == (1.2, 0.01)
    assert len((rounds.folder / JOURNAL).read_text().splitlines()) == 4  # what was known stays in the journal


def test_another_design_for_the_same_folder_names_what_differs(create, tmp_path):
    create()
    create()  # the same again opens it
    with pytest.raises(InputError) as error:
        create(seed=1, baseline={"click": 0.4, "save": 0.35, "hide": -0.25})
    for part in ("`seed` was 0, is now 1", "`baseline.click` was 0.5, is now 0.4"):
        assert part in str(error.value)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and holds no rounds"):
        create("full")
    with pytest.raises(InputError, match="holds no rounds"):
        Rounds.open(tmp_path / "full")


def test_all_faults_of_a_design_at_once_and_nothing_is_made(create, tmp_path):
    with pytest.raises(InputError) as error:
        create(
            heads={**HEADS, "round": 1}, baseline={"click": 0.5, "save": 0.4, "hide": 0.1},
            constraints=["hide < 3"], groups=0, seed=-1, bounds={"like": (0, 1)}, record=[" "],
        )  # fmt: skip
    text = str(error.value)
    for part in (
        "hide < 3",
        "cannot be called `round`",
        "`groups` must be",
        "`seed`",
        "`like`",
        "record",
        "`hide` has sign",
    ):
        assert part in text, part
    assert not (tmp_path / "rounds").exists()


def test_nobody_else_proposes_meanwhile(create, tmp_path):
    def busy(*arguments, **options):
        with pytest.raises(InputError, match="another process has this journal open"):
            Rounds.open(tmp_path / "rounds").propose()
        return cheap_propose(*arguments, **options)

    rounds = create(propose=busy)
    play(rounds, 2)
    assert rounds.state().rounds == 2


def test_plain_shares_stay_in_the_space():
    space = SearchSpace.of({"a": 1, "b": 1, "c": 1}, {"a": (1 / 3, 0.5)})
    shares = np.vstack([space.random(200, seed=0), [[1 / 3, 0.4, 4 / 15]]])
    plain = plain_shares(space, shares)
    assert space.contains(plain).all()
    np.testing.assert_allclose(plain, shares, atol=2e-6)
    assert (plain[-1] == shares[-1]).all()  # six decimals would lie below the bound
    assert (np.round(plain[:-1], 6) == plain[:-1]).all()


def test_ax_learns_from_the_rounds(create):
    """With the real search: after two rounds the third's groups are closer to the best weights than the first's."""
    rounds = Rounds.create(create("ax").folder, HEADS, BASELINE, groups=3)
    play(rounds, 2, noise=0.001)
    table = rounds.propose()
    assert rounds.best() is not None
    gain = truth(rounds.state().frame()).groupby(rounds.state().frame()["round"]).max()
    assert table["kind"].tolist() == ["control", *["treatment"] * 3]
    assert gain[3] > gain[1]
    assert gain[3] > -0.01


@pytest.mark.parametrize("head", ["group", "state", "groups", "lift", "feasible"])
def test_a_head_cannot_have_the_name_of_a_column(head: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"cannot be called `{head}`"):
        Rounds.create(tmp_path / "exp", heads={head: 1, "save": 1}, baseline={head: 0.5, "save": 0.5})
    assert not (tmp_path / "exp").exists()
