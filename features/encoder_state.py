"""Encoders as JSON-able metadata and named arrays, and back: what a model directory stores of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from features.fields import FieldEncoders, prefixed, unprefixed
from features.positions import PositionEncoder
from features.sidefeatures import SideFeatures
from features.vectors import ItemVectors

if TYPE_CHECKING:
    from features.encoders import Encoders

STATE_VERSION = 1


def encoders_state(encoders: Encoders, vectors: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """`Encoders.state`."""
    own, own_arrays = encoders.own.state()
    arrays = prefixed("own", own_arrays)
    meta: dict[str, Any] = {
        "version": STATE_VERSION,
        "own": own,
        "position": None if encoders.position is None else encoders.position.state(),
        "sides": [],
        "item": encoders.item,
        "query_item": encoders.query_item,
        "uses_vectors": encoders.vectors is not None,
        "vectors": None,
        "max_list_length": encoders.max_list_length,
    }
    for j, side in enumerate(encoders.sides):
        side_meta, side_arrays = side.state()
        meta["sides"].append(side_meta)
        arrays |= prefixed(f"side{j}", side_arrays)
    if vectors and encoders.vectors is not None:
        meta["vectors"], vector_arrays = encoders.vectors.state()
        arrays |= prefixed("vectors", vector_arrays)
    return meta, arrays


def encoders_from_state(
    meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray], vectors: ItemVectors | None
) -> Encoders:
    """`Encoders.from_state`."""
    from features.encoders import Encoders

    if meta["version"] != STATE_VERSION:
        raise ValueError(f"encoders must have version {STATE_VERSION}, got {meta['version']}")
    if meta["vectors"] is not None:
        vectors = ItemVectors.from_state(meta["vectors"], unprefixed("vectors", arrays))
    if meta["uses_vectors"] and vectors is None:
        raise ValueError("`vectors` must be given where the state leaves the item vectors out, got None")
    return Encoders(
        own=FieldEncoders.from_state(meta["own"], unprefixed("own", arrays)),
        position=None if meta["position"] is None else PositionEncoder.from_state(meta["position"]),
        sides=tuple(
            SideFeatures.from_state(side, unprefixed(f"side{j}", arrays)) for j, side in enumerate(meta["sides"])
        ),
        item=meta["item"],
        query_item=meta["query_item"],
        vectors=vectors,
        max_list_length=meta["max_list_length"],
    )


__all__ = ["encoders_from_state", "encoders_state"]
