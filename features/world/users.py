"""The users: an observed segment, and tastes that nobody observes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.world.seeds import generator

# rows: segments 0..3; columns as properties.LATENTS (q, lux, cst, mtn, urb, fam)
SEGMENT_TASTES = np.array([
    [0.2, 1.0, 0.1, 0.0, 0.3, -0.3],
    [0.9, -0.5, 0.2, 0.1, 0.0, 0.5],
    [0.4, 0.1, 1.1, -0.2, -0.4, 0.2],
    [0.4, 0.0, -0.5, 1.0, -0.4, 0.1],
])  # fmt: skip
PRICE_SENSITIVITY = np.array([0.1, 0.7, 0.4, 0.4])  # gamma_s
TASTE_SD = 0.3
DRIFT_SD = 0.15  # half the spread of tastes within a segment: slow, yet visible between the first and the last week


@dataclass(frozen=True)
class Users:
    """Everybody who sends requests; row number = `user_id`.

    Parameters
    ----------
    segment : (U,) int array
        s in 0..3, evenly spread, observed.
    taste : (U, 6) float array
        u ~ N(A_s, .3^2 I) over the latents, at the middle of the log's time.
    drift : (4, 6) float array
        What each segment's tastes change by from the first to the last second of the log, N(0, .15^2) each.
    """

    segment: NDArray[np.int64]
    taste: NDArray[np.float64]
    drift: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.segment)

    @classmethod
    def generate(cls, seed: int, n: int) -> Users:
        """Draw `n` users.

        Examples
        --------
        >>> users = Users.generate(0, 100)
        >>> users.taste.shape, sorted(set(users.segment.tolist()))
        ((100, 6), [0, 1, 2, 3])
        """
        random = generator(seed, "users")
        segment = random.integers(0, len(SEGMENT_TASTES), n)
        taste = SEGMENT_TASTES[segment] + random.normal(0, TASTE_SD, (n, SEGMENT_TASTES.shape[1]))
        drift = generator(seed, "drift").normal(0, DRIFT_SD, SEGMENT_TASTES.shape)
        return cls(segment=segment, taste=taste, drift=drift)

    def taste_at(self, user: NDArray[np.int64], moment: NDArray[np.float64]) -> NDArray[np.float64]:
        """Tastes of some users at some moments: u + drift_s (moment - 1/2).

        Parameters
        ----------
        user : (N,) int array
            User ids.
        moment : (N,) float array
            Share of the log's time that has passed, 0 at its start and 1 at its end.

        Returns
        -------
        (N, 6) float array
        """
        return np.asarray(self.taste[user] + self.drift[self.segment[user]] * (moment - 0.5)[:, None])
