"""`galleryrank explore`: one page on which utility weights are tried by hand, on the rows of a role."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evaluation.metrics_json import write_whole
from features import Dataset, InputError
from galleryrank.console import Log
from galleryrank.explore_page import (
    Choices,
    PageOptions,
    Thumbnails,
    attempt,
    default_role,
    page_html,
    read_choices,
    read_rows,
    read_thumbnails,
    shown_requests,
)
from galleryrank.explore_page.options import SHOWN
from galleryrank.explore_page.photos import candidates_of
from galleryrank.explore_page.rows import LIMIT, check_ranker
from galleryrank.run_directory import RunDirectory
from ranking import Ranker

PAGE = "explore.html"


def explore_run(
    path: Path,
    weights: Path | None,
    data: Path | None,
    role: str | None,
    rows: int,
    requests: int,
    photos: bool,
    keep: Sequence[str],
    seed: int,
    out: Path | None,
    quiet: bool,
) -> None:
    """Write the page of the run at `path`.

    `weights` is by default the tuning in the run's own folder, `role` the tune rows, else the calibrate rows.
    """
    own = path / "weights"
    if weights is None and (own / "metrics.json").is_file():
        weights = own
    options = PageOptions(out or path / PAGE, role, weights, rows, requests, photos, tuple(keep), seed)
    faults = options.faults()
    run = attempt(faults, lambda: RunDirectory.open(path))
    ranker = None if run is None else attempt(faults, lambda: Ranker.load(run.model))
    choices = None if ranker is None else attempt(faults, lambda: _choices(ranker, options))
    dataset = None
    if data is not None:
        dataset = attempt(faults, lambda: Dataset.open(data))
    elif run is not None:
        dataset = attempt(faults, run.dataset)
    if faults or run is None or ranker is None or choices is None or dataset is None:
        raise InputError(faults)
    chosen = default_role(dataset) if role is None else role
    run.refuse_seen_rows(dataset, chosen)
    if data is not None:
        dataset.validate().raise_if_faulty()
    _write(ranker, dataset, chosen, choices, options, Log(quiet))


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
        role: The rows that are ranked. Weights are chosen on tune rows; on test rows they are judged.
        weights, out, rows, requests, photos, keep, seed: As in `PageOptions`.
        say: Where progress is told.

    Raises:
        InputError: options at fault, every one at once and before anything is scored; what `read_rows` refuses.
    """
    options = PageOptions(out, role, weights, rows, requests, photos, tuple(keep), seed)
    faults = options.faults()
    choices = attempt(faults, lambda: _choices(ranker, options))
    if faults or choices is None:
        raise InputError(faults)
    return _write(ranker, dataset, role, choices, options, say)


def _choices(ranker: Ranker, options: PageOptions) -> Choices:
    """What can be chosen for this ranker; a negative seed is refused elsewhere."""
    check_ranker(ranker)
    return read_choices(ranker, options.weights, keep=options.keep, seed=max(options.seed, 0))


def _write(ranker: Ranker, dataset: Dataset, role: str, choices: Choices, options: PageOptions, say: Log) -> Path:
    say(f"scoring the {role} rows")
    table = read_rows(ranker, dataset, role, limit=options.rows, seed=options.seed)
    shown = shown_requests(table, dataset, role, count=options.requests)
    thumbnails = Thumbnails({})
    if options.photos:
        items = candidates_of(table.items, [(request.start, len(request.items)) for request in shown])
        thumbnails = read_thumbnails(dataset, items)
    count = len(table.probabilities)
    say(f"{count:,} {role} rows of {len(table.sizes):,} requests; {choices.source}")
    if count < table.all_rows:
        say(f"a sample of whole requests: there are {table.all_rows:,} rows of {table.all_requests:,} requests")
    if role == "test":
        say("weights chosen on test rows can no longer be judged on them: --role tune is for choosing")
    if thumbnails.note:
        say(thumbnails.note)
    page = page_html(table, choices, shown, thumbnails)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(options.out, page)
    say(f"-> {options.out} ({len(page.encode()) / 1e6:.1f} MB)")
    return options.out
