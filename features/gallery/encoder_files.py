"""A gallery encoder on disk: one directory, no pickle, every file under a checksum.

    manifest.json          format version and the sha256 of every other file
    encoder.safetensors    weights of the network (its backbone included), mean and spread of the vectors
    config.json            configuration, preprocessing, tasks, fingerprint, versions
    history.json           how training went
    report.json            what became of photos and labels

It is written to a temporary sibling, fsynced and renamed, so that a directory of this name is always whole.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError

from features.artifact import (
    check_directory,
    check_tensors,
    new_directory,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from features.errors import Fault, InputError
from features.gallery.building import build_network
from features.gallery.config import EncoderConfig
from features.gallery.preprocessing import Preprocessing
from features.gallery.tasks import GalleryTasks
from multitask import History

if TYPE_CHECKING:
    from features.gallery.encoder import GalleryEncoder

KIND = "gallery encoder"
HEAD = {"kind": KIND, "format": 1}
TENSORS, CONFIG, HISTORY, REPORT = "encoder.safetensors", "config.json", "history.json", "report.json"
NETWORK, MEAN, STD = "network.", "standard.mean", "standard.std"


def save_encoder(encoder: GalleryEncoder, directory: Path) -> Path:
    """Write `encoder`; an older directory of that name is replaced only once the new one is whole."""
    config = encoder.config.model_dump(mode="json")
    if encoder.config.weights is not None:  # the weights themselves are saved; where they once lay means nothing there
        config["weights"] = encoder.config.weights.name
    with new_directory(directory, HEAD) as part:
        tensors = {NETWORK + name: tensor for name, tensor in encoder.network.state_dict().items()}
        write_tensors(part / TENSORS, tensors | {MEAN: encoder.mean, STD: encoder.std})
        write_json(part / CONFIG, {
            "config": config,
            "preprocessing": _plain(encoder.preprocessing),
            "max_photos": encoder.max_photos,
            "max_pixels": encoder.max_pixels,
            "tasks": encoder.tasks.to_state(),
            "heads_trained": encoder.heads_trained,
            "dim": encoder.dim,
            "fingerprint": encoder.fingerprint,
            "versions": {"python": platform.python_version(), "torch": version("torch")},
        })  # fmt: skip
        write_json(part / HISTORY, encoder.history.to_dict())
        write_json(part / REPORT, encoder.report)
    return directory


def _plain(preprocessing: Preprocessing) -> dict[str, Any]:
    """As JSON gives it back."""
    return {"size": preprocessing.size, "mean": list(preprocessing.mean), "std": list(preprocessing.std)}


def load_encoder(cls: type[GalleryEncoder], directory: Path) -> GalleryEncoder:
    """Read and check what `save_encoder` wrote.

    Raises
    ------
    InputError
        Naming every file that is missing or changed, every tensor that does not fit, or the fingerprint if the whole
        is not what it was.
    """
    check_directory(directory, KIND, HEAD, (TENSORS, CONFIG, HISTORY, REPORT))
    state, path = read_json(directory / CONFIG), directory / CONFIG
    try:
        config, tasks = EncoderConfig.model_validate(state["config"]), GalleryTasks.from_state(state["tasks"])
        history = History.from_dict(read_json(directory / HISTORY))
        own: dict[str, Any] = {name: state[name] for name in ("max_photos", "max_pixels", "heads_trained")}
        preprocessing, fingerprint = state["preprocessing"], state["fingerprint"]
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise InputError(Fault(f"does not describe a {KIND}: {type(error).__name__}: {error}", path)) from error
    network = build_network(config, tasks, load_weights=False)
    if _plain(network.backbone.preprocessing) != preprocessing:
        raise InputError(Fault(f"backbone {config.backbone!r} prepares photos otherwise in this version", path))
    dim = torch.zeros(network.dim)
    expected = {NETWORK + name: tensor for name, tensor in network.state_dict().items()} | {MEAN: dim, STD: dim}
    check_tensors(directory / TENSORS, expected)
    tensors = read_tensors(directory / TENSORS)
    mean, std = tensors.pop(MEAN), tensors.pop(STD)
    network.load_state_dict({name.removeprefix(NETWORK): tensor for name, tensor in tensors.items()})
    encoder = cls(
        config=config, tasks=tasks, network=network.eval(), mean=mean, std=std, history=history,
        report=read_json(directory / REPORT), **own,
    )  # fmt: skip
    if encoder.fingerprint != fingerprint:
        found = f"{encoder.fingerprint[:12]}..."
        raise InputError(Fault(f"must have the fingerprint {fingerprint[:12]}..., got {found}", directory / TENSORS))
    return encoder
