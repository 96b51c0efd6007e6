"""What each row of the ablation is measured by: the probe, same-item and same-attribute retrieval."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from evaluation.checks import FloatArray, IntArray
from evaluation.gallery.probe import HoldoutProbe
from evaluation.gallery.probe_arms import Head
from evaluation.gallery.probe_design import ALL_LABELS
from evaluation.gallery.probe_result import MAJORITY
from evaluation.gallery.same_attribute import same_attribute
from evaluation.gallery.same_item import same_item
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.encoder import GalleryEncoder
from features.gallery.store import Embeddings

NEIGHBOURS = 10  # places of same-attribute retrieval
FEWEST_JUDGED = 5 * NEIGHBOURS  # among fewer galleries the ten nearest are too many of them to be near


@dataclass(frozen=True, eq=False)
class AblationProbe:
    """The held-out attribute on which every row is probed.

    Attributes:
        probe: Labels, division and seeds; one budget counts, all labels.
        item_rows: `(N,)` the row in the items table of each label.
        head: "two-layer" or "linear".
    """

    probe: HoldoutProbe
    item_rows: npt.NDArray[np.intp]
    head: Head = "linear"

    def settings(self) -> dict[str, Any]:
        """What a result depends on, JSON-able."""
        design = self.probe.design
        items = self.probe.labels.tobytes() + self.item_rows.tobytes() + design.groups.codes.tobytes()
        division = [design.kind, design.validation, design.test, design.folds, design.seed]
        return {"items": digest(items), "design": division, "seeds": list(self.probe.seeds), "head": self.head}


@dataclass(frozen=True, eq=False)
class ReviewPhotos:
    """Photos of the items by another camera, for same-item retrieval.

    Attributes:
        photos: `R` encoded images.
        item_rows: `(R,)` the row in the items table of the item that each shows.
    """

    photos: Sequence[bytes]
    item_rows: npt.NDArray[np.intp]

    def digest(self) -> str:
        """A hash of the photos and of what they show."""
        return digest(" ".join(map(digest, self.photos)).encode() + self.item_rows.tobytes())


def probed(asked: AblationProbe, matrix: FloatArray) -> dict[str, Any]:
    """Accuracy of the held-out attribute with all labels, from the items' vectors `(V, D)`."""
    probe = asked.probe
    values = np.asarray(probe.names, dtype=object)[probe.labels]
    once = HoldoutProbe(values, probe.design, budgets=[ALL_LABELS], seeds=probe.seeds)
    found = once.run({"row": matrix[asked.item_rows]}, heads=[asked.head], control=0)
    table = found.accuracy().set_index("arm")
    row = table.loc["row"]
    return {
        "probe": row["accuracy"],
        "probe_low": row["low"],
        "probe_high": row["high"],
        "majority": table.loc[MAJORITY, "accuracy"],
    }


def found_again(
    review: ReviewPhotos, encoder: GalleryEncoder, matrix: FloatArray, device: torch.device | str | None
) -> dict[str, Any]:
    """MRR of each review photo's own gallery; a photo that cannot be used asks nothing."""
    queries = encoder.embed([[photo] for photo in review.photos], device=device)
    places = queries.ids.astype(np.intp)
    found = same_item(queries.matrix, review.item_rows[places], matrix).set_index("metric").loc["MRR"]
    return {
        "same_item": found["value"],
        "same_item_low": found["low"],
        "same_item_high": found["high"],
        "same_item_chance": found["chance"],
    }


def alike(data: GalleryData, attributes: Sequence[str], matrix: FloatArray, config: EncoderConfig) -> dict[str, Any]:
    """Precision@10 of same-attribute retrieval, the mean over `attributes`, among the items that stopped training.

    Nothing where these are too few.
    """
    held = judged_items(data, np.asarray(matrix.any(axis=1)), config)
    if len(held) < FEWEST_JUDGED:
        return {}
    columns = data.attributes(attributes).to_pandas().iloc[held].reset_index(drop=True)
    kinds = data.schema.task_columns
    table = same_attribute(
        matrix[held],
        {name: columns[name] for name in attributes},
        k=NEIGHBOURS,
        numeric=[name for name in attributes if kinds.get(name) in ("regression", "log")],
    )
    found = table[(table["attribute"] == "mean") & table["metric"].str.startswith("precision")]
    if found.empty:
        return {}
    row = found.iloc[0]
    return {
        "same_attribute": row["value"],
        "same_attribute_chance": row["chance"],
        "same_attribute_lift": row["lift"],
    }


def judged_items(data: GalleryData, has_vector: npt.NDArray[np.bool_], config: EncoderConfig) -> IntArray:
    """Rows of the items with a vector that no encoder of this `config` learned from."""
    _, held = data.split(config.validation, config.seed)
    return np.asarray(held[has_vector[held]])


def vectors_by_row(vectors: Embeddings, data: GalleryData) -> FloatArray:
    """`(V, D)` the vectors in the order of the items table; zeros for an item without one."""
    table = vectors.item_vectors()
    return np.asarray(table.matrix[table.rows(data.item_ids)], dtype=np.float64)


def attribute_digest(data: GalleryData) -> str:
    """A hash of everything that an encoder may learn from, and of the groups."""
    table = data.attributes().to_pandas()
    hashes = np.asarray(pd.util.hash_pandas_object(table, index=False), dtype=np.uint64)
    return digest(" ".join(table.columns).encode() + hashes.tobytes() + data.groups.tobytes())


def digest(content: bytes) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
