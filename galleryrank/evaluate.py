"""`galleryrank evaluate`: metrics.json and report.html on held-out rows, and the gate against another model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluation import Evaluation, check_role, measure_ranker, write_metrics_json, write_report
from evaluation.measured.measuring import measure_scores
from evaluation.measured.scored_log import ScoredLog, Scores, data_fingerprint
from evaluation.slicing.slice_columns import read_slices
from evaluation.slicing.slices import Slices
from features import Dataset, Fault, InputError
from galleryrank.console import Log
from galleryrank.evaluate_opening import Opened, open_everything
from galleryrank.evaluate_options import EvaluateOptions
from galleryrank.evaluate_sources import file_scores, model_fingerprint, source_scores
from galleryrank.evaluate_words import print_evaluation
from galleryrank.exits import INCONCLUSIVE, PASS, REGRESSION
from galleryrank.gallery_run import check_format
from galleryrank.run_directory import RunDirectory, parse_utility
from galleryrank.streams import print_json
from ranking import Ranker

CODES = {"pass": PASS, "regression": REGRESSION, "inconclusive": INCONCLUSIVE}
REPORT, METRICS = "report.html", "metrics.json"


def evaluate_run(options: EvaluateOptions, format: str, quiet: bool) -> int:
    """Measure the candidate, compare it with the baseline if there is one, write and print; the exit code."""
    check_format(format)
    check_role(options.role)
    say = Log(quiet)
    opened = open_everything(options)
    result = _measure(opened, options, say)
    out = options.out or options.run or Path()  # one of the two is there: `option_faults`
    publish(result, out, _title(opened.dataset, options.role), say, options.junit)
    if format == "json":
        print_json(result.metrics)
    gate = result.metrics["gate"]
    return PASS if gate is None else CODES[gate["verdict"]]


def evaluate_into(
    run: RunDirectory,
    ranker: Ranker,
    dataset: Dataset,
    role: str,
    logged_position: bool,
    out: Path,
    say: Log,
) -> Evaluation:
    """Measure a run without a gate, write and print: the demo's part of the command."""
    say(f"measuring on the {role} rows")
    result = measure_ranker(
        ranker, dataset, role, baselines=run.baselines(), logged_position=logged_position, name=str(run.path),
        fingerprints=_fingerprints(dataset, role, run),
    )  # fmt: skip
    publish(result, out, _title(dataset, role), say)
    return result


def publish(result: Evaluation, out: Path, title: str, say: Log, junit: Path | None = None) -> None:
    """Write report, metrics and JUnit file, each in one step, and print; the verdict comes last."""
    metrics = result.metrics
    written = [out / REPORT, out / METRICS, *([] if junit is None else [junit])]
    for file in written:
        file.parent.mkdir(parents=True, exist_ok=True)
    write_report(out / REPORT, metrics, title=title)
    if junit is not None:
        from evaluation.comparison.junit import write_junit

        write_junit(junit, metrics["gate"])
    write_metrics_json(out / METRICS, metrics)  # last: whoever finds it finds the others too
    print_evaluation(metrics, say)
    say(f"-> {', '.join(str(file) for file in written)}")
    say(f"[bold]{metrics['verdict']['sentence']}[/bold]")


def _measure(opened: Opened, options: EvaluateOptions, say: Log) -> Evaluation:
    """Read the rows and their slices, score them by both systems, compare."""
    dataset, candidate, role = opened.dataset, opened.candidate, options.role
    slices = _slices(opened, options)
    log = ScoredLog.read(dataset, role)
    against = None
    if opened.baseline is not None:
        say(f"scoring the {log.name} by the baseline {opened.baseline.path}")
        against = source_scores(opened.baseline, dataset, log, logged_position=options.logged_position)
    asked: dict[str, Any] = {"rules": _of_slices(opened, slices), "slices": slices}
    if candidate.ranker is None or candidate.run is None:
        say(f"reading the scores of {candidate.path}")
        scores = file_scores(candidate.path, dataset, log)
        utility = _file_utility(options, scores.heads)
        asked["counterfactual"] = _counterfactual(scores, utility, dataset, log, options, say)
        say(f"measuring on the {len(log):,} {log.name}")
        return measure_scores(
            log, scores, against, utility=utility, fingerprints=_fingerprints(dataset, role, None), **asked
        )
    asked["counterfactual"] = _counterfactual(candidate.ranker, None, dataset, log, options, say)
    say(f"scoring and measuring on the {len(log):,} {log.name}")
    return measure_ranker(
        candidate.ranker, dataset, role, baselines=candidate.run.baselines(), logged_position=options.logged_position,
        log=log, name=str(candidate.path), against=against, fingerprints=_fingerprints(dataset, role, candidate.run),
        **asked,
    )  # fmt: skip


def _slices(opened: Opened, options: EvaluateOptions) -> list[Slices]:
    """The slices that the options and the rules ask for."""
    of_rules = () if opened.rules is None else opened.rules.slices
    expected = {} if opened.rules is None else dict(opened.rules.slice_values)
    return read_slices(opened.dataset, options.role, [*of_rules, *options.slices], expected)


def _of_slices(opened: Opened, slices: list[Slices]) -> Any:
    """The rules, with the columns of `--slice` among those they ask for: the record says what was tested."""
    if opened.rules is None:
        return None
    return replace(opened.rules, slices=tuple(part.column for part in slices))


def _counterfactual(
    candidate: Ranker | Scores,
    utility: Mapping[str, float] | None,
    dataset: Dataset,
    log: ScoredLog,
    options: EvaluateOptions,
    say: Log,
) -> dict[str, Any] | None:
    """What the candidate's order would have earned, if that is asked for."""
    if not options.counterfactual:
        return None
    from evaluation.counterfactual import evaluate_counterfactual

    say("estimating from the logged propensities what the new order would have earned")
    return evaluate_counterfactual(candidate, dataset, log.role, utility=utility, log=log).to_dict()


def _file_utility(options: EvaluateOptions, heads: tuple[str, ...]) -> Mapping[str, float] | None:
    """The weights of `--utility` for a file of scores, which has none of its own."""
    if options.utility is None:
        return None
    weights = dict(parse_utility(options.utility).weights)
    unknown = [head for head in weights if head not in heads]
    if unknown:
        message = f"must weigh heads of the scores, {', '.join(heads)}; unknown: {', '.join(unknown)}"
        raise InputError(Fault(message, key="--utility"))
    return weights


def _fingerprints(dataset: Dataset, role: str, run: RunDirectory | None) -> dict[str, str]:
    """What tells these numbers from others: the data, and the model that made them."""
    known = {"data": data_fingerprint(dataset, role)}
    return known if run is None else known | {"candidate": model_fingerprint(run.model)}


def _title(dataset: Dataset, role: str) -> str:
    return f"galleryrank: {dataset.schema.name}, {role} rows"
