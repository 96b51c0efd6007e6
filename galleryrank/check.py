"""`galleryrank check`: the faults of a log, and a first dataset.toml for a log that has none."""

from __future__ import annotations

import tempfile
from pathlib import Path

from features import Dataset, Fault, InputError, ValidationReport
from galleryrank.console import Log
from galleryrank.exits import PASS


def check_log(log: Path, out: Path | None, quiet: bool) -> int:
    """Validate a described log, or draft a description and validate by it; InputError with all faults."""
    say = Log(quiet)
    if log.suffix == ".toml" or (log / "dataset.toml").is_file():
        if out is not None:
            raise InputError(Fault("is described already: --out is for a bare Parquet log", file=log))
        return _report(Dataset.open(log).validate(), say)
    from features.draft import draft_schema

    text = draft_schema(log)
    folder = log if log.is_dir() else log.parent
    if out is None:
        print(text, end="")
        # Checked from a scratch file beside nothing of the user's: `check` leaves no trace without --out.
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "dataset.toml"
            path.write_text(text, encoding="utf-8")
            dataset = Dataset(Dataset.open(path).schema, folder, path)
            return _report(dataset.validate(), say)
    if out.exists():
        raise InputError(Fault("exists already: move it away first, a description is made by hand too", file=out))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    say(f"wrote {out}: read its comments and correct what was guessed wrong")
    if out.resolve().parent != folder.resolve():
        say("its file names are relative to the log's folder: change [files] if dataset.toml stays elsewhere")
        return _report(Dataset(Dataset.open(out).schema, folder, out).validate(), say)
    return _report(Dataset.open(out).validate(), say)


def _report(report: ValidationReport, say: Log) -> int:
    if report.heads:
        rows = [
            (name, f"{c.labelled:,}", f"{c.positives:,}", f"{c.positives / c.labelled:.4%}" if c.labelled else "-")
            for name, c in report.heads.items()
        ]
        say.table("Heads", ("head", "labelled rows", "positives", "rate"), rows)
    if report.role_rows:
        say.table("Roles", ("role", "rows"), [(role, f"{n:,}") for role, n in report.role_rows.items()])
    for warning in report.warnings:
        say(f"warning: {warning}")
    if report.ok:
        say(f"{report.rows:,} rows, no faults")
        return PASS
    say(f"{report.rows:,} rows")
    raise InputError(report.faults)
