"""The side tables of a world: items, users and item vectors."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from features.world.properties import LATENTS
from features.world.vectors import DIMENSION, item_vectors
from features.world.world import World


def items_table(world: World) -> pa.Table:
    """One row per property: what is recorded of it, what everybody sees of it, and what is true of it.

    Columns: item_id (int64); the 31 attributes named as in `attributes.TASKS`, null where missing; star_rating (1..5,
    null where nobody rated it); price, the standardised log euro that every user sees on the card, hence never missing;
    popularity (share of demand); photo_count; latent_quality .. latent_family, which no dataset.toml names.

    Examples
    --------
    >>> items_table(World.generate(properties=10, users=1)).column_names[:4]
    ['item_id', 'city', 'region', 'country']
    """
    properties = world.properties
    columns: dict[str, pa.Array] = {"item_id": pa.array(np.arange(len(properties)))}
    for name, values in world.attributes.items():
        columns[name] = pa.array(values, mask=world.missing[name])
    columns["price"] = pa.array(properties.price)
    columns["popularity"] = pa.array(properties.popularity)
    columns["photo_count"] = pa.array(np.diff(properties.photo_offsets))
    columns |= {f"latent_{name}": pa.array(properties.latents[:, i]) for i, name in enumerate(LATENTS)}
    return pa.table(columns)


def users_table(world: World) -> pa.Table:
    """One row per user: user_id (int64), segment (int32), and taste_quality .. taste_family, which nobody observes.

    Examples
    --------
    >>> users_table(World.generate(properties=2, users=3)).num_rows
    3
    """
    users = world.users
    columns = {"user_id": pa.array(np.arange(len(users))), "segment": pa.array(users.segment.astype(np.int32))}
    columns |= {f"taste_{name}": pa.array(users.taste[:, i]) for i, name in enumerate(LATENTS)}
    return pa.table(columns)


def vectors_table(world: World) -> pa.Table:
    """One row per property: item_id (int64) and vector (fixed_size_list of 64 float32).

    Examples
    --------
    >>> str(vectors_table(World.generate(properties=2, users=1)).schema.field("vector").type)
    'fixed_size_list<element: float>[64]'
    """
    vectors = item_vectors(world.seed, world.properties)
    # FixedSizeListArray names its values "item" in some versions of Arrow and "element" in others: named here instead
    dtype = pa.list_(pa.field("element", pa.float32()), DIMENSION)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=dtype)
    return pa.table({"item_id": pa.array(np.arange(len(vectors))), "vector": column})
