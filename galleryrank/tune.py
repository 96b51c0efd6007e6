"""`galleryrank tune`: which utility weights, at which price, and whether that holds on rows nobody tuned on.

A tuning's directory:

    journal.jsonl   every trial as it ended; what lets a killed study go on
    run.json        what was asked for, and versions
    tuned.toml      the weights found, as a [utility] table
    metrics.json, report.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evaluation.formatting import format_interval, format_number
from evaluation.metrics_json import jsonable, write_metrics_json, write_whole
from features import Dataset, Fault, InputError, raise_faults
from galleryrank.console import Log
from galleryrank.exits import INCONCLUSIVE, PASS, REGRESSION
from galleryrank.gallery_run import check_format
from galleryrank.head_options import head_bounds, head_shares
from galleryrank.run_directory import RunDirectory, parse_utility
from galleryrank.streams import print_json
from galleryrank.tune_baseline import baseline_of
from galleryrank.tune_table import LiveTrials
from galleryrank.weights import TUNED_FILE
from optimization import Guardrails, ScoreTable, Tuning, make_metric, tune
from optimization.guardrails import MARGIN
from optimization.report.tuning_metrics import tuning_metrics, tuning_slices
from optimization.report.tuning_report import write_tuning_report
from optimization.report.tuning_words import objective_words
from optimization.trials import AX, SWEEP
from optimization.verdict import HAND, TUNED
from ranking import Ranker, Utility

KEPT = 0.95  # of the baseline's metric, by every other wanted head, where no --keep is given
JOURNAL = "journal.jsonl"
PACKAGES = ("galleryrank", "ax-platform", "botorch", "torch", "numpy")


@dataclass(frozen=True)
class TuneOptions:
    """What `galleryrank tune` was asked for, as it was written.

    Attributes:
        maximise: A head, or business values: "click=1,save=3".
        metric: As in `make_metric`.
        baseline: Weights, or where they stand (`read_weights`); None = those of the study in the folder, if there is
            one, else the model's own.
        keep: "save=0.9", or "0.9" for every other wanted head: the floors c_h of the guardrails; "hide=1.05" of an
            unwanted head is a ceiling.
        bounds: "save=0:0.5", shares of sum |w|.
        margin: In paired standard errors.
        sweep, trials, seconds: Budgets.
        pareto: Heads to be maximised together, with commas; None = one objective.
        role: The rows to tune on; the verdict is on the test rows.
        logged_position: Score at each row's own position.
        seed: Of every draw.
    """

    maximise: str
    metric: str = "pr_auc"
    baseline: str | None = None
    keep: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    margin: float = MARGIN
    sweep: int = 256
    trials: int = 30
    seconds: float | None = None
    pareto: str | None = None
    role: str = "tune"
    logged_position: bool = False
    seed: int = 0


def tune_run(
    source: Path, out: Path, options: TuneOptions, scores: Path | None, accept: bool, format: str, quiet: bool
) -> int:
    """Tune the weights of a run (or of `scores`, joined to the data set `source`); the exit code."""
    check_format(format)
    say = Log(quiet)
    if options.role not in ("tune", "calibrate"):
        raise InputError("--role must be tune or calibrate: train rows were learned from, test rows judge the weights")
    try:
        make_metric(options.metric)
    except ValueError as error:
        raise InputError(f"--metric: {error}") from error
    _check_folder(out)
    ranker, table, test = _tables(source, scores, options, accept, say)
    baseline = baseline_of(options.baseline, out / JOURNAL, ranker, source, table, say)
    metrics, tuning = tune_into(out, table, test, baseline, options, say, source)
    code = PASS if tuning.best is not None else INCONCLUSIVE
    if accept and ranker is not None and tuning.utility is not None:
        code = _accept(source, ranker, tuning.utility, metrics, out, say)
    elif accept:
        say("nothing is accepted: no trial is feasible")
    if format == "json":
        print_json(metrics)
    return code


def tune_into(
    out: Path,
    table: ScoreTable,
    test: ScoreTable,
    baseline: Utility,
    options: TuneOptions,
    say: Log,
    source: Path,
    cross_checks: bool = True,
) -> tuple[dict[str, Any], Tuning]:
    """Tune, judge, write and print; the work of the command, and of the demo."""
    rails, objective, together = _problem(options, table, baseline)
    label = objective_words(make_metric(options.metric).label, objective)
    say(f"[bold]tuning[/bold] on {table.rows:,} {table.name}: {label}")
    planned = {SWEEP: options.sweep, AX: options.trials}
    with LiveTrials(say, label, planned) as progress:
        tuning = tune(
            table, rails, objective, metric=options.metric, sweep=options.sweep, trials=options.trials,
            seconds=options.seconds, seed=options.seed, journal=out / JOURNAL, cross_checks=cross_checks,
            pareto=together, progress=progress,
        )  # fmt: skip
    write_metrics_json(out / "run.json", _record(source, options))
    say(f"judging on {test.rows:,} {test.name}")
    meta = {"tuned on": table.name, "judged on": test.name, "seed": options.seed, "trials": len(tuning.trials)}
    slices = tuning_slices(tuning, seed=options.seed) if options.trials else None
    metrics = tuning_metrics(tuning, table, test, slices=slices, meta=meta)
    write_metrics_json(out / "metrics.json", metrics)
    if tuning.utility is not None:
        write_whole(out / TUNED_FILE, tuning.utility.to_toml())
    write_tuning_report(out / "report.html", metrics, title=f"Utility weights: {label}")
    print_tuning(metrics, say)
    say(f"-> {out / 'report.html'}, {out / 'metrics.json'}" + (f", {out / TUNED_FILE}" if tuning.utility else ""))
    return metrics, tuning


def print_tuning(metrics: Mapping[str, Any], say: Log) -> None:
    """The weights, the verdict's table and the summary on stderr."""
    verdict = metrics["verdict"]
    heads = list(metrics["signs"])
    named = {name: weights for name, weights in verdict["weights"].items() if not name.startswith("only ")}
    shares = [(name, *(format_number(weights[head]) for head in heads)) for name, weights in named.items()]
    say.table("Weights", ("", *heads), shares)
    rows = []
    for name in verdict["weights"]:
        cells = [name]
        for record in verdict["values"]:
            if record["candidate"] == name and not record["combined"]:
                change = format_interval(record["difference_low"], record["difference_high"], signed=True)
                cells.append(format_number(record["value"]) + ("" if name == HAND else f"\n{change}"))
        rows.append(cells)
    title = (
        f"{metrics['metric']['label']} on {verdict['rows']:,} {verdict['name']}; below, the 95 % interval of the "
        f"difference to the {HAND} weights"
    )
    say.table(title, ("ranked by", *heads), rows)
    for sentence in metrics["summary"]:
        say(sentence)


