"""`galleryrank ablate`: the cross product as a table, impossible combinations with their reason, a killed run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from features.gallery import GalleryEncoder
from features.gallery.squeezenet import squeezenet1_1
from galleryrank.ablate import _rows
from galleryrank.cli import main

pytestmark = pytest.mark.usefixtures("quick_probes")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights for SqueezeNet; random ones serve here."""
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pt"
    parts = squeezenet1_1()
    tensors = dict(parts.front.state_dict())
    for name, tensor in parts.back.state_dict().items():  # numbered on after the front's nine layers
        layer, rest = name.split(".", 1)
        tensors[f"{int(layer) + 9}.{rest}"] = tensor
    torch.save(tensors, path)
    return path


def ablate(world: Path, out: Path, quick: list[str], *more: str) -> int:
    return main(["ablate", str(world), "--out", str(out), *quick, *more])


def rows_of(run: Path) -> pd.DataFrame:
    return pd.DataFrame(json.loads((run / "metrics.json").read_text())["rows"]).set_index("variant")


def test_the_table(photo_world: Path, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out, reviews = tmp_path / "run", str(photo_world / "review_photos.parquet")
    paradigms = [part for name in ("multitask", "frozen", "random") for part in ("--paradigm", name)]
    one_epoch = ["--set", "training.epochs=1", "--width", "native", "--width", "24", "--format", "json"]
    assert ablate(photo_world, out, quick, *paradigms, *one_epoch, "--reviews", reviews) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "metrics.json").read_text())
    table, metrics = rows_of(out), json.loads((out / "metrics.json").read_text())
    assert table.index.tolist() == [
        f"small {width} {paradigm}" for width in ("native", "24") for paradigm in ("multitask", "frozen", "random")
    ]
    frozen = table[table["paradigm"] == "frozen"]
    assert frozen["reason"].str.contains("--backbone small=FILE").all()
    made = table.drop(index=frozen.index)
    assert made[["probe", "same_item", "photo_ms"]].notna().all(axis=None)
    assert made["reason"].isna().all()
    assert made["dim"].tolist() == [192, 192, 24, 24]
    assert made["epochs"].tolist() == [1, 0, 1, 0]
    assert metrics["attribute"] == "star_rating"
    assert not metrics["has"]["same_attribute"]  # a fifth of 80 items
    assert any("no same-attribute column" in note and "at least 50" in note for note in metrics["notes"])
    page = (out / "report.html").read_text()
    assert "not measured: pretrained weights are needed" in page
    assert ablate(photo_world, out, quick, *paradigms, *one_epoch, "--reviews", reviews) == 2
    assert "finished" in capsys.readouterr().err


def test_weights_from_a_file(photo_world: Path, quick: list[str], weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    choice = ["--backbone", f"squeezenet1_1={weights}", "--backbone", "squeezenet1_1", "--width", "native"]
    assert ablate(photo_world, out, quick, *choice, "--paradigm", "frozen", "--paradigm", "random") == 0
    table = rows_of(out)
    label = f"squeezenet1_1 ({weights.name}) native"
    assert table.index.tolist() == [f"{label} frozen", "squeezenet1_1 native random", "squeezenet1_1 native frozen"]
    assert table["paradigm"].tolist()[:2] == ["frozen pretrained", "random weights"]
    assert table["reason"].isna().tolist() == [True, True, False]


def test_a_killed_run_keeps_its_rows(
    photo_world: Path, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Any] = []
    fit = GalleryEncoder.fit.__func__  # type: ignore[attr-defined]

    def counted(cls: type, data: Any, config: Any, **more: Any) -> Any:
        fitted.append(config.loss)
        if len(fitted) == 2:
            raise KeyboardInterrupt
        return fit(cls, data, config, **more)

    monkeypatch.setattr(GalleryEncoder, "fit", classmethod(counted))
    choice = ["--width", "8", "--paradigm", "multitask", "--paradigm", "kendall", "--set", "training.epochs=1"]
    assert ablate(photo_world, tmp_path / "run", quick, *choice) == 130
    assert not (tmp_path / "run" / "report.html").exists()
    assert ablate(photo_world, tmp_path / "run", quick, *choice, "--set", "seed=5") == 2  # another run's folder
    assert ablate(photo_world, tmp_path / "run", quick, *choice) == 0
    assert fitted == ["pseudo_uniform", "kendall", "kendall"]
    assert rows_of(tmp_path / "run")["paradigm"].tolist() == ["multitask, pseudo-uniform", "multitask, Kendall"]


def test_a_triplet_loss_without_anything_to_train_is_a_row_with_a_reason(
    photo_world: Path, quick: list[str], tmp_path: Path
) -> None:
    choice = ["--width", "native", "--paradigm", "triplet-hard", "--paradigm", "random", "--set", "train=none"]
    assert ablate(photo_world, tmp_path / "run", quick, *choice) == 0
    table = rows_of(tmp_path / "run")
    assert "nothing to train" in table.loc["small native triplet-hard", "reason"]
    assert table["reason"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    "settings",
    [["modulation=true", "modulation_tasks=2"], ["sharing=similarity", "head_hidden=8"], ["margin=0.3"]],
)
def test_each_row_leaves_out_what_its_loss_does_not_read(settings: list[str]) -> None:
    rows = list(_rows(["small"], ["native"], ["multitask", "triplet-hard", "random"], None, settings))
    assert [row.reason for row in rows] == [None] * 3
    read = {row.paradigm: row.variant.config for row in rows if row.variant is not None}
    assert read["triplet-hard"].modulation is False
    assert read["triplet-hard"].sharing == "none"
    assert read["multitask"].modulation is ("modulation=true" in settings)
    assert read["triplet-hard"].margin == (0.3 if settings == ["margin=0.3"] else 0.2)


def test_what_cannot_be_compared(
    photo_world: Path, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for more, expected in (
        (["--width", "wide", "--width", "0", "--paradigm", "magic", "--seeds", "0"], ["4 errors", "wide", "magic"]),
        (["--set", "loss=kendall", "--set", "embed_dim=8"], ["2 errors", "`loss`", "--paradigm", "--width"]),
        (["--set", "colour=blue"], ["colour"]),
        (["--paradigm", "frozen"], ["small native frozen", "small 64 frozen", "weights are needed"]),
        (["--holdout", "pool"], ["--holdout", "star_rating"]),
        (["--reviews", "absent.parquet"], ["absent.parquet"]),
    ):
        assert ablate(photo_world, tmp_path / "run", quick, *more) == 2, more
        message = capsys.readouterr().err
        assert "Traceback" not in message
        for part in expected:
            assert part in message, message
        assert not (tmp_path / "run").exists()
    assert ablate(photo_world, tmp_path / "run", quick, "--backbone", "no_such_network") == 2
    assert "no_such_network" in capsys.readouterr().err
