"""The command line of simulated experiments."""

from __future__ import annotations

from typing import Annotated

import typer

from galleryrank.cli_options import Format, Out, Quiet

simulate = typer.Typer(
    help="The synthetic marketplace answers a policy: what an experiment would show, beside the truth.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
Seed = Annotated[int, typer.Option("--seed", help="of the world, of training and of the experiment")]


@simulate.command(epilog="Example: galleryrank simulate ab --out runs/ab")
def ab(
    out: Out,
    seed: Seed = 0,
    requests: Annotated[int, typer.Option("--requests", help="of the experiment, both arms together")] = 2_000_000,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """An A/B of the multi-head ranker against the importance-weighted single head: lifts per engagement."""
    from galleryrank.simulate import simulate_ab

    simulate_ab(out, seed, requests, quiet, format)


@simulate.command("rounds", epilog="Example: galleryrank simulate rounds --out runs/rounds --rounds 3")
def simulated_rounds(
    out: Out,
    seed: Seed = 0,
    count: Annotated[int, typer.Option("--rounds", help="of experiments")] = 5,
    groups: Annotated[int, typer.Option("--groups", help="treatment groups of a round, beside the control")] = 4,
    requests_per_group: Annotated[
        int, typer.Option("--requests-per-group", help="that each group answers in a round")
    ] = 500_000,
    days_per_round: Annotated[int, typer.Option("--days-per-round", help="tastes drift while the rounds run")] = 1,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Hand-picked, offline-tuned and online-tuned weights after each round, by their true expected utility."""
    from galleryrank.simulate import simulate_rounds_run

    simulate_rounds_run(out, seed, count, groups, requests_per_group, quiet, format, days_per_round=days_per_round)


@simulate.command(epilog="Example: galleryrank simulate galleries --out runs/gallery-ab")
def galleries(
    out: Out,
    seed: Seed = 0,
    requests: Annotated[int, typer.Option("--requests", help="of each experiment, both arms together")] = 2_000_000,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """An A/B of the ranker with gallery vectors against the same without, on new properties and on known ones."""
    from galleryrank.simulate import simulate_galleries

    simulate_galleries(out, seed, requests, quiet, format)
