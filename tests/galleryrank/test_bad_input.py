"""Bad input: one error that names file, column, row and value, all faults at once, exit code 2, nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import Dataset
from galleryrank.cli import main
from ranking import Ranker

TOML = """
[files]
impressions = "log.parquet"
[columns]
request = "request_id"
item = "item_id"
keep_prob = "keep_prob"
numeric = ["price"]
[heads.click]
[heads.long_click]
implies = "click"
[sampling]
negative_rate = 0.5
roles = ["train"]
[split]
by = "column"
column = "role"
"""


def sound_log(rows: int = 400) -> pd.DataFrame:
    """A log without faults: 10 candidates a request, negatives of the train role sampled at 0.5."""
    random = np.random.default_rng(0)
    click = (random.random(rows) < 0.3).astype(float)
    role = np.where(np.arange(rows) < rows * 0.7, "train", "calibrate")
    return pd.DataFrame(
        {
            "request_id": np.arange(rows) // 10,
            "item_id": np.arange(rows) % 10,
            "price": random.normal(size=rows),
            "click": click,
            "long_click": click * (random.random(rows) < 0.5),
            "keep_prob": np.where((click > 0) | (role != "train"), 1.0, 0.5),
            "role": role,
        }
    )


def put(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(log: pd.DataFrame) -> pd.DataFrame:
        log = log.copy()
        log.loc[row, column] = value
        return log

    return change


def long_without_click(log: pd.DataFrame) -> pd.DataFrame:
    return put("long_click", 12, 1.0)(put("click", 12, 0.0)(put("keep_prob", 12, 1.0)(log)))


FAULTS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], list[str]]] = {
    "nan_label": (put("click", 17, np.inf), ["`click`, row 17", "inf"]),
    "label_2": (put("click", 17, 2.0), ["`click`, row 17", "got 2"]),
    "long_without_click": (long_without_click, ["`long_click`, row 12", "click"]),
    "keep_prob_0": (put("keep_prob", 5, 0.0), ["`keep_prob`, row 5", "got 0"]),
    "keep_prob_1.2": (put("keep_prob", 5, 1.2), ["`keep_prob`, row 5", "got 1.2"]),
    "duplicate": (put("item_id", 21, 0), ["row 21", "request"]),
    "missing_column": (lambda log: log.drop(columns="price"), ["`price`", "missing"]),
    "wrong_type": (lambda log: log.assign(click="yes"), ["`click`"]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dataset.toml").write_text(TOML)
    return tmp_path


def write(folder: Path, log: pd.DataFrame) -> None:
    log.to_parquet(folder / "log.parquet", index=False)


def refused(folder: Path, capsys: pytest.CaptureFixture) -> str:
    """Check and fit both refuse with 2 and the same message, and fit writes nothing."""
    assert main(["check", str(folder), "--quiet"]) == 2
    checked = capsys.readouterr().err
    assert main(["fit", str(folder), "--out", str(folder / "run"), "--quiet"]) == 2
    assert capsys.readouterr().err == checked
    assert not (folder / "run").exists()
    assert "Traceback" not in checked
    return checked


def test_the_sound_log_is_sound(folder: Path) -> None:
    write(folder, sound_log())
    assert main(["check", str(folder), "--quiet"]) == 0


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_by_file_column_row_and_value(
    folder: Path, fault: str, capsys: pytest.CaptureFixture
) -> None:
    change, expected = FAULTS[fault]
    write(folder, change(sound_log()))
    message = refused(folder, capsys)
    assert "log.parquet" in message
    for part in expected:
        assert part in message, message


def test_a_nan_label_is_named(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """A float NaN in Parquet is no null: it is a fault unless the schema says `missing = "nan"`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(sound_log(), preserve_index=False)
    click = table["click"].to_numpy().copy()
    click[17] = np.nan
    at = table.column_names.index("click")
    pq.write_table(table.set_column(at, "click", pa.array(click, from_pandas=False)), folder / "log.parquet")
    assert "`click`, row 17" in refused(folder, capsys)


def test_all_faults_come_at_once(folder: Path, capsys: pytest.CaptureFixture) -> None:
    log = sound_log()
    for fault in ("label_2", "long_without_click", "keep_prob_1.2", "duplicate"):
        log = FAULTS[fault][0](log)
    write(folder, log)
    message = refused(folder, capsys)
    for part in ("`click`, row 17", "`long_click`, row 12", "`keep_prob`, row 5", "row 21"):
        assert part in message, message


def test_a_rate_that_contradicts_keep_prob_is_named(folder: Path, capsys: pytest.CaptureFixture) -> None:
    write(folder, sound_log())
    (folder / "dataset.toml").write_text(TOML.replace("negative_rate = 0.5", "negative_rate = 0.1"))
    message = refused(folder, capsys)
    assert "`keep_prob`" in message
    assert "0.5" in message
    assert "0.1" in message


