"""A study of utility weights as a sequence of phases, each trial journaled as it ends.

    baseline      trial 0, the weights in production
    sweep         a Sobol sequence over the simplex: the honest control, and the cloud of what is possible
    ax            Bayesian optimisation [Pinterest 2020] from the baseline and the first few of the sweep
    nelder_mead   a cheap local search, and
    random        no search at all: cross-checks at as many evaluations as Ax had

What a phase asks for next is a pure function of (seed, phase, number) and of earlier trials, so a study that was killed
goes on from its journal with the same trials: what is there is not asked for again, what is not there comes out alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from evaluation.checks import FloatArray
from optimization.evaluating import Evaluator, Outcome
from optimization.journal import Journal
from optimization.search.ax_search import Observation, Propose
from optimization.search.cross_checks import nelder_mead, penalised
from optimization.search.space import SearchSpace
from optimization.trials import AX, BASELINE, NELDER_MEAD, PHASES, RANDOM, SWEEP, Trial, trial_of, trial_record

__all__ = ["STARTS", "Study", "trial_seed"]

STARTS = 8  # trials of the sweep that Ax starts from, beside the baseline
BLOCK = 64  # trials of the sweep that are evaluated, and journaled, at a time
OBJECTIVE = "objective"


def trial_seed(seed: int, phase: str, number: int = 0) -> int:
    """The seed of one trial: 0 <= it < 2^32, its own for each (seed, phase, number).

    >>> trial_seed(0, "ax", 1) == trial_seed(0, "ax", 1), trial_seed(0, "ax", 1) == trial_seed(0, "ax", 2)
    (True, False)
    """
    return int(np.random.SeedSequence([seed, PHASES.index(phase), number]).generate_state(1)[0])


class Study:
    """The phases of one study over one journal; `tune` runs them in order.

    Args:
        evaluator: The tuning rows and the guardrails.
        journal: Its records are the trials so far; None keeps nothing.
        seed: Of every draw.
        pareto: Heads to be maximised together (an unwanted one: minimised) instead of the objective, two or more.
        noise: Tell Ax the paired standard errors as noise of its observations.
        progress: Called with every trial in the order in which the study comes to it, journaled before or new.
        preparing: Seconds that the evaluator took, which count as evaluation of the baseline.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        journal: Journal | None = None,
        *,
        seed: int = 0,
        pareto: Sequence[str] = (),
        noise: bool = True,
        progress: Callable[[Trial], None] | None = None,
        preparing: float = 0.0,
    ) -> None:
        rails = evaluator.guardrails
        self.evaluator, self.seed, self.pareto = evaluator, seed, tuple(pareto)
        self.space = SearchSpace.of({head: rails.signs[head] for head in evaluator.heads}, rails.bounds, rails.total)
        self._journal, self._noise, self._progress, self._preparing = journal, noise, progress, preparing
        self.trials = [trial_of(i, record) for i, record in enumerate(journal.records if journal else ())]
        self._known = {(trial.phase, trial.number): trial for trial in self.trials}

    @property
    def objectives(self) -> tuple[str, ...]:
        """The metrics that Ax maximises, as `observation` calls them."""
        return tuple(f"signed_{head}" for head in self.pareto) or (OBJECTIVE,)

    @property
    def constraints(self) -> tuple[str, ...]:
        """The metrics that Ax keeps >= 0, as `observation` calls them."""
        return tuple(f"slack_{head}" for head in self.evaluator.floors)

    def observation(self, trial: Trial) -> Observation:
        """What Ax is told of a trial: what is maximised, and the slacks of the guardrails, margin included."""
        signs = self.evaluator.guardrails.signs
        values = {OBJECTIVE: (trial.objective, self._told(trial.objective_error))}
        for head in self.pareto:
            values[f"signed_{head}"] = (signs[head] * trial.values[head], self._told(trial.errors[head]))
        for head in self.evaluator.floors:
            values[f"slack_{head}"] = (trial.slacks[head], self._told(trial.slack_errors[head]))
        return Observation(np.array(trial.shares), values)

    def observed(self) -> list[Trial]:
        """What Ax knows by now: the baseline and the first of the sweep, if they lie in the space, and its own."""
        starts = [self._known[BASELINE, 0], *self.phase(SWEEP)[:STARTS]]
        inside = self.space.contains(np.array([trial.shares for trial in starts]))
        return [*(trial for trial, within in zip(starts, inside) if within), *self.phase(AX)]

    def phase(self, phase: str) -> list[Trial]:
        """The trials of a phase so far, in their order."""
        return sorted((trial for trial in self.trials if trial.phase == phase), key=lambda trial: trial.number)

    def baseline(self) -> Trial:
        """Trial 0."""
        known = self._known.get((BASELINE, 0))
        if known is not None:
            self._say(known)
            return known
        weights = {head: float(self.evaluator.guardrails.baseline[head]) for head in self.evaluator.heads}
        shares = self.space.shares(list(weights.values()))[0]
        return self._append(
            [self._record(BASELINE, 0, shares, self.evaluator.baseline, 0.0, self._preparing, weights)]
        )[0]

    def sweep(self, count: int) -> None:
        """The first `count` points of a Sobol sequence over the space, in blocks."""
        shares = self.space.sobol(count, trial_seed(self.seed, SWEEP))
        # All errors of the first ones: Ax starts from these, and wants every slack with its margin.
        for number in range(min(STARTS, count)):
            self._trial(SWEEP, number, lambda number=number: shares[number])  # type: ignore[misc]
        self._block(SWEEP, shares, STARTS)

    def model_based(self, count: int, propose: Propose, seconds: float | None = None) -> None:
        """`count` proposals, or fewer: no further one is begun after `seconds` of proposing and evaluating."""
        spent = 0.0
        for number in range(count):
            if (AX, number) not in self._known and seconds is not None and spent >= seconds:
                return
            trial = self._trial(AX, number, lambda number=number: self._proposal(number, propose))  # type: ignore[misc]
            spent += sum(trial.seconds.values())

    def nelder_mead(self, count: int) -> None:
        """`count` evaluations of Nelder-Mead from the baseline, which it knows already."""
        if not count:
            return
        base = self._known[BASELINE, 0]
        inside = bool(self.space.contains(base.shares)[0])  # off the space, the nearest point is a trial of its own
        numbers = iter(range(-1 if inside else 0, count))

        def score(shares: FloatArray) -> float:
            number = next(numbers)
            trial = base if number < 0 else self._trial(NELDER_MEAD, number, lambda: shares)
            # In relative units, for the penalty: what the baseline has, and what the guardrails ask for.
            asked = self.evaluator.required
            relative = [trial.slacks[head] / (limit or 1.0) for head, limit in asked.items()]
            return penalised(trial.objective / (abs(base.objective) or 1.0), relative)

        nelder_mead(self.space, score, base.shares, count + inside, trial_seed(self.seed, NELDER_MEAD))

    def random(self, count: int) -> None:
        """`count` points drawn from the space, each with a seed of its own."""
        drawn = [self.space.random(1, trial_seed(self.seed, RANDOM, number)) for number in range(count)]
        self._block(RANDOM, np.concatenate(drawn) if drawn else np.empty((0, len(self.space.heads))))

    def _told(self, error: float | None) -> float:
        return error if self._noise and error is not None else 0.0

    def _proposal(self, number: int, propose: Propose) -> FloatArray:
        observations = [self.observation(trial) for trial in self.observed()]
        return propose(
            self.space,
            observations,
            objectives=self.objectives,
            constraints=self.constraints,
            count=1,
            seed=trial_seed(self.seed, AX, number),
        )[0]

    def _trial(self, phase: str, number: int, shares_of: Callable[[], FloatArray]) -> Trial:
        """The trial of the journal, or a new one of the shares that are asked for only then."""
        known = self._known.get((phase, number))
        if known is not None:
            self._say(known)
            return known
        begin = time.perf_counter()
        shares = np.asarray(shares_of(), dtype=np.float64)
        proposed = time.perf_counter()
        outcome = self.evaluator.outcome(self.space.weights(shares)[0])
        evaluated = time.perf_counter()
        return self._append([self._record(phase, number, shares, outcome, proposed - begin, evaluated - proposed)])[0]

    def _block(self, phase: str, shares: FloatArray, first: int = 0) -> None:
        """Trials `first`, `first` + 1, ... of a phase that knows all its points beforehand."""
        for begin in range(first, len(shares), BLOCK):
            numbers = range(begin, min(begin + BLOCK, len(shares)))
            missing = [number for number in numbers if (phase, number) not in self._known]
            for number in numbers:
                if number not in missing:
                    self._say(self._known[phase, number])
            start = time.perf_counter()
            outcomes = self.evaluator.outcomes(self.space.weights(shares[missing])) if missing else []
            each = (time.perf_counter() - start) / max(len(missing), 1)
            self._append(
                [self._record(phase, n, shares[n], outcome, 0.0, each) for n, outcome in zip(missing, outcomes)]
            )

    def _record(
        self,
        phase: str,
        number: int,
        shares: FloatArray,
        outcome: Outcome,
        proposing: float,
        evaluating: float,
        weights: dict[str, float] | None = None,
    ) -> dict[str, Any]:
        return trial_record(
            phase,
            number,
            tuple(map(float, shares)),
            weights or dict(zip(self.evaluator.heads, map(float, self.space.weights(shares)[0]))),
            outcome,
            inside=bool(self.space.contains(shares)[0]),
            proposing=proposing,
            evaluating=evaluating,
        )

    def _append(self, records: Sequence[dict[str, Any]]) -> list[Trial]:
        if self._journal is not None and records:
            records = self._journal.append(*records)
        new = [trial_of(len(self.trials) + place, record) for place, record in enumerate(records)]
        for trial in new:
            self.trials.append(trial)
            self._known[trial.phase, trial.number] = trial
            self._say(trial)
        return new

    def _say(self, trial: Trial) -> None:
        if self._progress is not None:
            self._progress(trial)
