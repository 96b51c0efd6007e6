"""`galleryrank tune` and `galleryrank weights`: what they write, how a killed study goes on, acceptance and history."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from features import Dataset
from galleryrank.cli import main
from ranking import Ranker, Utility, score_parquet

HAND = "closeup=0.1,click=0.2,long_click=0.5,save=0.2"
OPTIONS = ["--maximise", "long_click", "--baseline", HAND, "--keep", "0.8", "--margin", "0.5", "--sweep", "24"]
OPTIONS += ["--seed", "5"]


def journal_of(folder: Path) -> list[dict[str, Any]]:
    """The records of a study, less what a clock says."""
    lines = (folder / "journal.jsonl").read_text().splitlines()
    records = [json.loads(line)["record"] for line in lines[1:]]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def metrics_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def run(ranker: Ranker, world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory on the small marketplace."""
    out = tmp_path_factory.mktemp("tune") / "run"
    sets = ["baselines=[]", "network.hidden=[8]", "training.epochs=2", "training.precision=float32"]
    options = [part for setting in sets for part in ("--set", setting)]
    assert main(["fit", str(world), "--out", str(out), "--quiet", "--device", "cpu", *options]) == 0
    return out


@pytest.fixture(scope="module")
def tuned(run: Path) -> Path:
    """A finished tuning with two proposals of Ax."""
    out = run.parent / "tuned"
    assert main(["tune", str(run), "--out", str(out), "--quiet", "--trials", "2", *OPTIONS]) == 0
    return out


def test_a_tuning_can_be_opened_and_its_numbers_agree(tuned: Path) -> None:
    metrics = metrics_of(tuned)
    best = metrics["trials"][metrics["best"]]
    assert best["feasible"]
    assert best["objective"] == max(trial["objective"] for trial in metrics["trials"] if trial["feasible"])
    assert tomllib.loads((tuned / "tuned.toml").read_text())["utility"] == best["weights"]
    assert [trial["phase"] for trial in metrics["trials"]].count("ax") == 2
    assert metrics["trials"][0]["weights"] == {"closeup": 0.1, "click": 0.2, "long_click": 0.5, "save": 0.2}
    assert {"tuned", "hand-picked", "equal", "only save"} <= set(metrics["verdict"]["weights"])
    page = (tuned / "report.html").read_text()
    assert metrics["summary"][0].split(":")[0] in page
    assert page.count("<svg") == 4
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_killed_study_goes_on_to_the_same_trials(run: Path, tuned: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    arguments = [sys.executable, "-m", "galleryrank", "tune", str(run), "--out", str(out), "--quiet", "--trials", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*arguments, *OPTIONS], env=environment)
    for _ in range(1200):  # killed after the sweep, while Ax loads or proposes
        path = out / "journal.jsonl"
        if path.is_file() and path.read_bytes().count(b"\n") >= 26:
            break
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "report.html").exists()
    before = journal_of(out)
    with (out / "journal.jsonl").open("ab") as file:
        file.write(b'{"number": 99, "rec')  # as if killed in the middle of a line
    assert main(["tune", str(run), "--out", str(out), "--quiet", "--trials", "2", *OPTIONS]) == 0
    after = journal_of(out)
    assert after[: len(before)] == before
    assert after == journal_of(tuned)
    assert metrics_of(out)["verdict"] == metrics_of(tuned)["verdict"]


