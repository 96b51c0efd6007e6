"""`galleryrank rounds` as an experimenter uses it: options once, files to hand on, tables to read, errors that help."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from markupsafe import escape

from features import InputError
from galleryrank import rounds as command
from galleryrank.rounds import ingest_run, propose_run, status_run
from optimization.online.rounds import JOURNAL, Rounds
from ranking import Utility

BASELINE = "click=0.5,save=0.25,hide=-0.25"
NOTHING = {
    "run": None, "heads": None, "baseline": None, "metric": None, "minimise": False, "constraints": (), "record": (),
    "groups": None, "bounds": (), "seed": None, "without": (), "confirm": False, "format": "text", "quiet": False,
}  # fmt: skip


def propose(folder: Path, **options: object) -> None:
    propose_run(folder, **{**NOTHING, **options})


def export(folder: Path, values: dict[str, float], metric: str = "utility", name: str = "export.csv") -> Path:
    """What an experiment platform with a European locale writes."""
    lines = ["metric;users;group;standard_error;value"]
    lines += [f"{metric};5000;{group};0,0125;{value:.4f}".replace(".", ",") for group, value in values.items()]
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path


def test_the_whole_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "weights"
    propose(folder, baseline=BASELINE, groups=2, constraints=["save >= 0.9 * control"], record=["clicks"])
    shown = capsys.readouterr()
    assert shown.out == ""
    for part in ("r1-control", "r1-a", "r1-b", "columns group, metric, value, standard_error (utility, save, clicks)"):
        assert part in shown.err
    groups = pd.read_csv(folder / "groups.csv")
    assert groups.columns.tolist() == ["group", "round", "kind", "click", "save", "hide"]
    for row in groups.to_dict("records"):
        weights = tomllib.loads((folder / "weights" / f"{row['group']}.toml").read_text())["utility"]
        assert weights == {head: row[head] for head in ("click", "save", "hide")}

    first = export(tmp_path, {"r1-control": 0.5, "r1-a": 0.62})
    ingest_run(folder, first, False, "text", False)
    assert "2 numbers: 2 new." in (said := capsys.readouterr().err)
    assert "Round 1 waits for numbers: r1-control lacks save; r1-a lacks save; r1-b lacks utility, save." in said
    propose(folder, format="json")  # DIR alone is enough
    shown = capsys.readouterr()
    assert "round 1 is open, so these are its groups again" in shown.err
    assert json.loads(shown.out)["waiting"]["r1-b"] == ["utility", "save"]

    # The platform exports the same file again, with what has come in since.
    export(tmp_path, {"r1-control": 0.5, "r1-a": 0.62, "r1-b": 0.41})
    ingest_run(folder, first, False, "json", True)
    shown = capsys.readouterr()
    assert [row["state"] for row in json.loads(shown.out)["numbers"]] == ["known already", "known already", "new"]
    assert shown.err == ""
    ingest_run(folder, export(tmp_path, {"r1-control": 0.2, "r1-a": 0.19, "r1-b": 0.2}, "save"), False, "text", False)
    assert "Round 1 is complete: the next one can be proposed." in capsys.readouterr().err
    ingest_run(folder, first, False, "text", False)
    assert "3 numbers: 3 known already. Nothing has changed." in capsys.readouterr().err

    ingest_run(folder, export(tmp_path, {"r1-a": 0.62}, name="one.csv"), False, "text", False)
    assert "1 number: 1 known already." in capsys.readouterr().err

    best = tmp_path / "out" / "best.toml"
    status_run(folder, best, "json", False)
    shown = capsys.readouterr()
    status = json.loads(shown.out)
    assert status["best"]["groups"] == ["r1-a"]
    assert status["best"]["verdict"] == "better"
    assert tomllib.loads(best.read_text())["utility"] == status["best"]["weights"]
    for part in (
        "Best of 2 weight vectors measured: r1-a",
        "+0.1200",
        "`save >= 0.9 * control` holds there",
        "[utility]",
    ):
        assert part in shown.err, part
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"-> {folder / 'report.html'}" in shown.err
    assert "<title>Online rounds: weights</title>" in page
    for sentence in status["sentences"]:
        assert escape(sentence) in page
    assert best.read_text() in page

    propose(folder, quiet=True)
    status_run(folder, None, "text", True)  # the page is of now, and the folder is still the experiment's
    assert "Round 2 waits for numbers" in (folder / "report.html").read_text(encoding="utf-8")
    assert capsys.readouterr().err == ""
    assert pd.read_csv(folder / "groups.csv")["group"].tolist() == ["r2-control", "r2-a", "r2-b"]
    assert (folder / "weights" / "r1-a.toml").is_file()  # what is live may not vanish


def test_heads_signs_and_weights_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = {name: SimpleNamespace(sign=sign) for name, sign in (("click", 1), ("save", 1), ("hide", -1))}
    model = SimpleNamespace(tree=object(), utility=Utility(click=3, hide=-1), schema=SimpleNamespace(heads=heads))
    monkeypatch.setattr(command, "load_model", lambda path: model)
    propose(tmp_path / "a", run=tmp_path / "run", groups=1)
    design = Rounds.open(tmp_path / "a").design
    assert design.heads == {"click": 1, "save": 1, "hide": -1}
    assert design.baseline == {"click": 0.75, "save": 0.0, "hide": -0.25}
    model.utility = None
    with pytest.raises(InputError, match="no utility weights"):
        propose(tmp_path / "b", run=tmp_path / "run")
    with pytest.raises(InputError, match="not both"):
        propose(tmp_path / "b", run=tmp_path / "run", baseline=BASELINE)
    assert not (tmp_path / "b").exists()


def test_options_of_a_known_experiment_must_be_its_own(tmp_path: Path) -> None:
    propose(tmp_path / "a", baseline=BASELINE, heads="click,save,hide=-1", bounds=["save=0.1:0.5"], seed=3)
    propose(tmp_path / "a", baseline=BASELINE, bounds=["save=0.1:0.5"])
    before = (tmp_path / "a" / JOURNAL).read_bytes()
    with pytest.raises(InputError, match="`seed` was 3, is now 4"):
        propose(tmp_path / "a", seed=4)
    with pytest.raises(InputError, match="`maximise` was True, is now False"):
        propose(tmp_path / "a", minimise=True)
    assert (tmp_path / "a" / JOURNAL).read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "holds no rounds yet: the first proposal needs the weights in production"),
        ({"baseline": "click=1"}, "at least 2 heads, got ['click']"),
        (
            {"baseline": BASELINE, "bounds": ["save=0:0.5", "save=0:0.4"]},
            "bounds `save` twice: save=0:0.5 and save=0:0.4",
        ),
        ({"baseline": "click=0.5,save=0.4"}, "must sum to 1 in |w| (S1), got 0.9; scaled: click = 0.555556"),
        ({"baseline": "click=0.5", "heads": "click,save"}, "missing save"),
        ({"baseline": "click=0.5,like=0.5", "heads": "click,save"}, "unknown head `like`"),
        ({"baseline": "click=half,click=1,click=1"}, "--baseline: names `click` twice"),
        ({"baseline": "click=half"}, "must have the form head=number, separated by commas, got 'click=half'"),
        ({"baseline": BASELINE, "heads": "click,save,hide=-2"}, "sign of `hide` must be 1 or -1"),
        ({"baseline": BASELINE, "bounds": ["save=0.1"]}, "must have the form head=low:high"),
        ({"baseline": BASELINE, "bounds": ["save=0.6:0.5"]}, "0 <= low <= high <= 1"),
        ({"baseline": BASELINE, "constraints": ["save > 1"]}, "a constraint must read like"),
        ({"baseline": BASELINE, "format": "csv"}, "--format must be text or json"),
        ({"baseline": BASELINE, "confirm": True}, "--without and --confirm are for groups that were proposed"),
        ({"baseline": BASELINE, "without": ["r1-a"]}, "--without and --confirm are for groups that were proposed"),
    ],
)
def test_bad_options_make_nothing(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        propose(tmp_path / "new", **options)
    assert message in str(error.value)
    assert not (tmp_path / "new").exists()


def test_one_cause_is_one_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        propose(tmp_path / "new", baseline="click=1")
    assert len(error.value.faults) == 1


def test_bad_numbers_name_the_file_and_change_nothing(tmp_path: Path) -> None:
    propose(tmp_path / "a", baseline=BASELINE, quiet=True)
    before = (tmp_path / "a" / JOURNAL).read_bytes()
    bad = export(tmp_path, {"r1-a": 0.5, "r2-a": 0.5}, name="bad.csv")
    with pytest.raises(InputError) as error:
        ingest_run(tmp_path / "a", bad, False, "text", True)
    assert str(bad) in str(error.value)
    assert "unknown group" in str(error.value)
    assert (tmp_path / "a" / JOURNAL).read_bytes() == before
    with pytest.raises(InputError, match="there are no best weights to write"):
        status_run(tmp_path / "a", tmp_path / "best.toml", "text", True)
    assert not (tmp_path / "best.toml").exists()
    for do in (lambda d: ingest_run(d, bad, False, "text", True), lambda d: status_run(d, None, "text", True)):
        with pytest.raises(InputError, match="holds no rounds"):
            do(tmp_path / "nowhere")
