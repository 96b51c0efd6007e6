"""The command line: verbs, their options and their help. The work is done in the module of the verb's name.

Only typer is imported here, so that `galleryrank --help` is quick.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from _galleryrank_siblings import require_siblings
from galleryrank.exits import run

app = typer.Typer(
    help="Rank things with photo galleries: calibrated multi-head engagement models, a utility on top, the evidence.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 pass, 1 regression, 2 bad input, 3 inconclusive, 70 internal error, 130 interrupted.",
)

Out = Annotated[Path, typer.Option("--out", help="where to write")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="nothing on stderr but errors")]
Format = Annotated[str, typer.Option("--format", help="text: tables on stderr; json: the same data on stdout")]
Device = Annotated[str | None, typer.Option("--device", help="cpu or cuda; default: cuda when there is one")]
Logged = Annotated[
    bool, typer.Option("--logged-position", help="use each row's own position instead of the serving position")
]


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


@app.command(epilog="Example: galleryrank evaluate runs/a --role test")
def evaluate(
    run_directory: Annotated[Path, typer.Argument(metavar="RUN", help="a run directory made by fit")],
    data: Annotated[Path | None, typer.Option("--data", help="another dataset.toml; default: the run's own")] = None,
    role: Annotated[str, typer.Option("--role", help="calibrate, tune or test rows (train rows are refused)")] = "test",
    utility: Annotated[str | None, typer.Option("--utility", help="other weights: click=1,long_click=2")] = None,
    logged_position: Logged = False,
    out: Annotated[Path | None, typer.Option("--out", help="where to write; default: the run directory")] = None,
    format: Format = "text",
    vectors: Annotated[Path | None, typer.Option("--vectors", help="item vectors instead of [files].vectors")] = None,
    quiet: Quiet = False,
) -> None:
    """Measure a run on held-out rows: metrics.json with intervals, and a self-contained report.html."""
    from galleryrank.evaluate import evaluate_run

    evaluate_run(run_directory, data, role, utility, logged_position, out, format, quiet, vectors)


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


rounds = typer.Typer(
    help="Online rounds: weights as A/B groups, their numbers back, the next groups from all data so far.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.add_typer(rounds, name="rounds")
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


simulate = typer.Typer(
    help="The synthetic marketplace answers a policy: what an experiment would show, beside the truth.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.add_typer(simulate, name="simulate")
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


@app.command(epilog="Example: galleryrank embed dataset.toml --out runs/embed --set training.epochs=5")
def embed(
    dataset: Annotated[Path, typer.Argument(help="a dataset.toml with [gallery], or its folder")],
    out: Out,
    encoder: Annotated[
        Path | None, typer.Option("--encoder", help="a run of embed or an encoder's folder: embed by it, train nothing")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of the encoder's settings")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="one setting, a.b=c; may be repeated")] = None,
    untrained: Annotated[bool, typer.Option("--untrained", help="random, or given, weights as they are")] = False,
    device: Device = None,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Train a gallery encoder on the items' attributes and write a vector per item. A killed run goes on where it was.

    OUT gets encoder/, vectors.parquet (with the encoder's fingerprint), map.png, metrics.json and report.html.
    """
    from galleryrank.embed import embed_run

    embed_run(dataset, out, encoder, config, set_ or [], untrained, device, format, quiet)


