"""The score table: calibrated probabilities and outcomes of the same rows, computed once; a trial only re-mixes them.

[Pinterest 2020], "Utility function and Bayesian optimization": the search for utility weights asks for the metrics of
hundreds of weight vectors on one log, and none of them needs the model again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evaluation import Clusters, check_role
from evaluation.measured.ranker_scores import with_own_vectors
from evaluation.measured.score_file import read_scores
from evaluation.measured.scored_log import ScoredLog
from features import Dataset, InputError, encode_log
from optimization.score_checks import checked_scores
from ranking import Ranker
from ranking.rates import training_rate

__all__ = ["ScoreTable"]


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """N rows with T heads each, made by `of`, `from_ranker` or `from_scores`, which check them; nobody writes into it.

    Attributes:
        heads: The T heads in order.
        signs: Their declared signs, 1 or -1 (hide): the sign of every weight.
        probabilities: `(N, T)` float32 within [0, 1], calibrated. Stored head by head: `probabilities.T` is contiguous.
        labels: `(N, T)` 0 or 1; int8, or float32 with NaN where a label is missing. Stored as the probabilities are.
        requests: The request of each row; errors are clustered by it.
        row_weights: `(N,)` float64 >= 0, 1 / keep_prob on a sampled log; None when every row counts once.
        name: For people, e.g. "tune rows of trivago".

    >>> table = ScoreTable.of([[0.9, 0.2], [0.4, 0.1]], [[1, 0], [0, 1]], ["a", "b"], ["click", "save"])
    >>> table.rows, table.positives.tolist(), table.mean_probabilities.round(2).tolist()
    (2, [1, 1], [0.65, 0.15])
    """

    heads: tuple[str, ...]
    signs: tuple[int, ...]
    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int8] | npt.NDArray[np.float32]
    requests: Clusters
    row_weights: npt.NDArray[np.float64] | None = None
    name: str = ""

    @classmethod
    def of(
        cls,
        probabilities: npt.ArrayLike,
        labels: npt.ArrayLike,
        requests: npt.ArrayLike | Clusters,
        heads: Sequence[str],
        signs: Sequence[int] | None = None,
        row_weights: npt.ArrayLike | None = None,
        name: str = "",
    ) -> ScoreTable:
        """From arrays.

        Args:
            probabilities: `(N, T)` within [0, 1].
            labels: `(N, T)` 0, 1 or NaN (missing: the row is left out for that head alone).
            requests: `(N,)` ids of any kind, or `Clusters`.
            heads: The T names in column order.
            signs: T times 1 or -1; all 1 by default.
            row_weights: `(N,)` finite and >= 0; by default every row counts once.
            name: For people, in messages and reports.

        Raises:
            InputError: every fault at once: shapes that do not fit, NaN or infinite scores, scores outside [0, 1],
                labels other than 0, 1 and NaN, negative weights, a head without positives, fewer than two requests.
        """
        parts = checked_scores(probabilities, labels, requests, heads, signs, row_weights, name)
        return cls(
            tuple(heads),
            (1,) * len(heads) if signs is None else tuple(int(sign) for sign in signs),
            parts.probabilities,
            parts.labels,
            parts.requests,
            parts.row_weights,
            name,
        )

    @classmethod
    def from_ranker(cls, ranker: Ranker, dataset: Dataset, role: str, *, logged_position: bool = False) -> ScoreTable:
        """The rows of a role, scored by a fitted ranker: calibrated, at the serving position, as they are served.

        Args:
            ranker: With calibrated heads, which are the table's heads in its order.
            dataset: Of the same heads; where it has item vectors, these and no others are used, as in `measure_ranker`.
            role: calibrate, tune or test; rows are weighted by 1 / keep_prob.
            logged_position: Score at each row's own position instead, which serving cannot know.

        Raises:
            InputError: the train role, a role without rows, an importance-weighted single head, other heads, item
                vectors of another encoder, and the faults of `of`.

        >>> table = ScoreTable.from_ranker(Ranker.load("runs/demo/model"), dataset, "tune")      # doctest: +SKIP
        """
        check_role(role)
        if ranker.tree is None:
            raise InputError(
                "weights mix the probabilities of heads, but this ranker is an importance-weighted single head: "
                'fit objective = "multi_head"'
            )
        if set(dataset.schema.head_names) != set(ranker.heads):
            raise InputError(
                f"the data set must have the model's heads {sorted(ranker.heads)}, "
                f"got {sorted(dataset.schema.head_names)}"
            )
        ranker = with_own_vectors([ranker], dataset)[0]
        log = encode_log(dataset, ranker.encoders, role, serving_position=not logged_position)
        if not len(log):
            raise InputError(f"role {role!r} has no rows: change [split] in dataset.toml")
        rate = training_rate(ranker.schema, ranker.config, log)
        logits = ranker.scorer.logits(log.inputs)
        p = np.exp(ranker.log_probabilities(logits, rate, logged_position=logged_position, inputs=log.inputs))[:, :-1]
        # a description may list the heads in another order than the model
        order = [dataset.schema.head_names.index(head) for head in ranker.heads]
        return cls.of(
            p,
            log.labels.numpy()[:, order],
            log.requests.numpy(),
            ranker.heads,
            [ranker.schema.heads[head].sign for head in ranker.heads],
            1.0 / log.keep_prob.numpy().astype(np.float64),
            f"{role} rows of {dataset.schema.name}",
        )

    @classmethod
    def from_scores(cls, path: Path | str, dataset: Dataset, role: str) -> ScoreTable:
        """The rows of a role, scored by any production system.

        Args:
            path: A Parquet file (or a folder or glob of them) with the data set's request and item columns and one
                column of calibrated probabilities per head, named as the head. Its order does not matter, and rows
                that are not of the role are passed over.
            dataset: The log with the outcomes.
            role: calibrate, tune or test; rows are weighted by 1 / keep_prob.

        Raises:
            InputError: every fault at once: a missing file or column, a (request, item) scored twice, rows of the role
                without a score, scores that are no numbers within [0, 1], and the faults of `of`.

        >>> table = ScoreTable.from_scores("scores.parquet", dataset, "tune")                    # doctest: +SKIP
        """
        log = ScoredLog.read(dataset, role)
        found = read_scores(Path(path), dataset, log)
        signs = [dataset.schema.heads[head].sign for head in log.heads]
        return cls.of(found.probabilities, log.labels, log.requests, log.heads, signs, log.weights, log.name)

    @property
    def rows(self) -> int:
        """N."""
        return len(self.probabilities)

    @cached_property
    def positives(self) -> npt.NDArray[np.int64]:
        """`(T,)` the number of rows with label 1 (and a weight above 0) of each head."""
        hits = self.labels == 1
        if self.row_weights is not None:
            hits = hits & (self.row_weights > 0.0)[:, None]
        return np.asarray(np.count_nonzero(hits, axis=0), dtype=np.int64)

    @cached_property
    def mean_probabilities(self) -> npt.NDArray[np.float64]:
        """`(T,)` weighted mean probability of each head: weight x mean is what a head contributes to the utility."""
        if self.row_weights is None:
            return np.asarray(self.probabilities.mean(axis=0, dtype=np.float64))
        total = self.row_weights.sum()
        return np.array([(self.row_weights @ column.astype(np.float64)) / total for column in self.probabilities.T])

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over heads, signs and every array, but not the name: whether two studies saw the same table."""
        codes = self.requests.codes.astype("<i8", copy=False)
        arrays = [self.probabilities.T, self.labels.T, codes, *([] if self.row_weights is None else [self.row_weights])]
        digest = hashlib.sha256()
        digest.update(json.dumps([self.heads, self.signs, [(a.dtype.str, a.shape) for a in arrays]]).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()
