"""The embedding store: what is opened is what was written, bit for bit, and anything else is refused by file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import InputError
from features.gallery.store import ROWS, Embeddings
from features.vector_reading import METADATA
from features.vectors import ItemVectors

ENCODER, PHOTOS = "e" * 64, "p" * 64


def embeddings(rows: int = 7, dim: int = 3, strings: bool = False) -> Embeddings:
    matrix = np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float32)
    ids = np.arange(100, 100 + rows)[::-1].copy()
    return Embeddings(ids.astype(str) if strings else ids, matrix, ENCODER, PHOTOS, "hotel")


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("strings", [True, False])
def test_what_is_opened_is_what_was_written(tmp_path: Path, mmap: bool, strings: bool) -> None:
    written = embeddings(strings=strings)
    opened = Embeddings.open(written.write(tmp_path / "new" / "vectors.parquet"), mmap=mmap)
    assert opened.ids.tolist() == written.ids.tolist()
    assert opened.matrix.tobytes() == written.matrix.tobytes()
    assert (opened.encoder, opened.photos, opened.item, opened.dim) == (ENCODER, PHOTOS, "hotel", 3)
    assert isinstance(opened.matrix, np.memmap) == mmap
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"vectors.parquet", "vectors.npy"}


def test_several_row_groups(tmp_path: Path) -> None:
    written = embeddings(ROWS + 5, 2)
    path = written.write(tmp_path / "vectors.parquet")
    assert pq.ParquetFile(path).num_row_groups == 2
    assert Embeddings.open(path, mmap=False).matrix.tobytes() == written.matrix.tobytes()


def test_the_file_is_what_the_item_vector_role_reads(tmp_path: Path) -> None:
    written = embeddings()
    path = written.write(tmp_path / "vectors.parquet")
    read, direct = ItemVectors.from_parquet(path, "hotel"), written.item_vectors()
    assert read.fingerprint == direct.fingerprint
    assert direct.matrix[direct.rows(np.array([103]))[0]].tolist() == written.matrix[3].tolist()
    assert not direct.matrix[0].any()
    head = json.loads(pq.read_schema(path).metadata[METADATA])
    assert (head["encoder"], head["photos"], head["dim"], head["version"]) == (ENCODER, PHOTOS, 3, 1)


def test_writing_again_replaces(tmp_path: Path) -> None:
    embeddings(9).write(tmp_path / "vectors.parquet")
    path = embeddings(4).write(tmp_path / "vectors.parquet")
    assert len(Embeddings.open(path)) == 4


def test_a_truncated_matrix_and_one_of_another_file_are_refused(tmp_path: Path) -> None:
    path = embeddings().write(tmp_path / "a.parquet")
    matrix = path.with_suffix(".npy")
    whole = matrix.read_bytes()
    matrix.write_bytes(whole[:-8])
    with pytest.raises(InputError, match=r"a\.npy.*(damaged|must hold)"):
        Embeddings.open(path)
    matrix.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=r"a\.npy.*embed again"):
        Embeddings.open(path)
    assert Embeddings.open(path, mmap=False).matrix.tobytes() == embeddings().matrix.tobytes()
    matrix.unlink()
    with pytest.raises(InputError, match=r"a\.npy.*missing.*mmap=False"):
        Embeddings.open(path)


def test_a_truncated_table_and_a_table_from_elsewhere_are_refused(tmp_path: Path) -> None:
    path = embeddings().write(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"a\.parquet.*damaged"):
        Embeddings.open(path)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"hotel": [1], "vector": [[1.0]]}), other)
    with pytest.raises(InputError, match=r"other\.parquet.*not made by an encoder"):
        Embeddings.open(other)
    head = json.dumps({"encoder": ENCODER, "version": 1, "dim": "3"})
    pq.write_table(pa.table({"hotel": [1]}).replace_schema_metadata({METADATA: head}), other)
    with pytest.raises(InputError, match="must name 'photos'") as caught:
        Embeddings.open(other)
    assert len(caught.value.faults) == 4  # photos, dim, sha256, and no vectors


@pytest.mark.parametrize(
    "damage", [b"{", b"[]", b'{"version": 1}', json.dumps({"encoder": ENCODER, "version": 2}).encode()]
)
def test_what_the_item_vector_role_does_not_understand_the_store_refuses_alike(tmp_path: Path, damage: bytes) -> None:
    path = embeddings().write(tmp_path / "a.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata({METADATA: damage}), path)
    said = []
    for read in (lambda: Embeddings.open(path), lambda: ItemVectors.from_parquet(path, "hotel")):
        with pytest.raises(InputError, match=r"a\.parquet: metadata 'galleryrank.embedding' must") as caught:
            read()
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_wrong_arguments_are_refused() -> None:
    matrix = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"`matrix` must be \(3, D\) float32, got \(2, 3\)"):
        Embeddings(np.arange(3), matrix, ENCODER, PHOTOS)
    with pytest.raises(ValueError, match="float64"):
        Embeddings(np.arange(2), matrix.astype(float), ENCODER, PHOTOS)
    with pytest.raises(ValueError, match="1 repeated"):
        Embeddings(np.array([4, 4]), matrix, ENCODER, PHOTOS)
