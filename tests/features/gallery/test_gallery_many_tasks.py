"""Modulation and sharing as configuration of the gallery encoder: at the start, per task, on disk, killed half-way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from features.errors import InputError
from features.gallery.backbones import Backbone, Train, make_backbone
from features.gallery.building import make_network
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.encoder import GalleryEncoder
from features.gallery.inference import inference_network
from features.gallery.modulated_network import ModulatedGalleryNetwork
from features.gallery.network import GalleryNetwork
from features.gallery.packed import PackedGalleries
from features.gallery.small_network import small_network
from features.gallery.source import DecodedPhotos
from features.gallery.torchvision_operators import declare_missing_operators
from multitask import Task

TASKS = (Task("pool"), Task("city", "multiclass", n_classes=5), Task("price", "regression"))


pytestmark = pytest.mark.usefixtures("one_thread")


def changed(config: EncoderConfig, **values: Any) -> EncoderConfig:
    return EncoderConfig.model_validate(config.model_dump() | values)


@pytest.fixture(scope="module")
def modulated_config(tiny_config: EncoderConfig) -> EncoderConfig:
    return changed(tiny_config, modulation=True, modulation_tasks=2)


@pytest.fixture(scope="module")
def modulated(tiny: GalleryData, tiny_photos: DecodedPhotos, modulated_config: EncoderConfig) -> GalleryEncoder:
    return GalleryEncoder.fit(tiny, modulated_config, photos=tiny_photos, progress=False, device="cpu")


def galleries(counts: list[int], size: int = 32) -> PackedGalleries:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (sum(counts), 3, size, size), generator=generator, dtype=torch.uint8)
    return PackedGalleries(pixels, torch.tensor([0, *counts]).cumsum(0))


def pair(train: Train = "all", **settings: Any) -> tuple[GalleryNetwork, ModulatedGalleryNetwork]:
    """The network without and with modulation, of the same weights."""
    made = []
    for kind in (GalleryNetwork, ModulatedGalleryNetwork):
        torch.manual_seed(0)
        backbone = Backbone("small", small_network((8, 12, 16)), train)
        made.append(kind(backbone, tasks=TASKS, head_hidden=6, **settings).eval())
    return made[0], made[1]  # type: ignore[return-value]


def varied(network: ModulatedGalleryNetwork) -> ModulatedGalleryNetwork:
    """With masks away from 1."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for masks in (network.stage_masks, network.vector_masks):
            masks.weight.add_(0.5 * torch.randn(masks.weight.shape, generator=generator))
    return network


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modulation_tasks": 4}, "modulation_tasks is read with modulation = true only"),
        ({"modulation": True, "train": "none"}, 'modulation needs a last stage that trains behind it: train = "all"'),
        ({"modulation": True, "loss": "triplet"}, "modulation is read with the heads of another loss than triplets"),
        ({"sharing": "similarity", "loss": "triplet"}, "sharing is read with the heads of another loss"),
        ({"sharing": "variance", "head_hidden": 0}, "give head_hidden a width above 0"),
        ({"sharing": "random", "modulation": True}, "leave one of the two out"),
        ({"sharing": "yes"}, "'none', 'similarity'"),
    ],
)
def test_what_nothing_reads_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EncoderConfig.model_validate(values)


def test_triplets_leave_modulation_and_sharing_out() -> None:
    for own in (EncoderConfig(modulation=True, modulation_tasks=3), EncoderConfig(sharing="similarity")):
        assert own.with_loss("kendall").model_dump() == own.model_dump() | {"loss": "kendall"}
        assert own.with_loss("triplet") == EncoderConfig(loss="triplet")


@pytest.mark.parametrize("settings", [{}, {"pooling": "attention", "cover": True, "embed_dim": 10}, {"mirror": True}])
def test_modulation_starts_as_the_network_without_bit_for_bit(settings: dict[str, Any]) -> None:
    plain, network = pair(**settings)
    packed = galleries([3, 0, 2])
    with torch.no_grad():
        expected = plain.embed(packed)
        assert torch.equal(network.embed(packed), expected)
        for t in range(len(TASKS)):
            assert torch.equal(network.embed_tasks(packed)[:, t], expected)
        torch.testing.assert_close(network(packed), plain(packed), rtol=1e-5, atol=1e-6)
    sizes = [sum(p.numel() for p in one.parameters()) for one in (plain, network)]
    assert sizes[1] - sizes[0] == len(TASKS) * (12 + plain.dim)  # T (C + dim)


