"""The hold-out probe of [Booking] section 4.1: how much of an attribute that training never saw is in the vectors."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray, IntArray, float_array
from evaluation.clusters import Clusters
from evaluation.gallery.probe_arms import Arm, FrozenArm, Head, Trial
from evaluation.gallery.probe_design import ALL_LABELS, BUDGETS, Budget, Part, ProbeDesign
from evaluation.gallery.probe_heads import HeadConfig
from evaluation.gallery.probe_result import MAJORITY, ProbeResult, Score
from evaluation.gallery.resumable import KeptResults


class HoldoutProbe:
    """A held-out attribute, the division of the items, the label budgets and the seeds.

    Args:
        labels: `(N,)` the attribute: numbers or words, missing ones taken out before.
        design: How the N items are divided.
        budgets: The rows of table 2.
        seeds: Each gives other first weights, another nested order of the labels and, with folds, other folds; what
            is reported is the mean over them.

    Raises:
        ValueError: a missing label, one class only, lengths that differ.

    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 2, 120)
    >>> probe = HoldoutProbe(labels, ProbeDesign.split(np.arange(120)), budgets=[ALL_LABELS], seeds=[0])
    >>> signal = labels[:, None] + 0.1 * rng.normal(size=(120, 3))
    >>> result = probe.run({"signal": signal}, heads=["linear"], control=0)
    >>> result.accuracy()["accuracy"].tolist()[0]
    1.0
    """

    def __init__(
        self,
        labels: npt.ArrayLike,
        design: ProbeDesign,
        *,
        budgets: Sequence[Budget] = BUDGETS,
        seeds: Sequence[int] = (0, 1, 2),
    ) -> None:
        values = np.asarray(labels)
        if values.ndim != 1 or len(values) != len(design.groups.codes):
            raise ValueError(f"`labels` must have shape ({len(design.groups.codes)},), got {values.shape}")
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise ValueError("`labels` must not be missing, got NaN: take these items out before")
        if values.dtype.kind == "O" and any(value is None or value != value for value in values):
            raise ValueError("`labels` must not be missing, got None or NaN: take these items out before")
        names, codes = np.unique(values, return_inverse=True)
        if len(names) < 2:
            raise ValueError(f"`labels` must hold at least 2 classes, got {len(names)}")
        if not seeds or not budgets:
            raise ValueError("`seeds` and `budgets` must name at least one, got none")
        if len({budget.name for budget in budgets}) != len(budgets):
            raise ValueError(f"`budgets` must have different names, got {[budget.name for budget in budgets]}")
        self.names, self.labels = tuple(str(name) for name in names), codes.astype(np.intp)
        self.design, self.budgets, self.seeds = design, tuple(budgets), tuple(seeds)

    def run(
        self,
        arms: Mapping[str, npt.ArrayLike | Arm],
        *,
        heads: Sequence[Head] = ("two-layer", "linear"),
        config: HeadConfig | None = None,
        control: int = 5,
        folder: str | Path | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> ProbeResult:
        """Fits every arm at every budget with every seed.

        Args:
            arms: Name -> `(N, D)` vectors, probed by each of `heads`, or an `Arm` of its own (end to end).
            heads: Heads put on vectors. The linear one has no passes, so it skips budgets of exact `epochs`.
            config: Settings of the two-layer head.
            control: How many times the vectors are fitted with the training labels (all of them) shuffled among the
                items: such probes must be at chance, else the true labels reach them by another way. One shuffle can be
                lucky, so several; 0 = none.
            folder: Where each fit's result is kept, so that a run that was killed goes on; None = nowhere.
            progress: Called with a line before each fit.

        Returns:
            What was predicted right, with the tables made from it; `majority` is among the arms.

        Raises:
            ValueError: an arm named like the majority, a matrix of another length.
        """
        if MAJORITY in arms:
            raise ValueError(f"`arms` must not name {MAJORITY!r}: it is always added")
        kept, say = KeptResults(folder), progress or (lambda _: None)
        scores = []
        for name, given in arms.items():
            for arm in self._arms(name, given, heads, config):
                for budget, seed, shuffle in self._fits(arm, control if isinstance(arm, FrozenArm) else 0):
                    words = f"{name}, {arm.head} head, {'shuffled labels' if shuffle else budget.name}, seed {seed}"
                    say(words)
                    settings = {**arm.settings(), **self._settings(), "share": budget.share, "epochs": budget.epochs}

                    def compute(
                        arm: Arm = arm, budget: Budget = budget, seed: int = seed, shuffle: bool = shuffle
                    ) -> dict[str, Any]:
                        return self._fit(arm, budget, seed, shuffle)

                    found = kept.of(words, settings, compute)
                    scores.append(
                        Score(
                            arm=name,
                            head=arm.head,
                            budget=budget.name,
                            seed=seed,
                            shuffled=shuffle,
                            labels=found["labels"],
                            correct=np.asarray(found["correct"], dtype=np.float64),
                            cpu_seconds=found["cpu_seconds"],
                            details=found["details"],
                        )
                    )
        return ProbeResult(
            tuple(scores), self._majority(), self._tested_groups(), self.names, len(self.labels), self.design.kind
        )

    def _arms(
        self, name: str, given: npt.ArrayLike | Arm, heads: Sequence[Head], config: HeadConfig | None
    ) -> list[Arm]:
        if isinstance(given, Arm):
            return [given]
        matrix = float_array(name, given, ndim=2)
        if len(matrix) != len(self.labels):
            raise ValueError(f"arm {name!r} must hold {len(self.labels)} vectors, one per label, got {len(matrix)}")
        return [FrozenArm(matrix, head, config) for head in heads]

    def _fits(self, arm: Arm, control: int) -> list[tuple[Budget, int, bool]]:
        budgets = [budget for budget in self.budgets if arm.head != "linear" or budget.epochs is None]
        fits = [(budget, seed, False) for budget in budgets for seed in self.seeds]
        return fits + [(ALL_LABELS, seed, True) for seed in range(control)]

    def _fit(self, arm: Arm, budget: Budget, seed: int, shuffle: bool) -> dict[str, Any]:
        correct, counts, details, seconds = np.full(len(self.labels), np.nan), [], [], 0.0
        for number, part in enumerate(self.design.parts(seed)):
            train = part.take(budget.share)
            labels = self._shuffled(part, [seed, number]) if shuffle else self.labels
            trial = Trial(
                labels,
                len(self.names),
                train,
                part.validation,
                part.test,
                self._inner(part, train),
                budget.epochs,
                seed,
            )
            start = time.process_time()
            fitted = arm.fit(trial)
            seconds += time.process_time() - start
            correct[part.test] = fitted.probabilities.argmax(axis=1) == self.labels[part.test]
            counts.append(len(train))
            details.append(fitted.details)
        return {
            "labels": float(np.mean(counts)),
            "correct": correct[self.design.tested],
            "cpu_seconds": seconds,
            "details": details,
        }

    def _shuffled(self, part: Part, seed: Sequence[int]) -> IntArray:
        """The labels with those of the training and validation rows dealt out anew among these rows."""
        labels = self.labels.copy()
        rows = np.concatenate([part.train, part.validation])
        labels[rows] = labels[np.random.default_rng([*seed, 5]).permutation(rows)]
        return labels

    def _inner(self, part: Part, train: IntArray) -> IntArray | None:
        """Fold numbers of the training and validation rows: their groups in turn, in the order of their codes."""
        if not part.inner_folds:
            return None
        groups = np.unique(self.design.groups.codes[np.concatenate([train, part.validation])], return_inverse=True)[1]
        order = np.random.default_rng(self.design.seed).permutation(int(groups.max()) + 1)
        return np.asarray(order[groups] % part.inner_folds, dtype=np.intp)

    def _majority(self) -> FloatArray:
        """`(seeds, tested)` whether the most frequent training class is the item's."""
        rows = []
        for seed in self.seeds:
            right = np.full(len(self.labels), np.nan)
            for part in self.design.parts(seed):
                most = np.bincount(self.labels[part.train], minlength=len(self.names)).argmax()
                right[part.test] = self.labels[part.test] == most
            rows.append(right[self.design.tested])
        return np.asarray(rows)

    def _tested_groups(self) -> Clusters:
        return Clusters.of(self.design.groups.codes[self.design.tested])

    def _settings(self) -> dict[str, Any]:
        design = self.design
        digest = hashlib.sha256(self.labels.tobytes() + design.groups.codes.tobytes()).hexdigest()
        return {
            "items": digest,
            "design": [design.kind, design.validation, design.test, design.folds, design.seed],
        }
