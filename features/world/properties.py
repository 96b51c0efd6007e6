"""The properties of the marketplace: latents, place, popularity, price and the qualities of their photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.world.geography import Geography, zipf_shares
from features.world.seeds import generator

LATENTS = ("quality", "luxury", "coast", "mountain", "urban", "family")  # q, lux, cst, mtn, urb, fam

PHOTO_SLOPE = 1.1  # photo quality = sigmoid(1.1 q) + N(0, .12^2), per photo
PHOTO_NOISE = 0.12


@dataclass(frozen=True)
class Properties:
    """What is true of each property, before anybody looks; row number = `item_id`.

    Parameters
    ----------
    latents : (P, 6) float array
        Columns as `LATENTS`: q ~ N(0, 1), lux = .6 q + .8 z, cst = z, mtn = -.3 cst + z, urb = -.3 mtn + z, fam = z;
        then the city's effect is added to cst, mtn and urb.
    city : (P,) int array
        City of each property, Zipf(1.05).
    popularity : (P,) float array
        Share of all demand, Zipf(1.05) over a ranking by .5 q + z: good properties tend to be popular ones.
    log_euro : (P,) float array
        Natural logarithm of the daily rate in euro: 4.3 + .45 lux + .15 cst + .25 z.
    price : (P,) float array
        `log_euro` standardised over the world's properties (mean 0, variance 1); what users react to.
    photo_offsets : (P + 1,) int array
        Photos of property p are rows `photo_offsets[p]:photo_offsets[p + 1]` of `photo_values`;
        5 + min(39, NegBin(mean 10, r 2)) of them, the first is the cover.
    photo_values : (sum of photos,) float array
        Quality of each photo, sigmoid(1.1 q) + N(0, .12^2).
    photo_quality : (P,) float array
        Mean of the gallery's `photo_values`, on the scale of `standardise_photo_value`.
    cover_quality : (P,) float array
        The cover's, on the same scale.
    """

    latents: NDArray[np.float64]
    city: NDArray[np.int64]
    popularity: NDArray[np.float64]
    log_euro: NDArray[np.float64]
    price: NDArray[np.float64]
    photo_offsets: NDArray[np.int64]
    photo_values: NDArray[np.float64]
    photo_quality: NDArray[np.float64]
    cover_quality: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def mismatch(self) -> NDArray[np.float64]:
        """How much better the cover looks than the property is: cover quality - q, both of variance near 1; (P,)."""
        return self.cover_quality - self.latents[:, 0]

    @classmethod
    def generate(cls, seed: int, n: int, geography: Geography) -> Properties:
        """Draw `n` properties in the places of `geography`.

        Examples
        --------
        >>> from features.world.scale import CARDINALITIES
        >>> some = Properties.generate(0, 50, Geography.generate(0, CARDINALITIES["small"]))
        >>> some.latents.shape, round(float(some.price.std()), 9)
        ((50, 6), 1.0)
        """
        latents, city = _latents(seed, n, geography)
        quality, luxury, coast = latents[:, 0], latents[:, 1], latents[:, 2]
        random = generator(seed, "popularity")
        popularity = np.empty(n)
        popularity[np.argsort(-(0.5 * quality + random.normal(size=n)), kind="stable")] = zipf_shares(n)
        log_euro = 4.3 + 0.45 * luxury + 0.15 * coast + 0.25 * generator(seed, "price").normal(size=n)
        offsets, values = _photos(seed, quality)
        gallery_mean = np.add.reduceat(values, offsets[:-1]) / np.diff(offsets)
        return cls(
            latents=latents,
            city=city,
            popularity=popularity,
            log_euro=log_euro,
            price=(log_euro - log_euro.mean()) / log_euro.std(),
            photo_offsets=offsets,
            photo_values=values,
            photo_quality=standardise_photo_value(gallery_mean),
            cover_quality=standardise_photo_value(values[offsets[:-1]]),
        )


def standardise_photo_value(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Photo quality on the scale of q: (value - 1/2) / sd, sd^2 = Var sigmoid(1.1 q) + .12^2 with q ~ N(0, 1).

    One photo's quality then has mean 0 and variance 1 over the properties, as q has, so that cover quality - q is a
    difference of like things. The constants are those of the law, not of the sample: a property's value does not
    depend on which others exist.

    Examples
    --------
    >>> standardise_photo_value(np.array([0.5, 0.753])).round(2).tolist()
    [0.0, 1.0]
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    variance = float(np.sum(weights * (1 / (1 + np.exp(-PHOTO_SLOPE * nodes)) - 0.5) ** 2) / np.sum(weights))
    return np.asarray((value - 0.5) / np.sqrt(variance + PHOTO_NOISE**2))


def _latents(seed: int, n: int, geography: Geography) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    random = generator(seed, "latents")
    city = random.choice(len(geography.city_share), n, p=geography.city_share)
    z = random.normal(size=(6, n))
    quality, coast, family = z[0], z[2], z[5]
    luxury = 0.6 * quality + 0.8 * z[1]
    mountain = -0.3 * coast + z[3]
    urban = -0.3 * mountain + z[4]
    place = np.stack([coast, mountain, urban], axis=1) + geography.city_effect[city]  # (P, 3)
    return np.column_stack([quality, luxury, place, family]), city


def _photos(seed: int, quality: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    random = generator(seed, "photos")
    # NumPy counts failures before r successes of probability s: mean r (1 - s) / s = 10 for r = 2, s = 1/6
    counts = 5 + np.minimum(39, random.negative_binomial(2, 1 / 6, len(quality)))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    mean = np.repeat(1 / (1 + np.exp(-PHOTO_SLOPE * quality)), counts)
    return offsets, mean + random.normal(0, PHOTO_NOISE, len(mean))
