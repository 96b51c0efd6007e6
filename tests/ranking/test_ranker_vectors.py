"""Item vectors in a fitted ranker: new items without a refit, vectors that are not the model's refused, coverage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import Dataset, InputError, ItemVectors
from ranking import Prepared, Ranker, RankerConfig, fit_prepared, prepare, score_parquet
from ranking.network_fitting import build_network
from ranking.vectors import check_vectors, vector_coverage

ONE, OTHER = "a1" * 32, "b2" * 32  # fingerprints of two encoders


def by(encoder: str | None, vectors: ItemVectors) -> ItemVectors:
    return ItemVectors(vectors.key, vectors.matrix, encoder)


def some(vectors: ItemVectors, ids: np.ndarray, scale: float = 1.0, encoder: str | None = ONE) -> ItemVectors:
    """Vectors of `ids`: those that `vectors` has of ids 0, 1, ..., times `scale`."""
    taken = vectors.matrix[vectors.rows(ids % len(vectors))]
    return ItemVectors.from_arrays("item_id", ids, taken * np.float32(scale), encoder)


@pytest.fixture(scope="module", params=["network", "lightgbm"])
def fitted(prepared: Prepared, small: RankerConfig, request: pytest.FixtureRequest) -> Ranker:
    """A ranker trained on the vectors of encoder ONE."""
    assert prepared.encoders.vectors is not None
    encoders = replace(prepared.encoders, vectors=by(ONE, prepared.encoders.vectors))
    training = small.training.model_copy(update={"epochs": 1})
    config = small.model_copy(update={"model": request.param, "training": training})
    return fit_prepared(replace(prepared, encoders=encoders), config)


@pytest.fixture(scope="module")
def vectors(fitted: Ranker) -> ItemVectors:
    assert fitted.encoders.vectors is not None
    return fitted.encoders.vectors


@pytest.fixture(scope="module")
def rows(prepared: Prepared, fitted: Ranker) -> pd.DataFrame:
    columns = fitted.encoders.required_columns(serving_position=True)
    return prepared.dataset.table("test", columns).to_pandas().head(300)


def test_a_new_item_is_scored_by_its_vector_without_a_refit(
    fitted: Ranker, vectors: ItemVectors, rows: pd.DataFrame
) -> None:
    ids = np.asarray(vectors.key.keys)
    new = rows.assign(item_id=rows["item_id"] + 10**6)
    blind = fitted.predict(new)
    seeing = fitted.with_vectors(ItemVectors.from_arrays("item_id", ids + 10**6, vectors.matrix[1:], ONE))
    assert not np.allclose(seeing.predict(new), blind)
    # nothing else is known of these items: the same vectors under yet other ids give the same probabilities
    moved = fitted.with_vectors(ItemVectors.from_arrays("item_id", ids + 10**9, vectors.matrix[1:], ONE))
    pd.testing.assert_frame_equal(moved.predict(rows.assign(item_id=rows["item_id"] + 10**9)), seeing.predict(new))
    pd.testing.assert_frame_equal(seeing.predict(rows), fitted.predict(rows))  # the old ones keep theirs
    assert fitted.encoders.vectors is vectors  # the ranker itself is as it was
    pd.testing.assert_frame_equal(fitted.predict(new), blind, check_exact=True)


def test_newer_vectors_of_an_old_item_win_and_replacing_forgets_the_rest(
    fitted: Ranker, vectors: ItemVectors, rows: pd.DataFrame
) -> None:
    ids = np.arange(0, 300, 2)
    turned = some(vectors, ids, scale=-1.0)
    updated = fitted.with_vectors(turned)
    odd = (rows["item_id"] % 2 == 1).to_numpy()
    before, after = fitted.predict(rows).to_numpy(), updated.predict(rows).to_numpy()
    np.testing.assert_allclose(after[odd], before[odd], rtol=1e-6)
    assert not np.allclose(after[~odd], before[~odd])
    forgotten = fitted.with_vectors(turned, replace=True)
    assert vector_coverage(forgotten.encode(rows)[1])["item"] == pytest.approx(1 - odd.mean())
    np.testing.assert_allclose(forgotten.predict(rows).to_numpy()[~odd], after[~odd], rtol=1e-6)
    zeros = ItemVectors.from_arrays("item_id", np.arange(300), np.zeros((300, vectors.dim)), ONE)
    nothing = fitted.with_vectors(zeros).predict(rows).to_numpy()
    np.testing.assert_allclose(forgotten.predict(rows).to_numpy()[odd], nothing[odd], rtol=1e-6)


def test_another_encoder_is_refused_with_both_fingerprints_and_the_remedy(
    fitted: Ranker, vectors: ItemVectors, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        fitted.with_vectors(by(OTHER, vectors))  # the same numbers do not excuse it
    message = str(caught.value)
    assert f"encoder {ONE[:12]} that the model was trained with" in message
    assert f"encoder {OTHER[:12]}:" in message
    assert "`galleryrank embed DATASET --encoder ENCODER_DIR --out DIR`" in message
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.matrix[1:].ravel()), vectors.dim)
    said = {"galleryrank.embedding": json.dumps({"encoder": OTHER, "dim": vectors.dim, "version": 1})}
    table = pa.table({"item_id": np.arange(300), "vector": flat}).replace_schema_metadata(said)
    pq.write_table(table, tmp_path / "other.parquet")
    with pytest.raises(InputError, match=rf"other\.parquet: item vectors must be those of the encoder {ONE[:12]}"):
        fitted.with_vectors(tmp_path / "other.parquet")


def test_a_table_without_a_fingerprint_must_extend_the_one_trained_on(fitted: Ranker, vectors: ItemVectors) -> None:
    ids = np.asarray(vectors.key.keys)
    assert fitted.with_vectors(by(None, vectors)) is fitted  # the same content
    more = ItemVectors.from_arrays(
        "item_id", np.r_[5000, ids[::-1]], np.vstack([vectors.matrix[7], vectors.matrix[:0:-1]]), None
    )
    extended = fitted.with_vectors(more)
    assert extended.encoders.vectors is not None
    assert extended.encoders.vectors.encoder == ONE  # what the ranker was trained with is not forgotten
    assert len(extended.encoders.vectors) == 301
    extended.with_vectors(by(ONE, vectors))
    changed = vectors.matrix.copy()
    changed[200, 3] = np.nextafter(changed[200, 3], np.float32(9))
    for foreign in (ItemVectors(vectors.key, changed), some(vectors, ids[1:], encoder=None)):
        with pytest.raises(InputError) as caught:
            fitted.with_vectors(foreign)
        assert f"table {foreign.fingerprint[:12]}" in str(caught.value)
        assert "the same table, or that with more items" in str(caught.value)


def test_a_model_trained_on_vectors_from_elsewhere_knows_its_table(ranker: Ranker) -> None:
    known = ranker.encoders.vectors
    assert known is not None
    assert known.encoder is None
    named = ranker.with_vectors(by(ONE, known)).encoders.vectors  # somebody says which encoder made it: no conflict
    assert named is known
    with pytest.raises(InputError, match=rf"those of the table {known.fingerprint[:12]} that"):
        ranker.with_vectors(ItemVectors(known.key, -known.matrix, ONE))


def test_widths_kinds_of_ids_and_encoders_are_told_at_once(
    fitted: Ranker, vectors: ItemVectors, prepared: Prepared
) -> None:
    words = ItemVectors.from_arrays("item_id", ["a", "b"], np.ones((2, 5)), OTHER)
    with pytest.raises(InputError) as caught:
        fitted.with_vectors(words)
    width, kind, origin = (fault.message for fault in caught.value.faults)
    assert width == f"item vectors must hold {vectors.dim} numbers as in training"
    assert "must be integers as in training, got strings" in kind
    assert OTHER[:12] in origin
    with pytest.raises(InputError, match="was fitted without item vectors: fit again"):
        check_vectors(None, vectors)
    with pytest.raises(ValueError, match="must have the width"):
        fitted.encoders.with_vectors(words)


def test_a_ranker_with_new_vectors_is_saved_with_them(
    fitted: Ranker, vectors: ItemVectors, rows: pd.DataFrame, tmp_path: Path
) -> None:
    changed = fitted.with_vectors(some(vectors, np.arange(400), scale=0.5))
    loaded = Ranker.load(changed.save(tmp_path / "model"))
    pd.testing.assert_frame_equal(loaded.predict(rows), changed.predict(rows), check_exact=True)
    recorded = json.loads((tmp_path / "model" / "config.json").read_text())["embedding"]
    assert recorded["encoder"] == ONE == loaded.encoders.vectors.encoder  # type: ignore[union-attr]
    assert (recorded["items"], recorded["dim"]) == (400, vectors.dim)
    assert recorded["fingerprint"] == loaded.encoders.vectors.fingerprint  # type: ignore[union-attr]
    assert f"made by the gallery encoder {ONE[:12]}" in (tmp_path / "model" / "README.md").read_text()
    with pytest.raises(InputError, match=OTHER[:12]):
        loaded.with_vectors(by(OTHER, vectors))


@pytest.fixture(scope="module")
def partial(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of vectors that lacks every third item of the world."""
    table = pq.read_table(world.parent / "vectors.parquet")
    kept = table.filter(pa.array(table["item_id"].to_numpy() % 3 != 0))
    path = tmp_path_factory.mktemp("partial") / "vectors.parquet"
    pq.write_table(kept, path)
    return path


