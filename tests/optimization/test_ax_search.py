"""Proposals of Ax: a pure function within the space that finds a known optimum and leaves the process as it was."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from evaluation.checks import FloatArray
from optimization.search.ax_quiet import quiet_ax
from optimization.search.ax_search import Observation, propose
from optimization.search.space import SearchSpace

SPACE = SearchSpace.of({"a": 1, "b": 1, "hide": -1}, {"hide": (0.05, 0.6)})


def observe(shares: FloatArray) -> Observation:
    """Maximise 1 - |x - (0.7, 0.2, 0.1)|^2 with x_b >= 0.3: the optimum is (0.65, 0.3, 0.05), on the guardrail."""
    distance = float(((shares - np.array([0.7, 0.2, 0.1])) ** 2).sum())
    return Observation(shares, {"f": (1 - distance, 0.0), "slack": (float(shares[1]) - 0.3, 0.0)})


def start() -> list[Observation]:
    return [observe(shares) for shares in SPACE.sobol(6, seed=1)]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_proposal_is_a_pure_function_within_the_space(two_threads: None) -> None:
    observations = start()
    states = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # noqa: NPY002
    first = propose(SPACE, observations, objectives=["f"], constraints=["slack"], count=2, seed=7)
    assert first.shape == (2, 3)
    assert SPACE.contains(first).all()
    assert np.abs(first[0] - first[1]).max() > 1e-3  # the second takes the first into account
    after = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # noqa: NPY002
    assert states == after
    assert torch.get_num_threads() == 2
    random.seed(9)
    np.random.seed(9)  # noqa: NPY002
    torch.manual_seed(9)
    again = propose(SPACE, start(), objectives=["f"], constraints=["slack"], seed=7)
    np.testing.assert_array_equal(again, first[:1])


def test_the_optimum_on_the_guardrail_is_found_in_few_proposals() -> None:
    observations = start()
    for index in range(4):
        shares = propose(SPACE, observations, objectives=["f"], constraints=["slack"], seed=index)[0]
        observations.append(observe(shares))
    optimum = observe(np.array([0.65, 0.3, 0.05])).values["f"][0]
    feasible = [o.values["f"][0] for o in observations if o.values["slack"][0] >= 0]
    assert max(feasible) > 0.995 * optimum
    # The start alone does not get there.
    assert max(o.values["f"][0] for o in start() if o.values["slack"][0] >= 0) < 0.99 * optimum


def test_two_objectives_extend_their_frontier() -> None:
    """f_a = x_a and f_b = x_b conflict: what hide has beyond its floor is lost to both."""
    observations = [
        Observation(shares, {"f_a": (float(shares[0]), 0.0), "f_b": (float(shares[1]), 0.0)})
        for shares in SPACE.sobol(6, seed=1)
    ]
    found = propose(SPACE, observations, objectives=["f_a", "f_b"], seed=0)[0]
    assert SPACE.contains(found).all()
    dominated = [o.values["f_a"][0] >= found[0] and o.values["f_b"][0] >= found[1] for o in observations]
    assert not any(dominated)
    assert found[2] < np.median([float(np.asarray(o.shares)[2]) for o in observations])


def test_repeated_observations_and_a_metric_that_never_moves_are_taken() -> None:
    space = SearchSpace.of({"a": 1, "b": 1})
    noisy = [(0.2, 0.1), (0.2, 0.3), (0.5, 0.6), (0.9, 0.4)]
    observations = [Observation([share, 1 - share], {"f": (value, 0.2), "still": (0.0, 0.0)}) for share, value in noisy]
    # An observation off the space has nothing to say about it.
    observations.append(Observation([0.7, 0.7], {"f": (9.0, 0.0), "still": (0.0, 0.0)}))
    assert space.contains(propose(space, observations, objectives=["f"], constraints=["still"], seed=0)).all()


def test_what_ax_would_take_in_silence_is_refused_at_once() -> None:
    good = start()
    bad = Observation([0.6, 0.3, 0.1], {"f": (float("nan"), 0.0)})
    with pytest.raises(ValueError, match="observation 6 has no `slack`") as caught:
        propose(SPACE, [*good, bad], objectives=["f"], constraints=["slack"], seed=0)
    assert "`f` of observation 6 must be finite" in str(caught.value)
    off = [Observation([0.0, 0.0, 1.0], {"f": (1.0, 0.0)})] * 3
    with pytest.raises(ValueError, match="at least 2 observations within the space are needed, got 1 of 4"):
        propose(SPACE, [good[0], *off], objectives=["f"], seed=0)
    with pytest.raises(ValueError, match="`f` of observation 0 must be finite with an error >= 0"):
        propose(SPACE, [Observation([0.6, 0.3, 0.1], {"f": (1.0, -1.0)}), *good], objectives=["f"], seed=0)
    with pytest.raises(ValueError, match="`f` is named twice"):
        propose(SPACE, good, objectives=["f"], constraints=["f"], seed=0)
    with pytest.raises(ValueError, match="at least one metric"):
        propose(SPACE, good, objectives=[], seed=0)
    with pytest.raises(ValueError, match="`count` must be >= 1, got 0"):
        propose(SPACE, good, objectives=["f"], count=0, seed=0)
    with pytest.raises(ValueError, match="`seed`"):
        propose(SPACE, good, objectives=["f"], seed=2**32)


def test_loggers_filters_and_threads_are_put_back_after_an_error() -> None:
    with quiet_ax(seed=0):
        logger = logging.getLogger("ax.api.client")
    logger.setLevel(logging.INFO)
    filters, threads = list(warnings.filters), torch.get_num_threads()

    def fail() -> None:
        with quiet_ax(seed=0):
            assert logger.level == logging.ERROR
            assert torch.get_num_threads() == 1
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert logger.level == logging.INFO
    assert list(warnings.filters) == filters
    assert torch.get_num_threads() == threads
