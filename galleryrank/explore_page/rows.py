"""The rows that the page ranks: whole requests with the probabilities as they are served, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from evaluation import check_role
from evaluation.measured.ranker_scores import with_own_vectors
from features import Dataset, EncodedLog, InputError, encode_log
from ranking import Ranker
from ranking.rates import training_rate

LIMIT = 100_000  # rows: 100,000 rows of four heads are a page of 2.5 MB, and ranked anew within 50 ms


@dataclass(frozen=True, eq=False)
class PageRows:
    """N rows of R requests with T heads: request after request, within a request by item id, which breaks ties.

    Attributes:
        name: Of the data set, for people.
        role: calibrate, tune or test.
        signs: Head -> 1 or -1, the T heads in order.
        probabilities: `(N, T)` float32, calibrated, at the serving position.
        labels: `(N, T)` float32: 1, 0, or NaN where the label is missing.
        weights: `(N,)` float64, 1 / keep_prob.
        sizes: `(R,)` rows of each request.
        log_rows: `(N,)` int64, where the rows stand in the whole log.
        items: `(N,)` item ids, an Arrow array.
        all_rows, all_requests: How many there are in the role, of which these are a sample if they are fewer.
        seed: Of the sample.
    """

    name: str
    role: str
    signs: dict[str, int]
    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]
    log_rows: npt.NDArray[np.int64]
    items: pa.Array
    all_rows: int
    all_requests: int
    seed: int

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads in order."""
        return tuple(self.signs)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """`(R,)` the first row of each request."""
        return np.cumsum(self.sizes) - self.sizes


def read_rows(ranker: Ranker, dataset: Dataset, role: str = "tune", *, limit: int = LIMIT, seed: int = 0) -> PageRows:
    """Score the rows of a role as `galleryrank tune` does: calibrated, every row at the serving position.

    Args:
        ranker: With calibrated heads.
        dataset: Of the same heads; where it has item vectors, these and no others are used, as in `measure_ranker`.
        role: calibrate, tune or test.
        limit: Above so many rows whole requests are drawn at random until the next one would be too many; at least 1.
        seed: Of the draw.

    Raises:
        InputError: the train role, a role without rows, what `check_ranker` refuses, other heads than the data set's.
        ValueError: a limit below 1.
    """
    check_role(role)
    if limit < 1:
        raise ValueError(f"`limit` must be at least 1, got {limit}")
    check_ranker(ranker)
    if set(dataset.schema.head_names) != set(ranker.heads):
        raise InputError(
            f"the data set must have the model's heads {sorted(ranker.heads)}, got {sorted(dataset.schema.head_names)}"
        )
    ranker = with_own_vectors([ranker], dataset)[0]
    log = encode_log(dataset, ranker.encoders, role, serving_position=True)
    if not len(log):
        raise InputError(f"role {role!r} has no rows: change [split] in dataset.toml")
    codes = log.requests.numpy()
    all_requests = int(codes.max()) + 1
    kept = whole_requests(codes, limit, seed)
    if len(kept) < len(codes):
        log, rows = log.select(torch.from_numpy(kept)), len(codes)
    else:
        rows = len(kept)
    items = _items(dataset, role, log.row.numpy())
    order = _by_request_and_item(log.requests.numpy(), items)
    labels = [dataset.schema.head_names.index(head) for head in ranker.heads]  # a description may list them otherwise
    return PageRows(
        name=dataset.schema.name,
        role=role,
        signs={head: ranker.schema.heads[head].sign for head in ranker.heads},
        probabilities=_probabilities(ranker, log)[order],
        labels=log.labels.numpy()[:, labels][order],
        weights=(1.0 / log.keep_prob.numpy().astype(np.float64))[order],
        sizes=(sizes := np.bincount(log.requests.numpy()))[sizes > 0],
        log_rows=log.row.numpy()[order],
        items=items.take(pa.array(order)),
        all_rows=rows,
        all_requests=all_requests,
        seed=seed,
    )


def check_ranker(ranker: Ranker) -> None:
    """Refuse, as bad input, an importance-weighted single head, and one head: there is nothing to weigh."""
    if ranker.tree is None or len(ranker.heads) < 2:
        found = "an importance-weighted single head" if ranker.tree is None else f"the one head `{ranker.heads[0]}`"
        raise InputError(f"the page weighs the probabilities of at least two heads, but this ranker has {found}")


def whole_requests(codes: npt.NDArray[np.int64], limit: int, seed: int) -> npt.NDArray[np.int64]:
    """The rows, ascending, of requests drawn at random until the next one would make more than `limit` rows.

    Args:
        codes: `(N,)` the request 0 .. R - 1 of each row.
        limit: Rows; the first request drawn stays however long it is.
        seed: Of the draw.

    >>> whole_requests(np.array([0, 0, 1, 2, 2, 2]), 6, seed=0).tolist()
    [0, 1, 2, 3, 4, 5]
    >>> whole_requests(np.array([0, 0, 1, 2, 2, 2]), 4, seed=0).tolist()
    [3, 4, 5]
    """
    if len(codes) <= limit:
        return np.arange(len(codes))
    sizes = np.bincount(codes)
    drawn = np.random.default_rng(seed).permutation(len(sizes))
    fitting = int((np.cumsum(sizes[drawn]) <= limit).sum())
    chosen = np.zeros(len(sizes), bool)
    chosen[drawn[: max(fitting, 1)]] = True
    return np.flatnonzero(chosen[codes])


def _probabilities(ranker: Ranker, log: EncodedLog) -> npt.NDArray[np.float32]:
    rate = training_rate(ranker.schema, ranker.config, log)
    logits = ranker.scorer.logits(log.inputs)
    return np.exp(ranker.log_probabilities(logits, rate, inputs=log.inputs))[:, :-1].astype(np.float32)


def _items(dataset: Dataset, role: str, rows: npt.NDArray[np.int64]) -> pa.Array:
    """The item ids of the rows `(N,)`, ascending numbers in the whole log."""
    item = dataset.schema.columns.item
    parts = []
    for batch in dataset.scan([item], role):
        wanted = np.flatnonzero(np.isin(batch.rows, rows, assume_unique=True))
        parts.append(batch.table[item].take(pa.array(wanted)))
    ids = pa.concat_arrays([chunk for part in parts for chunk in part.chunks])
    return ids.dictionary_decode() if pa.types.is_dictionary(ids.type) else ids


def _by_request_and_item(codes: npt.NDArray[np.int64], items: pa.Array) -> npt.NDArray[np.intp]:
    """The order of rows by request, then by item id: the order in which `Ranker.rank` breaks ties."""
    _, item = np.unique(items.to_pandas().to_numpy(), return_inverse=True)
    return np.lexsort((item, codes))
