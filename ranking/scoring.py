"""Parquet to Parquet: score a log of any size in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features import Fault, InputError, Inputs, raise_faults, read_batches, resolve_files, schema_of
from ranking.ranker import SCORE, UTILITY, Ranker
from ranking.scorer import NetworkScorer, Precision, Scorer
from ranking.vectors import coverage_text, vector_coverage

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
    say: Callable[[str], None] | None = None,
) -> int:
    """Write request, item, user, position (those that the log has), one probability per head, `any` and the utility.

    `log` is a Parquet file, a folder or a glob; row order is kept. Probabilities are float32, the utility float64. The
    result appears under its name only when it is whole: a killed run leaves nothing there. `progress` receives the
    number of rows of each finished batch, `say` one line about the rows that have item vectors, where the model uses
    some. Returns the number of rows.

    Raises InputError naming the file that cannot be read, or every missing column at once.
    """
    names = [log] if isinstance(log, str | Path) else list(log)
    files = resolve_files(Path(), [str(n) for n in names])
    out = Path(out)
    if any(out.resolve() == f.resolve() for f in files):
        raise InputError(Fault("is the log itself: write the scores to another file", file=out))
    if isinstance(ranker.scorer, NetworkScorer):
        scorer: Scorer = ranker.scorer.with_precision(precision)
    else:
        scorer = ranker.scorer
    if out.is_dir():
        raise InputError(Fault("is a folder: name the file to write", file=out))
    columns, keys = _columns(ranker, files, logged_position)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    rows, writer = 0, None
    covered: dict[str, float] = {}  # rows with the vector of the item, and of the query item
    try:
        for file, first_row, table in _batches(files, columns, batch_rows):
            try:
                _, inputs = ranker.encode(table, logged_position=logged_position)
                scored = _score(ranker, scorer, table, inputs, keys, logged_position)
            except InputError as error:  # the encoders know column and row of what they were given, not the file
                raise InputError([_in_file(fault, file, first_row) for fault in error.faults]) from error
            if writer is None:
                # Scores are nearly all distinct: a dictionary of them would be built and thrown away.
                writer = pq.ParquetWriter(part, scored.schema, use_dictionary=keys, compression="snappy")
            writer.write_table(scored)
            rows += len(table)
            for name, share in vector_coverage(inputs).items():
                covered[name] = covered.get(name, 0.0) + share * len(table)
            if progress:
                progress(len(table))
        if writer is None:
            raise InputError(Fault("holds no rows to score", file=files[0]))
        writer.close()
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(out)
        if say and covered:
            say(coverage_text({name: count / rows for name, count in covered.items()}))
    except BaseException:
        if writer is not None and writer.is_open:
            writer.close()
        part.unlink(missing_ok=True)
        raise
    return rows


def _columns(ranker: Ranker, files: Sequence[Path], logged_position: bool) -> tuple[list[str], list[str]]:
    """(columns to read, those of them that are written through); every missing column of every file at once."""
    roles, encoders = ranker.schema.columns, ranker.encoders
    position = ranker.schema.position.column if ranker.schema.position else None
    required = [*encoders.required_columns(serving_position=not logged_position)]
    if ranker.schema.sampling and ranker.schema.sampling.negative_rate_column:
        required.append(ranker.schema.sampling.negative_rate_column)
    keys = [k for k in (roles.request, roles.item, roles.user, position) if k]
    # Side-table columns that come along in the log win over the model's own copy.
    wanted = dict.fromkeys([*keys, *required, *(c for side in encoders.sides for c in side.fields.columns)])
    faults: list[Fault] = []
    first: pa.Schema | None = None
    for file in files:
        schema = schema_of(file)
        faults += [Fault("is missing", file=file, column=c) for c in required if c not in schema.names]
        if first is None:
            first = schema
        for name in wanted:
            has, had = name in schema.names, name in first.names
            if has != had and name not in required:
                faults.append(
                    Fault(f"is in {files[0] if had else file} and not in {file if had else files[0]}", file, name)
                )
            elif has and had and name in keys and schema.field(name).type != first.field(name).type:
                message = f"must have the type {first.field(name).type} that it has in {files[0]}"
                faults.append(Fault(message, file, name, value=str(schema.field(name).type)))
    raise_faults(faults)
    read = [c for c in wanted if first is not None and c in first.names]
    return read, [k for k in keys if k in read]


def _batches(files: Sequence[Path], columns: Sequence[str], batch_rows: int) -> Iterator[tuple[Path, int, pa.Table]]:
    """(file, number of the first row in it, rows)."""
    for file in files:
        at = 0
        for batch in read_batches(file, columns, batch_rows):
            yield file, at, pa.Table.from_batches([batch])
            at += len(batch)


def _in_file(fault: Fault, file: Path, first_row: int) -> Fault:
    if fault.file is not None:
        return fault
    return replace(fault, file=file, row=None if fault.row is None else fault.row + first_row)


def _score(
    ranker: Ranker, scorer: Scorer, table: pa.Table, inputs: Inputs, keys: Sequence[str], logged_position: bool
) -> pa.Table:
    logits = scorer.logits(inputs)
    out = {k: table[k] for k in keys}
    if ranker.tree is None:
        return pa.table(out | {SCORE: logits[:, 0]})
    rate = ranker.negative_rate(table)
    p = np.exp(ranker.log_probabilities(logits, rate, logged_position=logged_position, inputs=inputs))
    out |= {name: p[:, j].astype(np.float32) for j, name in enumerate(ranker.tree.nodes)}
    if ranker.utility is not None:
        out[UTILITY] = ranker.utility.score(p[:, :-1], heads=ranker.heads)
    return pa.table(out)
