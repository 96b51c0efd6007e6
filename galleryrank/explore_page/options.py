"""The options of the page: what is wrong with them is found before anything is scored, and said all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from evaluation import check_role
from features import Fault, InputError
from galleryrank.explore_page.rows import LIMIT

T = TypeVar("T")
SHOWN = 12  # requests whose candidates can be looked at


@dataclass(frozen=True)
class PageOptions:
    """What is asked for.

    Attributes:
        out: The file, replaced in one step.
        role: The rows that are ranked; None = `default_role`.
        weights: A tuning's folder, for the reference, the guardrails and the cloud; None = the model's own weights.
        rows: Above so many, whole requests are sampled.
        requests: How many can be looked at.
        photos: Show those of the data set, if it has any.
        keep: Guardrails, as `--keep` of `galleryrank tune`.
        seed: Of every draw.
    """

    out: Path
    role: str | None = None
    weights: Path | None = None
    rows: int = LIMIT
    requests: int = SHOWN
    photos: bool = True
    keep: tuple[str, ...] = ()
    seed: int = 0

    def faults(self) -> list[Fault]:
        """What is wrong whatever the model and the data are."""
        found: list[Fault] = []
        if self.role is not None:
            role = self.role
            attempt(found, lambda: check_role(role))
        least = (("--rows", self.rows, 1), ("--requests", self.requests, 1), ("--seed", self.seed, 0))
        found += [Fault(f"must be at least {low}", key=key, value=n) for key, n, low in least if n < low]
        if self.out.is_dir():
            found.append(Fault("must be a file, not a folder", key="--out", value=str(self.out)))
        return found


def attempt(faults: list[Fault], work: Callable[[], T]) -> T | None:
    """What `work` gives; None where its input is bad, and then its faults are among `faults`.

    >>> faults: list[Fault] = []
    >>> attempt(faults, lambda: check_role("train")), len(faults)
    (None, 1)
    """
    try:
        return work()
    except InputError as error:
        faults += error.faults
        return None
