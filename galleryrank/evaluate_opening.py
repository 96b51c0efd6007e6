"""What the options of `galleryrank evaluate` name, opened and checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from features import Dataset, Fault, InputError, raise_faults
from galleryrank.evaluate_options import EvaluateOptions, attempt, option_faults
from galleryrank.evaluate_sources import Source, open_source
from galleryrank.run_directory import RunDirectory, with_utility
from ranking import Ranker

if TYPE_CHECKING:
    from evaluation.comparison import GateRules

__all__ = ["Opened", "open_everything"]


@dataclass(frozen=True)
class Opened:
    """Everything that an evaluation works on.

    Attributes:
        dataset: The log, with the item vectors of the candidate.
        candidate: The system that is judged; a file of scores has no ranker.
        baseline: The system that it is to replace, if one was named.
        rules: What the gate asks for; None without a baseline.
    """

    dataset: Dataset
    candidate: Source
    baseline: Source | None
    rules: GateRules | None


def open_everything(options: EvaluateOptions) -> Opened:
    """Open and check what the options name.

    Raises:
        InputError: every fault at once, first of the options, then of what they name, then of how it fits together.
    """
    raise_faults(option_faults(options))
    faults: list[Fault] = []
    candidate = attempt(faults, partial(_candidate, options))
    baseline = attempt(faults, partial(_baseline, options)) if options.gated else None
    rules = attempt(faults, partial(_rules, options)) if options.gated else None
    run_is_there = options.run is None or (options.run / "run.json").is_file()  # else said of the candidate already
    dataset = attempt(faults, partial(_dataset, options)) if run_is_there else None
    raise_faults(faults)
    if candidate is None or dataset is None:  # for the type checker: what failed has been raised
        raise InputError("neither a candidate nor a data set was opened")
    opened = Opened(dataset, candidate, baseline, rules)
    faults = [*_head_faults(opened, options.gate), *_seen_faults(opened, options.role)]
    raise_faults([*faults, *_propensity_faults(opened, options)])
    if options.data is not None:  # the data set of a run was validated by its fit
        dataset.validate().raise_if_faulty()
    return opened


def _candidate(options: EvaluateOptions) -> Source:
    if options.run is None:
        return Source(options.scores or Path())
    run = RunDirectory.open(options.run)
    ranker = with_utility(Ranker.load(run.model), options.utility)
    if options.vectors is not None and ranker.encoders.vectors is None:
        raise InputError(Fault("the run was fitted without item vectors: it cannot use any", run.path, key="--vectors"))
    return Source(run.path, ranker, run)


def _baseline(options: EvaluateOptions) -> Source:
    if options.against_scores is not None:
        return Source(options.against_scores)
    return open_source(options.against or Path(), "--against")


def _rules(options: EvaluateOptions) -> GateRules:
    from evaluation.comparison import GateRules

    return GateRules() if options.gate is None else GateRules.from_toml(options.gate)


def _dataset(options: EvaluateOptions) -> Dataset:
    if options.data is not None or options.run is None:
        return Dataset.open(options.data or Path(), vectors=options.vectors)
    return RunDirectory(options.run).dataset(options.vectors)


def _head_faults(opened: Opened, gate: Path | None) -> list[Fault]:
    """A baseline's heads that the candidate lacks, and heads of the rules that are not compared."""
    faults: list[Fault] = []
    ours = opened.dataset.schema.head_names if opened.candidate.ranker is None else list(opened.candidate.ranker.heads)
    shared = ours
    if opened.baseline is not None and opened.baseline.ranker is not None:
        theirs = opened.baseline.ranker.heads
        lacking = [head for head in theirs if head not in ours]
        if lacking:
            message = f"has heads that the candidate {opened.candidate.path} lacks: {', '.join(lacking)}"
            faults.append(Fault(message, opened.baseline.path, key="--against"))
        shared = [head for head in ours if head in theirs]
    if opened.rules is not None:
        of_rules: list[Fault] = []
        attempt(of_rules, partial(opened.rules.check, shared))
        faults += [replace(fault, file=gate) for fault in of_rules]
    return faults


def _seen_faults(opened: Opened, role: str) -> list[Fault]:
    """Rows of the role that may have trained the candidate or the baseline."""
    faults: list[Fault] = []
    if opened.candidate.run is not None:
        attempt(faults, partial(opened.candidate.run.refuse_seen_rows, opened.dataset, role))
    if opened.baseline is not None and opened.baseline.run is not None:
        attempt(faults, partial(opened.baseline.run.refuse_seen_rows, opened.dataset, role, baseline=True))
    return faults


def _propensity_faults(opened: Opened, options: EvaluateOptions) -> list[Fault]:
    """Why a new order cannot be judged by this log."""
    faults: list[Fault] = []
    if options.counterfactual:
        from evaluation.counterfactual import refuse_without_propensities

        attempt(faults, partial(refuse_without_propensities, opened.dataset))
    return faults
