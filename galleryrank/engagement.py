"""What a log says of pairs of items: engaged with in one request, on rows that nothing was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.gallery.co_engaged import co_engaged_pairs
from features import Dataset, Fault, InputError
from features.dataset import role_codes
from features.ids import IdIndex, hash_ids, is_string
from features.schema_file import read_toml

HELD, EARLIER = ("tune", "test"), "train"


@dataclass(frozen=True, eq=False)
class Engagement:
    """Co-engaged items as rows of a matrix of vectors.

    Attributes:
        pairs: `(P, 2)` rows, of the tune and test rows of the log.
        popularity: `(V,)` engagements of each item in the train rows.
        heads: What counts as engaged: any of these.
    """

    pairs: np.ndarray
    popularity: np.ndarray
    heads: tuple[str, ...]


def has_log(dataset: Path) -> bool:
    """Whether a dataset.toml (or the one in a folder) names impressions."""
    files = read_toml(dataset / "dataset.toml" if dataset.is_dir() else dataset).get("files")
    return isinstance(files, dict) and "impressions" in files


def read_engagement(dataset: Path, ids: pa.Array) -> Engagement:
    """Read the log of a data set.

    Popularity is counted on the train rows alone: on the rows of the pairs it would know the answer.

    Args:
        dataset: dataset.toml or its folder.
        ids: `(V,)` the items with a vector.

    Raises:
        InputError: The log's description or its files cannot be used.
    """
    log = Dataset.open(dataset, vectors=False)
    schema = log.schema
    heads = {name: head.column for name, head in schema.heads.items() if head.sign == 1}
    request, item = schema.columns.request, schema.columns.item
    if is_string(log.type_of(item)) != is_string(ids.type):
        message = f"must be ids as in the items table ({ids.type}), got {log.type_of(item)}"
        raise InputError(Fault(message, log.impression_files[0], item))
    index, held = IdIndex(ids), role_codes(HELD)
    requests, items, popularity = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], np.zeros(len(ids))
    for batch in log.scan([request, item, *dict.fromkeys(heads.values())], (*HELD, EARLIER)):
        taken = np.zeros(len(batch.role), bool)
        for column in heads.values():
            one = pc.equal(batch.table[column].cast(pa.float64()), 1.0).fill_null(False)
            taken |= one.to_numpy()
        asked = taken & np.isin(batch.role, held)
        rows = index.rows(batch.table[item])
        requests.append(hash_ids(batch.table[request])[asked])
        items.append(rows[asked])
        earlier = rows[taken & ~asked]
        popularity += np.bincount(earlier[earlier >= 0], minlength=len(ids))
    every = np.concatenate(items)
    pairs = co_engaged_pairs(np.concatenate(requests), every, np.ones(len(every)))
    return Engagement(pairs, popularity, tuple(heads))
