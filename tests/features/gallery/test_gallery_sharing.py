"""Sharing as configuration of the gallery encoder: groups while training, on disk, killed; earlier versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from features.artifact import sha256
from features.errors import InputError
from features.gallery import encoder_fitting, fitting
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.encoder import GalleryEncoder
from features.gallery.source import DecodedPhotos
from multitask.base_losses import base_losses, watch_relative
from multitask.progress import Event
from multitask.sharing import Branches, SelectiveSharing

pytestmark = pytest.mark.usefixtures("one_thread")


def changed(config: EncoderConfig, **values: Any) -> EncoderConfig:
    return EncoderConfig.model_validate(config.model_dump() | values)


@pytest.fixture(scope="module")
def sharing_config(tiny_config: EncoderConfig) -> EncoderConfig:
    training = tiny_config.training.model_dump() | {"epochs": 4, "patience": 4, "learning_rate": 3e-4}
    return changed(tiny_config, sharing="variance", training=training)


@pytest.fixture(scope="module")
def sharing(
    tiny: GalleryData, tiny_photos: DecodedPhotos, sharing_config: EncoderConfig
) -> tuple[GalleryEncoder, list[str]]:
    lines: list[str] = []
    fitted = GalleryEncoder.fit(
        tiny, sharing_config, photos=tiny_photos, progress=False, device="cpu", log=lines.append
    )
    return fitted, lines


def test_heads_come_to_share_and_are_read_as_they_were_written(
    sharing: tuple[GalleryEncoder, list[str]], tiny: GalleryData, tiny_photos: DecodedPhotos, tmp_path: Path
) -> None:
    encoder, lines = sharing
    heads, record = encoder.network.heads, encoder.report["sharing"]
    assert isinstance(heads, Branches)
    assert heads.n_groups < heads.n_tasks == 4
    assert sorted(name for group in record["groups"] for name in group) == sorted(encoder.tasks.names)
    assert any(line.startswith("hidden layers of the heads: ") and " with " in line for line in lines)
    assert record["directive"] == "variance"
    assert [epoch["epoch"] for epoch in record["epochs"]] == list(range(len(encoder.history.epochs)))
    loaded = GalleryEncoder.load(encoder.save(tmp_path / "encoder"))
    assert loaded.network.heads.group_of.tolist() == heads.group_of.tolist()  # type: ignore[union-attr]
    assert loaded.report == encoder.report
    ours, theirs = (e.outputs(tiny, photos=tiny_photos, device="cpu")[1] for e in (loaded, encoder))
    assert torch.equal(ours, theirs)


def test_the_observer_is_what_the_settings_say_and_sees_relative_losses(
    sharing_config: EncoderConfig, tiny: GalleryData, tiny_photos: DecodedPhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, bases = list[SelectiveSharing](), list[Tensor]()

    def noted(*arguments: Any, **settings: Any) -> SelectiveSharing:
        made.append(SelectiveSharing(*arguments, **settings))
        return made[-1]

    def watched(watch: Any, losses: Any, base: Tensor) -> Any:
        bases.append(base)
        assert watch.__self__ is made[0]
        return watch_relative(watch, losses, base)

    monkeypatch.setattr(encoder_fitting, "SelectiveSharing", noted)
    monkeypatch.setattr(fitting, "watch_relative", watched)
    training = sharing_config.training.model_dump() | {"epochs": 1, "seed": 7}
    config = changed(sharing_config, sharing="dissimilarity", training=training)
    encoder = GalleryEncoder.fit(tiny, config, photos=tiny_photos, progress=False, device="cpu")
    assert [(own.directive, own.seed, own.task_names) for own in made] == [("dissimilarity", 7, encoder.tasks.names)]
    expected = base_losses(encoder.tasks.tasks, encoder.tasks.base_bias())
    assert len(bases) == 1
    assert torch.equal(bases[0], expected)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None], format: int | None = None) -> Path:
    """The encoder's directory with another config.json (and format), whose checksums fit."""
    state, manifest = (json.loads((folder / name).read_text()) for name in ("config.json", "manifest.json"))
    change(state)
    (folder / "config.json").write_text(json.dumps(state))
    manifest["sha256"]["config.json"] = sha256(folder / "config.json")
    manifest["format"] = manifest["format"] if format is None else format
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def without_the_new(config: dict[str, Any]) -> None:
    """Settings as a version wrote them that knew neither modulation nor sharing."""
    for name in ("modulation", "modulation_tasks", "sharing"):
        del config[name]
    for name in ("momentum", "accumulator"):
        del config["training"][name]


