"""The baseline of `galleryrank tune`: the weights in production, however they were said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from features import Fault, InputError
from galleryrank.console import Log
from galleryrank.weights import read_weights
from optimization import ScoreTable
from optimization.journal import Journal
from optimization.tune import KIND
from ranking import Ranker, Utility

__all__ = ["baseline_of"]


def baseline_of(
    given: str | None, journal: Path, ranker: Ranker | None, source: Path, table: ScoreTable, say: Log
) -> Utility:
    """The weights in production: as given, those of a study to go on with, or the model's own; every head is named.

    Args:
        given: Weights, or where they stand (`read_weights`); None where nothing was said.
        journal: The study's, whether it is there or not.
        ranker: The model that is tuned, if it is one.
        source: The run or the data set.
        table: Of the heads.
        say: Is told of the weights of a journal.

    Raises:
        InputError: there are none, or what was given is none; a journal that is damaged or locked.
    """
    if given is not None:
        weights = read_weights(given)[0]
        # Weights written out, and no path, are taken at their word: a sum that is not 1 is a slip of the pen.
        return _complete(weights.scaled(), table) if Path(given).exists() else weights
    begun = _begun(journal)
    if begun is not None:  # --accept may have replaced the model's own since
        say(f"baseline of the study in {journal}: {_in_a_line(begun)}")
        return Utility.from_mapping(begun)
    if ranker is None or ranker.utility is None:
        message = "--baseline is needed with --scores: the weights in production, click=0.5,save=0.5 or a TOML file"
        raise InputError(message if ranker is None else Fault("holds no utility: give --baseline", source))
    return _complete(ranker.utility.scaled(), table)


def _begun(path: Path) -> dict[str, float] | None:
    """The baseline of the study that a journal holds; None where there is none, or no more than a torn first line."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if not file.readline().endswith(b"\n"):
            return None
    with Journal.open(path, KIND) as journal:
        return dict(journal.settings["guardrails"]["baseline"])


def _in_a_line(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{head}={weight:.6g}" for head, weight in weights.items())


def _complete(utility: Utility, table: ScoreTable) -> Utility:
    """Heads that a stored utility does not name weigh 0 in it."""
    return Utility.from_mapping({**dict.fromkeys(table.heads, 0.0), **utility.weights})
