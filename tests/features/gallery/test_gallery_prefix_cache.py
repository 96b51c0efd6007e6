"""The cache of a frozen part's outputs: the same training without its cost, found again, never another network's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from features.errors import InputError
from features.gallery import prefix_cache
from features.gallery.augmentation import Augmentation
from features.gallery.backbones import Backbone, make_backbone
from features.gallery.cached_batches import CachedBatches
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.encoder import GalleryEncoder
from features.gallery.prefix_cache import PrefixCache
from features.gallery.source import DecodedPhotos


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def backbone(seed: int = 0, train: Any = "last_block") -> Backbone:
    torch.manual_seed(seed)
    return make_backbone("small", size=32, train=train)


def config(base: EncoderConfig, **values: Any) -> EncoderConfig:
    return EncoderConfig.model_validate(base.model_dump() | {"train": "last_block"} | values)


@pytest.mark.parametrize("train", ["last_block", "none"])
@pytest.mark.parametrize("cover", [False, True])
def test_cached_training_equals_uncached(
    train: str, cover: bool, tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    own = {"train": train, "cover": cover, "sample_photos": 4}
    settings: dict[str, Any] = {"photos": tiny_photos, "progress": False, "device": "cpu"}
    plain = GalleryEncoder.fit(tiny, config(tiny_config, **own), **settings)
    cached = GalleryEncoder.fit(tiny, config(tiny_config, cache="prefix", **own), **settings)
    for a, b in zip(plain.history.epochs, cached.history.epochs):
        assert b.train_loss == pytest.approx(a.train_loss, abs=1e-5)
        assert b.metrics["validation_loss"] == pytest.approx(a.metrics["validation_loss"], abs=1e-5)
    embed = {"photos": tiny_photos, "device": "cpu"}
    np.testing.assert_allclose(
        cached.embed(tiny, **embed).matrix, plain.embed(tiny, **embed).matrix, rtol=1e-5, atol=1e-5
    )
    for (name, a), b in zip(plain.network.state_dict().items(), cached.network.state_dict().values()):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5, msg=name)


def test_the_prefix_runs_once_per_photo_and_is_found_again(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig, tmp_path: Path
) -> None:
    own = config(tiny_config, cache="prefix", training={"epochs": 2, "precision": "float32"})
    settings: dict[str, Any] = {"photos": tiny_photos, "progress": False, "device": "cpu", "folder": tmp_path}
    lines: list[str] = []
    first = GalleryEncoder.fit(tiny, own, log=lines.append, **settings)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    second = GalleryEncoder.fit(tiny, own, log=lines.append, **settings)
    assert file.stat().st_mtime_ns == written
    assert second.fingerprint == first.fingerprint
    assert sum("kept in prefix-" in line for line in lines) == 1
    assert sum("found in prefix-" in line for line in lines) == 1
    file.write_bytes(file.read_bytes()[:-100])  # a damaged file is made again
    third = GalleryEncoder.fit(tiny, own, log=lines.append, **settings)
    assert third.fingerprint == first.fingerprint
    assert list(tmp_path.iterdir()) == [file]


def test_outputs_are_those_of_the_prefix(tiny: GalleryData, tiny_photos: DecodedPhotos) -> None:
    own = backbone()
    cache = PrefixCache.build(own, tiny_photos)
    rows = np.flatnonzero(tiny_photos.sound)[[200, 3, 3]]
    torch.testing.assert_close(cache.pixels(rows), own.prefix(tiny_photos.pixels(rows)), rtol=1e-5, atol=1e-5)
    half = PrefixCache.build(own, tiny_photos, precision="float16")
    assert half.outputs.dtype == np.float16
    torch.testing.assert_close(half.pixels(rows), cache.pixels(rows), rtol=2e-3, atol=1e-3)
    assert half.pixels(rows).dtype == torch.float32


def test_every_setting_has_a_file_of_its_own(tiny: GalleryData, tiny_photos: DecodedPhotos, tmp_path: Path) -> None:
    build = PrefixCache.build
    flip = Augmentation(flip=True)
    build(backbone(0), tiny_photos, folder=tmp_path)
    build(backbone(1), tiny_photos, folder=tmp_path)
    build(backbone(0, "none"), tiny_photos, folder=tmp_path)
    build(backbone(0), tiny_photos, folder=tmp_path, precision="float16")
    build(backbone(0), tiny_photos, folder=tmp_path, augmentation=flip, versions=1)
    build(backbone(0), tiny_photos, folder=tmp_path, augmentation=flip, versions=2)
    assert len(list(tmp_path.iterdir())) == 6


def test_fixed_augmentations_change_from_epoch_to_epoch_and_nothing_else(
    tiny: GalleryData, tiny_photos: DecodedPhotos
) -> None:
    augmentation = Augmentation(flip=False, jitter=0.5)
    cache = PrefixCache.build(backbone(), tiny_photos, augmentation=augmentation, versions=3)
    rows = np.flatnonzero(tiny_photos.sound)
    versions = torch.from_numpy(cache.outputs).movedim(-1, 2)  # (4, P', C, H, W)
    seen = torch.stack([cache.of_epoch(rows, epoch, seed=7) for epoch in range(12)])
    assert torch.equal(cache.of_epoch(rows, 5, seed=7), seen[5])
    match = torch.stack([(seen == version).flatten(2).all(2) for version in versions])  # (4, epochs, P')
    assert not match[0].any()  # the plain photo is for validation and embedding
    assert match.any(0).all()
    shares = match[1:].float().mean((1, 2))
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.05)
    assert torch.equal(cache.pixels(rows), versions[0])
    batches = CachedBatches(cache, tiny.photos, np.arange(60), torch.zeros(60, 1), photo_budget=64, seed=7)
    one, two = (torch.cat([batch.galleries.pixels for batch in batches.epoch(2)]) for _ in range(2))
    assert torch.equal(one, two)
    resumed = [batch.galleries.pixels for batch in batches.epoch(2, start=1)]
    assert torch.equal(torch.cat(resumed), one[-sum(map(len, resumed)) :])


def test_augmented_training_through_the_encoder(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    own = config(tiny_config, cache="prefix", cache_augmentations=2, augmentation={"flip": True, "jitter": 0.3})
    plain = config(tiny_config, cache="prefix")
    settings: dict[str, Any] = {"photos": tiny_photos, "progress": False, "device": "cpu"}
    fits = [GalleryEncoder.fit(tiny, c, **settings) for c in (own, own, plain)]
    assert fits[0].fingerprint == fits[1].fingerprint
    assert fits[0].fingerprint != fits[2].fingerprint


def test_what_does_not_fit_is_refused(
    tiny_photos: DecodedPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"`outputs` must be \(K \+ 1, 2, ...\), got \(1, 3, 4\)"):
        PrefixCache(np.zeros((1, 3, 4), np.float32), np.array([True, False, True]))
    monkeypatch.setattr(prefix_cache, "LIMIT_BYTES", 100.0)
    with pytest.raises(InputError, match="give a folder to keep them in"):
        PrefixCache.build(backbone(), tiny_photos)

    def full(path: Path) -> Any:
        return type("Usage", (), {"free": 10})

    monkeypatch.setattr(prefix_cache.shutil, "disk_usage", full)
    with pytest.raises(InputError, match="must have room for"):
        PrefixCache.build(backbone(), tiny_photos, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_written_over(tiny_photos: DecodedPhotos, tmp_path: Path) -> None:
    def kill(done: int, photos: int) -> None:
        raise KeyboardInterrupt

    own = backbone()
    PrefixCache.build(own, tiny_photos, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    left = file.with_name(f".{file.name}.part")
    file.unlink()
    left.write_bytes(b"x" * (len(whole) + 1000))  # as after SIGKILL, which runs no `finally`
    PrefixCache.build(own, tiny_photos, folder=tmp_path)
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == whole
    file.unlink()
    with pytest.raises(KeyboardInterrupt):
        PrefixCache.build(own, tiny_photos, folder=tmp_path, progress=kill)
    assert not list(tmp_path.iterdir())


def test_a_run_that_waited_for_another_takes_what_that_one_wrote(
    tiny_photos: DecodedPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = backbone()
    PrefixCache.build(own, tiny_photos, folder=tmp_path / "other")
    (other,) = (tmp_path / "other").iterdir()
    folder = tmp_path / "here"

    def wait(file: Any, how: int) -> None:
        (folder / other.name).write_bytes(other.read_bytes())  # meanwhile the other run has finished

    monkeypatch.setattr(prefix_cache.fcntl, "flock", wait)
    monkeypatch.setattr(prefix_cache, "_fill", None)  # not called
    PrefixCache.build(own, tiny_photos, folder=folder)
    assert [path.name for path in folder.iterdir()] == [other.name]