def test_a_truncated_file_is_named(folder: Path, capsys: pytest.CaptureFixture) -> None:
    write(folder, sound_log())
    path = folder / "log.parquet"
    path.write_bytes(path.read_bytes()[:-200])
    assert "log.parquet" in refused(folder, capsys)


def test_a_schema_with_several_faults_lists_them(folder: Path, capsys: pytest.CaptureFixture) -> None:
    write(folder, sound_log())
    text = TOML.replace('implies = "click"', 'implies = "booking"\nsign = 3').replace("= 0.5", "= 1.5")
    (folder / "dataset.toml").write_text(text + "\n[nonsense]\na = 1\n")
    message = refused(folder, capsys)
    for part in ("booking", "sign", "negative_rate", "nonsense"):
        assert part in message, message


def test_the_closed_form_without_an_any_head_is_refused(folder: Path, capsys: pytest.CaptureFixture) -> None:
    write(folder, sound_log())
    out = str(folder / "run")
    assert main(["fit", str(folder), "--out", out, "--quiet", "--set", "correction=single_head"]) == 2
    message = capsys.readouterr().err
    for remedy in ("any_head", "factored", "headwise", "inverse_propensity"):
        assert remedy in message
    assert not (folder / "run").exists()


def test_wrong_settings_are_listed_all_at_once(folder: Path, capsys: pytest.CaptureFixture) -> None:
    write(folder, sound_log())
    wrong = ["--set", "training.epochs=0", "--set", "network.widht=3", "--set", "correction=magic", "--set", "oops"]
    assert main(["fit", str(folder), "--out", str(folder / "run"), *wrong]) == 2
    message = capsys.readouterr().err
    for part in ("training.epochs", "network.widht", "correction", "oops"):
        assert part in message, message


