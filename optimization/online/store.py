"""What is known of an experiment in rounds: its design, its groups, their numbers; replayed from the journal.

The design stands in the journal's header. Its records, in the order in which they are appended:

    {"type": "round", "groups": [...]}          proposed: a control and k treatment groups
    {"type": "given up", "groups": [...]}       groups that are no longer waited for; numbers may still come
    {"type": "numbers", "numbers": [...]}       one ingested source, as a whole
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import pandas as pd

from features import Fault, InputError, raise_faults
from optimization.guardrails import Guardrails
from optimization.online.constraints import Constraint, parse_constraints
from optimization.search.space import SearchSpace

CONTROL, TREATMENT, REPEAT = "control", "treatment", "repeat"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
FRAME_COLUMNS = ("group", "round", "kind")
# what stands beside the heads' weights in one table or another
TAKEN = (*FRAME_COLUMNS, "state", "groups", "lift", "se", "low", "high", "low_all", "high_all", "expected", "feasible")


@dataclass(frozen=True)
class RoundDesign:
    """What an experiment asks; fixed when its folder is created.

    Attributes:
        heads: Head to declared sign, 1 or -1, in order.
        baseline: The weights in production, of every head; sum |w| = total.
        metric: The metric to move.
        maximise: Upwards; else downwards.
        constraints: What must hold of metrics, see `constraints`.
        record: Further metrics that are taken in and shown, but decide nothing.
        groups: k, treatment groups per round beside the control group.
        bounds: (low, high) of a head's share of the total; (0, 1) where absent.
        total: sum |w|.
        seed: Of every proposal.
    """

    heads: Mapping[str, int]
    baseline: Mapping[str, float]
    metric: str = "utility"
    maximise: bool = True
    constraints: tuple[str, ...] = ()
    record: tuple[str, ...] = ()
    groups: int = 4
    bounds: Mapping[str, tuple[float, float]] | None = None
    total: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        faults = self._faults()
        try:
            self._guardrails().space()
        except InputError as error:
            faults += error.faults
        raise_faults(faults)

    @cached_property
    def space(self) -> SearchSpace:
        """Where treatment groups' shares lie."""
        return self._guardrails().space()

    @cached_property
    def rules(self) -> tuple[Constraint, ...]:
        """The constraints, parsed."""
        return parse_constraints(self.constraints)[0]

    @property
    def needed(self) -> tuple[str, ...]:
        """Metrics without which a group is not measured: the one to move and those of the constraints."""
        return tuple(dict.fromkeys([self.metric, *(rule.metric for rule in self.rules)]))

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics that are taken in."""
        return tuple(dict.fromkeys([*self.needed, *self.record]))

    def to_dict(self) -> dict[str, Any]:
        """For the journal's header; heads as a list, as their order matters."""
        return {
            "heads": [[name, sign] for name, sign in self.heads.items()],
            "baseline": {name: float(self.baseline[name]) for name in self.heads},
            "metric": self.metric, "maximise": self.maximise, "constraints": [str(rule) for rule in self.rules],
            "record": list(self.record), "groups": self.groups,
            "bounds": {name: [float(low), float(high)] for name, (low, high) in sorted((self.bounds or {}).items())},
            "total": float(self.total), "seed": self.seed,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RoundDesign:
        """The inverse of `to_dict`."""
        known = {field.name: content[field.name] for field in fields(cls)}
        known["heads"] = {name: int(sign) for name, sign in content["heads"]}
        known["constraints"], known["record"] = tuple(content["constraints"]), tuple(content["record"])
        known["bounds"] = {name: (low, high) for name, (low, high) in content["bounds"].items()}
        return cls(**known)

    def _guardrails(self) -> Guardrails:
        """S1, S2 and the signs; what S3-S5 are offline, the constraints are here."""
        return Guardrails(
            baseline=self.baseline, signs=self.heads, floors={}, bounds=self.bounds or {}, total=self.total
        )

    def _faults(self) -> list[Fault]:
        """What is wrong beside the weights and their space."""
        _, faults = parse_constraints(self.constraints)
        faults += [Fault(f"a head cannot be called `{h}`: a column is") for h in self.heads if h in TAKEN]
        faults += [
            Fault(f"`{name}` must be the name of a metric", value=metric)
            for name, metric in [("metric", self.metric), *(("record", metric) for metric in self.record)]
            if not metric.strip() or metric != metric.strip()
        ]
        if isinstance(self.groups, bool) or not 1 <= self.groups <= len(LETTERS):
            faults.append(Fault(f"`groups` must be 1 to {len(LETTERS)} treatment groups a round", value=self.groups))
        if isinstance(self.seed, bool) or self.seed < 0:
            faults.append(Fault("`seed` must be a whole number >= 0", value=self.seed))
        return faults


@dataclass(frozen=True)
class Group:
    """One group of one round.

    Attributes:
        name: "r2-b", or "r2-control".
        round: Counted from 1.
        kind: "control", "treatment", or "repeat": weights that were measured before, once more.
        weights: The T signed weights, in the order of the heads.
    """

    name: str
    round: int
    kind: str
    weights: tuple[float, ...]


@dataclass(frozen=True)
class RoundState:
    """The experiment as far as the journal goes.

    Attributes:
        design: What it asks.
        groups: All groups proposed so far, in order; a round's control first.
        numbers: (group, metric) to (value, standard error).
        given_up: Groups that are no longer waited for.
    """

    design: RoundDesign
    groups: tuple[Group, ...]
    numbers: Mapping[tuple[str, str], tuple[float, float]]
    given_up: frozenset[str]

    @classmethod
    def replay(cls, settings: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> RoundState:
        """From a journal's header and records."""
        groups: list[Group] = []
        numbers: dict[tuple[str, str], tuple[float, float]] = {}
        given_up: set[str] = set()
        for record in records:
            if record["type"] == "round":
                groups += [
                    Group(g["group"], record["round"], g["kind"], tuple(map(float, g["weights"])))
                    for g in record["groups"]
                ]
            elif record["type"] == "given up":
                given_up |= set(record["groups"])
            else:
                numbers |= {
                    (n["group"], n["metric"]): (n["value"], n["standard_error"]) for n in record["numbers"]
                }  # fmt: skip
        return cls(RoundDesign.from_dict(settings), tuple(groups), numbers, frozenset(given_up))

    @property
    def rounds(self) -> int:
        """Rounds proposed so far."""
        return self.groups[-1].round if self.groups else 0

    def without(self, groups: Sequence[str]) -> RoundState:
        """The same, with further groups given up."""
        return replace(self, given_up=self.given_up | set(groups))

    def lacking(self, group: Group) -> list[str]:
        """The needed metrics that a group has no numbers for."""
        return [metric for metric in self.design.needed if (group.name, metric) not in self.numbers]

    def waiting(self) -> dict[str, list[str]]:
        """Groups of the open round that are waited for, with the metrics that they lack; empty when it is complete."""
        latest = (group for group in self.groups if group.round == self.rounds and group.name not in self.given_up)
        return {group.name: lacking for group in latest if (lacking := self.lacking(group))}

    def measured(self) -> list[Group]:
        """Groups with all needed numbers in rounds whose control has them too, the controls included."""
        whole = [group for group in self.groups if not self.lacking(group)]
        controlled = {group.round for group in whole if group.kind == CONTROL}
        return [group for group in whole if group.round in controlled]

    def frame(self, round: int | None = None) -> pd.DataFrame:
        """Columns group, round, kind and one weight per head: of one round, or of all."""
        heads = list(self.design.heads)
        rows = [(g.name, g.round, g.kind, *g.weights) for g in self.groups if round in (None, g.round)]
        return pd.DataFrame(rows, columns=[*FRAME_COLUMNS, *heads])


def round_record(number: int, how: str, kinds: Sequence[str], weights: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The record of a round: its control first, then the treatments as a, b, c, ..."""
    names = [f"r{number}-control", *(f"r{number}-{letter}" for letter in LETTERS)]
    groups = [
        {"group": name, "kind": kind, "weights": [float(w) for w in row]}
        for name, kind, row in zip(names, kinds, weights)
    ]
    return {"type": "round", "round": number, "how": how, "groups": groups}
