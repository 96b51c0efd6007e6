"""What `galleryrank evaluate` was asked for, and which requests contradict one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from features import Fault, InputError

__all__ = ["EvaluateOptions", "attempt", "option_faults"]

T = TypeVar("T")


@dataclass(frozen=True)
class EvaluateOptions:
    """The options as they were written.

    Attributes:
        run: The candidate, a run directory; None where it is `scores`.
        scores: The candidate as a Parquet file of scores, joined to `data`.
        data: Another dataset.toml than the run's own.
        role: calibrate, tune or test.
        against: The baseline: a run, a model directory or a file of scores.
        against_scores: The baseline as a file of scores (or a folder or glob of them).
        gate: A TOML file of rules.
        slices: Columns, beside those of the rules.
        junit: Where to write the tests for CI.
        counterfactual: Estimate from logged propensities what the new order would have earned.
        utility: Other weights than the model's.
        logged_position: Score at each row's own position.
        out: Where to write; None = the run directory.
        vectors: Item vectors instead of the data set's.
    """

    run: Path | None = None
    scores: Path | None = None
    data: Path | None = None
    role: str = "test"
    against: Path | None = None
    against_scores: Path | None = None
    gate: Path | None = None
    slices: tuple[str, ...] = ()
    junit: Path | None = None
    counterfactual: bool = False
    utility: str | None = None
    logged_position: bool = False
    out: Path | None = None
    vectors: Path | None = None

    @property
    def gated(self) -> bool:
        """Whether there is a baseline."""
        return self.against is not None or self.against_scores is not None


def option_faults(options: EvaluateOptions) -> list[Fault]:
    """Every contradiction among the options, and every one that needs another.

    >>> [fault.key for fault in option_faults(EvaluateOptions(Path("runs/a"), gate=Path("rules.toml")))]
    ['--gate']
    """
    faults = []

    def refuse(when: bool, key: str, message: str) -> None:
        if when:
            faults.append(Fault(message, key=key))

    alone = "needs a baseline to compare with: --against RUN or --against-scores FILE.parquet"
    of_a_model = "is of a model that is scored here; the scores of a file are what they are"
    of_scores = options.scores is not None
    refuse(options.run is None and not of_scores, "RUN", "is missing: name a run directory, or --scores FILE.parquet")
    refuse(options.run is not None and of_scores, "--scores", "is another candidate than RUN: name one of the two")
    alone_scores = of_scores and options.run is None
    refuse(alone_scores and options.data is None, "--scores", "needs --data DATASET, the log with the outcomes")
    refuse(alone_scores and options.out is None, "--scores", "needs --out DIR: there is no run directory to write into")
    refuse(of_scores and options.logged_position, "--logged-position", of_a_model)
    refuse(of_scores and options.vectors is not None, "--vectors", of_a_model)
    refuse(
        options.against is not None and options.against_scores is not None,
        "--against-scores",
        "is another baseline than --against: name one of the two",
    )
    refuse(options.gate is not None and not options.gated, "--gate", alone)
    refuse(options.junit is not None and not options.gated, "--junit", alone)
    refuse(options.junit is not None and options.junit.is_dir(), "--junit", "must be a file, and is a folder")
    written = options.out if options.out is not None else options.run
    own = () if written is None else tuple((written / name).resolve() for name in ("report.html", "metrics.json"))
    refuse(
        options.junit is not None and options.junit.resolve() in own,
        "--junit",
        "would overwrite what this command writes itself: choose another name",
    )
    refuse(options.out is not None and options.out.exists() and not options.out.is_dir(), "--out", "must be a folder")
    refuse(any(not name.strip() for name in options.slices), "--slice", "must name a column, got an empty name")
    refuse(
        options.counterfactual and options.logged_position,
        "--counterfactual",
        "asks what a new order would have earned, and --logged-position replays the old one",
    )
    refuse(
        of_scores and options.counterfactual and options.utility is None,
        "--counterfactual",
        "needs the weights of the new order: --utility click=1,save=2",
    )
    return faults


def attempt(faults: list[Fault], work: Callable[[], T]) -> T | None:
    """The result of `work`, or None with its faults added: so that one message lists what is wrong everywhere.

    >>> faults: list[Fault] = []
    >>> attempt(faults, lambda: 2), len(faults)
    (2, 0)
    """
    try:
        return work()
    except InputError as error:
        faults += error.faults
        return None
