"""The command line of the evaluation: one model on held-out rows, or gated by another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galleryrank.cli_options import Format, Logged, Quiet

app = typer.Typer()


@app.command(
    epilog="Example: galleryrank evaluate runs/a --slice platform --slice position; "
    "galleryrank evaluate runs/new --against runs/production --gate rules.toml --junit gate.xml; "
    "galleryrank evaluate --scores new.parquet --data dataset.toml --against production.parquet --out gate. "
    "Exit codes with a baseline: 0 no head lost more than it may, 1 one did, 3 the rows are too few to tell."
)
def evaluate(
    run_directory: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="the candidate: a run directory made by fit", show_default=False),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="the candidate as Parquet of any system: request, item, a probability per head"),
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="another dataset.toml; default: the run's own")] = None,
    role: Annotated[str, typer.Option("--role", help="calibrate, tune or test rows (train rows are refused)")] = "test",
    against: Annotated[
        Path | None,
        typer.Option("--against", help="gate against this baseline: a run, a model directory or Parquet of scores"),
    ] = None,
    against_scores: Annotated[
        Path | None, typer.Option("--against-scores", help="the baseline as Parquet of scores: a file, folder or glob")
    ] = None,
    gate: Annotated[
        Path | None, typer.Option("--gate", help="TOML of what each head may lose; default: 2 % of its PR-AUC")
    ] = None,
    slice_: Annotated[
        list[str] | None,
        typer.Option("--slice", help="look into each value of a column: platform, items.city, position; repeatable"),
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="write the gate's tests as JUnit XML here")] = None,
    counterfactual: Annotated[
        bool,
        typer.Option("--counterfactual", help="what the new order would have earned, from the log's propensities"),
    ] = False,
    utility: Annotated[str | None, typer.Option("--utility", help="other weights: click=1,long_click=2")] = None,
    logged_position: Logged = False,
    out: Annotated[Path | None, typer.Option("--out", help="where to write; default: the run directory")] = None,
    format: Format = "text",
    vectors: Annotated[Path | None, typer.Option("--vectors", help="item vectors instead of [files].vectors")] = None,
    quiet: Quiet = False,
) -> None:
    """Measure a model on held-out rows, and gate it against another: metrics.json with intervals, report.html."""
    from galleryrank.evaluate import evaluate_run
    from galleryrank.evaluate_options import EvaluateOptions

    options = EvaluateOptions(
        run_directory, scores, data, role, against, against_scores, gate, tuple(slice_ or ()), junit,
        counterfactual=counterfactual, utility=utility, logged_position=logged_position, out=out, vectors=vectors,
    )  # fmt: skip
    raise typer.Exit(evaluate_run(options, format, quiet))
