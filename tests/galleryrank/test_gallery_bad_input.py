"""Galleries with everything wrong that real ones have: counted and reported, or refused all at once with code 2."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from features.gallery import Embeddings
from galleryrank.cli import main

ITEMS, PHOTOS, SIZE = 40, 3, 32
TOML = """
name = "bad"
[files]
items = "items.parquet"
photos = "photos.parquet"
[columns]
item = "hotel"
holdout = ["star_rating"]
[gallery]
image = "jpeg"
order = "place"
[gallery.tasks]
binary = ["pool", "always"]
multiclass = ["city", "never"]
regression = ["review"]
log = ["price"]
"""
OPTIONS = [
    "--device", "cpu", "--quiet", "--set", f"photo_size={SIZE}", "--set", "head_hidden=8", "--set", "photo_budget=64",
    "--set", "validation=0.2", "--set", "training.epochs=1", "--set", "training.precision=float32",
]  # fmt: skip


def encoded(image: Image.Image, kind: str, **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def sound_photo(random: np.random.Generator, blue: bool) -> Image.Image:
    pixels = random.normal(110, 40, (SIZE, SIZE, 3))
    pixels[..., 2] += 60 * blue
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def sound() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Columns of the items, and photos, without a fault but the attributes `always` and `never`."""
    random = np.random.default_rng(3)
    pool = random.random(ITEMS) < 0.5
    price = np.exp(4 + 0.5 * random.normal(size=ITEMS))
    price[[5, 6, 7]] = np.nan
    items = {
        "hotel": np.arange(ITEMS),
        "pool": pool,
        "always": np.ones(ITEMS, bool),
        "city": np.array(["Bath", "Oslo", "Rome"])[random.integers(0, 3, ITEMS)],
        "never": pa.nulls(ITEMS, pa.string()),
        "review": random.normal(7.5, 1.0, ITEMS),
        "price": price,
        "star_rating": random.integers(1, 6, ITEMS),
    }
    photos = [
        {"hotel": i, "place": place, "jpeg": encoded(sound_photo(random, pool[i]), "JPEG")}
        for i in range(ITEMS)
        for place in range(PHOTOS)
    ]
    return items, photos


def write(folder: Path, items: dict[str, Any], photos: list[dict[str, Any]], toml: str = TOML) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(items), folder / "items.parquet")
    schema = pa.schema([("hotel", pa.int64()), ("place", pa.int64()), ("jpeg", pa.binary())])
    pq.write_table(pa.Table.from_pylist(photos, schema), folder / "photos.parquet")
    (folder / "dataset.toml").write_text(toml, encoding="utf-8")
    return folder


