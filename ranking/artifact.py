"""A model on disk: one directory, no pickle, every file under a checksum.

    manifest.json        format version and the sha256 of every other file
    model.safetensors    network weights, encoder tables, item vectors
    booster_NODE.txt     LightGBM models, one per node (in place of network weights)
    config.json          versions, seeds, schema, heads in order, sampling, embedding fingerprints, hashes of the data
    encoders.json        vocabularies and scales that are not arrays
    calibration.json     the refits
    utility.json         the weights of the mix
    metrics.json         how training went
    README.md            the model card

It is written to a temporary sibling, fsynced and renamed, so that a directory of this name is always whole. Loading
checks the checksums, then names, shapes and types against what the configuration asks for, before memory is taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from features import Encoders, Fault, InputError, Schema, raise_faults
from ranking.boosted import BoostedScorer
from ranking.calibration import Calibration
from ranking.card import model_card
from ranking.config import RankerConfig
from ranking.heads import HeadTree
from ranking.network import RankingNetwork, aligned, item_vectors
from ranking.ranker import SCORE, Ranker
from ranking.scorer import NetworkScorer, Scorer
from ranking.utility import Utility
from ranking.vectors import describe_vectors

FORMAT = 2  # 1 had no `vector_scale` and one tree column less for a query
TENSORS, MANIFEST = "model.safetensors", "manifest.json"
DOCUMENTS = (TENSORS, "config.json", "encoders.json", "calibration.json", "utility.json", "metrics.json", "README.md")
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.bool: "BOOL"}  # safetensors' names
NETWORK, ENCODERS = "network.", "encoders."


def save_ranker(ranker: Ranker, directory: Path) -> Path:
    """Write `ranker` to `directory`; an older model of that name is replaced only once the new one is whole."""
    from safetensors.numpy import save_file

    directory.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        encoders, arrays = ranker.encoders.state()
        tensors = {ENCODERS + k: np.ascontiguousarray(v) for k, v in arrays.items()}
        if isinstance(ranker.scorer, NetworkScorer):
            tensors |= {
                NETWORK + k: v.cpu().contiguous().numpy() for k, v in ranker.scorer.network.state_dict().items()
            }
        elif isinstance(ranker.scorer, BoostedScorer):
            for name, booster in zip(_nodes(ranker.tree), ranker.scorer.boosters):
                (part / f"booster_{name}.txt").write_text(booster.model_to_string(), encoding="utf-8")
        save_file(tensors, part / TENSORS)
        history = ranker.info.get("history", {})
        documents = {
            "config.json": {
                "format": FORMAT,
                "heads": list(ranker.heads),
                "config": ranker.config.model_dump(mode="json"),
                "schema": ranker.schema.to_dict(),
                "embedding": describe_vectors(ranker.encoders.vectors),
                "info": {k: v for k, v in ranker.info.items() if k != "history"},
            },
            "encoders.json": encoders,
            "calibration.json": ranker.calibration.to_dict(_nodes(ranker.tree)) if ranker.calibration else None,
            "utility.json": ranker.utility.to_dict() if ranker.utility else None,
            "metrics.json": {"training": history},
        }
        for name, content in documents.items():
            (part / name).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        (part / "README.md").write_text(model_card(ranker), encoding="utf-8")
        sums = {p.name: _sha256(p) for p in sorted(part.iterdir())}
        (part / MANIFEST).write_text(json.dumps({"format": FORMAT, "sha256": sums}, indent=1) + "\n", encoding="utf-8")
        for path in [*part.iterdir(), part]:
            _fsync(path)
        part.chmod(0o755)  # mkdtemp makes it private
        _replace(part, directory)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return directory


def load_ranker(directory: Path, device: str) -> Ranker:
    """Read and check a model directory; every fault that can be seen at once is reported at once."""
    _check_files(directory)
    config_json = _read_json(directory / "config.json")
    schema, config = Schema.from_dict(config_json["schema"]), RankerConfig(**config_json["config"])
    heads = config_json["heads"]
    tree = None
    if config.objective == "multi_head":
        tree = HeadTree.build(heads, {h: schema.parent(h) for h in heads}, config.correction)
    arrays = {k: v.numpy() for k, v in _load_tensors(directory, ENCODERS).items()}
    encoders = Encoders.from_state(_read_json(directory / "encoders.json"), arrays)
    scorer: Scorer
    if config.model == "network":
        scorer = _network_scorer(directory, encoders, config, len(_nodes(tree)), device)
    else:
        import lightgbm

        files = [directory / f"booster_{name}.txt" for name in _nodes(tree)]
        listed = _read_json(directory / MANIFEST)["sha256"]
        missing = [
            Fault(f"does not list {f.name}: it has been changed", directory / MANIFEST)
            for f in files
            if f.name not in listed
        ]
        raise_faults(missing)
        scorer = BoostedScorer([lightgbm.Booster(model_file=str(f)) for f in files], encoders)
    calibration, utility = (_read_json(directory / f"{name}.json") for name in ("calibration", "utility"))
    return Ranker(
        schema=schema,
        config=config,
        encoders=encoders,
        scorer=scorer,
        tree=tree,
        calibration=Calibration.from_dict(calibration, _nodes(tree)) if calibration else None,
        utility=Utility.from_dict(utility) if utility else None,
        info=config_json["info"] | {"history": _read_json(directory / "metrics.json")["training"]},
    )


def _nodes(tree: HeadTree | None) -> tuple[str, ...]:
    return tree.nodes if tree else (SCORE,)


def _network_scorer(
    directory: Path, encoders: Encoders, config: RankerConfig, n_nodes: int, device: str
) -> NetworkScorer:
    """The network of a configuration, filled once every tensor is known to fit."""
    vectors = item_vectors(encoders)
    with torch.device("meta"):  # names, shapes and types without memory
        network = RankingNetwork(encoders, config.network, n_nodes, vectors)
    expected = {k: (tuple(v.shape), DTYPES[v.dtype]) for k, v in network.state_dict().items()}
    found = _tensor_headers(directory, NETWORK)
    faults = [f"tensor `{NETWORK}{k}` is missing" for k in expected.keys() - found.keys()]
    faults += [f"tensor `{NETWORK}{k}` is not part of this network" for k in found.keys() - expected.keys()]
    for key in sorted(expected.keys() & found.keys()):
        if expected[key] != found[key]:
            (want, want_type), (shape, kind) = expected[key], found[key]
            faults.append(f"tensor `{NETWORK}{key}` must be {want} {want_type}, got {shape} {kind}")
    if faults:
        raise InputError([Fault(message, file=directory / TENSORS) for message in sorted(faults)])
    network.load_state_dict(_load_tensors(directory, NETWORK), assign=True)
    network.vectors = vectors
    return NetworkScorer(network.to(device))


def _check_files(directory: Path) -> None:
    if not (directory / MANIFEST).is_file():
        raise InputError(Fault(f"is not a model directory: it has no {MANIFEST}", file=directory))
    manifest = _read_json(directory / MANIFEST)
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise InputError(Fault(f"this version reads format {FORMAT} only", file=directory / MANIFEST, value=found))
    sums = manifest.get("sha256")
    if not isinstance(sums, dict) or not set(DOCUMENTS) <= set(sums):
        raise InputError(Fault("does not list the files of a model: it has been changed", file=directory / MANIFEST))
    faults = []
    for name, expected in sums.items():
        path = directory / name
        if not path.is_file():
            faults.append(Fault("is missing", file=path))
        elif _sha256(path) != expected:
            faults.append(Fault("has been changed since it was saved: its checksum does not fit", file=path))
    if faults:
        raise InputError(faults)


def _tensor_headers(directory: Path, prefix: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of the tensors below `prefix`, from the file's header alone."""
    from safetensors import safe_open

    with safe_open(directory / TENSORS, framework="pt") as file:
        parts = {key: file.get_slice(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118
        return {k.removeprefix(prefix): (tuple(p.get_shape()), p.get_dtype()) for k, p in parts.items()}


def _load_tensors(directory: Path, prefix: str) -> dict[str, torch.Tensor]:
    from safetensors import safe_open

    with safe_open(directory / TENSORS, framework="pt") as file:
        keys = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118
        return {key.removeprefix(prefix): aligned(file.get_tensor(key)) for key in keys}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(Fault(f"cannot be read: {error}", file=path)) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace(part: Path, directory: Path) -> None:
    """Rename `part` to `directory`; a directory cannot be renamed over a full one, so the old one steps aside first."""
    if not directory.exists():
        part.rename(directory)
        return
    old = part.with_name(part.name + ".old")
    directory.rename(old)
    part.rename(directory)
    shutil.rmtree(old)
