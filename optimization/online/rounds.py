"""Online rounds: weights as treatment groups, their metrics as numbers, the next groups from all of these.

[Pinterest 2020], "Utility function and Bayesian optimization", last paragraphs: weights tuned against past engagement
did not beat hand-picked ones online, so tune them online. A first experiment with pseudo-random weights, then a
Bayesian model of what came back, then an experiment with the weights that it proposes; the best performing group is
the candidate for production if it outperforms the hand-picked weights, which stand in every round as its control.

Everything is in one folder, in an append-only journal: stop at any time, go on on another machine.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from features import Fault, InputError, raise_faults
from optimization.journal import Journal
from optimization.online.model import Arms, Posterior, choose, expected_lifts
from optimization.online.numbers import KNOWN, check_numbers, read_numbers
from optimization.online.proposal import next_round
from optimization.online.store import RoundDesign, RoundState
from optimization.online.words import RoundsStatus, describe
from optimization.search import ax_search, ax_slices
from optimization.search.ax_search import Propose
from ranking import Utility

__all__ = ["Rounds"]

KIND, JOURNAL = "rounds", "journal.jsonl"


class Rounds:
    """An experiment in rounds, in one folder; use `Rounds.create` or `Rounds.open`.

    The journal is locked while a method runs, not between calls: two processes cannot both propose.

    Attributes:
        folder: Where it lives.
        design: What it asks, fixed since its creation.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> rounds = Rounds.create(folder.name, {"click": 1, "save": 1}, {"click": 0.5, "save": 0.5}, groups=2)
    >>> rounds.propose()[["group", "kind"]].to_numpy().tolist()
    [['r1-control', 'control'], ['r1-a', 'treatment'], ['r1-b', 'treatment']]
    >>> numbers = {"group": ["r1-a"], "metric": ["utility"], "value": [0.31], "standard_error": [0.01]}
    >>> rounds.ingest(pd.DataFrame(numbers))["state"].tolist()
    ['new']
    >>> Rounds.open(folder.name).waiting()
    {'r1-control': ['utility'], 'r1-b': ['utility']}
    >>> folder.cleanup()
    """

    def __init__(self, folder: Path, design: RoundDesign, propose: Propose, posterior: Posterior) -> None:
        self.folder = folder
        self.design = design
        self._propose = propose
        self._posterior = posterior

    @classmethod
    def create(
        cls,
        folder: str | Path,
        heads: Mapping[str, int],
        baseline: Mapping[str, float],
        *,
        metric: str = "utility",
        maximise: bool = True,
        constraints: Sequence[str] = (),
        record: Sequence[str] = (),
        groups: int = 4,
        bounds: Mapping[str, tuple[float, float]] | None = None,
        total: float = 1.0,
        seed: int = 0,
        propose: Propose = ax_search.propose,
        posterior: Posterior = ax_slices.posterior,
    ) -> Rounds:
        """Begin an experiment, or open it if it was begun with the same design.

        Args:
            folder: Made if need be.
            heads: Head to declared sign, 1 or -1 (a hide must not be rewarded).
            baseline: The weights in production, of every head, sum |w| = total: the control group of every round.
            metric: What to move, as the experiment platform calls it.
            maximise: Upwards; else downwards.
            constraints: Such as "hide_rate <= 0.01", or "save >= 0.95 * control" against the control group.
            record: Further metrics to take in and show, which decide nothing.
            groups: Treatment groups per round, beside the control.
            bounds: Head to (low, high) of |w| as a share of the total. Traffic is precious: bounds keep the first,
                pseudo-random round away from weights that nobody would ship.
            total: sum |w|.
            seed: The same seed and numbers give the same proposals.
            propose, posterior: The search and its model; other ones for tests and simulations.

        Raises:
            InputError: everything that is wrong with the design at once, or how it differs from the folder's.
        """
        folder = Path(folder)
        design = RoundDesign(
            dict(heads), dict(baseline), metric, maximise, tuple(constraints), tuple(record), groups,
            dict(bounds or {}), total, seed,
        )  # fmt: skip
        if folder.exists() and not (folder / JOURNAL).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(Fault("is not empty and holds no rounds: choose another folder", folder))
        Journal.open(folder / JOURNAL, KIND, design.to_dict()).close()
        return cls(folder, design, propose, posterior)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        propose: Propose = ax_search.propose,
        posterior: Posterior = ax_slices.posterior,
    ) -> Rounds:
        """Go on with an experiment, on this machine or another.

        Raises:
            InputError: there is none in `folder`, or its journal was damaged.
        """
        folder = Path(folder)
        if not (folder / JOURNAL).is_file():
            raise InputError(Fault(f"holds no rounds: it has no {JOURNAL} (the first proposal makes it)", folder))
        with Journal.open(folder / JOURNAL, KIND) as journal:
            design = RoundDesign.from_dict(journal.settings)
        return cls(folder, design, propose, posterior)

    def propose(self, *, without: Collection[str] = (), confirm: bool = False) -> pd.DataFrame:
        """The groups of the round to run: the open one while it waits for numbers, else the next.

        The first round is a Sobol sequence over the space; later ones are proposed by the model of all numbers so far.

        Args:
            without: Groups of the open round not to wait for: stopped early, or late. Their numbers may still be
                ingested, and then count.
            confirm: Repeat the best weights so far in one group of a new round, for an estimate that does not owe
                anything to their having been chosen: for the round before a decision. Not a habit of every round: in
                simulated experiments no gain by it was shown (docs/log.md), and new groups nearby also explore.

        Returns:
            Columns group, round, kind ("control", "treatment" or "repeat") and one weight per head.

        Raises:
            InputError: `without` names groups that are not waited for; `confirm` before anything was measured, or for a
                round that is open already. Nothing is journaled then.
        """
        with self._journal() as journal:
            state = self._state(journal)
            waiting = state.waiting()
            known = ", ".join(waiting) or "none"
            raise_faults(
                Fault(f"`without`: group `{name}` is not waited for (waited for: {known})")
                for name in without
                if name not in waiting and name not in state.given_up
            )
            fresh = [name for name in waiting if name in without]
            state = state.without(fresh)
            still = state.waiting()
            if confirm and (still or not state.measured()):
                why = f"round {state.rounds} is open" if still else "nothing has been measured yet"
                raise InputError(Fault(f"`confirm` repeats the best weights in a new round, but {why}"))
            if not still:
                record = next_round(state, self._propose, self._posterior, confirm=confirm)
                journal.append(*[{"type": "given up", "groups": fresh}] * bool(fresh), record)
            elif fresh:
                journal.append({"type": "given up", "groups": fresh})
            return self._state(journal).frame(state.rounds + (not still))

    def ingest(self, source: pd.DataFrame | str | Path, *, correct: bool = False) -> pd.DataFrame:
        """Take in metrics of groups: some now, some later, and the same ones as often as one likes.

        Args:
            source: Frame, CSV or Parquet file with columns group, metric, value, standard_error (others ignored).
            correct: Replace known numbers by other ones, where those were wrong; what was known stays in the journal.

        Returns:
            Columns group, metric, value, standard_error and state: "new", "known already" or "corrected".

        Raises:
            InputError: everything that is wrong (see `numbers`); nothing is journaled then.
        """
        raw = read_numbers(source)
        with self._journal() as journal:
            state = self._state(journal)
            names = [group.name for group in state.groups]
            table = check_numbers(raw, names, self.design.metrics, state.numbers, correct=correct)
            fresh = table[table["state"] != KNOWN].drop(columns="state")
            if len(fresh):
                source_name = raw.file.name if raw.file else None
                journal.append({"type": "numbers", "source": source_name, "numbers": fresh.to_dict("records")})
            return table

    def waiting(self) -> dict[str, list[str]]:
        """Groups of the open round that are waited for, with the metrics that they lack."""
        return self.state().waiting()

    def status(self) -> RoundsStatus:
        """Where the experiment stands: groups, lifts against the control, the best group and how sure that is."""
        return describe(self.state(), self._posterior)

    def best(self) -> Utility | None:
        """The measured weights with the highest posterior mean among those whose constraints hold at the estimates.

        Not the highest observed lift: the highest of many noisy numbers is mostly the luckiest, and the posterior mean
        shrinks it towards its neighbours. The baseline is one of the candidates, with a lift of 0. None before a
        control was measured, and when no measured group meets the constraints. Whether the best is shown to beat the
        control is in `status`.
        """
        state = self.state()
        arms = Arms.of(state)
        chosen = choose(arms, expected_lifts(arms, state, self._posterior))
        return None if chosen is None else self._utility(arms.weights[chosen].tolist())

    def export_weights(self, group: str) -> Utility:
        """The weights of one group, to configure the ranker of its traffic (`.to_toml()` writes them).

        Raises:
            InputError: no such group.
        """
        groups = {g.name: g for g in self.state().groups}
        if group not in groups:
            raise InputError(Fault(f"unknown group (the groups are {', '.join(groups) or 'none'})", value=group))
        return self._utility(groups[group].weights)

    def state(self) -> RoundState:
        """Everything that the journal holds."""
        with self._journal() as journal:
            return self._state(journal)

    def _journal(self) -> Journal:
        return Journal.open(self.folder / JOURNAL, KIND, self.design.to_dict())

    def _state(self, journal: Journal) -> RoundState:
        return RoundState.replay(journal.settings, journal.records)

    def _utility(self, weights: Sequence[float]) -> Utility:
        return Utility.from_mapping(dict(zip(self.design.heads, weights)))
