"""Query-item ranking: the item being looked at joins by its own id; its vector and the cosine reach the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from evaluation import auc
from features import Dataset, Encoders, InputError, Inputs, ItemVectors, Schema, encode_log
from multitask import TrainingConfig
from ranking import NetworkConfig, Ranker, RankerConfig, TreesConfig, prepare
from ranking.boosted import tree_matrix
from ranking.network import RankingNetwork, query_cosine
from ranking.scorer import NetworkScorer

ITEMS, D, CANDIDATES = 80, 6, 8
COVERED = 70  # items 70..79 have no vector
CONFIG = RankerConfig(
    network=NetworkConfig(embedding_dim=4, hidden=(32,), dropout=0.0),
    training=TrainingConfig(epochs=8, batch_size=256, learning_rate=1e-2, precision="float32", ema_every=1),
    trees=TreesConfig(rounds=60, leaves=7, early_stopping=0, threads=1),
)


def vectors() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(COVERED, D)).astype(np.float32)


def a_log(requests: int = 1500) -> pa.Table:
    """Clicks follow nothing but the cosine with the query item; a quarter of the requests has no query item."""
    random = np.random.default_rng(6)
    full = np.zeros((ITEMS, D))
    full[:COVERED] = vectors()
    unit = full / np.maximum(np.linalg.norm(full, axis=1, keepdims=True), 1e-12)
    query = np.repeat(random.integers(0, ITEMS + 5, requests), CANDIDATES)  # 80..84 are in no table
    nobody = np.repeat(random.random(requests) < 0.25, CANDIDATES)
    item = random.integers(0, ITEMS, requests * CANDIDATES)
    known = ~nobody & (query < ITEMS)
    cosine = np.where(known, (unit[item] * unit[np.where(known, query, 0)]).sum(axis=1), 0.0)
    click = random.random(len(item)) < 1 / (1 + np.exp(1.5 - 4 * cosine))
    return pa.table(
        {
            "request": np.repeat(np.arange(requests), CANDIDATES),
            "item": item,
            "query": pa.array(query, mask=nobody),
            "price": random.normal(size=len(item)),
            "click": click.astype(np.int8),
        }
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("query")
    pq.write_table(a_log(), folder / "log.parquet")
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors().ravel()), D)
    pq.write_table(pa.table({"item": np.arange(COVERED), "vector": flat}), folder / "vectors.parquet")
    described = {
        "files": {"impressions": "log.parquet", "vectors": "vectors.parquet"},
        "columns": {"request": "request", "item": "item", "query_item": "query", "numeric": ["price"]},
        "heads": {"click": {}},
        "policy": {"duplicates": "keep"},
    }
    return Dataset(Schema.from_dict(described), folder)


@pytest.fixture(scope="module", params=["network", "lightgbm"])
def fitted(dataset: Dataset, request: pytest.FixtureRequest) -> Ranker:
    return Ranker.fit(dataset, CONFIG.model_copy(update={"model": request.param}))


def matching(dataset: Dataset, folder: Path, **columns: pa.Array) -> Dataset:
    """The data set with other `columns` in its log."""
    log = pq.read_table(dataset.folder / "log.parquet")
    for name, column in columns.items():
        log = log.set_column(log.column_names.index(name), name, column)
    pq.write_table(log, folder / "log.parquet")
    pq.write_table(pq.read_table(dataset.folder / "vectors.parquet"), folder / "vectors.parquet")
    return Dataset(dataset.schema, folder)


def test_queries_that_match_no_vector_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    log = pq.read_table(dataset.folder / "log.parquet")
    elsewhere = pa.array(log["item"].to_numpy() + 1000)
    nobody = pa.nulls(len(log), pa.int64())
    for query in (elsewhere, nobody):
        with pytest.raises(InputError, match=r"vectors\.parquet: holds no query item .* column `query`") as caught:
            prepare(matching(dataset, tmp_path, query=query), CONFIG, lambda _: None)
        assert len(caught.value.faults) == 1
    with pytest.raises(InputError, match="holds no item of the training rows") as caught:
        prepare(matching(dataset, tmp_path, query=elsewhere, item=elsewhere), CONFIG, lambda _: None)
    assert len(caught.value.faults) == 2
    train = prepare(matching(dataset, tmp_path, query=pa.array(log["item"].to_numpy())), CONFIG, lambda _: None).train
    assert train.inputs.query_row is not None
    assert (train.inputs.query_row != 0).any()


class Query:
    """Encoders with nothing but vectors and a query."""

    n_embeddings, fields, list_fields, numeric_names, query_item = 1, (), (), (), "query"
    offsets, list_offsets, list_sizes = (), (), ()

    def __init__(self, vectors: ItemVectors) -> None:
        self.vectors = vectors


def pairs(item: list[int], query: list[int]) -> Inputs:
    n = len(item)
    rows = (torch.tensor(part, dtype=torch.int32) for part in (item, query))
    return Inputs(torch.empty(n, 0, dtype=torch.int32), (), torch.empty(n, 0), *rows)


def test_cosine_of_absent_unknown_and_equal_queries(dataset: Dataset, fitted: Ranker) -> None:
    """0 without a query id, 0 for one without a vector, 1 for the candidate itself."""
    candidates = pa.table(
        {"item": [3, 3, 3, 75, 3], "query": pa.array([None, 78, 3, 3, 999]), "price": np.zeros(5), "request": [1] * 5}
    )
    inputs = fitted.encoders.encode(candidates, serving_position=True)
    assert inputs.item_row is not None
    assert inputs.query_row is not None
    assert inputs.item_row.tolist() == [4, 4, 4, 0, 4]
    assert inputs.query_row.tolist() == [0, 0, 4, 4, 0]
    matrix = torch.from_numpy(fitted.encoders.vectors.matrix)  # type: ignore[union-attr]
    cosine = query_cosine(matrix[inputs.item_row], matrix[inputs.query_row])
    np.testing.assert_allclose(cosine, [0, 0, 1, 0, 0], atol=1e-6)
    p = fitted.predict(candidates)["click"]
    assert p[0] == p[1] == p[4]  # no query, and a query of which nothing is known, are one case
    assert p[2] > p[0] + 0.2  # the candidate itself is most like what is looked at
    trees = tree_matrix(inputs, fitted.encoders)
    np.testing.assert_allclose(trees[:, -1], cosine, atol=1e-6)
    np.testing.assert_array_equal(trees[2, -1 - D : -1], vectors()[3])


def test_both_models_find_what_only_the_query_tells(dataset: Dataset, fitted: Ranker) -> None:
    log = encode_log(dataset, fitted.encoders, "test", serving_position=True)
    found = auc(log.labels[:, 0].numpy(), fitted.scorer.logits(log.inputs)[:, 0])
    without = dataset.schema.to_dict()
    del without["columns"]["query_item"]
    blind = Ranker.fit(Dataset(Schema.from_dict(without), dataset.folder), fitted.config)
    rest = encode_log(dataset, blind.encoders, "test", serving_position=True)
    assert rest.inputs.query_row is None
    assert found > auc(rest.labels[:, 0].numpy(), blind.scorer.logits(rest.inputs)[:, 0]) + 0.08


def test_save_and_load_keep_the_query(dataset: Dataset, fitted: Ranker, tmp_path: Path) -> None:
    rows = dataset.table("test").to_pandas()
    loaded = Ranker.load(fitted.save(tmp_path / "model"))
    pd.testing.assert_frame_equal(loaded.predict(rows), fitted.predict(rows), check_exact=True)


def test_a_column_without_any_query_is_read_whatever_its_type(fitted: Ranker) -> None:
    rows = pd.DataFrame({"item": [3, 4], "price": [0.0, 0.0], "request": [1, 1]})
    expected = fitted.predict(rows.assign(query=pd.array([None, None], "Int64")))
    for nothing in (np.nan, None, pd.array([None, None], "string")):
        pd.testing.assert_frame_equal(fitted.predict(rows.assign(query=nothing)), expected)


@pytest.fixture
def exact() -> RankingNetwork:
    """Integer weights, vectors along axes: every sum is exact in float32, in whatever order it is made."""
    random = np.random.default_rng(0)
    axes = (np.eye(3)[random.integers(0, 3, 9)] * random.choice([-3, -1, 2, 4], (9, 1))).astype(np.float32)
    table = ItemVectors.from_arrays("item", np.arange(9), axes)
    network = RankingNetwork(Query(table), NetworkConfig(hidden=(5, 4), dropout=0.0), 2, torch.from_numpy(table.matrix))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.from_numpy(random.integers(-3, 4, tuple(parameter.shape))))
    return network.eval()


def test_the_item_table_is_the_plain_network_bit_for_bit(exact: RankingNetwork) -> None:
    inputs = pairs(*np.random.default_rng(1).integers(0, 10, (2, 200)).tolist())
    scorer = NetworkScorer(exact)
    fast = scorer.logits(inputs)
    dense = scorer._dense
    assert dense is not None
    assert dense.item_table is not None  # it is the fast path that is compared
    assert dense.query_table is not None
    with torch.no_grad():
        plain = exact(inputs).numpy()
    np.testing.assert_array_equal(fast, plain)
    assert len(np.unique(plain[:, 0])) > 20
    same_item = NetworkScorer(exact).logits(pairs([4] * 10, list(range(10))))
    assert len(np.unique(same_item[:, 0])) > 2  # the query alone makes a difference


def test_the_cosine_reaches_the_logits(exact: RankingNetwork) -> None:
    """With the weights of the vectors at 0, nothing but the cosine is left, in the plain and in the fast path."""
    first = exact.trunk.first_linear
    assert first is not None
    with torch.no_grad():
        first.weight[:, 1:] = 0.0
    inputs = pairs([1, 1, 1, 0], [1, 0, 1, 1])
    fast = NetworkScorer(exact).logits(inputs)
    np.testing.assert_array_equal(fast[0], fast[2])
    np.testing.assert_array_equal(fast[1], fast[3])  # no query, no item: cosine 0 in either case
    assert not np.array_equal(fast[0], fast[1])


def test_gradients_are_finite_whatever_is_missing(exact: RankingNetwork) -> None:
    table = exact.vectors
    assert table is not None
    exact.vectors = table.clone().requires_grad_()
    exact(pairs([0, 0, 2, 2, 3], [0, 2, 0, 2, 4])).square().sum().backward()
    for parameter in (*exact.parameters(), exact.vectors):
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    first = exact.trunk.first_linear
    assert first is not None
    assert first.weight.grad is not None
    for columns in (slice(0, 1), slice(1, 4), slice(4, 7)):  # cosine, candidate, query item: each is learned from
        assert (first.weight.grad[:, columns] != 0).any()


def test_trees_get_vectors_and_cosine_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    table = ItemVectors.from_arrays("item", np.arange(4), np.random.default_rng(2).normal(size=(4, 3)))
    inputs = pairs([1, 2, 3, 4, 0], [2, 2, 0, 1, 3])
    encoders: Encoders = Query(table)  # type: ignore[assignment]
    whole = tree_matrix(inputs, encoders)
    item, query = table.matrix[[1, 2, 3, 4, 0]], table.matrix[[2, 2, 0, 1, 3]]
    norms = np.linalg.norm(item, axis=1) * np.linalg.norm(query, axis=1)
    cosine = np.divide((item * query).sum(axis=1), norms, out=np.zeros(5, np.float32), where=norms > 0)
    np.testing.assert_allclose(whole, np.column_stack([item, query, cosine]), rtol=1e-5, atol=1e-7)
    monkeypatch.setattr("ranking.boosted.MATRIX_ROWS", 2)
    np.testing.assert_array_equal(tree_matrix(inputs, encoders), whole)
