"""The 31 attributes of each property and its star rating, as functions of the latents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.world.geography import Geography
from features.world.properties import Properties
from features.world.scale import Cardinalities
from features.world.seeds import generator

CLASSES = ("city", "region", "country", "type", "size", "hotel_segment", "rental_type")  # C1..C7
BINARIES = (
    "chain", "vacation_rental", "sea_view", "city_view", "mountain_view", "block_of_flats", "balcony", "kitchen",
    "bar", "garden", "beach_access", "picnic_area", "communal_lounge", "hiking", "pool", "fitness", "city_centre",
)  # fmt: skip  # B1..B17
REGRESSIONS = (
    "distance_km", "review", "daily_rate_euro", "location_score", "content_score", "booking_window_days", "stay_days",
)  # fmt: skip  # R1..R7
TASKS = CLASSES + BINARIES + REGRESSIONS

# name: intercept a, weights of (q, lux, cst, mtn, urb, fam); B = 1 with probability sigmoid(a + w . latents)
_BINARY_LAWS: dict[str, tuple[float, tuple[float, ...]]] = {
    "chain": (-2.5, (0, 0.5, 0, 0, 0.8, 0)),
    "sea_view": (-2.0, (0, 0, 1.5, 0, 0, 0)),
    "city_view": (-1.8, (0, 0, 0, 0, 1.2, 0)),
    "mountain_view": (-2.2, (0, 0, 0, 1.6, 0, 0)),
    "block_of_flats": (-1.5, (0, 0, 0, 0, 1.4, 0)),
    "balcony": (-0.5, (0, 0.3, 0.6, 0, 0, 0)),
    "kitchen": (-0.2, (0, -0.8, 0, 0, 0, 0.6)),
    "bar": (-0.9, (0, 0.9, 0, 0, 0.4, 0)),
    "garden": (-0.8, (0, 0, 0, 0, -1.0, 0.3)),
    "beach_access": (-2.8, (0, 0, 1.8, 0, 0, 0)),
    "picnic_area": (-3.2, (0, 0, 0, 0.6, 0, 0.6)),
    "communal_lounge": (-1.6, (0, -0.6, 0, 0, 0, 0)),
    "hiking": (-2.6, (0, 0, 0, 1.5, 0, 0)),
    "pool": (-1.2, (0, 1.0, 0.5, 0, 0, 0)),
    "fitness": (-2.2, (0, 1.3, 0, 0, 0.4, 0)),
    "city_centre": (-1.0, (0, 0, 0, 0, 1.3, 0)),
}
STAR_EDGES = (-1.4, -0.5, 0.4, 1.3)
ROOM_EDGES = (2, 5, 10, 20, 50, 100, 200, 500)  # size classes 0..8: 1, 2-4, 5-9, ..., 500 and more rooms
SEGMENT_EDGES = (-1.2, -0.4, 0.3, 1.0, 1.8)  # hotel segments 0..5, from hostel to luxury


def true_attributes(seed: int, properties: Properties, geography: Geography, n: Cardinalities) -> dict[str, NDArray]:
    """All 31 attributes and the star rating as they are, before anything goes missing.

    Binaries: Bernoulli(sigmoid(a + w . latents)). Type ~ softmax(A (lux, urb, fam, cst)), A ~ N(0, 1) drawn once per
    world; odd types are vacation rentals, even ones hotels. Size: bins of log rooms = 3.2 + .5 lux + .5 urb + .8 z for
    hotels and 1 + .3 fam + .6 z for rentals. Hotel segment: bins of lux + .5 z. Rental type: softmax as for type.
    Regressions: log km = .8 - .9 urb + .4 z; review = 7.5 + .9 q + .5 z, at most 10; euro = exp(`log_euro`);
    location = 7.8 + .5 urb + .5 cst + .5 z, within 0..10; content = sigmoid(1 + .8 q + .8 z);
    log window = 3.2 + .3 cst + .6 z; log stay = .9 + .3 cst + .2 fam + .4 z.
    Star: bins of q + .45 lux + .35 fitness + .35 pool + .6 z at (-1.4, -.5, .4, 1.3), hence 1..5.

    Parameters
    ----------
    seed : int
    properties : Properties
        P of them.
    geography : Geography
    n : Cardinalities
        Numbers of classes.

    Returns
    -------
    dict of the names in `TASKS`, then "star_rating", to (P,) arrays
        Classes int32 (from 0; star rating from 1), binaries int8, regressions float64. Hotel segment is -1 for rentals
        and rental type -1 for hotels: they have none.
    """
    quality, luxury, coast, _, urban, family = properties.latents.T
    random = generator(seed, "attributes")
    z = random.normal(size=(10, len(properties)))
    style = np.column_stack([luxury, urban, family, coast])
    kind = _softmax_draw(random, style, n.type)
    rental = kind % 2 == 1
    log_rooms = np.where(rental, 1 + 0.3 * family + 0.6 * z[0], 3.2 + 0.5 * luxury + 0.5 * urban + 0.8 * z[1])
    country = geography.country_of_city[properties.city]
    columns: dict[str, NDArray] = {
        "city": properties.city.astype(np.int32),
        "region": geography.region_of_country[country].astype(np.int32),
        "country": country.astype(np.int32),
        "type": kind,
        "size": np.searchsorted(np.log(ROOM_EDGES), log_rooms).astype(np.int32),
        "hotel_segment": np.where(rental, -1, np.searchsorted(SEGMENT_EDGES, luxury + 0.5 * z[2])).astype(np.int32),
        "rental_type": np.where(rental, _softmax_draw(random, style, n.rental_type), -1).astype(np.int32),
        "vacation_rental": rental.astype(np.int8),
        "distance_km": np.exp(0.8 - 0.9 * urban + 0.4 * z[3]),
        "review": np.clip(7.5 + 0.9 * quality + 0.5 * z[4], 0, 10),
        "daily_rate_euro": np.exp(properties.log_euro),
        "location_score": np.clip(7.8 + 0.5 * urban + 0.5 * coast + 0.5 * z[5], 0, 10),
        "content_score": 1 / (1 + np.exp(-(1 + 0.8 * quality + 0.8 * z[6]))),
        "booking_window_days": np.exp(3.2 + 0.3 * coast + 0.6 * z[7]),
        "stay_days": np.exp(0.9 + 0.3 * coast + 0.2 * family + 0.4 * z[8]),
    }
    for name, (intercept, weights) in _BINARY_LAWS.items():
        logit = intercept + (properties.latents * np.array(weights)).sum(axis=1)
        columns[name] = (random.random(len(properties)) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    rating = quality + 0.45 * luxury + 0.35 * columns["fitness"] + 0.35 * columns["pool"] + 0.6 * z[9]
    star = (1 + np.searchsorted(STAR_EDGES, rating)).astype(np.int32)
    return {name: columns[name] for name in TASKS} | {"star_rating": star}


def missing_attributes(seed: int, properties: Properties, attributes: dict[str, NDArray]) -> dict[str, NDArray]:
    """Which values nobody recorded: True where missing.

    Each label is missing for 10 % of the properties at random; a review for the 20 % that are the least popular (few
    guests, no score), which is not at random; a hotel segment also for every rental and a rental type for every hotel,
    which have none; the star rating is observed for 48 %.

    Parameters
    ----------
    seed : int
    properties : Properties
        P of them.
    attributes : dict
        From `true_attributes`.

    Returns
    -------
    dict with the same keys to (P,) bool arrays
    """
    random = generator(seed, "missing")
    missing: dict[str, NDArray] = {}
    for name, values in attributes.items():
        at_random = random.random(len(properties))
        if name == "star_rating":
            missing[name] = at_random >= 0.48
        elif name == "review":
            rank = np.argsort(np.argsort(properties.popularity, kind="stable"), kind="stable")
            missing[name] = rank < 0.2 * len(properties)
        else:
            missing[name] = at_random < 0.1
            if name in ("hotel_segment", "rental_type"):
                missing[name] |= values < 0
    return missing


def _softmax_draw(random: np.random.Generator, inputs: NDArray[np.float64], classes: int) -> NDArray[np.int32]:
    # a class ~ softmax(A x) is the largest of A x + Gumbel noise; summed without BLAS, whose order is not fixed
    matrix = random.normal(size=(inputs.shape[1], classes))
    logits = (inputs[:, :, None] * matrix).sum(axis=1)  # (P, classes)
    return np.asarray(np.argmax(logits + random.gumbel(size=logits.shape), axis=1).astype(np.int32))