def test_coverage_below_all_is_normal_and_said_once(world: Path, partial: Path, small: RankerConfig) -> None:
    said: list[str] = []
    dataset = Dataset.open(world, vectors=partial)
    data = prepare(dataset, small, said.append)
    ids = dataset.table("train", ["item_id"])["item_id"].to_numpy()
    share = float((ids % 3 != 0).mean())
    assert [line for line in said if "vectors" in line] == [f"vectors cover {100 * share:.1f} % of the training rows"]
    item_row = data.train.inputs.item_row
    assert item_row is not None
    np.testing.assert_array_equal(item_row.numpy() == 0, ids % 3 == 0)
    training = small.training.model_copy(update={"epochs": 1})
    fitted = fit_prepared(data, small.model_copy(update={"training": training}))
    assert fitted.info["vector_coverage"]["item"] == pytest.approx(share)
    assert np.isfinite(fitted.scorer.logits(data.held_out.inputs)).all()


def test_vectors_of_other_ids_are_refused(world: Path, tmp_path: Path, small: RankerConfig) -> None:
    table = pq.read_table(world.parent / "vectors.parquet")
    moved = table.set_column(0, "item_id", pa.array(table["item_id"].to_numpy() + 10**9))
    pq.write_table(moved, tmp_path / "vectors.parquet")
    with pytest.raises(InputError, match=r"vectors\.parquet: holds no item of the training rows"):
        prepare(Dataset.open(world, vectors=tmp_path / "vectors.parquet"), small, lambda _: None)


