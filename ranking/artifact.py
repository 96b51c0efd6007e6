"""A model on disk: one directory, no pickle, every file under a checksum.

    manifest.json        format version and the sha256 of every other file
    model.safetensors    network weights, encoder tables, item vectors
    booster_NODE.txt     LightGBM models, one per node (in place of network weights)
    config.json          versions, seeds, schema, heads in order, sampling, embedding fingerprints, hashes of the data
    encoders.json        vocabularies and scales that are not arrays
    calibration.json     the refits, with their offsets per segment
    utility.json         the weights of the mix
    metrics.json         how training went
    README.md            the model card

It is written to a temporary sibling, fsynced and renamed, so that a directory of this name is always whole. Loading
checks the checksums, then names, shapes and types against what the configuration asks for, before memory is taken.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from features import Encoders, Fault, InputError, Schema, raise_faults
from features.artifact import (
    MANIFEST,
    check_directory,
    check_tensors,
    new_directory,
    read_format,
    read_json,
    read_tensors,
    write_json,
)
from multitask.heads import groups_of
from ranking.boosted import BoostedScorer
from ranking.calibration import Calibration
from ranking.card import model_card
from ranking.config import RankerConfig
from ranking.heads import HeadTree
from ranking.network import RankingNetwork, aligned, item_vectors
from ranking.ranker import SCORE, Ranker
from ranking.scorer import NetworkScorer, Scorer
from ranking.segments import segment_values
from ranking.utility import Utility
from ranking.vectors import describe_vectors

# 1 had no `vector_scale` and one tree column less for a query; 2 had no `refit_by`; 3 had no modulation and no sharing
FORMAT = 4
READ = (2, 3, FORMAT)  # what these do not have is off by default
TENSORS = "model.safetensors"
DOCUMENTS = (TENSORS, "config.json", "encoders.json", "calibration.json", "utility.json", "metrics.json", "README.md")
NETWORK, ENCODERS = "network.", "encoders."


def save_ranker(ranker: Ranker, directory: Path) -> Path:
    """Write `ranker` to `directory`; an older model of that name is replaced only once the new one is whole."""
    from safetensors.numpy import save_file

    with new_directory(directory, {"format": FORMAT}) as part:
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
                "group_of": _group_of(ranker.scorer),
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
            write_json(part / name, content)
        (part / "README.md").write_text(model_card(ranker), encoding="utf-8")
    return directory


def load_ranker(directory: Path, device: str) -> Ranker:
    """Read and check a model directory; every fault that can be seen at once is reported at once."""
    head = {"format": read_format(directory, None, READ)}
    check_directory(directory, "model directory", head, DOCUMENTS, more=True)  # more: boosters
    config_json = read_json(directory / "config.json")
    schema, config = Schema.from_dict(config_json["schema"]), RankerConfig(**config_json["config"])
    heads = config_json["heads"]
    tree = None
    if config.objective == "multi_head":
        tree = HeadTree.build(heads, {h: schema.parent(h) for h in heads}, config.correction)
    arrays = {k: aligned(v).numpy() for k, v in read_tensors(directory / TENSORS, ENCODERS).items()}
    encoders = Encoders.from_state(read_json(directory / "encoders.json"), arrays)
    scorer: Scorer
    if config.model == "network":
        group_of = config_json.get("group_of")
        scorer = _network_scorer(directory, encoders, config, len(_nodes(tree)), group_of, device)
    else:
        import lightgbm

        files = [directory / f"booster_{name}.txt" for name in _nodes(tree)]
        listed = read_json(directory / MANIFEST)["sha256"]
        missing = [
            Fault(f"does not list {f.name}: it has been changed", directory / MANIFEST)
            for f in files
            if f.name not in listed
        ]
        raise_faults(missing)
        scorer = BoostedScorer([lightgbm.Booster(model_file=str(f)) for f in files], encoders)
    utility = read_json(directory / "utility.json")
    return Ranker(
        schema=schema,
        config=config,
        encoders=encoders,
        scorer=scorer,
        tree=tree,
        calibration=_calibration(directory / "calibration.json", tree, encoders, config.refit_by),
        utility=Utility.from_dict(utility) if utility else None,
        info=config_json["info"] | {"history": read_json(directory / "metrics.json")["training"]},
    )


def _nodes(tree: HeadTree | None) -> tuple[str, ...]:
    return tree.nodes if tree else (SCORE,)


def _calibration(path: Path, tree: HeadTree | None, encoders: Encoders, by: str | None) -> Calibration | None:
    content = read_json(path)
    if tree is None:
        return None
    try:
        values = () if by is None else segment_values(encoders, by)
        return Calibration.from_dict(content, tree.nodes, by, values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(Fault(f"does not hold the refits of this model: {error}", path)) from error


def _group_of(scorer: Scorer) -> list[int] | None:
    """The group of each node whose hidden layers may be shared; None without `sharing`."""
    return groups_of(scorer.network.towers) if isinstance(scorer, NetworkScorer) else None


def _network_scorer(
    directory: Path, encoders: Encoders, config: RankerConfig, n_nodes: int, group_of: list[int] | None, device: str
) -> NetworkScorer:
    """The network of a configuration, filled once every tensor is known to fit."""
    vectors = item_vectors(encoders)
    with torch.device("meta"):  # names, shapes and types without memory
        try:
            network = RankingNetwork(encoders, config.network, n_nodes, vectors, group_of)
        except (ValueError, TypeError) as error:
            message = f"does not hold the groups of this model's heads: {error}"
            raise InputError(Fault(message, directory / "config.json", value=group_of)) from error
    check_tensors(directory / TENSORS, {NETWORK + k: v for k, v in network.state_dict().items()}, NETWORK)
    tensors = {k: aligned(v) for k, v in read_tensors(directory / TENSORS, NETWORK).items()}
    network.load_state_dict(tensors, assign=True)
    if groups_of(network.towers) != group_of:
        message = f"must hold the groups {group_of} of config.json, got {groups_of(network.towers)}"
        raise InputError(Fault(message, directory / TENSORS))
    network.vectors = vectors
    return NetworkScorer(network.to(device))