@pytest.mark.parametrize("train", ["all", "last_block"])
def test_a_tasks_vector_is_the_network_with_its_masks_written_out(train: Train) -> None:
    plain, network = pair(train)
    varied(network)
    packed, backbone = galleries([3, 0, 2]), plain.backbone
    with torch.no_grad():
        found = network.embed_tasks(packed)
        assert found.shape == (3, 3, 16)
        for t in range(3):
            maps = backbone.before_last(packed.pixels) * network.stage_masks.weight[t, :, None, None]
            expected = plain.embed_features(backbone.last(maps), packed.offsets) * network.vector_masks.weight[t]
            torch.testing.assert_close(found[:, t], expected)
            torch.testing.assert_close(network.of_task(t).embed(packed), expected)
            assert torch.equal(network.predict(found), network(packed))
        some = torch.tensor([0, 2])
        torch.testing.assert_close(network.embed_tasks(packed, some), found[:, some])
        outputs = network.outputs(packed, some)
        torch.testing.assert_close(outputs[:, [0, 6]], network(packed)[:, [0, 6]])
        stored = backbone.prefix(packed.pixels)
        torch.testing.assert_close(network.embed_stored(stored, packed.offsets), network.embed(packed))
        mean = network.stage_masks.weight.mean(0)[:, None, None]
        features = backbone.last(backbone.before_last(packed.pixels) * mean)
        expected = plain.embed_features(features, packed.offsets) * network.vector_masks.weight.mean(0)
        torch.testing.assert_close(network.embed(packed), expected)


@pytest.mark.parametrize("settings", [{}, {"pooling": "mean_max_std", "embed_dim": 5}, {"mirror": True}])
def test_folding_for_inference_changes_nothing_but_rounding(settings: dict[str, Any]) -> None:
    network = varied(pair(**settings)[1])
    packed = galleries([3, 0, 2])
    with torch.no_grad():
        twin = inference_network(network)
        torch.testing.assert_close(twin.embed(packed).float(), network.embed(packed), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(twin.embed_tasks(packed).float(), network.embed_tasks(packed), rtol=1e-4, atol=1e-5)
        own = inference_network(network.of_task(1)).embed(packed).float()
        torch.testing.assert_close(own, network.embed_tasks(packed)[:, 1], rtol=1e-4, atol=1e-5)


def test_what_a_photo_is_cut_at() -> None:
    """Channels before the last stage; a network of timm is cut there although all of it trains."""
    assert make_network(EncoderConfig(modulation=True), TASKS, torch.zeros(7), seed=0).stage_masks.channels == 96
    with pytest.raises(ValueError, match="`backbone` must have a last stage that trains"):
        ModulatedGalleryNetwork(make_backbone("small", train="none"), tasks=TASKS)
    with pytest.raises(ValueError, match="`tasks` must hold at least one task"):
        ModulatedGalleryNetwork(make_backbone("small"), tasks=())
    declare_missing_operators()
    pytest.importorskip("timm", reason="networks of timm need the extra [vision]")
    vit = make_backbone("vit_tiny_patch16_224", size=32, cut=True)
    assert ModulatedGalleryNetwork(vit, tasks=TASKS).stage_masks.channels == 192  # tokens (n, L, 192)


def test_masks_learn_and_every_task_has_vectors_of_its_own(
    modulated: GalleryEncoder, tiny: GalleryData, tiny_photos: DecodedPhotos
) -> None:
    network = modulated.network
    assert isinstance(network, ModulatedGalleryNetwork)
    assert bool((network.stage_masks.weight != 1).any(1).all())  # every task was drawn at some step
    found = {name: modulated.embed(tiny, task=name, photos=tiny_photos) for name in [*modulated.tasks.names, None]}
    assert len({vectors.encoder for vectors in found.values()}) == len(found) == 5  # fingerprints do not mix
    assert found[None].encoder == modulated.fingerprint
    train, _ = tiny.split(modulated.config.validation, modulated.config.seed)
    known = np.isin(found[None].ids, np.asarray(tiny.item_ids)[train])
    for name, vectors in found.items():
        matrix = vectors.matrix[known].astype(np.float64)
        assert np.abs(matrix.mean(0)).max() < 1e-4, name
        assert np.median(matrix.std(0)) == pytest.approx(1.0, abs=1e-3), name
    assert np.abs(found["pool"].matrix - found["city"].matrix).max() > 0.01


def test_galleries_of_bytes_have_a_tasks_vectors_too(
    modulated: GalleryEncoder, tiny: GalleryData, tiny_path: Path, tiny_photos: DecodedPhotos
) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(tiny_path.parent / "photos.parquet").to_pandas().sort_values(["hotel", "place"])
    gallery = list(table[table.hotel == 110]["jpeg"])
    alone = modulated.embed([gallery], task="city", device="cpu")
    data = modulated.embed(tiny, np.array([10]), task="city", photos=tiny_photos, device="cpu")
    np.testing.assert_allclose(alone.matrix, data.matrix, atol=1e-5)
    assert alone.encoder == data.encoder


def test_predictions_are_each_tasks_under_its_own_masks(
    modulated: GalleryEncoder, tiny: GalleryData, tiny_photos: DecodedPhotos
) -> None:
    rows = np.array([10, 11, 12])
    ids, outputs = modulated.outputs(tiny, rows, photos=tiny_photos, device="cpu")
    pixels, offsets = tiny_photos, tiny.photos.galleries(tiny_photos.sound)
    photos = [torch.as_tensor(pixels.pixels(offsets[0][offsets[1][r] : offsets[1][r + 1]])) for r in rows]
    with torch.no_grad():
        expected = modulated.network(PackedGalleries.from_list(photos))
    assert ids.tolist() == [110, 111, 112]
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)
    assert modulated.predict(tiny, rows, photos=tiny_photos).shape == (3, 6)  # pool, three cities, review, price


