"""`galleryrank retrieve`: what is found and shown, the measures of the report, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from features.gallery import Embeddings, GalleryData
from features.gallery.decoding import read_photo
from galleryrank.cli import main
from galleryrank.engagement import read_engagement
from galleryrank.review_photos import read_reviews
from galleryrank.shown_photos import shown_photos


def retrieve(world: Path, embedded: Path, out: Path, *more: str) -> int:
    return main(["retrieve", str(world), "--embedded", str(embedded), "--out", str(out), "--device", "cpu", *more])


def metrics_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def found(photo_world: Path, embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search by item 7, with review photos."""
    out = tmp_path_factory.mktemp("found") / "run"
    reviews = str(photo_world / "review_photos.parquet")
    show = [part for name in ("pool", "daily_rate_euro", "star_rating") for part in ("--show", name)]
    assert retrieve(photo_world, embedded, out, "--item", "7", "--k", "6", "--reviews", reviews, "--quiet", *show) == 0
    return out


def gallery_files(world: Path, item: int, folder: Path) -> list[Path]:
    """The photos of an item as files."""
    photos = pd.read_parquet(world / "photos.parquet", filters=[("item_id", "==", item)]).sort_values("order")
    files = [folder / f"{item}_{order}.jpg" for order in photos["order"]]
    for file, jpeg in zip(files, photos["jpeg"]):
        file.write_bytes(jpeg)
    return files


def test_the_nearest_are_those_of_the_vectors(found: Path, embedded: Path, photo_world: Path) -> None:
    vectors = Embeddings.open(embedded / "vectors.parquet")
    units = vectors.matrix / np.linalg.norm(vectors.matrix, axis=1, keepdims=True)
    cosine = units @ units[vectors.ids == 7][0]
    best = np.argsort(-cosine)[1:7]  # the first is item 7 itself
    results = pd.DataFrame(metrics_of(found)["results"])
    assert results["rank"].tolist() == list(range(1, 7))
    assert results["item"].tolist() == vectors.ids[best].tolist()
    np.testing.assert_allclose(results["similarity"], cosine[best], atol=1e-6)
    items = pd.read_parquet(photo_world / "items.parquet").set_index("item_id").loc[results["item"]]
    assert results["pool"].map({"yes": 1, "no": 0}).tolist() == items["pool"].tolist()
    assert results["star_rating"].fillna(0).tolist() == items["star_rating"].fillna(0).tolist()  # shown, never learned


def test_sheet_and_report_are_there(found: Path) -> None:
    with Image.open(found / "sheet.png") as sheet:
        assert sheet.width > 1000
    page = (found / "report.html").read_text()
    assert "data:image/png;base64," in page
    for heading in ("Indexes", "The same item under another camera", "The same attribute", "Engaged with together"):
        assert heading in page


def test_every_measure_is_there(found: Path) -> None:
    metrics = metrics_of(found)
    assert [row["index"] for row in metrics["indexes"]] == ["exact", "random projections", "hnsw"]
    assert metrics["indexes"][0]["recall@6"] == 1.0
    assert metrics["same_item"][0]["queries"] + metrics["same_item"][0]["left_out"] <= 80
    assert {row["ranking"] for row in metrics["co_engaged"]} == {"cosine", "popularity"}
    same = pd.DataFrame(metrics["same_attribute"])
    assert same["attribute"].nunique() == 32  # 31 and their mean
    assert same["queries"].iloc[:-2].max() < 40  # training did not see them: a fifth of the items
    assert any("did not learn from" in note for note in metrics["notes"])


