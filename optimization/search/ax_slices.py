"""What the Gaussian process believes: its posterior anywhere in the space, and slices of it along each weight.

[Pinterest 2020], figure 4: the posterior mean of an unknown function of a weight, its uncertainty, and the acquisition
function that picks the next weight to try.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evaluation.checks import FloatArray
from optimization.search.ax_quiet import quiet_ax
from optimization.search.ax_search import Observation, model_client, parameters_of
from optimization.search.space import SearchSpace
from optimization.search.stick_breaking import balanced

if TYPE_CHECKING:
    from ax.adapter.torch import TorchAdapter

EDGE = 1e-6  # of a range


def slices(
    space: SearchSpace,
    observations: Sequence[Observation],
    *,
    objective: str,
    constraints: Sequence[str] = (),
    at: npt.ArrayLike,
    points: int = 41,
    seed: int,
) -> pd.DataFrame:
    """Figure 4 for every weight: one head's share moves over its whole range, the others keep their proportions.

    Args:
        space: the space that was searched.
        observations: at least 2 within the space.
        objective: the metric whose posterior is shown.
        constraints: metrics that must be >= 0; they enter the acquisition.
        at: (T,) shares through which the lines go, e.g. the best observed ones.
        points: points per line, at least 2.
        seed: of the acquisition's Monte Carlo samples, 0 <= seed < 2^32.

    Returns:
        head, share, mean, sd (of the objective itself, without noise of measurement) and acquisition: the expected
        improvement on the best feasible observation, weighted by the probability that the constraints hold, in
        standard deviations of the observed objective. Heads whose bounds leave no room are left out.

    Raises:
        ValueError: `at` off the space, fewer than 2 points, and all that `ax_search.propose` refuses.
    """
    if points < 2:
        raise ValueError(f"`points` must be >= 2, got {points}")
    if not space.contains(at).all():
        raise ValueError(f"`at` must be shares within the space, got {at!r}")
    lines = {space.heads[head]: slice_shares(space, at, int(head), points) for head in space.movable}
    shares = np.concatenate(list(lines.values()))
    with quiet_ax(seed):
        adapter = _adapter(space, observations, objective, constraints, seed)
        mean, sd = _predict(adapter, space, shares)
        features = _features(space, shares)
        acquisition = np.exp(adapter.evaluate_acquisition_function(observation_features=features))
    heads = np.repeat(list(lines), points)
    moving = np.concatenate([lines[head][:, space.heads.index(head)] for head in lines])
    return pd.DataFrame({"head": heads, "share": moving, "mean": mean, "sd": sd, "acquisition": acquisition})


def posterior(
    space: SearchSpace, observations: Sequence[Observation], metric: str, shares: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Mean (V,) and standard deviation (V,) that the process gives a metric at `shares` (V, T).

    At an observed point the mean is drawn from the observed value towards what its neighbours say, the more so the
    larger the observation's standard error: it does not take luck for merit.

    Raises:
        ValueError: shares off the space, and all that `ax_search.propose` refuses.
    """
    with quiet_ax(seed=0):  # the fit is deterministic up to the restarts of a failing one
        return _predict(_adapter(space, observations, metric, (), seed=0), space, shares)


def slice_shares(space: SearchSpace, at: npt.ArrayLike, head: int, points: int) -> FloatArray:
    """Shares (points, T) in which `head` moves over its whole range and the others keep their proportions of `at`.

    As far as their bounds allow; where `at` has none of the others, they share equally. The ends are approached to a
    millionth of the range: where nothing is left for the others, their proportions are lost, and the curve would jump.

    >>> space = SearchSpace.of({"a": 1, "b": 1, "c": 1})
    >>> slice_shares(space, [0.5, 0.125, 0.375], head=0, points=3).round(4).tolist()
    [[0.0, 0.25, 0.75], [0.5, 0.125, 0.375], [1.0, 0.0, 0.0]]
    """
    start, end = space.low[head], space.high[head]
    moving = np.clip(np.linspace(start, end, points), start + EDGE * (end - start), end - EDGE * (end - start))
    low, high = np.tile(space.low, (points, 1)), np.tile(space.high, (points, 1))
    low[:, head] = high[:, head] = moving
    proportions = np.array(at, dtype=np.float64)
    proportions[head] = 0.0
    # A proportion of exactly 0 could not grow where the others' bounds ask for it.
    proportions = np.maximum(proportions / max(proportions.max(), 1e-12), 1e-15)
    slope = np.tile(proportions, (points, 1))
    return balanced(np.zeros_like(slope), slope, low, high)


def _adapter(
    space: SearchSpace, observations: Sequence[Observation], objective: str, constraints: Sequence[str], seed: int
) -> TorchAdapter:
    """Ax's fitted Gaussian process, the same that proposes."""
    import torch
    from ax.adapter.registry import Generators

    client = model_client(space, observations, objectives=[objective], constraints=constraints, seed=seed)
    experiment = client._experiment
    adapter: Any = Generators.BOTORCH_MODULAR(
        experiment=experiment, data=experiment.lookup_data(), torch_device=torch.device("cpu")
    )
    return adapter


def _predict(adapter: TorchAdapter, space: SearchSpace, shares: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    means, covariances = adapter.predict(_features(space, shares))
    return np.array(means["m0"]), np.sqrt(np.maximum(covariances["m0"]["m0"], 0.0))


def _features(space: SearchSpace, shares: npt.ArrayLike) -> list[Any]:
    from ax.core.observation import ObservationFeatures

    names = parameters_of(space)
    return [ObservationFeatures(dict(zip(names, map(float, point)))) for point in space.shares_to_free(shares)]
