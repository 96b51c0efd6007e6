"""The command line: verbs, their options and their help. The work is done in the module of the verb's name.

Only typer is imported here, so that `galleryrank --help` is quick.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from _galleryrank_siblings import require_siblings
from galleryrank import cli_evaluate, cli_explore, cli_galleries, cli_simulate, cli_weights
from galleryrank.cli_options import Device, Logged, Out, Quiet
from galleryrank.exits import run

app = typer.Typer(
    help="Rank things with photo galleries: calibrated multi-head engagement models, a utility on top, the evidence.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 pass, 1 regression, 2 bad input, 3 inconclusive, 70 internal error, 130 interrupted.",
)


@app.command(epilog="Example: galleryrank check log.parquet --out dataset.toml")
def check(
    log: Annotated[Path, typer.Argument(help="a dataset.toml, its folder, or a Parquet log to draft one for")],
    out: Annotated[Path | None, typer.Option("--out", help="write the drafted dataset.toml here")] = None,
    quiet: Quiet = False,
) -> None:
    """List a log's faults; for a bare Parquet log draft its dataset.toml first. Trains nothing."""
    from galleryrank.check import check_log

    raise typer.Exit(check_log(log, out, quiet))


@app.command(epilog="Example: galleryrank fit dataset.toml --out runs/a --set training.epochs=5")
def fit(
    dataset: Annotated[Path, typer.Argument(help="a dataset.toml or its folder")],
    out: Out,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of settings")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="one setting, a.b=c; may be repeated")] = None,
    device: Device = None,
    vectors: Annotated[
        str | None,
        typer.Option("--vectors", help="item vectors instead of [files].vectors; none: fit without galleries"),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Fit a calibrated multi-head ranker and its baselines. A killed fit goes on where it was when run again."""
    from galleryrank.fit import fit_run

    fit_run(dataset, out, config, set_ or [], device, quiet, vectors)


@app.command(epilog="Example: galleryrank score runs/a log.parquet --out scores.parquet")
def score(
    model: Annotated[Path, typer.Argument(help="a run or a model directory")],
    log: Annotated[str, typer.Argument(help="Parquet file, folder or glob of candidates")],
    out: Out,
    utility: Annotated[str | None, typer.Option("--utility", help="other weights: click=1,long_click=2")] = None,
    logged_position: Logged = False,
    precision: Annotated[str, typer.Option("--precision", help="float32, or bfloat16: faster")] = "float32",
    vectors: Annotated[
        Path | None, typer.Option("--vectors", help="vectors of new items, by the encoder that the model was fitted on")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Score a log of any size, Parquet to Parquet, in bounded memory."""
    from galleryrank.score import score_log

    score_log(model, log, out, utility, logged_position, precision, quiet, vectors)


app.add_typer(cli_evaluate.app)
app.add_typer(cli_weights.app)
app.add_typer(cli_explore.app)
app.add_typer(cli_weights.rounds, name="rounds")
app.add_typer(cli_simulate.simulate, name="simulate")
app.add_typer(cli_galleries.app)


@app.command(epilog="Example: galleryrank demo --out runs/demo")
def demo(
    out: Out = Path("runs/demo"),
    seed: Annotated[int, typer.Option("--seed", help="of the generated world and of training")] = 0,
    quiet: Quiet = False,
) -> None:
    """The whole story on a synthetic marketplace whose true probabilities are known; about two minutes."""
    from galleryrank.demo import run_demo

    run_demo(out, seed, quiet)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    # Waiting OpenMP threads sleep instead of spinning. Where another process wants the core, spinning made training
    # seven times slower; on an idle machine the difference is small. It is read when torch and LightGBM are loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return run(lambda: _dispatch(arguments))


def _dispatch(arguments: list[str] | None) -> int:
    require_siblings(__file__)  # here and not in __init__: a hidden package then ends in exit code 2 and one line
    try:
        app(args=arguments, prog_name="galleryrank")
    except SystemExit as stop:  # how typer ends, with 2 for a mistyped option
        return stop.code if isinstance(stop.code, int) else 0
    return 0
