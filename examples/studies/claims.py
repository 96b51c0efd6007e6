"""What a study is to show, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """One sentence, with what was found; `holds` is None where the runs that it is about do not exist yet.

    >>> print(Claim("fewer parameters", True, "-43 %"))
    - holds: fewer parameters (-43 %)
    """

    words: str
    holds: bool | None
    found: str = ""

    def __str__(self) -> str:
        verdict = {True: "holds", False: "does not hold", None: "not run yet"}[self.holds]
        return f"- {verdict}: {self.words}" + (f" ({self.found})" if self.found else "")
