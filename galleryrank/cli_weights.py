"""The command line of utility weights: tune, weights, and the verbs of online rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galleryrank.cli_options import Format, Logged, Out, Quiet

app = typer.Typer()


@app.command(
    epilog="Examples: galleryrank tune runs/a --out runs/a-weights --maximise long_click --keep 0.95 --keep save=0.9; "
    "galleryrank tune dataset.toml --scores scores.parquet --baseline click=0.5,save=0.5 --maximise click --out runs/w"
)
def tune(
    source: Annotated[Path, typer.Argument(help="a run made by fit; with --scores a dataset.toml or its folder")],
    out: Out,
    maximise: Annotated[str, typer.Option("--maximise", help="a head, or business values: click=1,save=3")],
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="Parquet of any production system: request, item, one probability per head"),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            help="the weights in production: click=0.5,save=0.5, a TOML file or a run's folder; default: those of the "
            "study in OUT, else the model's own",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            help="share of the baseline's metric to keep: save=0.9, or 0.9 for every other wanted head; of an unwanted "
            "head the most it may have: hide=1 (must not rise), hide=1.05 (by 5 % at most)",
        ),
    ] = None,
    bound: Annotated[
        list[str] | None, typer.Option("--bound", help="a weight's share of the sum: save=0:0.5; may be repeated")
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="pr_auc, mean_ap, ndcg@K or expected_utility@K")] = "pr_auc",
    margin: Annotated[
        float | None, typer.Option("--margin", help="paired standard errors to keep from each guardrail; default 2.5")
    ] = None,
    trials: Annotated[int, typer.Option("--trials", help="proposals of Bayesian optimisation; 0: none")] = 30,
    sweep: Annotated[
        int, typer.Option("--sweep", help="weight vectors of the Sobol sweep; Ax starts from its first 8")
    ] = 256,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="no further proposal is begun after so many seconds")
    ] = None,
    pareto: Annotated[
        str | None, typer.Option("--pareto", help="heads to maximise together, click,save: their frontier")
    ] = None,
    role: Annotated[str, typer.Option("--role", help="rows to tune on: tune or calibrate; test rows judge")] = "tune",
    accept: Annotated[
        bool, typer.Option("--accept", help="write the tuned weights into the model; the old ones stay in its history")
    ] = False,
    logged_position: Logged = False,
    seed: Annotated[int, typer.Option("--seed", help="of every draw")] = 0,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Find utility weights under guardrails, and judge them on rows that nobody tuned on.

    A Sobol sweep, Bayesian optimisation (Ax) and two cross-checks share one journal: a killed study goes on where it
    was. OUT gets report.html, metrics.json and tuned.toml. Exit code 3 when no weights keep every guardrail, 1 when
    --accept is refused because the test rows show that one is broken.
    """
    from galleryrank.tune import TuneOptions, tune_run

    plain = {} if margin is None else {"margin": margin}
    options = TuneOptions(
        maximise, metric, baseline, tuple(keep or ()), tuple(bound or ()), sweep=sweep, trials=trials,
        seconds=seconds, pareto=pareto, role=role, logged_position=logged_position, seed=seed, **plain,
    )  # fmt: skip
    raise typer.Exit(tune_run(source, out, options, scores, accept, format, quiet))


@app.command(epilog="Examples: galleryrank weights runs/a; galleryrank weights runs/a runs/a-weights/tuned.toml")
def weights(
    first: Annotated[str, typer.Argument(help="a run, a tuning, a TOML file, or click=1,save=2")],
    second: Annotated[str | None, typer.Argument(help="another one: shows the difference")] = None,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Show a utility and what it replaced, or the difference of two."""
    from galleryrank.weights import weights_run

    weights_run(first, second, format, quiet)


rounds = typer.Typer(
    help="Online rounds: weights as A/B groups, their numbers back, the next groups from all data so far.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
Experiment = Annotated[Path, typer.Argument(metavar="DIR", help="the experiment's folder")]


@rounds.command(
    epilog="Examples: galleryrank rounds propose exp --run runs/a --metric bookings --constraint 'hide_rate <= 0.01'; "
    "then, when the round's numbers are in: galleryrank rounds propose exp"
)
def propose(
    folder: Experiment,
    run: Annotated[Path | None, typer.Option("--run", help="heads, signs and baseline weights from a model")] = None,
    heads: Annotated[str | None, typer.Option("--heads", help="click,save,hide=-1; default: the baseline's")] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="weights of the control group: click=0.5,save=0.5")
    ] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="what is maximised; default: utility")] = None,
    minimise: Annotated[bool, typer.Option("--minimise", help="less of the metric is better")] = False,
    constraint: Annotated[
        list[str] | None,
        typer.Option("--constraint", help="'hide_rate <= 0.01' or 'save >= 0.95 * control'; may be repeated"),
    ] = None,
    record: Annotated[
        list[str] | None, typer.Option("--record", help="a further metric to take in and show; may be repeated")
    ] = None,
    groups: Annotated[int | None, typer.Option("--groups", help="treatment groups of a round; default: 4")] = None,
    bound: Annotated[
        list[str] | None, typer.Option("--bound", help="a weight's share of the sum: save=0:0.5; may be repeated")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="of every draw; default: 0")] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="a group whose numbers will not come; may be repeated")
    ] = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="run the best weights so far once more")] = False,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """The groups of the next round, or again those of the open one; the first call says what the experiment is.

    Every round has a control group with the baseline's weights: metrics are compared within a round, so that another
    week's season does not read as an effect. DIR gets journal.jsonl, groups.csv and weights/GROUP.toml.
    """
    from galleryrank.rounds import propose_run

    propose_run(
        folder, run, heads, baseline, metric, minimise, constraint or [], record or [], groups, bound or [], seed,
        without or [], confirm, format, quiet,
    )  # fmt: skip


@rounds.command(epilog="Example: galleryrank rounds ingest exp numbers.csv")
def ingest(
    folder: Experiment,
    numbers: Annotated[Path, typer.Argument(help="CSV or Parquet: group, metric, value, standard_error")],
    correct: Annotated[
        bool, typer.Option("--correct", help="replace numbers that were wrong; the old ones stay in the journal")
    ] = False,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Take in the groups' numbers. The same numbers again change nothing, other ones are refused."""
    from galleryrank.rounds import ingest_run

    ingest_run(folder, numbers, correct, format, quiet)


@rounds.command(epilog="Example: galleryrank rounds status exp --out best.toml")
def status(
    folder: Experiment,
    out: Annotated[Path | None, typer.Option("--out", help="write the best weights here, as TOML")] = None,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Where the experiment stands: every group against its control, the best weights, and how sure that is.

    DIR gets report.html, the same as one self-contained page to pass on.
    """
    from galleryrank.rounds import status_run

    status_run(folder, out, format, quiet)