def test_nothing_is_said_of_unseen_galleries_where_all_are_judged(
    photo_world: Path, embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with an encoder that was not trained, or a data set of one group, which cannot be split."""
    monkeypatch.setattr("galleryrank.retrieve.judged", lambda collection, encoder: np.arange(len(collection)))
    assert retrieve(photo_world, embedded, tmp_path / "run", "--item", "7", "--quiet") == 0
    metrics = metrics_of(tmp_path / "run")
    assert metrics["same_attribute"]
    assert not any("did not learn from" in note for note in metrics["notes"])


def test_a_gallery_finds_itself_by_its_photos(
    photo_world: Path, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    photos = [part for file in gallery_files(photo_world, 5, tmp_path) for part in ("--photo", str(file))]
    assert retrieve(photo_world, embedded, tmp_path / "run", *photos, "--k", "3", "--format", "json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == metrics_of(tmp_path / "run")
    assert printed["results"][0]["item"] == 5
    assert printed["results"][0]["similarity"] == pytest.approx(1.0, abs=1e-4)
    assert printed["same_item"] == []  # no --reviews


def test_a_broken_seed_photo_is_named_and_the_others_are_used(
    photo_world: Path, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    files = gallery_files(photo_world, 5, tmp_path)
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.jpg"
    empty.write_bytes(b"")
    text.write_text("no photo")
    photos = [part for file in (empty, *files, text) for part in ("--photo", str(file))]
    assert retrieve(photo_world, embedded, tmp_path / "run", *photos) == 0
    said = capsys.readouterr().err
    page = (tmp_path / "run" / "report.html").read_text()
    for part in (f"{empty} was not used: empty file", f"{text} was not used: not an image"):
        assert part in said
        assert part in page
    assert metrics_of(tmp_path / "run")["results"][0]["item"] == 5

    assert retrieve(photo_world, embedded, tmp_path / "none", "--photo", str(empty), "--photo", str(text)) == 2
    message = capsys.readouterr().err
    assert "2 errors" in message
    assert "empty file" in message
    assert "not an image" in message
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("index", ["projections", "hnsw"])
def test_other_indexes_find_the_same_on_a_small_collection(
    index: str, found: Path, photo_world: Path, embedded: Path, tmp_path: Path
) -> None:
    if index == "hnsw":
        pytest.importorskip("faiss")
    more = ["--item", "7", "--k", "6", "--index", index, "--quiet"]
    assert retrieve(photo_world, embedded, tmp_path / "run", *more) == 0
    exact = [row["item"] for row in metrics_of(found)["results"]]
    other = [row["item"] for row in metrics_of(tmp_path / "run")["results"]]
    assert other[0] == exact[0]
    assert len(set(other) & set(exact)) >= 4


def test_more_than_there_are(photo_world: Path, embedded: Path, tmp_path: Path) -> None:
    assert retrieve(photo_world, embedded, tmp_path / "run", "--item", "7", "--k", "500", "--quiet") == 0
    results = metrics_of(tmp_path / "run")["results"]
    assert len(results) == 79
    assert 7 not in [row["item"] for row in results]
    with Image.open(tmp_path / "run" / "sheet.png") as sheet:
        assert sheet.height < 10_000  # the sheet shows the first ones only


def test_a_data_set_without_a_log_has_no_such_section(photo_world: Path, embedded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in ("items", "photos"):
        shutil.copy(photo_world / f"{name}.parquet", folder)
    (folder / "dataset.toml").write_text(
        '[files]\nitems = "items.parquet"\nphotos = "photos.parquet"\n[columns]\nitem = "item_id"\n'
        '[gallery]\nimage = "jpeg"\norder = "order"\n[gallery.tasks]\nbinary = ["pool"]\n'
    )
    assert retrieve(folder, embedded, tmp_path / "run", "--item", "7", "--quiet") == 0
    metrics = metrics_of(tmp_path / "run")
    assert metrics["co_engaged"] == []
    assert "Engaged with together" not in (tmp_path / "run" / "report.html").read_text()
    assert [row["attribute"] for row in metrics["same_attribute"]][:2] == ["pool", "pool"]


def test_vectors_of_another_encoder_are_refused(
    photo_world: Path, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(embedded, mixed)
    vectors = Embeddings.open(embedded / "vectors.parquet")
    Embeddings(vectors.ids, vectors.matrix, "f" * 64, vectors.photos).write(mixed / "vectors.parquet")
    assert retrieve(photo_world, mixed, tmp_path / "run", "--item", "7") == 2
    message = capsys.readouterr().err
    for part in ("f" * 12, vectors.encoder[:12], "galleryrank embed"):
        assert part in message
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_searched_with(
    photo_world: Path, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    seed = str(gallery_files(photo_world, 5, tmp_path)[0])
    world = str(photo_world / "impressions.parquet")
    for more, expected in (
        ([], ["--photo", "--item"]),
        (["--item", "7", "--photo", seed, "--k", "0", "--index", "magic"], ["3 errors", "--k", "--index", "exact"]),
        (["--item", "9999"], ["--item", "9999", "items.parquet"]),
        (["--item", "seven"], ["integer", "seven"]),
        (["--photo", seed, "--photo", f"{seed}.gone", "--photo", str(tmp_path)], ["2 errors", ".gone", "--photo"]),
        (["--item", "7", "--show", "no_such_column"], ["no_such_column"]),
        (["--item", "7", "--reviews", world], ["jpeg", "impressions.parquet"]),
        (["--item", "7", "--reviews", f"{world}.gone"], [".gone"]),
    ):
        assert retrieve(photo_world, embedded, tmp_path / "run", *more) == 2, more
        message = capsys.readouterr().err
        assert "Traceback" not in message
        for part in expected:
            assert part in message, message
        assert not (tmp_path / "run").exists()
    assert retrieve(photo_world, photo_world, tmp_path / "run", "--item", "7") == 2
    assert "encoder" in capsys.readouterr().err


def test_an_item_without_a_vector_is_named(
    photo_world: Path, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    part = tmp_path / "part"
    shutil.copytree(embedded, part)
    vectors = Embeddings.open(embedded / "vectors.parquet")
    kept = vectors.ids != 7
    few = Embeddings(vectors.ids[kept], vectors.matrix[kept], vectors.encoder, vectors.photos, "item_id")
    few.write(part / "vectors.parquet")
    assert retrieve(photo_world, part, tmp_path / "run", "--item", "7") == 2
    assert "has no vector" in capsys.readouterr().err
    assert retrieve(photo_world, part, tmp_path / "run", "--item", "8", "--quiet") == 0
    assert any("1 items have no vector" in note for note in metrics_of(tmp_path / "run")["notes"])


def test_pairs_and_popularity_are_those_of_the_log(photo_world: Path) -> None:
    ids = pa.array(np.arange(79, 9, -1))  # 70 of the 80 items, in another order
    engagement = read_engagement(photo_world, ids)
    log = pd.read_parquet(photo_world / "impressions.parquet")
    log = log[log[["closeup", "click", "long_click", "save"]].max(axis=1) == 1]
    held = log[log["role"].isin(["tune", "test"]) & (log["item_id"] >= 10)]
    both = held.merge(held, on="request_id")
    expected = {(79 - a, 79 - b) for a, b in zip(both["item_id_x"], both["item_id_y"]) if a != b}
    assert {tuple(pair) for pair in engagement.pairs.tolist()} == expected
    counts = log[log["role"] == "train"].groupby("item_id").size().reindex(np.arange(79, 9, -1), fill_value=0)
    assert engagement.popularity.tolist() == counts.tolist()


def test_shown_photos_are_the_first_of_each_gallery_wherever_they_lie(photo_world: Path, tmp_path: Path) -> None:
    """From row groups and files of any size, and from files on disk; a broken one is its reason."""
    shutil.copytree(photo_world, tmp_path / "a")
    table = pq.read_table(photo_world / "photos.parquet")
    (tmp_path / "a" / "photos.parquet").unlink()
    (tmp_path / "a" / "photos.parquet").mkdir()
    pq.write_table(table.slice(0, 100), tmp_path / "a" / "photos.parquet" / "0.parquet", row_group_size=7)
    pq.write_table(table.slice(100), tmp_path / "a" / "photos.parquet" / "1.parquet", row_group_size=90)
    rows = [60, 3, 4, 20]
    shown = shown_photos(GalleryData.open(tmp_path / "a"), rows, 32, most=2)
    assert shown_photos(GalleryData.open(tmp_path / "a"), [], 32, most=2) == []
    photos = table.to_pandas().sort_values(["item_id", "order"])
    reasons = 0
    for row, gallery in zip(rows, shown, strict=True):
        expected = [read_photo(jpeg, 32, resize="crop") for jpeg in photos[photos["item_id"] == row]["jpeg"][:2]]
        assert len(gallery) == 2
        for found, wanted in zip(gallery, expected):
            reasons += wanted.pixels is None
            assert found == wanted.reason if wanted.pixels is None else np.array_equal(found, wanted.pixels)
    damaged = photos.loc[[not jpeg.startswith(b"\xff\xd8") for jpeg in photos["jpeg"]], "item_id"].iloc[0]
    every = shown_photos(GalleryData.open(tmp_path / "a"), [int(damaged)], 32, most=9)[0]
    assert sum(isinstance(photo, str) for photo in every) >= 1

    files = tmp_path / "files"
    files.mkdir()
    few = photos[photos["item_id"].isin(rows)]
    names = [f"{item}_{order}.jpg" for item, order in zip(few["item_id"], few["order"])]
    for name, jpeg in zip(names, few["jpeg"]):
        (files / name).write_bytes(jpeg)
    (files / names[0]).unlink()
    pq.write_table(
        pa.table({"item_id": few["item_id"], "order": few["order"], "file": names}), files / "photos.parquet"
    )
    shutil.copy(photo_world / "items.parquet", files)
    (files / "dataset.toml").write_text(
        '[files]\nitems = "items.parquet"\nphotos = "photos.parquet"\n[columns]\nitem = "item_id"\n'
        '[gallery]\npath = "file"\norder = "order"\n'
    )
    again = shown_photos(GalleryData.open(files), rows, 32, most=2)
    assert again[1][0] == "file not found"  # item 3 is the first of the table
    for one, other in zip([again[0], *again[2:]], [shown[0], *shown[2:]]):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_review_photos_that_belong_to_nobody_are_counted(photo_world: Path, tmp_path: Path) -> None:
    table = pq.read_table(photo_world / "review_photos.parquet", columns=["item_id", "jpeg"]).slice(0, 10)
    jpegs = [None, *table["jpeg"].to_pylist()[1:]]
    ids = [0, 999, *table["item_id"].to_pylist()[2:]]
    pq.write_table(pa.table({"item_id": ids, "jpeg": jpegs}), tmp_path / "reviews.parquet")
    data = GalleryData.open(photo_world)
    read = read_reviews(tmp_path / "reviews.parquet", data)
    assert read.photos.item_rows.tolist() == ids[2:]
    assert list(read.photos.photos) == jpegs[2:]
    assert any("no image: 1" in note for note in read.notes)
    assert any("does not have: 1" in note for note in read.notes)
    drawn = read_reviews(tmp_path / "reviews.parquet", data, most=4)
    assert len(drawn.photos.photos) <= 4
