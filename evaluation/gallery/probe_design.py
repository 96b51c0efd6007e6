"""Which items a probe learns from, stops by and is tested on: whole groups on one side, label budgets nested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from evaluation.checks import IntArray
from evaluation.clusters import Clusters


@dataclass(frozen=True)
class Budget:
    """A row of table 2: how many of the training labels are used, and for how long.

    Attributes:
        name: What the row is called.
        share: Of the training part's labels, 0 < share <= 1.
        epochs: Passes over them, exactly; None = until the validation loss stops improving.
    """

    name: str
    share: float
    epochs: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"`share` of budget {self.name!r} must satisfy 0 < share <= 1, got {self.share}")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"`epochs` of budget {self.name!r} must be at least 1, got {self.epochs}")


BUDGETS = (*(Budget(f"{share} %", share / 100) for share in (20, 40, 60, 80, 100)), Budget("four epochs", 1.0, 4))
ALL_LABELS = Budget("100 %", 1.0)


@dataclass(frozen=True)
class Part:
    """One division of the items.

    Attributes:
        train: `(n,)` rows in random order: a budget takes the first ones, so that smaller budgets lie within larger.
        validation: `(m,)` rows that decide when to stop and which strength to take.
        test: `(k,)` rows that nothing is decided by.
        inner_folds: The linear probe chooses its strength by so many grouped folds over train + validation and is
            refitted on both (small data, where a validation part of its own is too dear); 0 = by the validation part.
    """

    train: IntArray
    validation: IntArray
    test: IntArray
    inner_folds: int = 0

    def take(self, share: float) -> IntArray:
        """The training rows `(ceil(share n),)` of a budget."""
        return self.train[: int(np.ceil(share * len(self.train) - 1e-9))]


@dataclass(frozen=True)
class ProbeDesign:
    """How the items are divided; items of one group are never on two sides.

    Attributes:
        kind: "split" = one train / validation / test division for every seed, as in table 2 of [Booking]; "folds" =
            every item is tested once per seed by a probe that saw no item of its group.
        groups: The items' groups.
        validation: Share of the groups that are not tested which decides when to stop.
        test: Share of the groups that is tested ("split" only).
        folds: Number of folds ("folds" only).
        seed: Of the division ("split": the nested order of the training labels alone changes with a probe's seeds).

    >>> design = ProbeDesign.split(np.arange(100), test=0.2, validation=0.1)
    >>> part, = design.parts(seed=0)
    >>> len(part.train), len(part.validation), len(part.test), len(part.take(0.2))
    (72, 8, 20, 15)
    """

    kind: Literal["split", "folds"]
    groups: Clusters
    validation: float
    test: float = 0.0
    folds: int = 0
    seed: int = 0

    @classmethod
    def split(
        cls, groups: npt.ArrayLike | Clusters, *, test: float = 0.2, validation: float = 0.1, seed: int = 0
    ) -> ProbeDesign:
        """One division by group.

        Args:
            groups: `(N,)` group ids; `np.arange(N)` where every item stands alone.
            test: Share of the groups that is tested.
            validation: Share of the remaining groups that decides when to stop.
            seed: Of the division.

        Raises:
            ValueError: a share outside (0, 1), or too few groups for three sides.
        """
        for name, share in (("test", test), ("validation", validation)):
            if not 0.0 < share < 1.0:
                raise ValueError(f"`{name}` must satisfy 0 < {name} < 1, got {share}")
        clusters = Clusters.of(groups)
        if clusters.count < 4:
            raise ValueError(f"`groups` must hold at least 4 groups for three sides, got {clusters.count}")
        return cls("split", clusters, validation, test=test, seed=seed)

    @classmethod
    def by_folds(
        cls, groups: npt.ArrayLike | Clusters, folds: int = 5, *, validation: float = 0.15, seed: int = 0
    ) -> ProbeDesign:
        """`folds` divisions by group, redrawn for every seed: for small data, where a test part would be too small.

        Raises:
            ValueError: fewer than 2 folds, a validation share outside (0, 1), or too few groups.
        """
        if folds < 2:
            raise ValueError(f"`folds` must be at least 2, got {folds}")
        if not 0.0 < validation < 1.0:
            raise ValueError(f"`validation` must satisfy 0 < validation < 1, got {validation}")
        clusters = Clusters.of(groups)
        if clusters.count < 2 * folds:
            raise ValueError(f"`groups` must hold at least {2 * folds} groups for {folds} folds, got {clusters.count}")
        return cls("folds", clusters, validation, folds=folds, seed=seed)

    def parts(self, seed: int) -> tuple[Part, ...]:
        """The division(s) of a probe's `seed`: one for "split", `folds` for "folds"."""
        if self.kind == "split":
            sides = np.random.default_rng([self.seed, 1]).permutation(self.groups.count)
            tested = max(1, round(self.test * self.groups.count))
            return (self._part(sides[tested:], sides[:tested], self.seed, seed, 0),)
        order = np.random.default_rng([self.seed, seed, 2]).permutation(self.groups.count)
        division = [np.sort(order[fold :: self.folds]) for fold in range(self.folds)]
        return tuple(
            self._part(np.concatenate(division[:fold] + division[fold + 1 :]), tested, seed, seed, self.folds)
            for fold, tested in enumerate(division)
        )

    @property
    def tested(self) -> IntArray:
        """The rows, ascending, that some part tests: the same ones for every seed."""
        if self.kind == "folds":
            return np.arange(len(self.groups.codes))
        return self.parts(0)[0].test

    def _part(self, rest: IntArray, tested: IntArray, division_seed: int, seed: int, inner_folds: int) -> Part:
        """Groups to rows: the validation groups are drawn from `rest`, the training rows put in their nested order."""
        rest = np.random.default_rng([division_seed, 3]).permutation(np.sort(rest))
        held = max(1, round(self.validation * len(rest)))
        train = self._rows(rest[held:])
        order = np.random.default_rng([self.seed, seed, 4]).permutation(len(train))
        return Part(train[order], self._rows(rest[:held]), self._rows(tested), inner_folds)

    def _rows(self, groups: IntArray) -> IntArray:
        return np.flatnonzero(np.isin(self.groups.codes, groups))
