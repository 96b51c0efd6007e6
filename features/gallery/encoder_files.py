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
    read_format,
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
from multitask.heads import groups_of

if TYPE_CHECKING:
    from features.gallery.encoder import GalleryEncoder

KIND = "gallery encoder"
FORMATS = (1, 2)  # 1 had no modulation and no sharing, which are off by default
TENSORS, CONFIG, HISTORY, REPORT = "encoder.safetensors", "config.json", "history.json", "report.json"
NETWORK, MEAN, STD = "network.", "standard.mean", "standard.std"
TASK_MEAN, TASK_STD = "standard.task_mean", "standard.task_std"


def save_encoder(encoder: GalleryEncoder, directory: Path) -> Path:
    """Write `encoder`; an older directory of that name is replaced only once the new one is whole."""
    config = encoder.config.model_dump(mode="json")
    if encoder.config.weights is not None:  # the weights themselves are saved; where they once lay means nothing there
        config["weights"] = encoder.config.weights.name
    with new_directory(directory, {"kind": KIND, "format": FORMATS[-1]}) as part:
        tensors = {NETWORK + name: tensor for name, tensor in encoder.network.state_dict().items()}
        tensors |= {MEAN: encoder.mean, STD: encoder.std}
        if encoder.task_mean is not None and encoder.task_std is not None:
            tensors |= {TASK_MEAN: encoder.task_mean, TASK_STD: encoder.task_std}
        write_tensors(part / TENSORS, tensors)
        write_json(part / CONFIG, {
            "config": config,
            "preprocessing": _plain(encoder.preprocessing),
            "max_photos": encoder.max_photos,
            "max_pixels": encoder.max_pixels,
            "tasks": encoder.tasks.to_state(),
            "group_of": groups_of(encoder.network.heads),
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
    head = {"kind": KIND, "format": read_format(directory, KIND, FORMATS)}
    check_directory(directory, KIND, head, (TENSORS, CONFIG, HISTORY, REPORT))
    state, path = read_json(directory / CONFIG), directory / CONFIG
    try:
        config, tasks = EncoderConfig.model_validate(state["config"]), GalleryTasks.from_state(state["tasks"])
        history = History.from_dict(read_json(directory / HISTORY))
        own: dict[str, Any] = {name: state[name] for name in ("max_photos", "max_pixels", "heads_trained")}
        preprocessing, fingerprint = state["preprocessing"], state["fingerprint"]
        group_of = state.get("group_of")
        network = build_network(config, tasks, load_weights=False, group_of=group_of)
    except InputError:
        raise
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise InputError(Fault(f"does not describe a {KIND}: {type(error).__name__}: {error}", path)) from error
    if _plain(network.backbone.preprocessing) != preprocessing:
        raise InputError(Fault(f"backbone {config.backbone!r} prepares photos otherwise in this version", path))
    dim = torch.zeros(network.dim)
    expected = {NETWORK + name: tensor for name, tensor in network.state_dict().items()} | {MEAN: dim, STD: dim}
    if config.modulation:
        of_tasks = torch.zeros(len(tasks.names), network.dim)
        expected |= {TASK_MEAN: of_tasks, TASK_STD: of_tasks}
    check_tensors(directory / TENSORS, expected)
    tensors = read_tensors(directory / TENSORS)
    mean, std = tensors.pop(MEAN), tensors.pop(STD)
    task_mean, task_std = tensors.pop(TASK_MEAN, None), tensors.pop(TASK_STD, None)
    network.load_state_dict({name.removeprefix(NETWORK): tensor for name, tensor in tensors.items()})
    encoder = cls(
        config=config, tasks=tasks, network=network.eval(), mean=mean, std=std, history=history,
        report=read_json(directory / REPORT), task_mean=task_mean, task_std=task_std, **own,
    )  # fmt: skip
    if groups_of(network.heads) != group_of:
        message = f"must hold the groups {group_of} of {CONFIG}, got {groups_of(network.heads)}"
        raise InputError(Fault(message, directory / TENSORS))
    if encoder.fingerprint != fingerprint:
        found = f"{encoder.fingerprint[:12]}..."
        raise InputError(Fault(f"must have the fingerprint {fingerprint[:12]}..., got {found}", directory / TENSORS))
    return encoder
