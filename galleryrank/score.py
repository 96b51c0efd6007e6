"""`galleryrank score`: Parquet to Parquet."""

from __future__ import annotations

import time
from pathlib import Path

from features import InputError, open_parquet, resolve_files
from galleryrank.console import Log
from galleryrank.run_directory import load_model, with_utility
from ranking import score_parquet
from ranking.scorer import Precision


def score_log(
    model: Path,
    log: str,
    out: Path,
    utility: str | None,
    logged_position: bool,
    precision: str,
    quiet: bool,
    vectors: Path | None = None,
) -> None:
    """Score `log` by a model or a run into `out`, with the `vectors` of items that are new since the fit."""
    if precision not in ("float32", "bfloat16"):
        raise InputError(f"--precision must be float32 or bfloat16, got {precision!r}")
    chosen: Precision = "bfloat16" if precision == "bfloat16" else "float32"
    say = Log(quiet)
    ranker = with_utility(load_model(model), utility)
    if vectors is not None:
        ranker = ranker.with_vectors(vectors)
    total = 0
    for file in resolve_files(Path(), [log]):
        with open_parquet(file) as parquet:
            total += parquet.metadata.num_rows
    began = time.perf_counter()
    with say.rows_bar("scoring", total) as done:
        rows = score_parquet(
            ranker,
            log,
            out,
            logged_position=logged_position,
            precision=chosen,
            progress=done,
            say=say,
        )
    seconds = time.perf_counter() - began
    say(f"{rows:,} rows in {seconds:.1f} s ({rows / max(seconds, 1e-9):,.0f} rows/s) -> {out}")
