"""What an image study is to show, and whether it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from examples.studies.claims import Claim

if TYPE_CHECKING:
    import pandas as pd

FEWER = 30.0  # %, parameters that merging must take away
BEHIND_UNMERGED, ABOVE_ONE_BRANCH = 0.5, 0.5  # points of top-1
LOCKED_BY = 8  # epochs done
TOGETHER = {"mnist": ("4", "9")}  # digits that are written alike


def claims(name: str, runs: pd.DataFrame) -> list[Claim]:
    """The sharing by similarity against a branch per task and against one branch; of parameters and lock, every seed.

    Args:
        name: of the image set.
        runs: `summary.run_table`.
    """
    own = runs[runs.arm == "similarity"]
    lawful = runs.dropna(subset=["law_exact"])
    found = [
        _claim(
            f"{FEWER:.0f} % of the parameters or more saved by merging",
            [f"{share:.1f} %" for share in own.fewer],
            bool((own.fewer >= FEWER).all()),
        ),
        _claim(
            "the parameter law, exactly, in every run but those of cross-stitch",
            [f"{len(lawful)} runs"] if len(lawful) else [],
            bool(lawful.law_exact.all()),
        ),
        _ahead(runs, "unmerged", -BEHIND_UNMERGED),
        _ahead(runs, "one_branch", ABOVE_ONE_BRANCH),
        _claim(
            f"groups locked by epoch {LOCKED_BY}",
            ["never" if np.isnan(lock) else f"{lock:.0f}" for lock in own.lock],
            bool((own.lock <= LOCKED_BY).all()),
        ),
    ]
    if name in TOGETHER:
        pair = set(TOGETHER[name])
        together = [any(pair <= set(group.split()) for group in groups.split(" | ")) for groups in own.groups]
        words = f"{' and '.join(TOGETHER[name])} share a branch in two of three seeds"
        found.append(
            _claim(words, ["yes" if one else "no" for one in together], 3 * sum(together) >= 2 * len(together))
        )
    return found


def _claim(words: str, found: Sequence[str], holds: bool) -> Claim:
    return Claim(words, holds if found else None, ", ".join(found))


def _ahead(runs: pd.DataFrame, baseline: str, points: float) -> Claim:
    """Over the seeds that both arms have."""
    top1 = runs.pivot(index="seed", columns="arm", values="top1")
    asked = f"at least {points} points above" if points > 0 else f"at most {-points} points below"
    words = f"similarity's mean top-1 {asked} {'a branch per task' if baseline == 'unmerged' else 'one branch'}"
    if not {"similarity", baseline} <= set(top1):
        return Claim(words, None)
    differences = (top1["similarity"] - top1[baseline]).dropna()
    if len(differences) == 0:
        return Claim(words, None)
    mean = float(differences.mean())
    return Claim(words, mean >= points, f"{mean:+.2f}")
