"""The generated marketplace as an object: it knows its latents, and can be asked what a user would do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from features.errors import Fault, raise_faults
from features.world.attributes import missing_attributes, true_attributes
from features.world.checks import world_faults
from features.world.geography import Geography
from features.world.properties import Properties
from features.world.reactions import Drivers, Probabilities, marginal
from features.world.scale import CARDINALITIES, Scale
from features.world.seeds import generator
from features.world.users import PRICE_SENSITIVITY, Users

START = 1_704_067_200  # 1 January 2024, 00:00 UTC, in seconds
DAY = 86_400
POLICY_NOISE_SD = 0.5


@dataclass(frozen=True)
class World:
    """A marketplace whose true probabilities are known.

    Parameters
    ----------
    seed : int
        What it was generated from, and what every further draw from it starts from.
    days : int
        Length of its log; tastes drift over this time.
    geography : Geography
    properties : Properties
        Row number = `item_id`.
    users : Users
        Row number = `user_id`.
    attributes : dict of str to (P,) array
        The 31 attributes and "star_rating" as they are.
    missing : dict of str to (P,) bool array
        Which of them nobody recorded.
    query : float
        Weight, in the affinity, of the likeness of a candidate to the property being looked at; 0 where the requests of
        this world come from no such page.
    policy_score : (P,) float array
        What the policy that writes the log ranks by: log popularity + N(0, .5^2), the policy's own error about each
        property, fixed for the whole log.
    """

    seed: int
    days: int
    geography: Geography
    properties: Properties
    users: Users
    attributes: dict[str, NDArray]
    missing: dict[str, NDArray]
    query: float
    policy_score: NDArray[np.float64]

    @classmethod
    def generate(
        cls,
        *,
        seed: int = 0,
        properties: int = 2000,
        users: int = 20000,
        scale: Scale = "small",
        days: int = 28,
        query: float = 0.0,
    ) -> World:
        """Draw a world; the same arguments give the same world.

        Parameters
        ----------
        seed : int
        properties, users : int
            How many, at least 2 and 1 (a price is standardised over the properties).
        scale : {"small", "paper"}
            Numbers of classes of the multi-class attributes: 60 cities, or the paper's 1981.
        days : int
            Length of the log.
        query : float
            Weight of the likeness to the property being looked at, >= 0; it changes nothing else of the world.

        Raises
        ------
        InputError
            Naming every argument out of range.

        Examples
        --------
        >>> world = World.generate(properties=100, users=10)
        >>> p = world.probabilities(user=[3, 3], item=[7, 7], position=[1, 20], time=[START, START])
        >>> bool(p.click[0] > p.click[1])
        True
        """
        raise_faults(world_faults(seed=seed, properties=properties, users=users, scale=scale, days=days, query=query))
        geography = Geography.generate(seed, CARDINALITIES[scale])
        those = Properties.generate(seed, properties, geography)
        attributes = true_attributes(seed, those, geography, CARDINALITIES[scale])
        error = generator(seed, "policy").normal(0, POLICY_NOISE_SD, properties)
        return cls(
            seed=seed,
            days=days,
            geography=geography,
            properties=those,
            users=Users.generate(seed, users),
            attributes=attributes,
            missing=missing_attributes(seed, those, attributes),
            query=query,
            policy_score=np.log(those.popularity) + error,
        )

    def likeness(self, item: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
        """How alike properties are: s = (1 / 6) sum over the latents l of Z_l(item) Z_l(other), each Z_l standardised.

        Standardised over the world's properties, to mean 0 and variance 1: s has mean 0 over independent pairs and
        mean 1 over pairs of a property with itself.

        Parameters
        ----------
        item, other : (N,) int array-like
            Ids.

        Examples
        --------
        >>> world = World.generate(properties=100, users=1)
        >>> everything = np.arange(100)
        >>> round(float(world.likeness(everything, everything).mean()), 9)
        1.0
        """
        z = self.properties.latents
        z = (z - z.mean(axis=0)) / z.std(axis=0)
        return np.asarray((z[np.asarray(item)] * z[np.asarray(other)]).mean(axis=1))

    def drivers(
        self,
        user: ArrayLike,
        item: ArrayLike,
        position: ArrayLike,
        time: ArrayLike,
        query_item: ArrayLike | None = None,
    ) -> Drivers:
        """The sufficient statistics of N reactions: affinity, taste match, mismatch, photo quality, position.

        a = .8 u.Z - gamma_s price + query * likeness(query item, item), the last where there is a query item.

        Parameters
        ----------
        user, item : (N,) int array-like
            Ids.
        position : (N,) int array-like
            1 for the top.
        time : (N,) int array-like
            Seconds; `START` is where the log starts. Moments outside the log continue its drift.
        query_item : (N,) int array-like, optional
            Ids of the properties being looked at.

        Raises
        ------
        InputError
            For an id that this world does not have, or a position below 1.
        """
        users, items = np.asarray(user, dtype=np.int64), np.asarray(item, dtype=np.int64)
        place = np.asarray(position, dtype=np.float64)
        looked_at = None if query_item is None else np.asarray(query_item, dtype=np.int64)
        faults = []
        ranges = [("user", users, len(self.users)), ("item", items, len(self.properties))]
        if looked_at is not None:
            ranges.append(("query_item", looked_at, len(self.properties)))
        for name, ids, size in ranges:
            if len(ids) and (ids.min() < 0 or ids.max() >= size):
                faults.append(Fault(f"`{name}` must lie in 0..{size - 1}", value=f"{ids.min()}..{ids.max()}"))
        if len(place) and place.min() < 1:
            faults.append(Fault("`position` must satisfy position >= 1", value=f"{place.min():g}"))
        raise_faults(faults)
        moment = (np.asarray(time, dtype=np.float64) - START) / (self.days * DAY)
        taste = self.users.taste_at(users, moment)  # (N, 6)
        match = np.einsum("nl,nl->n", taste, self.properties.latents[items])
        sensitivity = PRICE_SENSITIVITY[self.users.segment[users]]
        affinity = 0.8 * match - sensitivity * self.properties.price[items]
        if looked_at is not None:
            affinity += self.query * self.likeness(looked_at, items)
        return Drivers(
            affinity=affinity,
            taste_match=match,
            mismatch=self.properties.mismatch[items],
            photo_quality=self.properties.photo_quality[items],
            position=place,
        )

    def probabilities(
        self,
        user: ArrayLike,
        item: ArrayLike,
        position: ArrayLike,
        time: ArrayLike,
        query_item: ArrayLike | None = None,
    ) -> Probabilities:
        """True probability of every engagement for N shown items, the shared noise integrated out.

        This is what a ranking policy is judged by: put its items at its positions and ask.

        Parameters
        ----------
        user, item, position, time, query_item : (N,) array-like
            As in `drivers`.

        Returns
        -------
        Probabilities of (N,) float arrays: closeup, click, long_click, save and any
        """
        return marginal(self.drivers(user, item, position, time, query_item))