@app.command(epilog="Example: galleryrank probe dataset.toml --encoder runs/embed --out runs/probe")
def probe(
    dataset: Annotated[Path, typer.Argument(help="a dataset.toml with [gallery], or its folder")],
    encoder: Annotated[Path, typer.Option("--encoder", help="a run of embed, or an encoder's folder")],
    out: Out,
    holdout: Annotated[
        str | None, typer.Option("--holdout", help="the held-out column; default: the only one of dataset.toml")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="SqueezeNet 1.1 weights: adds the arm of a pretrained network")
    ] = None,
    truth: Annotated[
        list[str] | None,
        typer.Option("--truth", help='columns known to decide it, e.g. "latent_*": adds a ceiling; may be repeated'),
    ] = None,
    end_to_end: Annotated[
        bool, typer.Option("--end-to-end/--no-end-to-end", help="train the network on the held-out attribute itself")
    ] = True,
    epochs: Annotated[int, typer.Option("--epochs", help="of the end-to-end arm and of --optima, at most")] = 30,
    optima: Annotated[
        bool, typer.Option("--optima", help="figures 5 and 6: both losses against a network per task; slow")
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", help="repeats of each probe")] = 3,
    device: Device = None,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """How much of a held-out attribute is in the vectors: accuracy by number of labels, beside every way to do without.

    Arms: the encoder, a random one, a pretrained one, the same network trained end to end; majority and a
    shuffled-labels control. A killed run goes on where it was.
    """
    from galleryrank.probe import probe_run

    probe_run(
        dataset, encoder, out, holdout, weights, truth or [], end_to_end, epochs, optima, seeds, device, format, quiet
    )


@app.command(
    epilog="Examples: galleryrank retrieve dataset.toml --embedded runs/embed --out runs/found --photo a.jpg "
    "--photo b.jpg; with --item 17 in place of photos, galleries like those of an item"
)
def retrieve(
    dataset: Annotated[Path, typer.Argument(help="a dataset.toml with [gallery], or its folder")],
    embedded: Annotated[Path, typer.Option("--embedded", help="a run of embed: its encoder and its vectors")],
    out: Out,
    photo: Annotated[
        list[Path] | None, typer.Option("--photo", help="a seed photo; several together are one query")
    ] = None,
    item: Annotated[str | None, typer.Option("--item", help="id of an item to search with, instead of photos")] = None,
    k: Annotated[int, typer.Option("--k", help="galleries to find")] = 10,
    index: Annotated[
        str, typer.Option("--index", help="exact; projections: random projections; hnsw: FAISS's, the extra [ann]")
    ] = "exact",
    reviews: Annotated[
        Path | None,
        typer.Option("--reviews", help="photos of the items by another camera, laid out as the data set's own"),
    ] = None,
    show: Annotated[
        list[str] | None, typer.Option("--show", help="column of the items to write under a result; may be repeated")
    ] = None,
    device: Device = None,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Find galleries by seed photos: sheet.png to look at, and how good and how fast each index is.

    The report also measures same-attribute retrieval, same-item retrieval (with --reviews) and, where the data set
    has a log, how near items lie that one request engaged with together.
    """
    from galleryrank.retrieve import retrieve_run

    retrieve_run(dataset, embedded, out, photo or [], item, k, index, reviews, show or [], device, format, quiet)


@app.command(
    epilog="Example: galleryrank ablate dataset.toml --out runs/ablation --backbone small "
    "--backbone squeezenet1_1=weights.pt --width native --paradigm multitask --paradigm frozen"
)
def ablate(
    dataset: Annotated[Path, typer.Argument(help="a dataset.toml with [gallery], or its folder")],
    out: Out,
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", help="NAME, or NAME=FILE with pretrained weights; may be repeated. Default: small"),
    ] = None,
    width: Annotated[
        list[str] | None,
        typer.Option("--width", help="of a photo's vector: native, or a number; may be repeated. Default: native, 64"),
    ] = None,
    paradigm: Annotated[
        list[str] | None,
        typer.Option(
            "--paradigm",
            help="multitask, kendall, triplet-random, triplet-semihard, triplet-hard, frozen (pretrained weights as "
            "they are) or random; may be repeated. Default: multitask, kendall, triplet-semihard, random",
        ),
    ] = None,
    holdout: Annotated[
        str | None, typer.Option("--holdout", help="the held-out column to probe; default: the only one")
    ] = None,
    reviews: Annotated[
        Path | None,
        typer.Option("--reviews", help="photos of the items by another camera, laid out as the data set's own"),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of the other settings")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="one setting, a.b=c; may be repeated")] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="repeats of each probe")] = 1,
    device: Device = None,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Backbones x widths x ways of training in one table: probe, same item, same attribute, parameters, latency.

    A combination that cannot be is a row with the reason. A killed run keeps the rows it has.
    """
    from galleryrank.ablate import BACKBONES, DEFAULT_PARADIGMS, WIDTHS, ablate_run

    ablate_run(
        dataset, out, backbone or BACKBONES, width or WIDTHS, paradigm or DEFAULT_PARADIGMS, holdout, reviews, config,
        set_ or [], seeds, device, format, quiet,
    )  # fmt: skip


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