def test_an_unknown_task_names_those_that_exist(
    modulated: GalleryEncoder, tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    with pytest.raises(InputError, match=r"task: must be one of pool, city, review, price, got 'sauna'"):
        modulated.embed(tiny, task="sauna", photos=tiny_photos)
    plain = GalleryEncoder.untrained(tiny, tiny_config, photos=tiny_photos, device="cpu")
    with pytest.raises(InputError, match="made without modulation and has the same vectors for all tasks"):
        plain.embed(tiny, task="pool", photos=tiny_photos)


def test_a_modulated_encoder_is_read_as_it_was_written(
    modulated: GalleryEncoder, tiny: GalleryData, tiny_photos: DecodedPhotos, tmp_path: Path
) -> None:
    loaded = GalleryEncoder.load(modulated.save(tmp_path / "encoder"))
    assert loaded.config == modulated.config
    for task in ("price", None):
        ours, theirs = (e.embed(tiny, task=task, photos=tiny_photos, device="cpu") for e in (loaded, modulated))
        np.testing.assert_array_equal(ours.matrix, theirs.matrix)
        assert ours.encoder == theirs.encoder


def test_the_tasks_means_are_of_some_training_galleries_only(
    tiny: GalleryData, tiny_photos: DecodedPhotos, modulated_config: EncoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.gallery.encoder_fitting.OF_TASKS", 7)
    some = GalleryEncoder.untrained(tiny, modulated_config, photos=tiny_photos, device="cpu")
    assert some.task_mean is not None
    assert some.task_mean.shape == (4, some.dim)
    assert float((some.task_mean[0] - some.mean).abs().max()) > 0
    assert torch.equal(some.task_mean[0], some.task_mean[3])  # masks of 1


def test_stored_outputs_of_the_frozen_part_train_the_same(
    tiny: GalleryData, tiny_photos: DecodedPhotos, modulated_config: EncoderConfig
) -> None:
    losses = []
    for cache in ("none", "prefix"):
        config = changed(modulated_config, train="last_block", cache=cache)
        encoder = GalleryEncoder.fit(tiny, config, photos=tiny_photos, progress=False, device="cpu")
        losses.append([epoch.train_loss for epoch in encoder.history.epochs])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
