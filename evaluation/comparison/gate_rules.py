"""What a release has to keep: how much of production's metrics, on which heads, and where one looks."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evaluation.comparison.toml_values import Reader
from evaluation.metric_kinds import known_metrics, unknown_metrics
from features import Fault, InputError, raise_faults

LARGEST_TOLERANCE = 1.5


@dataclass(frozen=True)
class GateRules:
    """The rules of a gate.

    A tolerance c is the share of production's metric that must remain: .98 allows a fall of 2 %, 1 none, 1.05 asks for
    a rise of 5 %. Of a metric that is better when lower, 2 - c is how much of it is allowed: .98 allows a rise of 2 %.

    Attributes:
        level: Of the two-sided intervals; a regression is claimed at (1 - level) / 2.
        tolerances: Metric -> c, gated on every head.
        head_tolerances: Head -> metric -> c: instead of, or on top of, `tolerances`.
        slices: The columns whose slices are looked at.
        slice_values: Column of `slices` -> the values one expects there, listed even where no row has them. The
            command reads it, for `evaluation.slicing.slice_columns.read_slices`; `gate` has its slices made already.
        min_positives: Below it a slice is not tested, and a head not decided.

    Raises:
        InputError: values outside their range, an unknown metric, values of a column that is not among `slices`; all
            at once.

    >>> GateRules(tolerances={"ap": 0.98}, head_tolerances={"save": {"ap": 0.9}}).of_head("save")
    {'ap': 0.9}
    """

    level: float = 0.95
    tolerances: Mapping[str, float] = field(default_factory=lambda: {"ap": 0.98})
    head_tolerances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    slices: tuple[str, ...] = ()
    slice_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    min_positives: int = 20

    def __post_init__(self) -> None:
        raise_faults(_faults(self))

    @classmethod
    def from_toml(cls, path: str | Path) -> GateRules:
        """Rules from a TOML file; what it does not name keeps its default.

            level = 0.95                      # of the intervals
            min_positives = 20
            slices = ["platform", "device"]   # columns of the log

            [tolerance]                       # share of production's metric that must remain, on every head
            ap = 0.98
            auc = 0.995
            "ndcg@10" = 0.98              # names with @ stand in quotes

            [heads.save]                      # another share on one head
            ap = 0.9

            [slice_values]                    # listed even where no row has them
            platform = ["US", "DE"]

        Raises:
            InputError: all faults at once, each with the file and the key.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "gate.toml"
        ...     written = path.write_text('[tolerance]\\nap = 0.95')
        ...     GateRules.from_toml(path).tolerances
        {'ap': 0.95}
        """
        path = Path(path)
        reader = Reader(path, _read(path))
        values: dict[str, Any] = {}
        reader.number(values, "level")
        reader.whole_number(values, "min_positives")
        reader.texts(values, "slices")
        reader.numbers(values, "tolerance", "tolerances")
        heads = reader.tables("heads")
        if heads:
            values["head_tolerances"] = heads
        reader.text_lists(values, "slice_values")
        reader.finish()
        if any(fault.key == "slices" for fault in reader.faults):  # then nothing is known of whose values may be listed
            values.pop("slice_values", None)
        faults, rules = reader.faults, cls()
        try:
            rules = cls(**values)
        except InputError as error:
            faults += [replace(fault, file=path) for fault in error.faults]
        raise_faults(faults)
        return rules

    def of_head(self, head: str) -> dict[str, float]:
        """Metric -> c of one head."""
        return {**self.tolerances, **self.head_tolerances.get(head, {})}

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that some head is gated on."""
        named = [*self.tolerances, *(metric for own in self.head_tolerances.values() for metric in own)]
        return tuple(dict.fromkeys(named))

    def check(self, heads: Sequence[str]) -> None:
        """Refuse rules for heads that the models do not have.

        Raises:
            InputError: all of them at once, and where no head would be gated at all.
        """
        faults = [
            Fault(f"unknown head (the heads are {', '.join(heads)})", key=f"[heads.{head}]")
            for head in self.head_tolerances
            if head not in heads
        ]
        if not faults and not any(self.of_head(head) for head in heads):
            faults.append(Fault("must name a metric for at least one head", key="[tolerance]"))
        raise_faults(faults)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in metrics.json."""
        return {
            "level": self.level,
            "tolerances": dict(self.tolerances),
            "head_tolerances": {head: dict(own) for head, own in self.head_tolerances.items()},
            "slices": list(self.slices),
            "slice_values": {column: list(names) for column, names in self.slice_values.items()},
            "min_positives": self.min_positives,
        }


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Fault(f"cannot be read: {error.strerror or error}", path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(Fault(f"is not TOML: {error}", path)) from None


def _faults(rules: GateRules) -> list[Fault]:
    faults = []
    if not 0.0 < rules.level < 1.0:
        faults.append(Fault("must satisfy 0 < level < 1", key="level", value=rules.level))
    if rules.min_positives < 1:
        faults.append(Fault("must be at least 1", key="min_positives", value=rules.min_positives))
    sections = {"tolerance": rules.tolerances}
    sections |= {f"heads.{head}": own for head, own in rules.head_tolerances.items()}
    for section, own in sections.items():
        for metric in unknown_metrics(own):
            known = known_metrics()
            faults.append(Fault(f"unknown metric (there are {known})", key=f"[{section}].{metric}"))
        for metric, share in own.items():
            if not 0.0 < share <= LARGEST_TOLERANCE:
                message = f"must satisfy 0 < c <= {LARGEST_TOLERANCE:g}, the share of the metric that must remain"
                faults.append(Fault(message, key=f"[{section}].{metric}", value=share))
    if not any(sections.values()):
        faults.append(Fault("must name at least one metric", key="[tolerance]"))
    twice = sorted({column for column in rules.slices if list(rules.slices).count(column) > 1})
    if twice:
        faults.append(Fault(f"must differ from one another, got {', '.join(twice)} twice", key="slices"))
    faults += [
        Fault("no slices of it are asked for: name it in `slices` too", key=f"[slice_values].{column}")
        for column in rules.slice_values
        if column not in rules.slices
    ]
    return faults
