"""Parquet to Parquet: score a log of any size in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features import Fault, InputError, open_parquet, read_batches, resolve_files
from ranking.ranker import SCORE, UTILITY, Ranker
from ranking.scorer import NetworkScorer, Precision, Scorer

BATCH_ROWS = 65536  # rows in memory at once


def score_parquet(
    ranker: Ranker,
    log: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    logged_position: bool = False,
    precision: Precision = "float32",
    batch_rows: int = BATCH_ROWS,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write request, item, user, position (those that the log has), one probability per head, `any` and the utility.

    `log` is a Parquet file, a folder or a glob; row order is kept. Probabilities are float32, the utility float64. The
    result appears under its name only when it is whole: a killed run leaves nothing there. `progress` receives the
    number of rows of each finished batch. Returns the number of rows.

    Raises InputError naming the file that cannot be read, or every missing column at once.
    """
    names = [log] if isinstance(log, str | Path) else list(log)
    files = resolve_files(Path(), [str(n) for n in names])
    out = Path(out)
    if any(out.resolve() == f.resolve() for f in files):
        raise InputError(Fault("is the log itself: write the scores to another file", file=out))
    out.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(ranker.scorer, NetworkScorer):
        scorer: Scorer = ranker.scorer.with_precision(precision)
    else:
        scorer = ranker.scorer
    columns, keys = _columns(ranker, files, logged_position)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    rows, writer = 0, None
    try:
        for batch in _batches(files, columns, batch_rows):
            table = pa.Table.from_batches([batch])
            scored = _score(ranker, scorer, table, keys, logged_position)
            if writer is None:
                # Scores are nearly all distinct: a dictionary of them would be built and thrown away.
                writer = pq.ParquetWriter(part, scored.schema, use_dictionary=keys, compression="snappy")
            writer.write_table(scored)
            rows += len(table)
            if progress:
                progress(len(table))
        if writer is None:
            raise InputError(Fault("holds no rows to score", file=files[0]))
        writer.close()
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(out)
    except BaseException:
        if writer is not None and writer.is_open:
            writer.close()
        part.unlink(missing_ok=True)
        raise
    return rows


def _columns(ranker: Ranker, files: Sequence[Path], logged_position: bool) -> tuple[list[str], list[str]]:
    """(columns to read, those of them that are written through)."""
    roles = ranker.schema.columns
    keys = [roles.request, roles.item, roles.user, ranker.schema.position.column if ranker.schema.position else None]
    encoders = ranker.encoders
    wanted = [k for k in keys if k] + encoders.required_columns(serving_position=not logged_position)
    # Side-table columns that come along in the log win over the model's own copy.
    wanted += [c for side in encoders.sides for c in side.fields.columns]
    if ranker.schema.sampling and ranker.schema.sampling.negative_rate_column:
        wanted.append(ranker.schema.sampling.negative_rate_column)
    present = None
    for file in files:
        with open_parquet(file) as parquet:
            names = set(parquet.schema_arrow.names)
        present = names if present is None else present & names
    read = [c for c in dict.fromkeys(wanted) if c in (present or set())]
    return read, [k for k in keys if k in read]


def _batches(files: Sequence[Path], columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    for file in files:
        yield from read_batches(file, columns, batch_rows)


def _score(ranker: Ranker, scorer: Scorer, table: pa.Table, keys: Sequence[str], logged_position: bool) -> pa.Table:
    _, inputs = ranker.encode(table, logged_position=logged_position)
    logits = scorer.logits(inputs)
    out = {k: table[k] for k in keys}
    if ranker.tree is None:
        return pa.table(out | {SCORE: logits[:, 0]})
    p = np.exp(ranker.log_probabilities(logits, ranker.negative_rate(table), logged_position=logged_position))
    out |= {name: p[:, j].astype(np.float32) for j, name in enumerate(ranker.tree.nodes)}
    if ranker.utility is not None:
        out[UTILITY] = ranker.utility.score(p[:, :-1], heads=ranker.heads)
    return pa.table(out)
