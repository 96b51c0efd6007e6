"""What `galleryrank evaluate` judges, and judges by: a run, a model directory or a file of scores."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from evaluation.measured.ranker_scores import rival_scores
from evaluation.measured.score_file import read_scores
from evaluation.measured.scored_log import ScoredLog, Scores
from features import Dataset, Fault, InputError
from features.artifact import MANIFEST
from galleryrank.run_directory import RunDirectory, replaced_vectors
from ranking import Ranker
from ranking.vectors import check_vectors

__all__ = ["Source", "file_scores", "model_fingerprint", "open_source", "source_scores"]

PARQUET = ".parquet"


@dataclass(frozen=True)
class Source:
    """One system, opened but not yet asked for scores.

    Attributes:
        path: As it was named on the command line.
        ranker: The fitted model; None for a file of scores.
        run: The run that the model is of, with the record of what it was fitted on, where there is one.
    """

    path: Path
    ranker: Ranker | None = None
    run: RunDirectory | None = None


def open_source(path: Path, key: str) -> Source:
    """A run directory, a model directory (a run's own, or one of its baselines) or a Parquet file of scores.

    Args:
        path: As it was named.
        key: The option, for messages.

    Raises:
        InputError: it is none of these; an unfinished run; a model that is damaged, or yields no probability per head.
    """
    if path.suffix == PARQUET:
        return Source(path)
    if (path / "run.json").is_file():
        run = RunDirectory.open(path)
        return _of_heads(Source(path, Ranker.load(run.model), run), key)
    if not (path / MANIFEST).is_file():
        what = "is neither a run directory nor a model directory nor a .parquet file of scores"
        raise InputError(Fault(what if path.exists() else "does not exist", path, key=key))
    around = [folder for folder in (path.parent, path.parent.parent) if (folder / "run.json").is_file()]
    return _of_heads(Source(path, Ranker.load(path), RunDirectory(around[0]) if around else None), key)


def source_scores(source: Source, dataset: Dataset, log: ScoredLog, *, logged_position: bool) -> Scores:
    """What a baseline says of the rows.

    Args:
        source: The baseline; a file of scores may lack heads of the log.
        dataset: The log, with the item vectors of the model that is judged.
        log: The rows.
        logged_position: Score at each row's own position; a file's scores are what they are.
    """
    if source.ranker is None:
        return file_scores(source.path, dataset, log, some_heads=True)
    ranker, notes = _with_vectors(source, source.ranker, dataset)
    if source.run is None:
        notes = (
            *notes,
            f"{source.path} has no record of its fit: whether it has learned from these rows is not known.",
        )
    scores = rival_scores(ranker, dataset, log, logged_position=logged_position, name=str(source.path))
    return replace(scores, fingerprint=model_fingerprint(_model_of(source.path)), notes=notes)


def file_scores(path: Path, dataset: Dataset, log: ScoredLog, *, some_heads: bool = False) -> Scores:
    """`read_scores`, with what the report says of scores that no model of ours made."""
    scores = read_scores(path, dataset, log, some_heads=some_heads)
    note = (
        f"The scores of {path} are taken as they are: for which position they were made, and whether their system "
        "has learned from these rows, is not known."
    )
    meta = {"model": f"scores of {path}", "position": "as the scores were made"}
    return replace(scores, notes=(*scores.notes, note), meta=meta)


def model_fingerprint(model: Path) -> str:
    """sha256 of a model's manifest, which lists the sha256 of its every file."""
    return hashlib.sha256((model / MANIFEST).read_bytes()).hexdigest()


def _of_heads(source: Source, key: str) -> Source:
    if source.ranker is not None and source.ranker.tree is None:
        what = "is an importance-weighted single head: it yields one score and no probability per head to gate"
        raise InputError(Fault(what, source.path, key=key))
    return source


def _model_of(path: Path) -> Path:
    return path if (path / MANIFEST).is_file() else RunDirectory(path).model


def _with_vectors(source: Source, ranker: Ranker, dataset: Dataset) -> tuple[Ranker, tuple[str, ...]]:
    """A baseline over the item vectors that it is measured with, and what is to be said of them.

    They are those that its own fit was told to take, else the data set's. A candidate may have been fitted on a new
    encoder's vectors, which mean nothing to production: production then keeps its own, as it would when it serves.
    """
    known = ranker.encoders.vectors
    if known is None:
        return ranker, ()
    told = replaced_vectors(dataset) if source.run is None else source.run.read().get("vectors")
    own = dataset if told == replaced_vectors(dataset) else Dataset.open(dataset.path, vectors=told)
    vectors = own.item_vectors()
    if vectors is None:
        return ranker, ()
    try:
        check_vectors(known, vectors)
    except InputError:
        kept = f"{source.path} was measured with the item vectors that it was fitted with, as those of the data set "
        return ranker, (kept + "are another encoder's: an item that is new since then has none.",)
    return ranker.with_vectors(vectors, replace=True), ()