def with_bad_photos(photos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each kind once or twice; item 10 loses all its photos, item 11 has 500, items 12 and 13 repeat some."""
    random = np.random.default_rng(4)
    image = sound_photo(random, False)
    png = encoded(image, "PNG")
    frames = [sound_photo(random, blue) for blue in (True, False)]
    replaced: dict[tuple[int, int], bytes | None] = {
        (0, 0): b"",
        (0, 1): photos[1]["jpeg"][:300],  # truncated
        (1, 0): b"just some text",
        (1, 1): encoded(Image.new("1", (10_000, 10_000)), "PNG"),  # 100 megapixels in 12 kB
        (1, 2): None,
        (2, 0): encoded(image.convert("CMYK"), "JPEG"),
        (2, 1): encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        (3, 0): png[:60] + b"damage" + png[66:],
    }
    changed = [{**photo, "jpeg": replaced.get((photo["hotel"], photo["place"]), photo["jpeg"])} for photo in photos]
    changed = [photo for photo in changed if photo["hotel"] != 10]
    changed += [
        {"hotel": 11, "place": place, "jpeg": encoded(sound_photo(random, False), "JPEG")} for place in range(3, 500)
    ]
    changed.append({**changed[12 * PHOTOS - 3], "place": 0})  # its order a second time
    assert changed[-1]["hotel"] == 12
    changed.append({**changed[-1], "hotel": 13, "place": 7, "jpeg": changed[13 * PHOTOS - 3]["jpeg"]})  # same bytes
    changed.append({"hotel": 999, "place": 0, "jpeg": photos[0]["jpeg"]})
    changed.append({"hotel": None, "place": 0, "jpeg": photos[0]["jpeg"]})
    return changed


def embed(folder: Path, out: Path, *more: str) -> int:
    return main(["embed", str(folder), "--out", str(out), *OPTIONS, *more])


def test_bad_photos_are_counted_and_training_goes_on(
    sound: tuple[dict[str, Any], list[dict[str, Any]]], tmp_path: Path
) -> None:
    items, photos = sound
    out, bad = tmp_path / "run", with_bad_photos(photos)
    assert embed(write(tmp_path / "data", items, bad), out) == 0
    metrics, page = json.loads((out / "metrics.json").read_text()), (out / "report.html").read_text()
    report = metrics["photos"]
    assert {reason: tally["count"] for reason, tally in report["masked"].items()} == {
        "empty file": 1, "truncated": 1, "not an image": 1, "too many pixels": 1, "no image": 1, "unreadable": 1,
    }  # fmt: skip
    assert {remark: tally["count"] for remark, tally in report["remarks"].items()} == {
        "animated, first frame used": 1, "converted from CMYK": 1, "converted from a palette": 1,
    }  # fmt: skip
    counts = {name: report[name]["count"] for name in ("unknown", "null_ids", "repeated", "identical", "over_cap")}
    assert counts == {"unknown": 1, "null_ids": 1, "repeated": 1, "identical": 1, "over_cap": 456}
    assert report["photos"] == len(bad)
    assert report["empty"]["count"] == 2
    assert [example["item"] for example in report["empty"]["examples"]] == [1, 10]
    assert report["sound"] == len(bad) - 6 - 460
    assert set(metrics["left_out"]) == {"always", "never"}
    assert {row["task"] for row in metrics["tasks"]} == {"pool", "city", "review", "price"}
    for words in (
        "too many pixels", "truncated", "empty file", "not an image", "no image", "unreadable", "converted from CMYK",
        "animated, first frame used", "beyond the cap", "repeat an order", "byte for byte", "without an item id",
        "items table does not have", "without a usable photo", "has one class only", "is not observed",
    ):  # fmt: skip
        assert words in page, words
    vectors = Embeddings.open(out / "vectors.parquet")
    assert sorted(set(range(ITEMS)) - set(vectors.ids.tolist())) == [1, 10]
    assert np.isfinite(vectors.matrix).all()


def test_policies_that_say_error_refuse_everything_at_once(
    sound: tuple[dict[str, Any], list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    items, photos = sound
    strict = TOML.replace(
        'order = "place"', 'order = "place"\ncorrupt = "error"\nempty = "error"\nduplicates = "error"'
    )
    folder = write(tmp_path / "data", items, with_bad_photos(photos), strict)
    assert embed(folder, tmp_path / "run") == 2  # what the tables alone show, before anything is decoded
    message = capsys.readouterr().err
    for words in ("2 errors", "item 12 must not repeat an order", "item 10 must have a photo", "photos.parquet"):
        assert words in message, message
    assert not (tmp_path / "run").exists()

    whole = [photo for photo in with_bad_photos(photos)[:-3] if photo["hotel"] != 12 or photo["place"] > 0]
    whole += [{**photos[30], "hotel": 10}, {**photos[36]}, {**photos[36], "place": 8}]
    folder = write(tmp_path / "other", items, whole, strict)
    assert embed(folder, tmp_path / "run") == 2
    message = capsys.readouterr().err
    for words in (
        "8 errors", "empty file", "truncated", "not an image", "too many pixels", "no image", "unreadable",
        "item 12 must not repeat another's bytes", "item 1 must have a sound photo",
    ):  # fmt: skip
        assert words in message, message
    assert not (tmp_path / "run" / "report.html").exists()
    assert "Traceback" not in message


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], list[str]]] = {
    "infinite price": (
        lambda items: items | {"price": np.where(np.arange(ITEMS) == 9, np.inf, items["price"])},
        ["`price`, row 9", "finite", "got inf"],
    ),
    "price without a logarithm": (
        lambda items: items | {"price": np.where(np.isin(np.arange(ITEMS), (3, 4)), -1.0, items["price"])},
        ["`price`, row 3", "above 0", "got -1.0 (2 rows"],
    ),
    "three values": (lambda items: items | {"pool": np.arange(ITEMS) % 3}, ["`pool`", "two values, got 3"]),
    "wrong type": (lambda items: items | {"review": ["good"] * ITEMS}, ["`review`", "numbers", "string"]),
    "repeated id": (lambda items: items | {"hotel": np.arange(ITEMS) // 2}, ["`hotel`", "one row only"]),
    "missing column": (lambda items: {k: v for k, v in items.items() if k != "city"}, ["`city`", "missing"]),
    "nothing to learn": (
        lambda items: (
            items
            | {name: pa.nulls(ITEMS, pa.float64()) for name in ("review", "price")}
            | {name: pa.nulls(ITEMS, pa.string()) for name in ("pool", "city")}
        ),
        ["7 errors", "at least one column", "`always`", "`never`", "`price`", "is not observed"],
    ),
}


@pytest.mark.parametrize("command", ["embed", "ablate"])
@pytest.mark.parametrize("fault", FAULTS)
def test_attributes_that_cannot_be_learned_are_refused_before_a_photo_is_decoded(
    fault: str,
    command: str,
    sound: tuple[dict[str, Any], list[dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    items, photos = sound
    change, expected = FAULTS[fault]
    for module in ("embed", "ablate"):
        monkeypatch.setattr(f"galleryrank.{module}.open_photos", lambda *_, **__: pytest.fail("photos were decoded"))
    folder = write(tmp_path / "data", change(items), photos)
    assert main([command, str(folder), "--out", str(tmp_path / "run"), *OPTIONS]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    for words in expected:
        assert words in message, message
    assert not (tmp_path / "run").exists()


def test_all_faults_of_the_attributes_come_at_once(
    sound: tuple[dict[str, Any], list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    items, photos = sound
    for fault in ("infinite price", "three values", "wrong type"):
        items = FAULTS[fault][0](items)
    assert embed(write(tmp_path / "data", items, photos), tmp_path / "run") == 2
    message = capsys.readouterr().err
    for words in ("3 errors", "`price`", "`pool`", "`review`"):
        assert words in message, message


DAMAGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "truncated photos": (
        lambda folder: (folder / "photos.parquet").write_bytes((folder / "photos.parquet").read_bytes()[:-300]),
        ["photos.parquet", "truncated"],
    ),
    "no photos": (lambda folder: (folder / "photos.parquet").unlink(), ["photos.parquet", "does not exist"]),
    "no gallery": (
        lambda folder: (folder / "dataset.toml").write_text(TOML[: TOML.index("[gallery]")]),
        ["[gallery]", "gallery.tasks"],
    ),
    "faulty gallery": (
        lambda folder: (folder / "dataset.toml").write_text(
            TOML.replace('image = "jpeg"', 'image = "jpeg"\nempty = "maybe"\ncorupt = "mask"').replace(
                'regression = ["review"]', 'regression = ["review", "star_rating", "pool"]'
            )
        ),
        ["empty", "corupt", "star_rating", "pool"],
    ),
    "no dataset": (lambda folder: (folder / "dataset.toml").unlink(), ["dataset.toml"]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data_sets_are_refused_by_every_verb(
    damage: str,
    sound: tuple[dict[str, Any], list[dict[str, Any]]],
    embedded: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    folder = write(tmp_path / "data", *sound)
    DAMAGES[damage][0](folder)
    for command in (
        ["embed", str(folder), *OPTIONS],
        ["embed", str(folder), "--encoder", str(embedded), "--quiet"],
        ["probe", str(folder), "--encoder", str(embedded), "--quiet"],
        ["retrieve", str(folder), "--embedded", str(embedded), "--item", "3", "--quiet"],
        ["ablate", str(folder), *OPTIONS],
    ):
        assert main([*command, "--out", str(tmp_path / "run")]) == 2, command
        message = capsys.readouterr().err
        assert "Traceback" not in message
        for words in DAMAGES[damage][1]:
            assert words in message, message
        assert not (tmp_path / "run").exists()


def test_an_edited_encoder_is_refused(embedded: Path, photo_world: Path, tmp_path: Path, capsys: Any) -> None:
    import shutil

    edited = tmp_path / "edited"
    shutil.copytree(embedded, edited)
    weights = edited / "encoder" / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + b"\0" * 8)
    for command in (
        ["embed", str(photo_world), "--encoder", str(edited)],
        ["probe", str(photo_world), "--encoder", str(edited)],
        ["retrieve", str(photo_world), "--embedded", str(edited), "--item", "3"],
    ):
        assert main([*command, "--quiet", "--out", str(tmp_path / "run")]) == 2
        assert "encoder.safetensors" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["embed", "probe", "retrieve", "ablate"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture) -> None:
    assert main([command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"galleryrank {command} dataset.toml" in text
    assert "--format" in text