def _check_folder(out: Path) -> None:
    """A tuning's own folder, or none yet."""
    if out.exists() and not (out.is_dir() and ((out / JOURNAL).is_file() or not any(out.iterdir()))):
        raise InputError(Fault("is not empty and holds no tuning: choose another --out", file=out))


def _tables(
    source: Path, scores: Path | None, options: TuneOptions, accept: bool, say: Log
) -> tuple[Ranker | None, ScoreTable, ScoreTable]:
    """(the model, if there is one; the tuning rows; the test rows)."""
    if scores is not None:
        if accept:
            raise InputError("--accept writes into a model, and --scores has none: take tuned.toml to where they live")
        if options.logged_position:
            raise InputError("--logged-position re-scores by a model, and --scores are scored already")
        dataset = RunDirectory.open(source).dataset() if (source / "run.json").is_file() else Dataset.open(source)
        say(f"reading the scores of {scores}")
        tables = [ScoreTable.from_scores(scores, dataset, role) for role in (options.role, "test")]
        return None, tables[0], tables[1]
    run = RunDirectory.open(source)
    ranker, dataset = Ranker.load(run.model), run.dataset()
    for role in (options.role, "test"):
        run.refuse_seen_rows(dataset, role)
    say(f"scoring the {options.role} and the test rows")
    tables = [
        ScoreTable.from_ranker(ranker, dataset, role, logged_position=options.logged_position)
        for role in (options.role, "test")
    ]
    return ranker, tables[0], tables[1]


def _problem(
    options: TuneOptions, table: ScoreTable, baseline: Utility
) -> tuple[Guardrails, dict[str, float], list[str] | None]:
    """(guardrails, objective, heads maximised together), every fault of the options at once."""
    faults: list[Fault] = []
    objective = _objective(options.maximise)
    unknown = [head for head in objective if head not in table.heads]
    heads = f"(the heads are {', '.join(table.heads)})"
    faults += [Fault(f"unknown head `{head}` {heads}", key="--maximise") for head in unknown]
    signs = dict(zip(table.heads, table.signs))
    floors = _floors(options.keep, signs, objective, faults)
    bounds = head_bounds(options.bounds, faults)
    try:
        rails = Guardrails(baseline.weights, signs, floors, bounds, margin=options.margin)
    except InputError as error:
        raise InputError([*faults, *error.faults]) from error
    raise_faults(faults)
    together = [part.strip() for part in options.pareto.split(",")] if options.pareto else None
    return rails, objective, together


def _objective(text: str) -> dict[str, float]:
    """`long_click`, or `click=1,save=3`."""
    return dict(parse_utility(text, "--maximise").weights) if "=" in text else {text: 1.0}


def _floors(
    keep: Sequence[str], signs: Mapping[str, int], objective: Mapping[str, float], faults: list[Fault]
) -> dict[str, float]:
    """c_h by head: what `--keep` says of it, else of all others; an unwanted head has a ceiling only if it is named."""
    named, default = head_shares(keep, faults)
    if not keep:
        default = KEPT
    others = [head for head, sign in signs.items() if sign > 0 and head not in objective and head not in named]
    return named | ({} if default is None else dict.fromkeys(others, default))


def _record(source: Path, options: TuneOptions) -> dict[str, Any]:
    return jsonable(
        {
            "command": "tune",
            "source": str(source.resolve()),
            "options": asdict(options),
            "versions": {name: version(name) for name in PACKAGES},
        }
    )


def _accept(source: Path, ranker: Ranker, tuned: Utility, metrics: Mapping[str, Any], out: Path, say: Log) -> int:
    """Write the tuned weights into the model, unless the test rows are sure that a guardrail breaks."""
    broken = [
        record["head"]
        for record in metrics["verdict"]["guardrails"]
        if record["candidate"] == TUNED and not record["holds"] and record["decided"]
    ]
    if broken:
        say(f"[bold]not accepted[/bold]: on the test rows the guardrail of {', '.join(broken)} is broken for sure")
        return REGRESSION
    model = RunDirectory(source).model
    if ranker.utility is not None and ranker.utility.scaled() == tuned.scaled():
        say("the model has these weights already")
        return PASS
    ranker.accept_utility(tuned, note=f"galleryrank tune, {out.name}").save(model)
    say(f"accepted: {model} ranks by the tuned weights; its old ones are in `galleryrank weights {source}`")
    return PASS
