"""Side tables and item vectors: their keys are keys, their numbers finite, their vectors can be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from features.duplicates import repeated
from features.errors import Fault, InputError
from features.findings import Findings
from features.ids import hash_ids, is_id_type, is_string, plain_type
from features.reading import read_batches, schema_of
from features.validation_rows import is_infinite, is_null

if TYPE_CHECKING:
    from features.log import Log
    from features.sidetables import SideTable

BATCH_ROWS = 65536


def check_side_table(table: SideTable, numeric: list[str], findings: Findings) -> bool:
    """Check the key and the numeric features of one side table; whether it can be joined."""
    if table.key not in table.types:
        for file in table.files:
            if table.key not in schema_of(file).names:
                findings.add(Fault("column is missing: the table is joined by it", file, table.key))
        return False
    if not is_id_type(table.types[table.key]):
        found = f"{table.types[table.key]}"
        findings.add(Fault("must be an id: integers or strings", table.files[0], table.key, value=found))
        return False
    numeric = [name for name in numeric if name in table.types]
    keys = _KeyCheck(table.key, findings)
    try:
        for file in table.files:
            first = 0
            for batch in read_batches(file, [table.key, *numeric], BATCH_ROWS):
                keys.see(file, first, batch.column(table.key))
                for name in numeric:
                    values = pa.chunked_array([batch.column(name)])
                    message = "must be finite (null or NaN for a missing number)"
                    findings.rows(is_infinite(values), message, file, name, first, values)
                first += batch.num_rows
    except InputError as error:
        findings.add(*error.faults)
        return False
    return keys.sound()


def check_vectors(dataset: Log, usable: set[str], findings: Findings) -> None:
    """Read the item vectors as training will, and note what is wrong with them or with the ids that ask for them."""
    from features.vectors import ItemVectors

    item, query = dataset.schema.columns.item, dataset.schema.columns.query_item
    try:
        key = plain_type(schema_of(dataset.vector_file).field(item).type)
        for name in (item, query):
            if name in usable and name is not None and is_string(dataset.type_of(name)) != is_string(key):
                message = f"must be of the kind that [files].vectors has in `{item}` ({key})"
                found = f"{dataset.type_of(name)}"
                findings.add(Fault(message, dataset.impression_files[0], name, value=found))
        ItemVectors.from_parquet(dataset.vector_file, item)
    except KeyError:
        findings.add(Fault("column is missing: vectors are looked up by it", dataset.vector_file, item))
    except InputError as error:
        findings.add(*error.faults)


class _KeyCheck:
    """Ids must be there and occur once. Ids are 64-bit hashes here; strings that collide would be a 1 in 10^7 event."""

    def __init__(self, key: str, findings: Findings) -> None:
        self.key, self.findings, self.faulty = key, findings, False
        self.parts: list[tuple[Path, int, pa.Array]] = []

    def see(self, file: Path, first: int, ids: pa.Array) -> None:
        null = is_null(pa.chunked_array([ids]))
        self.findings.rows(null, "must not be null", file, self.key, first)
        self.faulty |= bool(null.any())
        self.parts.append((file, first, ids))

    def sound(self) -> bool:
        """After the last batch: whether the ids are a key."""
        hashes = [hash_ids(ids) for _, _, ids in self.parts]
        everything = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
        again = np.zeros(len(everything), bool)
        suspects = repeated(everything)
        _, first = np.unique(everything[suspects], return_index=True)
        again[np.delete(suspects, first)] = True
        start = 0
        for file, first_row, ids in self.parts:
            repeats = again[start : start + len(ids)] & ids.is_valid().to_numpy(zero_copy_only=False)
            self.findings.rows(repeats, "must occur once, as a key does", file, self.key, first_row, ids)
            self.faulty |= bool(repeats.any())
            start += len(ids)
        return not self.faulty
