"""Measuring a ranker on a role: which rows, which position, which stages, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation import average_precision, measure_ranker
from features import Dataset, InputError, ItemVectors, Schema, encode_log
from ranking import Ranker


@pytest.fixture(scope="module")
def dataset(world: Path) -> Dataset:
    return Dataset.open(world)


def test_the_numbers_are_those_of_the_roles_rows_at_the_serving_position(ranker: Ranker, dataset: Dataset) -> None:
    metrics = measure_ranker(ranker, dataset, "test").metrics
    rows = dataset.table("test").to_pandas()
    p = ranker.predict(rows)
    for head in ranker.heads:
        expected = average_precision(rows[head], p[head])
        assert metrics["heads"][head]["ap"]["value"] == pytest.approx(expected, abs=1e-9)
        assert metrics["heads"][head]["ratio"]["value"] == pytest.approx(p[head].sum() / rows[head].sum(), rel=1e-9)
    assert metrics["rows"] == len(rows)
    assert not metrics["weighted"]


def test_a_sampled_role_is_weighted_by_the_keep_probability(ranker: Ranker, dataset: Dataset) -> None:
    """The calibrate rows are sampled at 0.2: weighted, they count as the full log's."""
    metrics = measure_ranker(ranker, dataset, "calibrate").metrics
    rows = dataset.table("calibrate", ["keep_prob"]).to_pandas()
    assert metrics["weighted"]
    assert metrics["weight"] == pytest.approx((1 / rows["keep_prob"]).sum(), rel=1e-6)
    assert any("flatter" in note for note in metrics["notes"])


def test_stages_before_the_refit_are_at_the_logged_position(ranker: Ranker, dataset: Dataset) -> None:
    """There the outcomes arose: their ratio is that of `predict(stage="corrected", logged_position=True)`."""
    metrics = measure_ranker(ranker, dataset, "test").metrics
    rows = dataset.table("test").to_pandas()
    p = ranker.predict(rows, stage="corrected", logged_position=True)["click_corrected"]
    found = [
        r
        for r in metrics["calibration"]
        if (r["head"], r["slice"], r["stage"]) == ("click", "all", "corrected (logged)")
    ]
    assert found[0]["ratio"] == pytest.approx(p.sum() / rows["click"].sum(), rel=1e-9)
    logged = measure_ranker(ranker, dataset, "test", logged_position=True).metrics
    assert logged["stages"] == ["sampled", "naive", "corrected", "calibrated"]


def test_baselines_of_both_kinds_are_compared(
    ranker: Ranker, trees: Ranker, importance: Ranker, dataset: Dataset
) -> None:
    found = measure_ranker(ranker, dataset, baselines={"trees": trees, "single": importance}).metrics["comparisons"]
    assert {r["by"] for r in found["trees"]} == {"own probability"}
    assert {r["by"] for r in found["single"]} == {"own probability", "utility"}
    same = measure_ranker(ranker, dataset, baselines={"itself": ranker}).metrics["comparisons"]["itself"]
    assert all(r["difference"] == 0 for r in same)


def test_labels_that_are_not_final_are_left_out_and_said(ranker: Ranker, dataset: Dataset, world: Path) -> None:
    description = dataset.schema.to_dict()
    description["heads"]["save"]["maturity"] = "3d"
    young = Dataset(Schema.from_dict(description), world.parent, world)
    log = encode_log(young, ranker.encoders, "test", serving_position=True)
    assert 0 < log.immature["save"] < len(log)
    metrics = measure_ranker(ranker, young, "test").metrics
    assert metrics["heads"]["save"]["rows"] == int(np.isfinite(log.labels[:, 3].numpy()).sum())
    assert any("save" in note and "final" in note for note in metrics["notes"])


def test_the_data_sets_own_vectors_are_measured_with(
    ranker: Ranker, trees: Ranker, dataset: Dataset, world: Path, tmp_path: Path
) -> None:
    """Part of the items, by the same table: model and baselines see these and no others, and the share is told."""
    whole = measure_ranker(ranker, dataset, "test").metrics
    assert whole["meta"]["rows with an item vector"] == 1.0
    table = pq.read_table(world.parent / "vectors.parquet")
    named = {"galleryrank.embedding": json.dumps({"encoder": "ab", "version": 1})}
    known = ranker.encoders.vectors
    assert known is not None
    ours = replace(ranker, encoders=replace(ranker.encoders, vectors=ItemVectors(known.key, known.matrix, "ab")))
    kept = table.filter(pa.array(table["item_id"].to_numpy() % 2 == 0)).replace_schema_metadata(named)
    pq.write_table(kept, tmp_path / "half.parquet")
    half = Dataset.open(world, vectors=tmp_path / "half.parquet")
    metrics = measure_ranker(ours, half, "test", baselines={"itself": ours}).metrics
    even = dataset.table("test", ["item_id"])["item_id"].to_numpy() % 2 == 0
    assert metrics["meta"]["rows with an item vector"] == pytest.approx(even.mean())
    assert metrics["heads"]["click"]["auc"]["value"] != whole["heads"]["click"]["auc"]["value"]
    assert all(r["difference"] == 0 for r in metrics["comparisons"]["itself"])
    with pytest.raises(InputError, match=r"half\.parquet: item vectors must be those of the table"):
        measure_ranker(trees, half, "test")
    none = Dataset.open(world, vectors=False)  # a log described without vectors: the model has them
    assert measure_ranker(ranker, none, "test").metrics["heads"] == whole["heads"]


def test_what_cannot_be_measured_is_refused(ranker: Ranker, importance: Ranker, dataset: Dataset, world: Path) -> None:
    with pytest.raises(InputError, match="the model has seen it"):
        measure_ranker(ranker, dataset, "train")
    with pytest.raises(InputError, match="only be a baseline"):
        measure_ranker(importance, dataset)
    description = dataset.schema.to_dict()
    del description["heads"]["save"]
    fewer = Dataset(Schema.from_dict(description), world.parent, world)
    with pytest.raises(InputError, match="must have the model's heads"):
        measure_ranker(ranker, fewer)
    assert ranker.tree is not None
    other = replace(ranker, tree=replace(ranker.tree, heads=("a", "b", "c", "d")))
    with pytest.raises(InputError, match="a baseline must have the heads"):
        measure_ranker(ranker, dataset, baselines={"other": other})
