"""What one can choose on the page: weights with a name, the guardrails they are held to, and the cloud of trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features import Fault, InputError
from features.artifact import read_json
from galleryrank.explore_page.options import attempt
from galleryrank.explore_page.rows import PageRows
from galleryrank.head_options import head_shares
from galleryrank.weights import TUNED_FILE, read_weights
from optimization.objective.pr_auc import utility_pr_auc
from optimization.pareto import non_dominated
from optimization.search.space import SearchSpace
from optimization.verdict import HAND, TUNED
from ranking import Ranker, Utility

OWN, EQUAL = "the model's own", "equal"
SWEEP = 256  # weight vectors of the cloud where there is no tuning
MOST = 600  # points of the cloud


@dataclass(frozen=True, eq=False)
class Choices:
    """Weights to begin with.

    Attributes:
        named: Name -> head -> weight for every head; the first is the reference, which is compared with.
        floors: Head -> c_h: the share of the reference's PR-AUC that must remain; of an unwanted head the most it may
            have.
        cloud: `(V, T)` weights of the trials.
        source: What the trials are, for people.
        notes: What else is to be said of them.
    """

    named: dict[str, dict[str, float]]
    floors: dict[str, float]
    cloud: npt.NDArray[np.float64]
    source: str
    notes: tuple[str, ...] = ()

    def cloud_values(self, rows: PageRows) -> npt.NDArray[np.float64]:
        """`(V, T)` PR-AUC of every head on the page's rows for each trial; NaN for a head without positives.

        The trials are judged anew on the rows that the page ranks, so that the cloud and the point of the sliders can
        be compared.
        """
        return utility_pr_auc(rows.probabilities, rows.labels, self.cloud, rows.weights)


def read_choices(
    ranker: Ranker, tuning: Path | None = None, *, keep: Sequence[str] = (), most: int = MOST, seed: int = 0
) -> Choices:
    """From a tuning's folder, or without one from the model alone.

    Args:
        ranker: Whose heads are weighed.
        tuning: Made by `galleryrank tune`: its baseline is the reference, its guardrails are the floors, its trials
            the cloud. Without one the model's own weights are the reference and a Sobol sweep is the cloud.
        keep: As `--keep` of `galleryrank tune`, in the place of the tuning's floors.
        most: Points of the cloud at most; those on the frontier first.
        seed: Of the sweep, and of the draw where there are more.

    Raises:
        InputError: a folder that holds no tuning, or one of other heads or signs; a `--keep` that cannot be read; all
            at once.
    """
    signs = {head: ranker.schema.heads[head].sign for head in ranker.heads}
    faults: list[Fault] = []
    kept = _kept(keep, signs, faults)
    found = attempt(
        faults,
        lambda: (
            _of_model(ranker, signs, kept, most, seed)
            if tuning is None
            else _of_tuning(tuning, signs, kept, most, seed)
        ),
    )
    if faults or found is None:
        raise InputError(faults)
    return found


def _kept(keep: Sequence[str], signs: Mapping[str, int], faults: list[Fault]) -> dict[str, float]:
    """Head -> c_h as `--keep` says it; what is wrong with it is added to `faults`."""
    named, default = head_shares(keep, faults)
    heads = f"(the heads are {', '.join(signs)})"
    faults += [Fault(f"unknown head `{head}` {heads}", key="--keep") for head in named if head not in signs]
    shares = [*named.values(), *([] if default is None else [default])]
    faults += [Fault("must be a finite share > 0", key="--keep", value=s) for s in shares if not 0.0 < s < np.inf]
    return named if default is None else {head: default for head, sign in signs.items() if sign > 0} | named


def _of_model(ranker: Ranker, signs: Mapping[str, int], kept: dict[str, float], most: int, seed: int) -> Choices:
    space = SearchSpace.of(signs)
    cloud = space.weights(space.sobol(min(SWEEP, most), seed))
    named = {EQUAL: dict(Utility.equal(signs).weights)}
    if ranker.utility is not None:
        own = _every_head(ranker.utility.scaled(), signs)
        # to 15 digits, so that a weight that was written as 0.3 stays 0.3
        named = {OWN: {head: float(f"{weight:.15g}") for head, weight in own.items()}} | named
    return Choices(named, kept, cloud, f"{len(cloud)} weight vectors spread evenly (a Sobol sweep)")


def _of_tuning(folder: Path, signs: Mapping[str, int], kept: dict[str, float], most: int, seed: int) -> Choices:
    study, notes = _study(folder, signs), []
    named = {name: {head: float(study["weights"][name][head]) for head in signs} for name in (HAND, EQUAL)}
    if (folder / TUNED_FILE).is_file():
        utility = read_weights(str(folder))[0]
        try:
            utility.check(signs)
        except ValueError as error:
            raise InputError(Fault(str(error), folder / TUNED_FILE)) from error
        named[TUNED] = _every_head(utility, signs)
    else:
        notes.append("The tuning found no weights that keep every guardrail, so there are no tuned ones.")
    if study["metric"]["name"] != "pr_auc":
        notes.append(f"The tuning's metric was {study['metric']['label']}; this page asks its guardrails of PR-AUC.")
    rules = study["guardrails"]["rules"]
    floors = {rule["head"]: float(rule["floor"]) for rule in rules if rule["floor"] is not None}
    cloud, count = _trials(study, signs, most, seed), len(study["trials"])
    source = f"{count} trials of the tuning" if len(cloud) == count else f"{len(cloud)} of the tuning's {count} trials"
    return Choices(named, kept or floors, cloud, source, tuple(notes))


def _study(folder: Path, signs: Mapping[str, int]) -> dict[str, Any]:
    """metrics.json of a tuning of these heads."""
    file = folder / "metrics.json"
    if not file.is_file():
        raise InputError(Fault("is not a tuning: it has no metrics.json (make one by `galleryrank tune`)", folder))
    found = read_json(file)
    if not isinstance(found, dict) or found.get("report") != "tuning":
        raise InputError(Fault("is not the metrics.json of `galleryrank tune`", file))
    if found["signs"] != dict(signs):
        theirs, ours = (", ".join(f"{h} {s:+d}" for h, s in each.items()) for each in (found["signs"], signs))
        raise InputError(Fault(f"must weigh the model's heads ({ours}), got {theirs}", file))
    return found


def _trials(study: Mapping[str, Any], signs: Mapping[str, int], most: int, seed: int) -> npt.NDArray[np.float64]:
    """`(V, T)` weights, each once: all of them, or those on the tuning rows' frontier and as many others as fit."""
    trials = study["trials"]
    weights = np.array([[trial["weights"][head] for head in signs] for trial in trials], dtype=np.float64)
    values = np.array([[trial["values"][head] for head in signs] for trial in trials], dtype=np.float64)
    _, first = np.unique(weights, axis=0, return_index=True)
    first.sort()
    if len(first) > most:
        better = values[first] * np.array(list(signs.values()))
        chance = np.random.default_rng(seed).random(len(first))
        first = np.sort(first[np.lexsort((chance, ~non_dominated(better)))[:most]])
    return weights[first]


def _every_head(utility: Utility, signs: Mapping[str, int]) -> dict[str, float]:
    """Weights of every head in order; a head that the utility does not name weighs 0 in it."""
    return {head: utility.weights.get(head, 0.0) for head in signs}
