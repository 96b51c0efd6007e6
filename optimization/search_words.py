"""How the searches of a study compare, in sentences: Ax beside its cheap controls at equal evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.formatting import format_number
from optimization.trials import AX, BASELINE, NELDER_MEAD, RANDOM, SWEEP, Trial

if TYPE_CHECKING:
    from optimization.tuning import Tuning

__all__ = ["search_sentences"]

NAMES = {AX: "Ax", SWEEP: "the sweep", NELDER_MEAD: "Nelder-Mead", RANDOM: "random search", BASELINE: "the baseline"}
AGREEMENT = 0.01  # of the best objective: searches within it found the same optimum for all that matters


def search_sentences(tuning: Tuning) -> list[str]:
    """Where the best was found, whether Ax beat the sweep at equal evaluations, whether the cross-checks agree.

    An Ax that looked for a frontier did not look for the best of one objective: there its trials on the frontier count.
    """
    best = tuning.best
    if best is None:
        return []
    beside = _frontier(tuning) if len(tuning.objectives) > 1 else _comparisons(tuning)
    where = f"Best of {format_number(len(tuning.trials))} trials: found by {NAMES[best.phase]}"
    base = tuning.baseline.objective
    if best is tuning.baseline:
        return [f"{where}: nothing feasible was better than the weights in production.", *beside]
    gain = f", objective {format_number(best.objective)} against {format_number(base)} of the baseline"
    return [f"{where}{gain} on the tuning rows.", *beside]


def _frontier(tuning: Tuning) -> list[str]:
    ours = sum(trial.phase == AX for trial in tuning.frontier)
    own = sum(trial.phase == AX for trial in tuning.trials)
    heads = f"{', '.join(tuning.pareto[:-1])} and {tuning.pareto[-1]}"
    size = len(tuning.frontier)
    sentence = f"{format_number(size)} trial{' lies' if size == 1 else 's lie'} on the frontier of {heads}"
    return [
        f"{sentence}, {format_number(ours)} of them among the {format_number(own)} of Ax." if own else f"{sentence}."
    ]


def _comparisons(tuning: Tuning) -> list[str]:
    count = len(tuning.evaluated(AX))
    found = {
        search: tuning.best_of(search, count)
        for search in (AX, SWEEP, NELDER_MEAD, RANDOM)
        if count and len(tuning.evaluated(search)) >= count
    }
    sentences = []
    if AX in found and SWEEP in found:
        sentences.append(f"At {format_number(count)} evaluations each, {_against(found[AX], found[SWEEP])}.")
    checks = [search for search in (NELDER_MEAD, RANDOM) if search in found]
    if AX in found and checks:
        sentences.append(_agreement(found, checks))
    full = tuning.best_of(SWEEP)
    whole = len(tuning.evaluated(SWEEP))
    if AX in found and whole > count:
        sentences.append(f"The whole sweep of {format_number(whole)} evaluations reaches {_value(full)}.")
    return sentences


def _against(ours: Trial | None, theirs: Trial | None) -> str:
    both = f"Ax reaches {_value(ours)} and the Sobol sweep {_value(theirs)}"
    if ours is None or (theirs is not None and ours.objective <= theirs.objective):
        return f"{both}: Ax did not beat the sweep"
    return f"{both}: Ax beat the sweep"


def _agreement(found: dict[str, Trial | None], checks: list[str]) -> str:
    reached = " and ".join(f"{NAMES[search]} {_value(found[search])}" for search in checks)
    known = {search: trial.objective for search, trial in found.items() if trial is not None and search != SWEEP}
    first = f"Cross-checks at as many evaluations: {reached}"
    if not known:
        return f"{first}."
    if all(trial is None or trial.phase == BASELINE for search, trial in found.items() if search != SWEEP):
        return "At as many evaluations neither Ax nor its cross-checks found anything better than the baseline."
    top = max(known.values())
    near = [search for search in checks if search in known and top - known[search] <= AGREEMENT * abs(top)]
    if AX not in known or top - known[AX] > AGREEMENT * abs(top):
        leader = max(known, key=lambda search: known[search])
        return (
            f"{first}; {NAMES[leader]} is ahead of Ax by more than {100 * AGREEMENT:g} %, so Ax's answer is in doubt."
        )
    if NELDER_MEAD in near:
        return f"{first}; Ax and Nelder-Mead agree to within {100 * AGREEMENT:g} %."
    return (
        f"{first}; none comes within {100 * AGREEMENT:g} % of Ax."
        if not near
        else (f"{first}; Ax and {NAMES[near[0]]} agree to within {100 * AGREEMENT:g} %.")
    )


def _value(trial: Trial | None) -> str:
    return "nothing feasible" if trial is None else format_number(trial.objective)
