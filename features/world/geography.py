"""The tree region -> country -> city: where properties lie, and what a place adds to the latents of what lies there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.world.scale import Cardinalities
from features.world.seeds import generator

ZIPF_EXPONENT = 1.05
PLACE_SD = 0.7  # standard deviation of what a city adds to coast, mountain and urban


@dataclass(frozen=True)
class Geography:
    """Parents and effects of the places.

    Parameters
    ----------
    country_of_city : (n_cities,) int array
    region_of_country : (n_countries,) int array
    city_share : (n_cities,) float array
        Share of the properties that lie in each city, Zipf: proportional to (c + 1)^-1.05.
    city_effect : (n_cities, 3) float array
        Added to (coast, mountain, urban) of every property of the city.
    """

    country_of_city: NDArray[np.int64]
    region_of_country: NDArray[np.int64]
    city_share: NDArray[np.float64]
    city_effect: NDArray[np.float64]

    @classmethod
    def generate(cls, seed: int, cardinalities: Cardinalities) -> Geography:
        """Draw the tree: every region has a country, every country a city, the rest falls at random.

        A city's effect is the sum of its region's, its country's and its own, each N(0, .7^2 / 3): in all N(0, .7^2),
        and cities of one country resemble each other.

        Parameters
        ----------
        seed : int
        cardinalities : Cardinalities
            How many cities, countries and regions there are.

        Examples
        --------
        >>> from features.world.scale import CARDINALITIES
        >>> tree = Geography.generate(0, CARDINALITIES["small"])
        >>> tree.city_effect.shape, len(set(tree.country_of_city)), len(set(tree.region_of_country))
        ((60, 3), 24, 9)
        """
        random = generator(seed, "geography")
        n_cities, n_countries, n_regions = cardinalities.city, cardinalities.country, cardinalities.region
        region_of_country = _parents(random, n_countries, n_regions)
        country_of_city = _parents(random, n_cities, n_countries)
        sd = PLACE_SD / np.sqrt(3)
        region, country, city = (random.normal(0, sd, (n, 3)) for n in (n_regions, n_countries, n_cities))
        effect = city + country[country_of_city] + region[region_of_country[country_of_city]]
        return cls(region_of_country=region_of_country, country_of_city=country_of_city,
                   city_share=zipf_shares(n_cities), city_effect=effect)  # fmt: skip


def zipf_shares(n: int, exponent: float = ZIPF_EXPONENT) -> NDArray[np.float64]:
    """Zipf's law, share_k proportional to k^-exponent for k = 1..n.

    Examples
    --------
    >>> zipf_shares(3, exponent=1.0).round(3).tolist()
    [0.545, 0.273, 0.182]
    """
    weights = np.arange(1, n + 1, dtype=np.float64) ** -exponent
    return np.asarray(weights / weights.sum())


def _parents(random: np.random.Generator, n_children: int, n_parents: int) -> NDArray[np.int64]:
    # each parent once, then at random; permuted, because cities are numbered by size and countries must not be
    extra = random.integers(0, n_parents, n_children - n_parents)
    return random.permutation(np.concatenate([np.arange(n_parents), extra]))
