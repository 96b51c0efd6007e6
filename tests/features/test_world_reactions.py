"""The users' reactions: Gauss-Hermite against Monte Carlo, the formulas of methods section 7, draws."""

from __future__ import annotations

import numpy as np
import pytest

from features.world.reactions import HEADS, Drivers, conditional, marginal, react


def some_drivers(n: int, seed: int = 0) -> Drivers:
    random = np.random.default_rng(seed)
    affinity, match, mismatch, quality = random.normal(0, 1.3, (4, n))
    return Drivers(affinity, match, mismatch, quality, random.integers(1, 21, n).astype(np.float64))


def repeat(drivers: Drivers, times: int) -> Drivers:
    return Drivers(**{name: np.repeat(values, times) for name, values in vars(drivers).items()})


def test_the_marginal_is_the_average_of_the_conditional() -> None:
    """Monte Carlo over the shared noise, 200,000 draws for each of 10 impressions, every event within 4 errors."""
    drivers, draws = some_drivers(10), 200_000
    noise = np.random.default_rng(1).normal(0, 0.3, 10 * draws)
    given, average = conditional(repeat(drivers, draws), noise), marginal(drivers)
    for event in (*HEADS, "any"):
        sample = getattr(given, event).reshape(10, draws)
        error = sample.mean(axis=1) - getattr(average, event)
        assert (np.abs(error) < 4 * sample.std(axis=1) / np.sqrt(draws)).all(), event


def test_sixteen_nodes_are_enough() -> None:
    """Equal to a fine trapezoid sum over the noise to 1e-12."""
    drivers, noise = some_drivers(20), np.linspace(-3, 3, 2001)
    density = np.exp(-0.5 * (noise / 0.3) ** 2)
    given = conditional(repeat(drivers, len(noise)), np.tile(noise, 20))
    for event in (*HEADS, "any"):
        sums = getattr(given, event).reshape(20, -1) @ (density / density.sum())
        np.testing.assert_allclose(getattr(marginal(drivers), event), sums, atol=1e-12)


def test_the_coupling_makes_any_rarer_than_independence_would() -> None:
    """E[(1 - c)(1 - k)(1 - s)] > product of the means: all three fall together."""
    p = marginal(some_drivers(1000))
    independent = 1 - (1 - p.closeup) * (1 - p.click) * (1 - p.save)
    assert (p.any < independent).all()
    assert (p.long_click < p.click).all()


def test_formulas_by_hand() -> None:
    """a = .5, u.Z = -1, mismatch = 2, photo quality = .25, position 10, no noise."""
    drivers = Drivers(*(np.array([x]) for x in (0.5, -1.0, 2.0, 0.25, 10.0)))
    p = conditional(drivers, np.zeros(1))

    def sigmoid(x: float) -> float:
        return 1 / (1 + np.exp(-x))

    assert p.closeup[0] == pytest.approx(sigmoid(-1.2 + 0.45 + 0.1 - 1.0))
    assert p.click[0] == pytest.approx(sigmoid(-2.6 + 0.5 - 1.2))
    assert p.long_click[0] == pytest.approx(sigmoid(-2.6 + 0.5 - 1.2) * sigmoid(-0.4 - 0.6 - 1.0))
    assert p.save[0] == pytest.approx(sigmoid(-3.6 + 0.55))


def test_draws_follow_the_conditional_probabilities() -> None:
    drivers = repeat(some_drivers(4, seed=3), 100_000)
    given = conditional(drivers, np.full(400_000, 0.2))
    happened = react(given, drivers, np.random.default_rng(0))
    assert tuple(happened) == HEADS
    assert (happened["long_click"] <= happened["click"]).all()
    for head in HEADS:
        rate, p = happened[head].reshape(4, -1).mean(axis=1), getattr(given, head).reshape(4, -1)[:, 0]
        assert (np.abs(rate - p) < 4 * np.sqrt(p * (1 - p) / 100_000)).all()
    # given the noise, closeup and save are independent
    pair = (happened["closeup"] * happened["save"]).reshape(4, -1).mean(axis=1)
    product = (given.closeup * given.save).reshape(4, -1)[:, 0]
    assert (np.abs(pair - product) < 4 * np.sqrt(product / 100_000)).all()