def test_other_groups_than_the_weights_are_refused(sharing: tuple[GalleryEncoder, list[str]], tmp_path: Path) -> None:
    for group_of, message in (([0, 1, 2, 3], "must be"), ([1, 0, 0, 0], "must number the groups"), (7, "TypeError")):
        folder = sharing[0].save(tmp_path / "encoder")
        rewritten(folder, lambda state, groups=group_of: state.update(group_of=groups))  # type: ignore[misc]
        with pytest.raises(InputError, match=message):
            GalleryEncoder.load(folder)


@pytest.fixture(scope="module")
def plain(tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig) -> GalleryEncoder:
    return GalleryEncoder.untrained(tiny, tiny_config, photos=tiny_photos, device="cpu")


def test_an_encoder_of_format_1_is_read(
    plain: GalleryEncoder, tiny: GalleryData, tiny_photos: DecodedPhotos, tmp_path: Path
) -> None:
    """It knew neither modulation nor sharing."""

    def older(state: dict[str, Any]) -> None:
        del state["group_of"]
        without_the_new(state["config"])

    loaded = GalleryEncoder.load(rewritten(plain.save(tmp_path / "encoder"), older, format=1))
    assert loaded.config == plain.config
    ours, theirs = (e.embed(tiny, photos=tiny_photos, device="cpu") for e in (loaded, plain))
    assert (ours.matrix == theirs.matrix).all()


def test_an_encoder_of_a_newer_version_is_refused(plain: GalleryEncoder, tmp_path: Path) -> None:
    folder = rewritten(plain.save(tmp_path / "encoder"), lambda state: state.update(new=1), format=3)
    with pytest.raises(InputError, match=r"manifest\.json: this version reads formats 1 and 2 only, got 3"):
        GalleryEncoder.load(folder)


def test_the_fingerprint_is_the_formula_it_always_was(plain: GalleryEncoder) -> None:
    """Of the settings of before and all weights but the heads': vectors of earlier versions still fit."""
    network = plain.network
    preprocessing = asdict(network.backbone.preprocessing)
    settings = {
        "pooling": "mean", "cover": False, "root": False, "mirror": False, "max_photos": plain.max_photos,
        "max_pixels": plain.max_pixels, "backbone": "small", "preprocessing": preprocessing,
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    tensors = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("heads.")}
    tensors |= {"standard.mean": plain.mean, "standard.std": plain.std}
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype};".encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    assert plain.fingerprint == digest.hexdigest()


def test_a_killed_fit_of_an_earlier_version_goes_on(
    tiny_config: EncoderConfig, tiny: GalleryData, tiny_photos: DecodedPhotos, tmp_path: Path
) -> None:
    def kill(event: Event) -> None:
        if event.epoch == 1:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        GalleryEncoder.fit(tiny, tiny_config, photos=tiny_photos, checkpoint=tmp_path, progress=kill, device="cpu")
    claim = json.loads((tmp_path / "encoder.json").read_text())
    for name in ("modulation", "modulation_tasks", "sharing"):
        del claim["config"][name]
    (tmp_path / "encoder.json").write_text(json.dumps(claim))
    encoder = GalleryEncoder.fit(
        tiny, tiny_config, photos=tiny_photos, checkpoint=tmp_path, progress=False, device="cpu"
    )
    assert len(encoder.history.epochs) == 2


@pytest.mark.parametrize("name", ["modulation", "sharing"])
def test_a_killed_fit_goes_on_to_the_same_bits(
    name: str,
    sharing: tuple[GalleryEncoder, list[str]],
    sharing_config: EncoderConfig,
    tiny: GalleryData,
    tiny_photos: DecodedPhotos,
    tmp_path: Path,
) -> None:
    config = sharing_config
    if name == "modulation":
        config = changed(sharing_config, sharing="none", modulation=True, modulation_tasks=2)
    whole = (
        sharing[0]
        if name == "sharing"
        else GalleryEncoder.fit(tiny, config, photos=tiny_photos, progress=False, device="cpu")
    )

    def kill(event: Event) -> None:
        if event.epoch == 3:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        GalleryEncoder.fit(tiny, config, photos=tiny_photos, checkpoint=tmp_path, progress=kill, device="cpu")
    resumed = GalleryEncoder.fit(tiny, config, photos=tiny_photos, checkpoint=tmp_path, progress=False, device="cpu")
    ours, theirs = resumed.network.state_dict(), whole.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.items())
    assert resumed.fingerprint == whole.fingerprint
