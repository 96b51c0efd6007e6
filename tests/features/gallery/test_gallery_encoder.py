"""The gallery encoder from end to end on a tiny data set that has everything wrong with it that real data have."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from features.artifact import sha256
from features.errors import InputError
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.encoder import GalleryEncoder
from features.gallery.source import DecodedPhotos
from features.gallery.store import Embeddings
from multitask import CheckpointError, TrainingConfig, masked_losses

LINES: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def encoder(tiny_path: Path, tiny_config: EncoderConfig) -> GalleryEncoder:
    """Fitted from the path: opens, decodes, trains, silently."""
    return GalleryEncoder.fit(tiny_path, tiny_config, progress=False, device="cpu", log=LINES.append)


@pytest.fixture(scope="module")
def vectors(encoder: GalleryEncoder, tiny: GalleryData, tiny_photos: DecodedPhotos) -> Embeddings:
    return encoder.embed(tiny, photos=tiny_photos, device="cpu")


def changed(config: EncoderConfig, **values: Any) -> EncoderConfig:
    return EncoderConfig.model_validate(config.model_dump() | values)


def galleries(path: Path) -> dict[int, list[bytes]]:
    table = pq.read_table(path.parent / "photos.parquet").to_pandas().sort_values(["hotel", "place"])
    return {int(hotel): list(photos) for hotel, photos in table.groupby("hotel")["jpeg"]}


def test_training_goes_on_with_what_is_sound_and_says_what_is_not(encoder: GalleryEncoder) -> None:
    text = "\n".join(LINES)
    for part in (
        "photos left out: empty file: 1",
        "photos left out: truncated: 1",
        "photos left out: not an image: 1",
        "items without a sound photo: 2",
        "left out: `one` has one class only in the training items",
        "left out: `never` is not observed in the training items",
        "price 2",
    ):
        assert part in text, text
    assert encoder.report["left_out"].keys() == {"one", "never"}
    assert encoder.report["photos"]["masked"]["truncated"]["count"] == 1
    counts = [*encoder.report["labels"]["train"], *encoder.report["labels"]["validation"]]
    assert sum(row["missing"] for row in counts if row["task"] == "price") == 2
    assert [task.name for task in encoder.tasks.tasks] == ["pool", "city", "review", "price"]
    assert len(encoder.history.epochs) == 2
    assert "validation_loss" in encoder.history.table()


def test_items_without_a_sound_photo_have_no_vector(vectors: Embeddings, tiny: GalleryData) -> None:
    assert vectors.ids.tolist() == [100, *range(103, 160)]
    assert vectors.item == "hotel"
    assert np.isfinite(vectors.matrix).all()
    table = vectors.item_vectors()
    assert (table.rows(np.array([101, 102, 103])) > 0).tolist() == [False, False, True]


def test_vectors_are_standardised_over_the_training_galleries(
    encoder: GalleryEncoder, vectors: Embeddings, tiny: GalleryData
) -> None:
    train, _ = tiny.split(encoder.config.validation, encoder.config.seed)
    known = np.isin(vectors.ids, np.asarray(tiny.item_ids)[train])
    matrix = vectors.matrix[known].astype(np.float64)
    assert np.abs(matrix.mean(0)).max() < 1e-4
    assert np.median(matrix.std(0)) == pytest.approx(1.0, abs=1e-3)
    assert matrix.std(0).max() < 1.0 + 1e-3


def test_alone_and_in_a_batch_are_the_same_vector(
    encoder: GalleryEncoder, vectors: Embeddings, tiny: GalleryData, tiny_photos: DecodedPhotos
) -> None:
    alone = [encoder.embed(tiny, np.array([row]), photos=tiny_photos, device="cpu").matrix[0] for row in (0, 5, 59)]
    together = vectors.matrix[[0, 3, 57]]
    np.testing.assert_allclose(np.stack(alone), together, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "max", "mean_max_std", "gem", "attention", "pma"])
def test_the_order_of_the_photos_does_not_matter(
    pooling: str, tiny: GalleryData, tiny_path: Path, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    config = changed(tiny_config, pooling=pooling, embed_dim=8)
    encoder = GalleryEncoder.untrained(tiny, config, photos=tiny_photos, device="cpu")
    gallery = galleries(tiny_path)[110]
    found = encoder.embed([gallery, gallery[::-1], gallery[2:] + gallery[:2]], device="cpu").matrix
    np.testing.assert_allclose(found[1:], found[[0, 0]], atol=1e-5)
    data = encoder.embed(tiny, np.array([10]), photos=tiny_photos, device="cpu").matrix
    np.testing.assert_allclose(found[:1], data, atol=1e-5)  # bytes are prepared as the data set's photos are


def test_the_cover_is_the_first_photo(
    tiny: GalleryData, tiny_path: Path, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    config = changed(tiny_config, cover=True)
    encoder = GalleryEncoder.untrained(tiny, config, photos=tiny_photos, device="cpu")
    gallery = galleries(tiny_path)[110]
    found = encoder.embed([gallery, [gallery[0], *gallery[:0:-1]], gallery[::-1]], device="cpu").matrix
    assert encoder.dim == 2 * 192
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    assert np.abs(found[2] - found[0])[192:].max() > 0.1
    np.testing.assert_allclose(found[2][:192], found[0][:192], atol=1e-5)


def test_galleries_of_bytes_are_capped_deduplicated_and_counted(encoder: GalleryEncoder, tiny_path: Path) -> None:
    gallery = galleries(tiny_path)[110]
    lines: list[str] = []
    found = encoder.embed(
        [gallery, [*gallery, gallery[0], b"", b"junk"], [], [b"\xff\xd8"]], device="cpu", log=lines.append
    )
    assert found.ids.tolist() == [0, 1]
    np.testing.assert_allclose(found.matrix[1], found.matrix[0], atol=1e-5)
    text = "\n".join(lines)
    for part in ("empty file: 1", "not an image: 1", "truncated: 1", "without a sound photo: 2"):
        assert part in text
    many = [*gallery, *(galleries(tiny_path)[111] * 20)]
    capped = encoder.embed([many, many[:44]], device="cpu").matrix
    np.testing.assert_allclose(capped[0], capped[1], atol=1e-5)
    with pytest.raises(InputError, match="no gallery has a sound photo"):
        encoder.embed([[b""], []], device="cpu")
    with pytest.raises(InputError, match="wrap them in a list"):
        encoder.embed(gallery, device="cpu")  # type: ignore[arg-type]


def test_saved_and_loaded_vectors_are_bitwise_equal(
    encoder: GalleryEncoder, vectors: Embeddings, tiny: GalleryData, tiny_photos: DecodedPhotos, tmp_path: Path
) -> None:
    encoder.save(tmp_path / "encoder")
    loaded = GalleryEncoder.load(tmp_path / "encoder")
    again = loaded.embed(tiny, photos=tiny_photos, device="cpu")
    assert again.matrix.tobytes() == vectors.matrix.tobytes()
    assert (again.encoder, again.photos) == (vectors.encoder, vectors.photos)
    assert (loaded.config, loaded.tasks, loaded.history) == (encoder.config, encoder.tasks, encoder.history)
    assert loaded.report == encoder.report
    pd.testing.assert_frame_equal(
        loaded.predict(tiny, photos=tiny_photos, device="cpu"),
        encoder.predict(tiny, photos=tiny_photos, device="cpu"),
        check_exact=True,
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "encoder"]


@pytest.mark.parametrize("name", ["encoder.safetensors", "config.json", "history.json", "report.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "edited", "missing"])
def test_damage_is_refused_by_file(encoder: GalleryEncoder, tmp_path: Path, name: str, damage: str) -> None:
    path = encoder.save(tmp_path / "encoder") / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        digit = b"2" if name == "manifest.json" else b"1"  # of its format: a checksum there is of another file
        path.write_bytes(content[:-30] if damage == "truncated" else content.replace(digit, b"3", 1))
    with pytest.raises(InputError, match=rf"{name}"):
        GalleryEncoder.load(tmp_path / "encoder")


def test_a_consistent_directory_of_another_network_is_refused(encoder: GalleryEncoder, tmp_path: Path) -> None:
    """The checksums fit, the tensors do not."""
    folder = encoder.save(tmp_path / "encoder")

    def edit(change: Any) -> None:
        state = json.loads((folder / "config.json").read_text())
        change(state)
        (folder / "config.json").write_text(json.dumps(state))
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["sha256"]["config.json"] = sha256(folder / "config.json")
        (folder / "manifest.json").write_text(json.dumps(manifest))

    edit(lambda state: state.update(max_photos=43))
    with pytest.raises(InputError, match=r"encoder\.safetensors: must have the fingerprint"):
        GalleryEncoder.load(folder)
    edit(lambda state: state["preprocessing"].update(size=48))
    with pytest.raises(InputError, match=r"config\.json.*prepares photos otherwise"):
        GalleryEncoder.load(folder)
    edit(lambda state: (state["preprocessing"].update(size=32), state["config"].update(embed_dim=7)))
    with pytest.raises(InputError, match=r"tensor `network\.project\.weight` is missing") as caught:
        GalleryEncoder.load(folder)
    assert "tensor `standard.mean` must be (7,) F32, got (192,) F32" in str(caught.value)
    edit(lambda state: state["config"].update(colour="blue"))
    with pytest.raises(InputError, match=r"(?s)config\.json.*colour"):
        GalleryEncoder.load(folder)
    with pytest.raises(InputError, match="is not a gallery encoder"):
        GalleryEncoder.load(tmp_path)


def test_predictions_are_probabilities_and_values_in_their_own_units(
    encoder: GalleryEncoder, tiny: GalleryData, tiny_photos: DecodedPhotos
) -> None:
    table = encoder.predict(tiny, photos=tiny_photos, device="cpu")
    assert list(table) == ["pool", "city=Bath", "city=Oslo", "city=Rome", "review", "price"]
    assert table.index.tolist() == [100, *range(103, 160)]
    assert table["pool"].between(0, 1).all()
    np.testing.assert_allclose(table.filter(like="city=").sum(axis=1), 1.0, atol=1e-6)
    assert table["price"].between(1, 3000).all()
    ids, outputs = encoder.outputs(tiny, photos=tiny_photos, device="cpu")
    rows = np.searchsorted(np.asarray(tiny.item_ids), ids)
    losses, counts = masked_losses(encoder.tasks.tasks, outputs, encoder.tasks.labels(tiny, rows))
    assert torch.isfinite(losses).all()
    assert (counts > 40).all()


def test_training_finds_what_is_in_the_photos(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    """Pools are blue: the held-out log loss falls well below the base rate's."""
    config = changed(tiny_config, training=TrainingConfig(epochs=20, learning_rate=3e-3, ema_decay=0.0, patience=20))
    encoder = GalleryEncoder.fit(tiny, config, photos=tiny_photos, progress=False, device="cpu")
    _, held = tiny.split(config.validation, config.seed)
    _, outputs = encoder.outputs(tiny, held, photos=tiny_photos, device="cpu")
    held = held[np.isin(held, np.flatnonzero(np.diff(tiny.photos.galleries(tiny_photos.sound)[1])))]
    labels = encoder.tasks.labels(tiny, held)
    losses, _ = masked_losses(encoder.tasks.tasks, outputs, labels)
    base, _ = masked_losses(encoder.tasks.tasks, encoder.tasks.base_bias().expand(len(labels), -1), labels)
    assert losses[0] < 0.6 * base[0]
    assert losses[1] < 0.6 * base[1]


