"""What ranks the candidates of a request: any function of requests, and those that a fitted ranker makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.marketplace.requests import Requests
from features import InputError
from features.tables import Columns
from features.world.users import SEGMENT_TASTES
from features.world.world import World
from ranking import Ranker, Utility
from ranking.ranker import SCORE

Policy = Callable[[Requests], NDArray[np.float64]]  # Requests -> (R, C) scores, higher is shown first


def show(scores: NDArray[np.float64], shown: int) -> NDArray[np.int64]:
    """The columns `(R, K)` of the K best candidates, best first; of equal scores the first column, as a ranker does.

    Args:
        scores: `(R, C)`.
        shown: K, 1 <= K <= C.

    >>> show(np.array([[0.1, 0.9, 0.1], [0.3, 0.2, 0.1]]), 2).tolist()
    [[1, 0], [0, 1]]
    """
    if not 1 <= shown <= scores.shape[1]:
        raise ValueError(f"`shown` must satisfy 1 <= shown <= candidates = {scores.shape[1]}, got {shown}")
    order = np.argsort(-scores, axis=1)  # several times faster than a stable sort, which only rows with ties need
    ranked = np.take_along_axis(scores, order[:, : shown + 1], axis=1)
    tied = np.flatnonzero((ranked[:, 1:] == ranked[:, :-1]).any(axis=1))
    order[tied] = np.argsort(-scores[tied], axis=1, kind="stable")
    return order[:, :shown]


@dataclass(frozen=True)
class RankerTable:
    """A ranker's answers for every pair of a segment and a property of a world.

    A ranker fitted on a world's log knows of a user the segment alone, and scores at the serving position: what it
    says of a request is a row of this table. Millions of requests are then ranked without running the network again.

    Attributes:
        heads: The T heads in order; `("score",)` for the importance-weighted single head.
        values: `(S, P, T)` calibrated probabilities (or the single score) by segment and property.
        segment: `(U,)` segment of every user.
    """

    heads: tuple[str, ...]
    values: NDArray[np.float64]
    segment: NDArray[np.int64]

    @classmethod
    def of(cls, world: World, ranker: Ranker) -> RankerTable:
        """Ask the ranker for every pair once.

        Raises:
            InputError: the ranker needs something else of a request than the user's segment and the property.
        """
        items = np.arange(len(world.properties))
        known = {"item_id": items, "segment": np.zeros(len(items), dtype=np.int32)}
        needed = ranker.encoders.required_columns(Columns(known), serving_position=True)
        missing = [name for name in needed if name not in known]
        if missing:
            raise InputError(
                f"the ranker reads {', '.join(missing)} of a candidate: a simulated request has the segment of its "
                "user and the property, nothing else"
            )
        segments = range(len(SEGMENT_TASTES))
        answers = [ranker.predict(known | {"segment": np.full(len(items), s, dtype=np.int32)}) for s in segments]
        heads = ranker.heads or (SCORE,)
        values = np.stack([frame[list(heads)].to_numpy(dtype=np.float64) for frame in answers])
        return cls(heads, values, world.users.segment)

    def policy(self, utility: Utility | Mapping[str, float] | None = None) -> Policy:
        """Rank by sum_t w_t p_t, or by the single score.

        Args:
            utility: The weights; a head that they do not name counts nothing. None for the single score.

        Raises:
            ValueError: weights for a single score, or none for several heads; a head that the ranker has not.
        """
        single = self.heads == (SCORE,)
        if single != (utility is None):
            raise ValueError(
                "a utility must be given for a ranker with heads, and none for an importance-weighted score"
            )
        if utility is None:
            scores = self.values[:, :, 0]
        else:
            mix = utility if isinstance(utility, Utility) else Utility.from_mapping(utility)
            scores = mix.score(self.values.reshape(-1, len(self.heads)), self.heads).reshape(self.values.shape[:2])
        return lambda requests: scores[self.segment[requests.user][:, None], requests.items]