def test_an_unknown_head_in_a_utility_is_refused(
    ranker: Ranker, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    ranker.save(tmp_path / "model")
    log, out = str(world.parent / "impressions.parquet"), tmp_path / "s.parquet"
    assert main(["score", str(tmp_path), log, "--out", str(out), "--utility", "booking=1,click=-2"]) == 2
    message = capsys.readouterr().err
    assert "booking" in message
    assert "click" in message
    assert main(["score", str(tmp_path), log, "--out", str(out), "--utility", "click"]) == 2
    assert not out.exists()


def test_a_changed_byte_in_a_model_is_refused(
    ranker: Ranker, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = ranker.save(tmp_path / "model") / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    log, out = str(world.parent / "impressions.parquet"), tmp_path / "s.parquet"
    assert main(["score", str(tmp_path), log, "--out", str(out)]) == 2
    assert "model.safetensors" in capsys.readouterr().err
    assert not out.exists()


def test_mistyped_commands_exit_with_2(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "run.json" in capsys.readouterr().err
    assert main(["evaluat"]) == 2
    assert main(["score", "a"]) == 2
    assert main(["check", str(tmp_path / "absent.parquet")]) == 2
    assert main(["fit", str(tmp_path), "--out", str(tmp_path / "r")]) == 2


def test_a_role_that_may_not_be_measured_is_refused(
    ranker: Ranker, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    ranker.save(run / "model")
    dataset = Dataset.open(world)
    record = {"command": "fit", "dataset": str(world), "settings": {}, "schema": dataset.schema.to_dict()}
    (run / "run.json").write_text(json.dumps(record | {"data_sha256": dataset.data_hash(), "training_sample": []}))
    assert main(["evaluate", str(run), "--role", "train"]) == 2
    assert "the model has seen it" in capsys.readouterr().err
    shutil.rmtree(run)


def test_an_internal_error_never_reads_as_a_regression(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    import galleryrank.check

    def broken(*_: object) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr(galleryrank.check, "check_log", broken)
    assert main(["check", str(tmp_path)]) == 70
    assert "a bug" in capsys.readouterr().err


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import galleryrank.check

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(galleryrank.check, "check_log", interrupted)
    assert main(["check", str(tmp_path)]) == 130


def test_settings_that_no_machine_or_file_can_follow(folder: Path, capsys: pytest.CaptureFixture) -> None:
    write(folder, sound_log())
    (folder / "latin.toml").write_bytes(b"# caf\xe9\n")
    out = ["--out", str(folder / "run"), "--quiet"]
    for more, expected in (
        (["--device", "foo"], "--device"),
        (["--config", str(folder / "latin.toml")], "latin.toml"),
        (["--config", str(folder / "absent.toml")], "absent.toml"),
        (
            ["--set", "importance.click=0", "--set", "importance.long_click=0", "--set", "objective=importance"],
            "weight above 0",
        ),
        (["--set", "objective=importance", "--set", "utility.click=1"], "has none"),
    ):
        assert main(["fit", str(folder), *out, *more]) == 2, more
        message = capsys.readouterr().err
        assert expected in message, message
        assert not (folder / "run").exists()


def test_a_diverging_fit_says_so(folder: Path, capsys: pytest.CaptureFixture) -> None:
    write(folder, sound_log())
    wild = ["--set", "training.learning_rate=1e30", "--set", "baselines=[]"]
    assert main(["fit", str(folder), "--out", str(folder / "run"), "--quiet", *wild]) == 2
    assert "learning rate" in capsys.readouterr().err


def test_sampling_that_nobody_declared_is_refused(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """keep_prob below 1 without [sampling]: every mode but inverse propensity would be silently wrong."""
    write(folder, sound_log())
    text = TOML.replace('[sampling]\nnegative_rate = 0.5\nroles = ["train"]\n', "")
    (folder / "dataset.toml").write_text(text)
    fast = ["--set", "training.epochs=1", "--set", "baselines=[]", "--quiet"]
    assert main(["fit", str(folder), "--out", str(folder / "run"), *fast]) == 2
    assert "[sampling]" in capsys.readouterr().err
    assert not (folder / "run").exists()
    out = str(folder / "ipw")
    assert main(["fit", str(folder), "--out", out, *fast, "--set", "correction=inverse_propensity"]) == 0


def test_a_head_that_nothing_protects_needs_inverse_propensity(folder: Path, capsys: pytest.CaptureFixture) -> None:
    log = sound_log()
    log["view"] = 1.0 - log["click"]
    write(folder, log)
    text = TOML.replace("[sampling]", '[heads.view]\n[sampling]\nprotected_by = ["click", "long_click"]')
    (folder / "dataset.toml").write_text(text)
    fast = ["--set", "training.epochs=1", "--set", "baselines=[]", "--quiet"]
    assert main(["fit", str(folder), "--out", str(folder / "run"), *fast]) == 2
    message = capsys.readouterr().err
    assert "view" in message
    assert "inverse_propensity" in message
    assert (
        main(["fit", str(folder), "--out", str(folder / "ipw"), *fast, "--set", "correction=inverse_propensity"]) == 0
    )


def test_places_that_cannot_be_written_or_read(
    ranker: Ranker, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    ranker.save(tmp_path / "model")
    (tmp_path / "file").write_text("")
    log = str(world.parent / "impressions.parquet")
    assert main(["score", str(tmp_path), log, "--out", str(tmp_path / "file" / "s.parquet"), "--quiet"]) == 2
    assert "file" in capsys.readouterr().err
    (tmp_path / "run.json").write_text("{")
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "run.json" in capsys.readouterr().err
    texts = {"command": "fit", "dataset": "d", "settings": {}, "schema": {}, "data_sha256": {}, "training_sample": []}
    for damage in ({}, texts | {"dataset": 3}, texts | {"schema": None}, texts | {"data_sha256": {"a": [1]}}, []):
        (tmp_path / "run.json").write_text(json.dumps(damage))
        assert main(["evaluate", str(tmp_path)]) == 2
        assert "not the record of a fit" in capsys.readouterr().err


def test_labels_that_were_missing_before_rows_were_dropped(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """No row with a null was protected: the closed forms do not hold, loss weights do."""
    log = sound_log()
    null = np.arange(len(log)) % 3 == 0
    log.loc[null, ["click", "long_click"]] = None
    log.loc[null & (log["role"] == "train"), "keep_prob"] = 0.5
    write(folder, log)
    fast = ["--set", "training.epochs=1", "--set", "baselines=[]", "--quiet"]
    for correction in ("any_head", "factored"):
        arguments = ["fit", str(folder), "--out", str(folder / "run"), *fast, "--set", f"correction={correction}"]
        assert main(arguments) == 2
        assert "headwise" in capsys.readouterr().err
    assert main(["fit", str(folder), "--out", str(folder / "run"), *fast, "--set", "correction=headwise"]) == 0


def test_a_rate_by_row_is_known_to_every_role(folder: Path) -> None:
    """The test rows were not sampled; their correction still needs the rate of training."""
    log = sound_log()
    log["rate"] = np.where(log["request_id"] % 2 == 0, 0.5, 1.0)
    free = (log["click"] == 0) & (log["role"] == "train")
    log["keep_prob"] = np.where(free, log["rate"], 1.0)
    log.loc[log["request_id"] >= 36, "role"] = "test"
    write(folder, log)
    text = TOML.replace("negative_rate = 0.5", 'negative_rate_column = "rate"').replace(
        '["train"]', '["train", "calibrate"]'
    )
    log.loc[(log["role"] == "calibrate") & (log["click"] == 0), "keep_prob"] = log["rate"]
    write(folder, log)
    (folder / "dataset.toml").write_text(text)
    fast = ["--set", "training.epochs=1", "--set", "baselines=[]", "--quiet"]
    assert main(["fit", str(folder), "--out", str(folder / "run"), *fast]) == 0
    assert main(["evaluate", str(folder / "run"), "--quiet"]) == 0
