"""The command line of the explore page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galleryrank.cli_options import Quiet

app = typer.Typer()


@app.command(epilog="Examples: galleryrank explore runs/a --weights runs/a-weights; galleryrank explore runs/demo")
def explore(
    run_directory: Annotated[Path, typer.Argument(metavar="RUN", help="a run directory made by fit")],
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="a folder made by tune; default: RUN/weights, else the model's own weights"),
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="another dataset.toml; default: the run's own")] = None,
    role: Annotated[
        str | None,
        typer.Option("--role", help="calibrate, tune or test rows; default: tune, else calibrate; test is for judging"),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", help="above so many, whole requests are sampled")] = 100_000,
    requests: Annotated[int, typer.Option("--requests", help="requests whose candidates can be looked at")] = 12,
    photos: Annotated[bool, typer.Option("--photos/--no-photos", help="show the data set's photos")] = True,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", help="guardrails instead of the tuning's: save=0.9, or 0.9 for every wanted head"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="of every draw")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="the file; default: RUN/explore.html")] = None,
    quiet: Quiet = False,
) -> None:
    """A page on which to try utility weights by hand: sliders, PR-AUC at once, and the galleries of real requests.

    One file without a network: pass it on. It holds probabilities and outcomes of the rows, and the ids and photos of
    the requests that are shown.
    """
    from galleryrank.explore import explore_run

    explore_run(run_directory, weights, data, role, rows, requests, photos, keep or [], seed, out, quiet)
