"""How a user reacts to one shown property: the true probabilities of each engagement, and draws from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEADS = ("closeup", "click", "long_click", "save")
SHARED_NOISE_SD = 0.3  # one N(0, .3^2) per impression couples closeup, click and save
QUADRATURE_NODES = 16

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drivers:
    """All that the reaction depends on (its sufficient statistics), each `(N,)`.

    Parameters
    ----------
    affinity : a = .8 u.Z - gamma_s price
    taste_match : u.Z, the user's tastes at that moment times the property's latents
    mismatch : cover quality - q
    photo_quality : of the gallery, standardised
    position : 1 for the top
    """

    affinity: Floats
    taste_match: Floats
    mismatch: Floats
    photo_quality: Floats
    position: Floats


@dataclass(frozen=True)
class Probabilities:
    """One probability per impression and engagement, each `(N,)`; `any` is at least one engagement."""

    closeup: Floats
    click: Floats
    long_click: Floats
    save: Floats
    any: Floats


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)); the world's logits are small, so no care for overflow is needed."""
    return np.asarray(1 / (1 + np.exp(-x)))


def conditional(drivers: Drivers, noise: Floats) -> Probabilities:
    """Probabilities given the impression's shared noise e: the engagements are independent, but long click of click.

        p(closeup)    = sigmoid(-1.2 + .9 a + .4 photo quality - .10 pos + e)
        p(click)      = sigmoid(-2.6 + a - .12 pos + e)
        p(long_click) = p(click) sigmoid(-.4 + .6 u.Z - .5 mismatch)
        p(save)       = sigmoid(-3.6 + 1.1 a + e)
        p(any)        = 1 - (1 - p(closeup)) (1 - p(click)) (1 - p(save))

    A long click adds nothing to `any`: it implies a click.

    Parameters
    ----------
    drivers : Drivers
        Of N impressions.
    noise : (N,) float array
        The shared noise, N(0, .3^2).

    Examples
    --------
    >>> zero = np.zeros(1)
    >>> p = conditional(Drivers(zero, zero, zero, zero, np.ones(1)), zero)
    >>> bool(p.closeup[0] == sigmoid(np.array([-1.3]))[0]), bool(p.long_click[0] < p.click[0])
    (True, True)
    """
    closeup, click, save = (sigmoid(logit + noise) for logit in _logits(drivers))
    return Probabilities(
        closeup=closeup,
        click=click,
        long_click=click * _long_given_click(drivers),
        save=save,
        any=1 - (1 - closeup) * (1 - click) * (1 - save),
    )


def marginal(drivers: Drivers) -> Probabilities:
    """Probabilities with the shared noise integrated out, by Gauss-Hermite quadrature with 16 nodes.

    E[g(e)] with e ~ N(0, .3^2) is sum_k v_k g(.3 x_k), x and v the nodes and weights for the standard normal density.
    `any` is integrated as a whole, because the engagements are independent only given e.

    Parameters
    ----------
    drivers : Drivers
        Of N impressions.

    Examples
    --------
    >>> zero = np.zeros(1)
    >>> p = marginal(Drivers(zero, zero, zero, zero, zero))
    >>> [round(float(x[0]), 4) for x in (p.closeup, p.click, p.long_click, p.save, p.any)]
    [0.2357, 0.0716, 0.0288, 0.0277, 0.3085]
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES)
    # sigmoid(l + e) = 1 / (1 + exp(-l) exp(-e)): one exponential per logit serves all nodes
    odds_against = [np.exp(-logit) for logit in _logits(drivers)]
    sums = [np.zeros(len(odds)) for odds in odds_against]
    none = np.zeros(len(drivers.affinity))
    for node, weight in zip(SHARED_NOISE_SD * nodes, weights / weights.sum(), strict=True):
        miss = np.full(len(none), weight)
        for total, odds in zip(sums, odds_against, strict=True):
            against = odds * np.exp(-node)
            hit = 1 / (1 + against)
            total += weight * hit
            miss *= against * hit
        none += miss
    closeup, click, save = sums
    return Probabilities(closeup=closeup, click=click, long_click=click * _long_given_click(drivers), save=save,
                         any=1 - none)  # fmt: skip


def react(given: Probabilities, drivers: Drivers, random: np.random.Generator) -> dict[str, NDArray[np.int8]]:
    """Draw the engagements of N impressions; a long click happens only to a click.

    Parameters
    ----------
    given : Probabilities
        Conditional on the shared noise, from `conditional`.
    drivers : Drivers
        The same that made `given`.
    random : np.random.Generator

    Returns
    -------
    dict of head name to (N,) int8 array of 0 and 1, in the order of `HEADS`
    """
    uniform = random.random((4, len(given.click)))
    click = uniform[1] < given.click
    happened = {
        "closeup": uniform[0] < given.closeup,
        "click": click,
        "long_click": click & (uniform[2] < _long_given_click(drivers)),
        "save": uniform[3] < given.save,
    }
    return {head: happened[head].astype(np.int8) for head in HEADS}


def _logits(drivers: Drivers) -> tuple[Floats, Floats, Floats]:
    a, position = drivers.affinity, drivers.position
    closeup = -1.2 + 0.9 * a + 0.4 * drivers.photo_quality - 0.10 * position
    click = -2.6 + a - 0.12 * position
    save = -3.6 + 1.1 * a
    return closeup, click, save


def _long_given_click(drivers: Drivers) -> Floats:
    return sigmoid(-0.4 + 0.6 * drivers.taste_match - 0.5 * drivers.mismatch)
