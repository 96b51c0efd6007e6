"""What must hold of a metric in every group: `hide_rate <= 0.01`, or `save >= 0.95 * control`.

A constraint bounds a metric's level m by a + c * m_control, with a = 0 or c = 0. Its slack is >= 0 when it holds:

    slack = m - a - c * m_control          for >=, and the negative of it for <=
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from features import Fault, InputError

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_PATTERN = re.compile(
    rf"\s*(?P<metric>[^<>=]*[^<>=\s])\s*(?P<sense><=|>=)\s*"
    rf"(?:(?P<before>{_NUMBER})\s*\*\s*control|control\s*\*\s*(?P<after>{_NUMBER})|(?P<control>control)|(?P<number>{_NUMBER}))\s*"
)


@dataclass(frozen=True)
class Constraint:
    """One bound on one metric.

    Attributes:
        metric: Its name in the ingested numbers.
        sense: 1 for >=, -1 for <=.
        absolute: a, the limit in the metric's own unit.
        relative: c, the limit as a share of the control group's level.

    >>> Constraint.parse("save >= 0.95 * control")
    Constraint(metric='save', sense=1, absolute=0.0, relative=0.95)
    >>> str(Constraint.parse("hide_rate<=.01"))
    'hide_rate <= 0.01'
    """

    metric: str
    sense: int
    absolute: float
    relative: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read one constraint.

        Raises:
            InputError: `text` is none.
        """
        found = _PATTERN.fullmatch(text)
        if not found:
            raise InputError(
                Fault(
                    "a constraint must read like `hide_rate <= 0.01` or `save >= 0.95 * control` (<= or >=, a number "
                    "or a share of the control group)",
                    value=text,
                )
            )
        part = found.groupdict()
        sense = 1 if part["sense"] == ">=" else -1
        share = "1" if part["control"] else part["before"] or part["after"]
        number = float(share or part["number"])
        if not math.isfinite(number):
            raise InputError(Fault("the limit of a constraint must be finite", value=text))
        return cls(part["metric"], sense, 0.0 if share else number, number if share else 0.0)

    def __str__(self) -> str:
        limit = f"{self.relative:g} * control" if self.is_relative else f"{self.absolute!r}"
        return f"{self.metric} {'>=' if self.sense > 0 else '<='} {limit}"

    @property
    def is_relative(self) -> bool:
        """Whether the limit is a share of the control group's level."""
        return self.relative != 0.0


def parse_constraints(texts: Sequence[str]) -> tuple[tuple[Constraint, ...], list[Fault]]:
    """All constraints, and the faults of those that are none.

    >>> parse_constraints(["save >= control", "click"])[1][0].value
    'click'
    """
    constraints, faults = list[Constraint](), list[Fault]()
    for text in texts:
        try:
            constraints.append(Constraint.parse(text))
        except InputError as error:
            faults += error.faults
    return tuple(constraints), faults