def test_scoring_a_log_tells_its_coverage(fitted: Ranker, prepared: Prepared, tmp_path: Path) -> None:
    columns = ["request_id", *fitted.encoders.required_columns(serving_position=True)]
    log = prepared.dataset.table("test", columns).slice(0, 100)
    unknown = pa.array(np.where(np.arange(100) < 25, 10**7, log["item_id"].to_numpy()))
    pq.write_table(log.set_column(log.column_names.index("item_id"), "item_id", unknown), tmp_path / "log.parquet")
    said: list[str] = []
    score_parquet(fitted, tmp_path / "log.parquet", tmp_path / "s.parquet", batch_rows=16, say=said.append)
    assert said == ["vectors cover 75.0 % of the rows"]


def scaled(prepared: Prepared, factor: float) -> Prepared:
    known = prepared.encoders.vectors
    assert known is not None
    other = ItemVectors(known.key, known.matrix * np.float32(factor), known.encoder)
    return replace(prepared, encoders=replace(prepared.encoders, vectors=other))


def test_the_unit_of_the_vectors_does_not_matter(prepared: Prepared, small: RankerConfig) -> None:
    """2^9 times the numbers give the same network bit for bit; other factors nearly the same."""
    config = small.model_copy(update={"training": small.training.model_copy(update={"epochs": 1})})
    inputs = prepared.train.inputs.slice(0, 200)
    expected = fit_prepared(prepared, config).scorer.logits(inputs)
    np.testing.assert_array_equal(fit_prepared(scaled(prepared, 512), config).scorer.logits(inputs), expected)
    other = config.model_copy(update={"network": config.network.model_copy(update={"vector_norm": 8.0})})
    assert not np.allclose(fit_prepared(prepared, other).scorer.logits(inputs), expected)


@pytest.mark.parametrize("norm", [0.5, 1.0, 6.0])
@pytest.mark.parametrize("factor", [1e-4, 1.0, 3e3])
def test_vectors_enter_at_the_length_asked_for(
    prepared: Prepared, small: RankerConfig, norm: float, factor: float
) -> None:
    config = small.model_copy(update={"network": small.network.model_copy(update={"vector_norm": norm})})
    network = build_network(scaled(prepared, factor).encoders, config, 2)
    assert network.vectors is not None
    assert network.vector_scale is not None
    assert np.log2(float(network.vector_scale)) % 1 == 0  # a power of two: scaling is exact
    entered = network.fixed(prepared.train.inputs)
    assert entered is not None
    length = float((network.vectors[1:] * network.vector_scale).square().sum(dim=1).mean().sqrt())
    assert norm / 2**0.5 <= length <= norm * 2**0.5
    newer = network.with_vectors(network.vectors * 3)
    assert newer.vector_scale == network.vector_scale  # new vectors are in the unit of those trained on
    assert newer.embedding.weight is network.embedding.weight
    with pytest.raises(ValueError, match=r"`vectors` must be \(V \+ 1, 64\)"):
        network.with_vectors(network.vectors[:, :5])


def test_vectors_of_nothing_but_zeros_have_no_length(prepared: Prepared, small: RankerConfig) -> None:
    network = build_network(scaled(prepared, 0.0).encoders, small, 2)
    assert network.vector_scale == 1.0