@pytest.mark.parametrize("loss", ["pseudo_uniform", "kendall"])
def test_a_killed_run_resumes_to_the_same_bits(
    loss: str, tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig, tmp_path: Path
) -> None:
    config = changed(tiny_config, loss=loss, sample_photos=3, augmentation={"flip": True})
    settings: dict[str, Any] = {"photos": tiny_photos, "device": "cpu"}
    whole = GalleryEncoder.fit(tiny, config, progress=False, **settings)

    def stop(event: Any) -> None:
        if event.epoch == 1:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        GalleryEncoder.fit(tiny, config, checkpoint=tmp_path / "run", progress=stop, **settings)
    resumed = GalleryEncoder.fit(tiny, config, checkpoint=tmp_path / "run", progress=False, **settings)
    assert resumed.fingerprint == whole.fingerprint
    assert [e.metrics for e in resumed.history.epochs] == [e.metrics for e in whole.history.epochs]
    assert ("log_variance" in whole.report) == (loss == "kendall")
    other = changed(config, pooling="max")
    with pytest.raises(CheckpointError, match=r"another one's \(other config\.pooling\)"):
        GalleryEncoder.fit(tiny, other, checkpoint=tmp_path / "run", progress=False, **settings)


def test_triplets_train_vectors_and_no_heads(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    pytest.importorskip("pytorch_metric_learning", reason="triplets need the extra [vision]")
    config = EncoderConfig.model_validate(tiny_config.with_loss("triplet").model_dump() | {"mining": "semihard"})
    encoder = GalleryEncoder.fit(tiny, config, photos=tiny_photos, progress=False, device="cpu")
    start = GalleryEncoder.untrained(tiny, config, photos=tiny_photos, device="cpu")
    assert encoder.fingerprint != start.fingerprint
    assert all(torch.equal(a, b) for a, b in zip(encoder.network.heads.parameters(), start.network.heads.parameters()))  # type: ignore[union-attr]
    assert 0 < encoder.history.table()["validation_loss"].min() < 2.2
    with pytest.raises(InputError, match="no predictions"):
        encoder.predict(tiny, photos=tiny_photos)


def test_the_untrained_arm_differs_in_its_training_alone(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    one = GalleryEncoder.untrained(tiny, tiny_config, photos=tiny_photos, device="cpu")
    two = GalleryEncoder.untrained(tiny, changed(tiny_config, seed=1), photos=tiny_photos, device="cpu")
    assert one.fingerprint == GalleryEncoder.untrained(tiny, tiny_config, photos=tiny_photos, device="cpu").fingerprint
    assert one.fingerprint != two.fingerprint
    assert one.preprocessing == two.preprocessing
    assert not one.history.epochs
    with pytest.raises(InputError, match="no predictions"):
        one.predict(tiny, photos=tiny_photos)


def test_the_fingerprint_follows_everything_that_a_vector_depends_on(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    def of(**values: Any) -> str:
        config = changed(tiny_config, **values)
        return GalleryEncoder.untrained(tiny, config, photos=tiny_photos, device="cpu").fingerprint

    own = of()
    assert own == of(head_hidden=8)  # heads are no part of a vector
    assert len({own, of(pooling="max"), of(cover=True), of(embed_dim=16), of(validation=0.4)}) == 5


def test_another_cap_than_in_training_is_refused(encoder: GalleryEncoder, tiny_path: Path, tmp_path: Path) -> None:
    text = tiny_path.read_text().replace("[gallery]", "[gallery]\nmax_photos = 3")
    for name in ("items.parquet", "photos.parquet"):
        (tmp_path / name).write_bytes((tiny_path.parent / name).read_bytes())
    (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises(InputError, match=r"\[gallery\]\.max_photos: must be 44.*got 3"):
        encoder.embed(tmp_path)
    (tmp_path / "dataset.toml").write_text(text.replace("max_photos = 3", "max_pixels = 9"))
    with pytest.raises(InputError, match=r"\[gallery\]\.max_pixels: must be 50000000.*got 9"):
        encoder.embed(tmp_path)


def test_a_holdout_column_is_refused_before_anything_is_learned(tiny_path: Path, tmp_path: Path) -> None:
    text = tiny_path.read_text().replace('"city", "never"', '"city", "star_rating"')
    for name in ("items.parquet", "photos.parquet"):
        (tmp_path / name).write_bytes((tiny_path.parent / name).read_bytes())
    (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises(InputError, match=r"`star_rating` is a holdout column: no trainer may learn from it"):
        GalleryEncoder.fit(tmp_path)


def test_what_cannot_be_trained_on_is_said_before_decoding(tiny: GalleryData, tiny_config: EncoderConfig) -> None:
    items = tiny.items.set_column(tiny.items.schema.get_field_index("price"), "price", pa.array([np.inf] * 60))
    broken = GalleryData(tiny.schema, items, tiny.items_at, tiny.photos, tiny.report)
    with pytest.raises(InputError, match=r"column `price`, row 0: must be finite, got inf \(60 rows"):
        GalleryEncoder.fit(broken, tiny_config, progress=False)


def test_a_budget_below_the_largest_gallery_is_refused(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    with pytest.raises(InputError, match="`photo_budget` must be at least 5"):
        GalleryEncoder.fit(tiny, changed(tiny_config, photo_budget=4), photos=tiny_photos, progress=False)


def test_photos_of_another_size_or_data_set_are_refused(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    with pytest.raises(ValueError, match="`photos` must be 48 pixels wide"):
        GalleryEncoder.untrained(tiny, changed(tiny_config, photo_size=48), photos=tiny_photos)
    cut = DecodedPhotos.decode(tiny, 32, resize="crop", threads=1)
    with pytest.raises(ValueError, match=r"must be resized by .stretch.*got 'crop'"):
        GalleryEncoder.untrained(tiny, tiny_config, photos=cut)


def test_photos_of_another_data_set_are_refused(
    tiny: GalleryData, tiny_path: Path, tiny_photos: DecodedPhotos, encoder: GalleryEncoder, tmp_path: Path
) -> None:
    for name in ("items.parquet", "photos.parquet", "dataset.toml"):
        (tmp_path / name).write_bytes((tiny_path.parent / name).read_bytes())
    with pytest.raises(ValueError, match="got as many of other files, rows or items"):
        encoder.embed(tmp_path, photos=tiny_photos)
    again = GalleryData.open(tiny_path)  # the same, opened anew
    assert len(encoder.embed(again, [5], photos=tiny_photos, device="cpu")) == 1
    items = pq.read_table(tiny_path.parent / "items.parquet")
    pq.write_table(items.take(np.r_[3, 4, 5, 0:3, 6:60]), tmp_path / "items.parquet")
    shuffled = GalleryData.open(tmp_path)
    assert not shuffled.photos.same_photos(tiny.photos)


def test_rows_are_numbers_or_a_mask(encoder: GalleryEncoder, tiny: GalleryData, tiny_photos: DecodedPhotos) -> None:
    settings: dict[str, Any] = {"photos": tiny_photos, "device": "cpu"}
    mask = np.zeros(60, bool)
    mask[[5, 9]] = True
    assert encoder.embed(tiny, mask, **settings).ids.tolist() == [105, 109]
    assert encoder.predict(tiny, mask, **settings).index.tolist() == [105, 109]
    for bad, message in (
        (mask[:-1], r"as a mask must be \(60,\) bool, got \(59,\)"),
        ([3, -1], "0 <= row < 60, got -1"),
        ([60], "0 <= row < 60, got 60"),
        ([3, 4, 3], "must not repeat a row, got 3 2 times"),
        ([0.5], "integers or a mask"),
        ([[1]], "integers or a mask"),
    ):
        with pytest.raises(ValueError, match=message):
            encoder.embed(tiny, bad, **settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 <= row < 60, got 99"):
        GalleryEncoder.untrained(tiny, encoder.config, rows=np.array([99]), **settings)
    with pytest.raises(ValueError, match="0 <= row < 1, got -1"):
        encoder.embed([[b"x"]], np.array([-1]))


def test_a_mask_trains_on_the_rows_it_marks(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    settings: dict[str, Any] = {"photos": tiny_photos, "device": "cpu"}
    rows, mask = np.arange(0, 60, 2), np.arange(60) % 2 == 0
    by_rows, by_mask = (GalleryEncoder.untrained(tiny, tiny_config, rows=chosen, **settings) for chosen in (rows, mask))
    assert by_mask.fingerprint == by_rows.fingerprint


def test_photos_of_galleries_must_be_bytes(
    encoder: GalleryEncoder, tiny_path: Path, tiny_photos: DecodedPhotos
) -> None:
    gallery = galleries(tiny_path)[110]
    for wrong in (Path("seed.jpg"), "seed.jpg", bytearray(gallery[0])):
        with pytest.raises(InputError, match=rf"Path\.read_bytes\(\).*got {type(wrong).__name__} in gallery 1"):
            encoder.embed([gallery, [gallery[0], wrong]], device="cpu")  # type: ignore[list-item]
    with pytest.raises(ValueError, match="`photos` must be None for galleries of bytes"):
        encoder.embed([gallery], photos=tiny_photos)


def test_a_checkpoint_of_other_labels_or_rows_is_refused(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig, tmp_path: Path
) -> None:
    """Other labels with the same tasks (means, classes) would otherwise go unnoticed."""
    settings: dict[str, Any] = {"photos": tiny_photos, "progress": False, "device": "cpu", "checkpoint": tmp_path}
    GalleryEncoder.fit(tiny, tiny_config, **settings)
    train, validation = tiny.split(tiny_config.validation, tiny_config.seed)
    review = np.asarray(tiny.items.column("review")).copy()
    review[validation] += 1.0
    other = copy.copy(tiny)
    place = tiny.items.column_names.index("review")
    other.items = tiny.items.set_column(place, "review", pa.array(review))
    with pytest.raises(CheckpointError, match=r"\(other validation labels\)"):
        GalleryEncoder.fit(other, tiny_config, **settings)
    with pytest.raises(CheckpointError, match=r"\(other validation rows, validation labels\)"):
        GalleryEncoder.fit(tiny, tiny_config, rows=np.r_[train, validation[1:]], **settings)
    claim = tmp_path / "encoder.json"
    claim.write_text(claim.read_text()[:-50])
    with pytest.raises(CheckpointError, match=r"encoder\.json: cannot be read.*delete the folder"):
        GalleryEncoder.fit(tiny, tiny_config, **settings)
    assert not list(tmp_path.glob(".*"))


def test_triplets_without_any_to_stop_on_are_refused_before_training(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    pytest.importorskip("pytorch_metric_learning", reason="triplets need the extra [vision]")
    train, validation = tiny.split(tiny_config.validation, tiny_config.seed)
    with pytest.raises(InputError, match="among the 1 galleries to stop on; give more items"):
        GalleryEncoder.fit(
            tiny,
            tiny_config.with_loss("triplet"),
            rows=np.r_[train, validation[-1:]],
            photos=tiny_photos,
            progress=False,
        )


def test_silence(
    tiny_path: Path, tiny_config: EncoderConfig, capfd: pytest.CaptureFixture[str], encoder: GalleryEncoder
) -> None:
    GalleryEncoder.untrained(tiny_path, tiny_config, progress=False, device="cpu")
    encoder.embed(tiny_path, progress=False, device="cpu")
    assert capfd.readouterr() == ("", "")
    encoder.embed(tiny_path, progress=True, device="cpu")
    assert "embedding" in capfd.readouterr().err


def test_rows_outside_those_given_teach_nothing(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    """Other labels of the items left out leave the encoder as it is, bit for bit."""
    rows = np.arange(0, len(tiny), 2)
    first = GalleryEncoder.fit(tiny, tiny_config, rows=rows, photos=tiny_photos, progress=False, device="cpu")
    other = copy.copy(tiny)
    index = np.arange(len(tiny))
    index[1::2] = index[1::2][::-1]
    other.items = tiny.items.take(index).set_column(0, tiny.items.column_names[0], tiny.items.column(0))
    second = GalleryEncoder.fit(other, tiny_config, rows=rows, photos=tiny_photos, progress=False, device="cpu")
    everything = GalleryEncoder.fit(tiny, tiny_config, photos=tiny_photos, progress=False, device="cpu")
    assert first.fingerprint == second.fingerprint != everything.fingerprint
