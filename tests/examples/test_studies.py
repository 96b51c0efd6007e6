"""What the studies share: intervals over seeds. (Runs that processes divide: test_selective_sharing.py.)"""

from __future__ import annotations

import doctest
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # as `python -m` has it

from examples.studies import runs, seeds


@pytest.mark.parametrize("module", [runs, seeds])
def test_the_examples_in_docstrings_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def test_the_interval_over_seeds_is_that_of_the_paired_t_test() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 5))
    mean, low, high = seeds.over_seeds(seeds.differences(a, b))
    expected = ttest_rel(a, b).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert mean == pytest.approx((a - b).mean())
    assert seeds.over_seeds([1.0, 2.0, 3.0])[2] == pytest.approx(2 + t.ppf(0.975, 2) / math.sqrt(3))


def test_equal_seeds_and_one_seed() -> None:
    assert seeds.over_seeds([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)
    mean, low, high = seeds.over_seeds([0.5])
    assert mean == 0.5
    assert math.isnan(low)
    assert math.isnan(high)
