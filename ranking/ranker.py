"""The ranker: from an impression log to calibrated probabilities per engagement, a utility on top, and a ranking."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from features import Dataset, Encoders, Fault, InputError, Inputs, ItemVectors, Schema, as_arrow
from ranking.calibration import Calibration
from ranking.config import RankerConfig
from ranking.heads import STAGES, HeadTree, Stage
from ranking.rates import training_rate
from ranking.scorer import Scorer
from ranking.segments import segment_codes
from ranking.utility import Utility
from ranking.vectors import check_vectors

SCORE = "score"
UTILITY = "utility"
UTILITY_HISTORY = "utility_history"


@dataclass(frozen=True)
class Ranker:
    """A fitted ranker; immutable, and safe to call from several threads.

    `tree` is None for the importance-weighted single head [Pinterest 2020, eq. 1]: it yields one `score`, which is not
    a probability, and refuses a utility.

    >>> ranker = Ranker.load("runs/demo/model")                        # doctest: +SKIP
    >>> probabilities = ranker.predict(candidates)                     # doctest: +SKIP
    >>> top = ranker.rank(candidates, k=20, explain=True)              # doctest: +SKIP
    """

    schema: Schema
    config: RankerConfig
    encoders: Encoders
    scorer: Scorer
    tree: HeadTree | None
    calibration: Calibration | None
    utility: Utility | None
    info: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        dataset: Dataset | str | Path,
        config: RankerConfig | None = None,
        *,
        checkpoint: Path | None = None,
        progress: bool | None = False,
        device: str | None = None,
        log: Callable[[str], None] | None = None,
    ) -> Ranker:
        """Validate, encode, train on the train role, refit on the calibrate role.

        `checkpoint` is a directory in which training can be resumed to the same bits after a kill; `device` defaults to
        CUDA when there is one; `log` receives one line per step of the work.

        Raises InputError with all faults of the data at once.
        """
        from ranking.fitting import fit_prepared, prepare

        opened = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
        config, log = config or RankerConfig(), log or (lambda _: None)
        data = prepare(opened, config, log)
        return fit_prepared(data, config, checkpoint=checkpoint, progress=progress, device=device, log=log)

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads in order; empty for the single score."""
        return self.tree.heads if self.tree else ()

    # ------------------------------------------------------------------------------------------------ prediction
    def negative_rate(self, table: pa.Table | None = None) -> float | np.ndarray:
        """Share of unprotected rows that training saw; (N,) for the rows of `table` where it varies by row."""
        return training_rate(self.schema, self.config, table)

    def encode(self, candidates: Any, *, logged_position: bool = False) -> tuple[pa.Table, Inputs]:
        """Candidates as an Arrow table and as model inputs."""
        table = as_arrow(candidates)
        return table, self.encoders.encode(table, serving_position=not logged_position)

    def log_probabilities(
        self,
        logits: np.ndarray,
        negative_rate: float | np.ndarray,
        stage: Stage = "calibrated",
        *,
        logged_position: bool = False,
        inputs: Inputs | None = None,
    ) -> np.ndarray:
        """Node logits (N, T + 1) -> log probabilities (N, T + 1); the last column is the any event.

        `inputs` are the rows that the logits are of: a model fitted with `refit_by` reads each row's segment from them,
        and refuses to calibrate without.
        """
        if self.tree is None:
            raise InputError("an importance-weighted single head yields a score, not probabilities")
        refits = None
        if self.calibration is not None and stage == "calibrated":
            codes = None
            if self.calibration.segments is not None and inputs is not None:
                codes = segment_codes(self.encoders, self.calibration.segments.by, inputs)
            refits = self.calibration.refits(logged_position, codes)
        return self.tree.log_probabilities(logits, negative_rate, stage, refits)

    def predict(
        self,
        candidates: Any,
        *,
        stage: Stage = "calibrated",
        logged_position: bool = False,
        include_any: bool = False,
    ) -> pd.DataFrame:
        """Probabilities per head, one row per candidate in the order given.

        `candidates` is a pandas frame, an Arrow table, a mapping of arrays or anything with the Arrow C stream
        interface. The position is set to the schema's serving value unless `logged_position`. Columns are the head
        names for calibrated probabilities; other stages carry their stage in the name (`click_sampled`), so that a raw
        score is never mistaken for a probability. `include_any` adds the probability of the protecting event.
        """
        if stage not in STAGES:
            raise ValueError(f"`stage` must be one of {', '.join(STAGES)}, got {stage!r}")
        table, inputs = self.encode(candidates, logged_position=logged_position)
        index = candidates.index if isinstance(candidates, pd.DataFrame) else None
        logits = self.scorer.logits(inputs)
        if self.tree is None:
            return pd.DataFrame({SCORE: logits[:, 0]}, index=index)
        rate = self.negative_rate(table)
        p = np.exp(self.log_probabilities(logits, rate, stage, logged_position=logged_position, inputs=inputs))
        suffix = "" if stage == "calibrated" else f"_{stage}"
        names = self.tree.nodes if include_any else self.heads
        return pd.DataFrame({f"{name}{suffix}": p[:, j] for j, name in enumerate(names)}, index=index)

    def rank(
        self,
        candidates: Any,
        k: int | None = None,
        *,
        utility: Utility | None = None,
        explain: bool = False,
        logged_position: bool = False,
    ) -> pd.DataFrame:
        """Candidates of every request by descending utility, ties by item id; at most `k` per request.

        Columns: request (if given), item, rank (1 = best), utility (or score), the heads' probabilities, and with
        `explain` one `utility_HEAD` = w_t p_t per head, which sum to the utility.
        """
        if k is not None and k < 1:
            raise ValueError(f"`k` must be at least 1, got {k}")
        if utility is not None:
            self.check_utility(utility)
        table = as_arrow(candidates)
        columns = self.schema.columns
        if columns.item not in table.column_names:
            raise InputError(Fault("the item id is missing", column=columns.item))
        nulls = table[columns.item].is_null().to_numpy()
        if nulls.any():
            raise InputError(
                Fault(
                    "the item id must not be null", column=columns.item, row=int(nulls.argmax()), count=int(nulls.sum())
                )
            )
        out: dict[str, Any] = {}
        if columns.request in table.column_names:
            out[columns.request] = table[columns.request].to_pandas()
        out[columns.item] = table[columns.item].to_pandas()
        frame = self.predict(table, logged_position=logged_position)
        if self.tree is None:
            out[SCORE] = order_by = frame[SCORE].to_numpy()
        else:
            mix = utility or self.utility
            if mix is None:
                raise InputError("this ranker has no utility: give one by `with_utility` or `utility=`")
            out[UTILITY] = order_by = mix.score(frame)
            out |= {h: frame[h].to_numpy() for h in self.heads}
            if explain:
                parts = mix.contributions(frame.to_numpy(), heads=self.heads)
                out |= {f"{UTILITY}_{h}": parts[:, j] for j, h in enumerate(self.heads)}
        ranked = pd.DataFrame(out)
        rank, order = _rank_within(ranked.get(columns.request), ranked[columns.item], order_by)
        ranked.insert(list(ranked.columns).index(columns.item) + 1, "rank", rank)
        ranked = ranked.iloc[order]
        if k is not None:
            ranked = ranked[ranked["rank"] <= k]
        return ranked.reset_index(drop=True)

    # ------------------------------------------------------------------------------------------------ item vectors
    def with_vectors(self, vectors: ItemVectors | str | Path, *, replace: bool = False) -> Ranker:
        """The same ranker with the vectors of new items, which need not be in the log that it was fitted on.

        Vectors of items that it knows already are replaced by the new ones; items that are not in `vectors` keep
        theirs, or with `replace` have none from now on. `vectors` may be the Parquet file that `galleryrank embed`
        wrote. An item without a vector is scored with the zero vector.

        Raises InputError unless the vectors are those of the encoder trained on (or, where a table carries no
        fingerprint, the table trained on, with further items or not), naming both fingerprints and the remedy.
        """
        file = None if isinstance(vectors, ItemVectors) else Path(vectors)
        if not isinstance(vectors, ItemVectors):
            vectors = ItemVectors.from_parquet(vectors, self.schema.columns.item)
        known = self.encoders.vectors
        check_vectors(known, vectors, file)
        if known is None or known.fingerprint == vectors.fingerprint:
            return self
        if replace:
            vectors = ItemVectors(vectors.key, vectors.matrix, vectors.encoder or known.encoder)
        else:
            vectors = known.updated(vectors)
        encoders = self.encoders.with_vectors(vectors)
        return dataclasses.replace(self, encoders=encoders, scorer=self.scorer.with_encoders(encoders))

    # ------------------------------------------------------------------------------------------------ utility
    def check_utility(self, utility: Utility) -> None:
        """Raise when the utility names an unknown head or has a wrong sign, or when there are no heads to mix."""
        if self.tree is None:
            raise InputError(
                "a utility mixes probabilities, but this ranker is an importance-weighted single head: "
                'its importance weights are fixed in training. Fit objective = "multi_head" to use a utility'
            )
        try:
            utility.check({name: head.sign for name, head in self.schema.heads.items()})
        except ValueError as error:
            raise InputError(f"utility: {error}") from error

    def with_utility(self, utility: Utility) -> Ranker:
        """The same ranker with other weights."""
        self.check_utility(utility)
        return dataclasses.replace(self, utility=utility)

    def accept_utility(self, utility: Utility, note: str = "") -> Ranker:
        """The same ranker with weights that go into production: those they replace are kept in its history.

        `info["utility_history"]` (oldest first) receives the weights in use until now (None where there were none),
        the time at which they were replaced (UTC, ISO 8601) and `note`: why. It is saved and loaded with the ranker.
        Accepting the weights already in use changes nothing.
        """
        self.check_utility(utility)
        if utility == self.utility:
            return self
        replaced = {
            "weights": self.utility.to_dict() if self.utility else None,
            "replaced": datetime.now(UTC).isoformat(timespec="seconds"),
            "note": note,
        }
        info = self.info | {UTILITY_HISTORY: [*self.info.get(UTILITY_HISTORY, []), replaced]}
        return dataclasses.replace(self, utility=utility, info=info)

    # ------------------------------------------------------------------------------------------------ storage
    def save(self, directory: str | Path) -> Path:
        """Write the model directory: a temporary sibling, fsynced, then renamed."""
        from ranking.artifact import save_ranker

        return save_ranker(self, Path(directory))

    @classmethod
    def load(cls, directory: str | Path, *, device: str = "cpu") -> Ranker:
        """Read a model directory; checksums, names, shapes and types are checked first.

        Raises InputError naming each file or tensor that is not as it was saved.
        """
        from ranking.artifact import load_ranker

        return load_ranker(Path(directory), device)


def _rank_within(requests: pd.Series | None, items: pd.Series, utility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rank of each row within its request, order of rows: requests as they first appear, best first)."""
    n = len(items)
    group = np.zeros(n, dtype=np.int64) if requests is None else pd.factorize(requests)[0]
    _, item_order = np.unique(items.to_numpy(), return_inverse=True)
    order = np.lexsort((item_order, -utility, group))
    first = np.r_[True, np.diff(group[order]) != 0] if n else np.zeros(0, dtype=bool)
    start = np.maximum.accumulate(np.where(first, np.arange(n), 0)) if n else np.zeros(0, dtype=np.int64)
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(n) - start + 1
    return rank, order