def test_a_finished_study_is_not_repeated_and_can_be_extended(run: Path, tuned: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    shutil.copytree(tuned, out)
    assert main(["tune", str(run), "--out", str(out), "--quiet", "--trials", "2", *OPTIONS]) == 0
    assert (out / "journal.jsonl").read_bytes() == (tuned / "journal.jsonl").read_bytes()
    larger = [*OPTIONS[: OPTIONS.index("--sweep")], "--sweep", "40", "--seed", "5"]
    assert main(["tune", str(run), "--out", str(out), "--quiet", "--trials", "2", *larger]) == 0
    assert journal_of(out)[: len(journal_of(tuned))] == journal_of(tuned)
    assert [record["phase"] for record in journal_of(out)].count("sweep") == 40


def test_scores_of_any_system_give_the_same_study(run: Path, world: Path, tuned: Path, tmp_path: Path) -> None:
    """Our own scores through the side door: shuffled, with the rows of every role, and further columns."""
    dataset = Dataset.open(world)
    ranker = Ranker.load(run / "model")
    score_parquet(ranker, [str(file) for file in dataset.impression_files], tmp_path / "scores.parquet")
    scores = pd.read_parquet(tmp_path / "scores.parquet").sample(frac=1.0, random_state=0)
    scores.to_parquet(tmp_path / "scores.parquet")
    arguments = ["tune", str(world), "--scores", str(tmp_path / "scores.parquet"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--quiet", "--trials", "0", *OPTIONS]) == 0
    ours, theirs = journal_of(tmp_path / "out"), journal_of(tuned)
    for a, b in zip(ours[:25], theirs[:25], strict=True):  # written in float32, so not to the last bit
        assert a["weights"] == b["weights"]
        assert a["objective"] == pytest.approx(b["objective"], rel=1e-4)


def test_accepting_keeps_the_old_weights(
    run: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "run"
    shutil.copytree(run, own)
    before = Ranker.load(own / "model")
    out = tmp_path / "tuned"
    shutil.copytree(tuned, out)
    arguments = ["tune", str(own), "--out", str(out), "--trials", "2", "--accept", *OPTIONS]
    verdict = metrics_of(tuned)["verdict"]["guardrails"]
    assert not any(r["candidate"] == "tuned" and not r["holds"] and r["decided"] for r in verdict)
    assert main(arguments) == 0
    after = Ranker.load(own / "model")
    best = metrics_of(out)["trials"][metrics_of(out)["best"]]
    assert after.utility == Utility.from_mapping(best["weights"])
    assert [entry["weights"] for entry in after.info["utility_history"]] == [before.utility.to_dict()]
    assert main(arguments) == 0
    assert len(Ranker.load(own / "model").info["utility_history"]) == 1
    assert "has these weights already" in capsys.readouterr().err
    assert main(["weights", str(own), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["weights"] == best["weights"]
    assert shown["history"][0]["weights"] == before.utility.to_dict()
    assert main(["weights", str(own), HAND, "--format", "json"]) == 0
    heads = {record["head"]: record for record in json.loads(capsys.readouterr().out)["heads"]}
    assert heads["click"]["second"] == pytest.approx(0.2)
    assert heads["click"]["first"] == pytest.approx(best["weights"]["click"])


def test_an_infeasible_problem_names_the_guardrail(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["tune", str(run), "--out", str(tmp_path / "out"), "--maximise", "long_click", "--baseline", HAND]
    assert main([*arguments, "--keep", "save=9", "--trials", "0", "--sweep", "16", "--accept"]) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "is feasible" in said
    assert "no weights keep the guardrail of save" in said
    assert "nothing is accepted" in said
    assert metrics_of(tmp_path / "out")["best"] is None
    assert not (tmp_path / "out" / "tuned.toml").exists()


def test_a_baseline_in_a_file_is_scaled_whatever_the_folder_is_called(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seed=1"
    folder.mkdir()
    (folder / "weights.toml").write_text("[utility]\nclick = 3.0\nsave = 1.0\n")
    arguments = ["tune", str(run), "--out", str(tmp_path / "out"), "--quiet", "--maximise", "long_click"]
    main([*arguments, "--baseline", str(folder / "weights.toml"), "--trials", "0", "--sweep", "8"])
    found = journal_of(tmp_path / "out")[0]["weights"]
    assert found == {"closeup": 0.0, "click": 0.75, "long_click": 0.0, "save": 0.25}


def without_positives(world: Path, folder: Path, head: str) -> Path:
    """The same log with no engagement of one kind in the tune rows."""
    shutil.copytree(world.parent, folder)
    log = pd.read_parquet(folder / "impressions.parquet")
    log.loc[log["role"] == "tune", head] = 0
    log.to_parquet(folder / "impressions.parquet")
    return folder / "dataset.toml"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--maximise", "click", "--baseline", "closeup=0.1,click=0.2,long_click=0.5,save=0.3"], ["sum", "1.1"]),
        (["--maximise", "booking"], ["booking", "closeup, click, long_click, save"]),
        (["--maximise", "click", "--keep", "booking=0.9"], ["booking"]),
        (["--maximise", "click", "--bound", "booking=0:0.5"], ["booking"]),
        (["--maximise", "click", "--bound", "save=0.5"], ["head=low:high", "save=0.5"]),
        (["--maximise", "click", "--baseline", "click=0.5,save=0.5"], ["closeup", "long_click"]),
        (["--maximise", "click", "--keep", "much"], ["--keep", "much"]),
        (["--maximise", "click=1,click=2"], ["--maximise", "`click` twice"]),
        (["--maximise", "click", "--keep", "save=0.9", "--keep", "save=0.8"], ["`save`", "save=0.9 and save=0.8"]),
        (["--maximise", "click", "--keep", "0.9", "--keep", "0.8"], ["every other head", "0.9 and 0.8"]),
        (["--maximise", "click", "--bound", "save=0:1", "--bound", "save=0:0.5"], ["save=0:1 and save=0:0.5"]),
        (["--maximise", "click=1,save=-2"], ["`save`", ">= 0", "-2"]),
        (["--maximise", "click", "--metric", "accuracy"], ["accuracy", "pr_auc"]),
        (["--maximise", "click", "--pareto", "click,booking"], ["booking"]),
        (["--maximise", "click", "--role", "test"], ["--role"]),
        (["--maximise", "click", "--role", "train"], ["--role"]),
        (["--maximise", "click", "--margin", "-1"], ["margin"]),
        (["--maximise", "click", "--trials", "-1"], ["trials"]),
        (["--maximise", "click", "--seed", "-1"], ["seed"]),
    ],
)
def test_bad_options_are_one_error_and_nothing_is_journaled(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: list[str]
) -> None:
    out = tmp_path / "out"
    assert main(["tune", str(run), "--out", str(out), "--quiet", *options]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert "Traceback" not in said
    assert said.count("error:") == 1
    assert not out.exists()


def test_all_faults_of_the_options_are_told_at_once(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--maximise", "booking", "--keep", "x=y", "--bound", "z", "--baseline", "click=1"]
    assert main(["tune", str(run), "--out", str(tmp_path / "out"), *options]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in ("booking", "x=y", "--bound", "closeup")), said


def test_a_head_without_positives_in_the_tuning_rows_is_named(
    run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    described = without_positives(world, tmp_path / "log", "long_click")
    dataset = Dataset.open(described)
    score_parquet(Ranker.load(run / "model"), [str(f) for f in dataset.impression_files], tmp_path / "s.parquet")
    arguments = ["tune", str(described), "--scores", str(tmp_path / "s.parquet"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--maximise", "click", "--baseline", HAND, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "long_click" in said
    assert "no row has the label 1" in said
    assert not (tmp_path / "out").exists()


def test_bad_scores_are_named(run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = Dataset.open(world)
    whole = tmp_path / "s.parquet"
    score_parquet(Ranker.load(run / "model"), [str(f) for f in dataset.impression_files], whole)
    scores = pd.read_parquet(whole)
    tune_rows = pd.read_parquet(dataset.impression_files[0], columns=["role"])["role"].to_numpy() == "tune"
    row = int(tune_rows.argmax())
    holes = scores.copy()
    holes.loc[row, "save"] = float("nan")
    twice = pd.concat([scores, scores.iloc[[row]]])
    bad = {
        "NaN": (holes, ["save", f"row {row}", "got null"]),
        "twice": (twice, ["request_id"]),
        "missing": (scores.drop(index=row), ["must score every one", "1 of them have no score"]),
        "no column": (scores.drop(columns=["save", "click"]), ["save", "click"]),
    }
    for name, (frame, words) in bad.items():
        frame.to_parquet(whole)
        out = tmp_path / name
        arguments = ["tune", str(world), "--scores", str(whole), "--out", str(out), "--maximise", "click"]
        assert main([*arguments, "--baseline", HAND, "--quiet"]) == 2
        said = capsys.readouterr().err
        assert all(word.lower() in said.lower() for word in words), (name, said)
        assert not out.exists(), name
    assert main(["tune", str(world), "--scores", str(tmp_path / "no.parquet"), "--out", str(tmp_path / "o"),
                 "--maximise", "click", "--baseline", HAND]) == 2  # fmt: skip
    assert pq.read_metadata(whole).num_rows == len(scores)


def test_a_folder_of_something_else_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["tune", str(run), "--out", str(tmp_path), "--maximise", "click"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_another_problem_in_the_same_folder_is_refused(
    run: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(tuned, out)
    journal = (out / "journal.jsonl").read_bytes()
    assert main(["tune", str(run), "--out", str(out), "--maximise", "save", "--baseline", HAND]) == 2
    assert "objective" in capsys.readouterr().err
    assert (out / "journal.jsonl").read_bytes() == journal


@pytest.mark.parametrize("source", ["nowhere", "click=much", "click=0"])
def test_weights_that_are_none(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", source]) == 2
    assert "error" in capsys.readouterr().err


def test_an_accepted_tuning_can_be_run_again_without_naming_its_baseline(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default baseline is the model's own, which --accept has just replaced: the study remembers the old one."""
    own, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(run, own)
    before = Ranker.load(own / "model").utility.scaled()
    arguments = ["tune", str(own), "--out", str(out), "--maximise", "long_click", "--keep", "0.5", "--margin", "0"]
    arguments += ["--trials", "0", "--sweep", "64", "--accept"]
    assert main(arguments) == 0
    assert Ranker.load(own / "model").utility.scaled() != before
    journal = (out / "journal.jsonl").read_bytes()
    assert "baseline of the study" not in capsys.readouterr().err
    assert main(arguments) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "baseline of the study in" in said
    assert f"click={before.weights['click']:.6g}" in said
    assert "has these weights already" in said
    assert (out / "journal.jsonl").read_bytes() == journal
    (out / "journal.jsonl").write_bytes(journal[:40])  # killed while it wrote the header: nothing to remember
    assert main([*arguments[:-1], "--quiet"]) == 0


def test_weights_beside_a_model_must_fit_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w.toml").write_text("[utility]\nclck = 1.0\n")
    for pair in ([str(run), "click=-1"], ["click=-1", str(run)]):
        assert main(["weights", *pair]) == 2
        assert "`click` has sign +1, so its weight must be >= 0, got -1.0" in capsys.readouterr().err
    assert main(["weights", str(run), str(tmp_path / "w.toml")]) == 2
    assert "unknown head `clck`" in capsys.readouterr().err
    assert main(["weights", str(run), "click=1"]) == main(["weights", str(run), str(run)]) == 0
    assert main(["weights", "click=-1", "click=1"]) == 0  # no model knows the signs


def test_an_interrupt_is_said_on_stderr_with_the_live_table_on_a_terminal(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ours, theirs = pty.openpty()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TERM": "xterm"}
    # A suite that runs in the background of a shell inherits an ignored SIGINT, and Python then leaves it ignored.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from galleryrank.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", code, "tune", str(run), "--out", str(out), "--trials", "90", *OPTIONS]
    process = subprocess.Popen(arguments, env=environment, stderr=theirs, start_new_session=True)
    os.close(theirs)
    said, asked = b"", 0.0
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux says so when the other side is closed
            break
        if not part:
            break
        said += part
        journal = out / "journal.jsonl"
        ready = journal.is_file() and journal.read_bytes().count(b"\n") >= 26  # Ax loads or proposes
        # Once is not always enough: compiled code that calls back into Python may lose the exception.
        if ready and time.monotonic() > asked + 5.0:
            process.send_signal(signal.SIGINT)
            asked = time.monotonic()
    os.close(ours)
    assert process.wait() == 130
    assert b"search" in said  # the table was there
    assert said.rstrip().endswith(b"interrupted")
    assert b"Traceback" not in said


def test_a_ceiling_of_an_unwanted_head(
    run: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Saves declared unwanted: `--keep 0.5` and the default are for wanted heads, `--keep save=1` forbids a rise."""
    shutil.copytree(world.parent, tmp_path / "log")
    described = tmp_path / "log" / "dataset.toml"
    text = described.read_text()
    assert text.count("[heads.save]\n") == 1
    described.write_text(text.replace("[heads.save]\n", "[heads.save]\nsign = -1\n"))
    dataset = Dataset.open(described)
    score_parquet(Ranker.load(run / "model"), [str(f) for f in dataset.impression_files], tmp_path / "s.parquet")
    arguments = ["tune", str(described), "--scores", str(tmp_path / "s.parquet"), "--maximise", "long_click"]
    arguments += ["--baseline", "closeup=0.2,click=0.2,long_click=0.2,save=-0.4", "--trials", "0", "--sweep", "48"]
    rules = {}
    for name, keep in (
        ("default", []),
        ("some", ["--keep", "0.5"]),
        ("ceiling", ["--keep", "0.5", "--keep", "save=1"]),
    ):
        assert main([*arguments, "--out", str(tmp_path / name), "--margin", "0", *keep]) == 0
        rules[name] = {rule["head"]: rule for rule in metrics_of(tmp_path / name)["guardrails"]["rules"]}
    floors = {name: {head: rule["floor"] for head, rule in found.items()} for name, found in rules.items()}
    assert floors["default"] == {"closeup": 0.95, "click": 0.95, "long_click": None, "save": None}
    assert floors["some"] == {"closeup": 0.5, "click": 0.5, "long_click": None, "save": None}
    assert floors["ceiling"] == floors["some"] | {"save": 1.0}
    assert rules["ceiling"]["save"]["value"] <= rules["ceiling"]["save"]["baseline"] < rules["some"]["save"]["value"]
    assert "ceiling" in (tmp_path / "ceiling" / "report.html").read_text()
    capsys.readouterr()
    impossible = ["--out", str(tmp_path / "none"), "--keep", "save=0.001"]
    assert main([*arguments, *impossible]) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "no weights keep the guardrail of save (at most" in said
    assert "raise a ceiling" in said
