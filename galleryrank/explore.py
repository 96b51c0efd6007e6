"""`galleryrank explore`: one page on which utility weights are tried by hand, on the rows of a role."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evaluation import check_role
from evaluation.metrics_json import write_whole
from features import Dataset, InputError
from galleryrank.console import Log
from galleryrank.explore_page import (
    Thumbnails,
    page_html,
    read_choices,
    read_rows,
    read_thumbnails,
    shown_requests,
)
from galleryrank.explore_page.photos import candidates_of
from galleryrank.explore_page.rows import LIMIT
from galleryrank.run_directory import RunDirectory
from ranking import Ranker

PAGE = "explore.html"
SHOWN = 12  # requests whose candidates can be looked at


def explore_run(
    path: Path,
    weights: Path | None,
    data: Path | None,
    role: str,
    rows: int,
    requests: int,
    photos: bool,
    keep: Sequence[str],
    seed: int,
    out: Path | None,
    quiet: bool,
) -> None:
    """Write the page of the run at `path`; `weights` is by default the tuning in the run's own folder."""
    say = Log(quiet)
    check_role(role)
    run = RunDirectory.open(path)
    ranker = Ranker.load(run.model)
    dataset = run.dataset() if data is None else Dataset.open(data)
    run.refuse_seen_rows(dataset, role)
    if data is not None:
        dataset.validate().raise_if_faulty()
    own = path / "weights"
    if weights is None and (own / "metrics.json").is_file():
        weights = own
    explore_into(
        ranker, dataset, role, weights, out or path / PAGE, say, rows=rows, requests=requests, photos=photos,
        keep=keep, seed=seed,
    )  # fmt: skip


def explore_into(
    ranker: Ranker,
    dataset: Dataset,
    role: str,
    weights: Path | None,
    out: Path,
    say: Log,
    *,
    rows: int = LIMIT,
    requests: int = SHOWN,
    photos: bool = True,
    keep: Sequence[str] = (),
    seed: int = 0,
) -> Path:
    """Score, put together and write; the work of the command, and of the demo.

    Args:
        ranker: With calibrated heads.
        dataset: Its log.
        role: The rows that are ranked.
        weights: A tuning's folder, for the reference, the guardrails and the cloud; None = the model's own weights.
        out: The file, replaced in one step.
        say: Where progress is told.
        rows: Above so many, whole requests are sampled.
        requests: How many can be looked at.
        photos: Show those of the data set, if it has any.
        keep: Guardrails, as `--keep` of `galleryrank tune`.
        seed: Of every draw.

    Raises:
        InputError: what `read_rows`, `read_choices` and `shown_requests` refuse; a folder in the place of `out`.
    """
    if out.is_dir():
        raise InputError(f"--out must be a file, {out} is a folder")
    say(f"scoring the {role} rows")
    table = read_rows(ranker, dataset, role, limit=rows, seed=seed)
    choices = read_choices(ranker, weights, keep=keep, seed=seed)
    shown = shown_requests(table, dataset, role, count=requests)
    thumbnails = Thumbnails({})
    if photos:
        items = candidates_of(table.items, [(request.start, len(request.items)) for request in shown])
        thumbnails = read_thumbnails(dataset, items)
    count = len(table.probabilities)
    say(f"{count:,} rows of {len(table.sizes):,} requests; {choices.source}")
    if count < table.all_rows:
        say(f"a sample of whole requests: there are {table.all_rows:,} rows of {table.all_requests:,} requests")
    if thumbnails.note:
        say(thumbnails.note)
    page = page_html(table, choices, shown, thumbnails)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, page)
    say(f"-> {out} ({len(page.encode()) / 1e6:.1f} MB)")
    return out
