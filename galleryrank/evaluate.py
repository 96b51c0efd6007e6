"""`galleryrank evaluate`: metrics.json and report.html of a run on held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evaluation import Evaluation, check_role, measure_ranker, write_metrics_json, write_report
from evaluation.formatting import format_interval, format_number
from evaluation.measuring import COVERAGE
from features import Dataset, Fault, InputError
from galleryrank.console import Log, print_json
from galleryrank.run_directory import RunDirectory, with_utility
from ranking import Ranker


def evaluate_run(
    path: Path,
    data: Path | None,
    role: str,
    utility: str | None,
    logged_position: bool,
    out: Path | None,
    format: str,
    quiet: bool,
    vectors: Path | None = None,
) -> None:
    """Measure the run at `path`, write metrics.json and report.html, print the table."""
    if format not in ("text", "json"):
        raise InputError(f"--format must be text or json, got {format!r}")
    say = Log(quiet)
    run = RunDirectory.open(path)
    ranker = with_utility(Ranker.load(run.model), utility)
    if vectors is not None and ranker.encoders.vectors is None:
        raise InputError(Fault("the run was fitted without item vectors: it cannot use any", path, key="--vectors"))
    dataset = run.dataset(vectors) if data is None else Dataset.open(data, vectors=vectors)
    check_role(role)
    run.refuse_seen_rows(dataset, role)
    if data is not None:
        dataset.validate().raise_if_faulty()
    result = evaluate_into(run, ranker, dataset, role, logged_position, out or path, say)
    if format == "json":
        print_json(result.metrics)


def evaluate_into(
    run: RunDirectory,
    ranker: Ranker,
    dataset: Dataset,
    role: str,
    logged_position: bool,
    out: Path,
    say: Log,
) -> Evaluation:
    """Measure, write and print; the work of the command, and of the demo."""
    say(f"measuring on the {role} rows")
    result = measure_ranker(ranker, dataset, role, baselines=run.baselines(), logged_position=logged_position)
    out.mkdir(parents=True, exist_ok=True)
    write_metrics_json(out / "metrics.json", result.metrics)
    write_report(out / "report.html", result.metrics, title=f"galleryrank: {dataset.schema.name}, {role} rows")
    for name in COVERAGE.values():
        if name in result.metrics["meta"]:
            say(f"{name}: {100 * result.metrics['meta'][name]:.1f} %")
    print_heads(result.metrics, say)
    for sentence in result.metrics["summary"]:
        say(sentence)
    say(f"-> {out / 'report.html'}, {out / 'metrics.json'}")
    return result


def print_heads(metrics: dict[str, Any], say: Log) -> None:
    """The heads' metrics as a table on stderr."""
    shown = (("ap", "PR-AUC"), ("auc", "AUC"), ("log_loss", "log loss"), ("ratio", "predicted / observed"))
    rows = []
    for name, head in metrics["heads"].items():
        cells = [name, f"{head['positives']:,}"]
        for key, _ in shown:
            e = head[key]
            interval = format_interval(e["low"], e["high"])
            cells.append("-" if e["value"] is None else f"{format_number(e['value'])}\n{interval}")
        rows.append(cells)
    title = f"{metrics['rows']:,} rows, {metrics['requests']:,} requests; 95 % intervals clustered by request"
    say.table(title, ("head", "positives", *(label for _, label in shown)), rows)
