"""Bayesian optimisation of utility weights with Ax: the next weights to try, from all that was measured so far.

[Pinterest 2020], "Utility function and Bayesian optimization": the objective f(w) is modelled as a Gaussian process,
and an acquisition function on its posterior picks the next w; the secondary objectives S3-S5 are outcome constraints.

Ax refuses the equality sum_t x_t = 1 as a constraint. As `<=` with a derived last weight it is slow: samples have to be
drawn inside a polytope, and the acquisition is climbed by SLSQP. Broken sticks (`SearchSpace.shares_to_free`) need no
constraint but the unit cube, whose every point is a point of the space; the last weight is what is left of the stick.
On four heads a proposal costs 0.8 s of CPU instead of 4.6 s, and studies get as far in fewer trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray
from optimization.search.ax_quiet import quiet_ax
from optimization.search.space import SearchSpace

if TYPE_CHECKING:
    from ax.api.client import Client

# Of the acquisition's optimiser. Ax's defaults (1024 samples, 20 restarts of 2000 steps, all again when one restart
# stops early) find the same points at 1.6 times the cost.
ACQUISITION_OPTIMISER = {
    "raw_samples": 512,
    "num_restarts": 8,
    "retry_on_optimization_warning": False,
    "options": {"maxiter": 100},
}


@dataclass(frozen=True, eq=False)
class Observation:
    """What was measured at one point of the space.

    Attributes:
        shares: (T,) shares of the heads.
        values: metric to (mean, standard error). An error of 0 says that the value is exact and the metric smooth to
            the last digit: where it is rough (the PR-AUC of few positive rows jumps by half a percent between
            neighbouring weights), the process then believes in steep slopes and the search can stall.
    """

    shares: npt.ArrayLike
    values: Mapping[str, tuple[float, float]]


class Propose(Protocol):
    """`propose`, or what stands in for it."""

    def __call__(
        self,
        space: SearchSpace,
        observations: Sequence[Observation],
        *,
        objectives: Sequence[str],
        constraints: Sequence[str] = (),
        count: int = 1,
        seed: int,
    ) -> FloatArray: ...


def propose(
    space: SearchSpace,
    observations: Sequence[Observation],
    *,
    objectives: Sequence[str],
    constraints: Sequence[str] = (),
    count: int = 1,
    seed: int,
) -> FloatArray:
    """The next shares to try: a pure function of its arguments.

    Ax keeps no random state when it is saved, so a study that went on with one Ax client would propose other points
    after a restart. Here a fresh client is given all observations each time: a resumed study proposes what an
    uninterrupted one would, bit for bit.

    Args:
        space: where to search.
        observations: at least 2 within the space; others (a baseline off the bounds) are left out.
        objectives: the metrics to maximise; with two or more, points that extend their Pareto frontier are proposed.
        constraints: metrics that must be >= 0.
        count: how many points; each takes those before it into account.
        seed: 0 <= seed < 2^32; each call of a study needs its own.

    Returns:
        (count, T) shares. They may repeat an observed point when nothing else promises an improvement.

    Raises:
        ValueError: fewer than 2 observations within the space, a metric that an observation lacks, values that are not
            finite, negative errors, no objective, a metric named twice, a count below 1 or a seed out of range.
    """
    if count < 1:
        raise ValueError(f"`count` must be >= 1, got {count}")
    _check_seed(seed)
    with quiet_ax(seed):
        client = model_client(space, observations, objectives=objectives, constraints=constraints, seed=seed)
        trials = client.get_next_trials(count)
    if len(trials) != count:
        raise RuntimeError(f"Ax was asked for {count} proposal(s) and made {len(trials)}")
    free = np.array([[float(trial[name]) for name in parameters_of(space)] for trial in trials.values()])
    shares = space.free_to_shares(free)
    if not space.contains(shares).all():
        raise RuntimeError(f"a proposal of Ax lies off the space: {shares.tolist()}")
    return shares


def model_client(
    space: SearchSpace,
    observations: Sequence[Observation],
    *,
    objectives: Sequence[str],
    constraints: Sequence[str] = (),
    seed: int,
) -> Client:
    """An Ax client that knows all observations and generates by its Gaussian process; to be used inside `quiet_ax`.

    Parameters are called x0, x1, ... and metrics m0, m1, ... (objectives first): Ax parses their names in expressions.
    """
    import torch
    from ax.adapter.registry import Generators
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig
    from ax.generation_strategy.generation_node import GenerationNode
    from ax.generation_strategy.generation_strategy import GenerationStrategy
    from ax.generation_strategy.generator_spec import GeneratorSpec

    metrics = [*objectives, *constraints]
    inside = _checked(space, observations, metrics, len(objectives))
    names = {metric: f"m{index}" for index, metric in enumerate(metrics)}
    client = Client(random_seed=seed)
    client.configure_experiment(
        [RangeParameterConfig(name=name, bounds=(0.0, 1.0), parameter_type="float") for name in parameters_of(space)]
    )
    client.configure_optimization(
        objective=", ".join(names[metric] for metric in objectives),
        outcome_constraints=[f"{names[metric]} >= 0.0" for metric in constraints],
    )
    # What `configure_generation_strategy(method="fast")` sets up, without its phases and with our optimiser options.
    # Ax would retry a repeated point five times and then raise: at an optimum in a corner that ends the study.
    generator = GeneratorSpec(
        Generators.BOTORCH_MODULAR,
        generator_kwargs={"torch_device": torch.device("cpu")},
        generator_gen_kwargs={"model_gen_options": {"optimizer_kwargs": ACQUISITION_OPTIMISER}},
    )
    node = GenerationNode("gaussian process", [generator], should_deduplicate=False)
    client.set_generation_strategy(GenerationStrategy(nodes=[node], name="galleryrank"))
    free = space.shares_to_free(_stacked(inside))
    for point, observation in zip(free, inside):
        trial = client.attach_trial(dict(zip(parameters_of(space), map(float, point))))
        client.complete_trial(
            trial, {names[metric]: (float(mean), float(se)) for metric, (mean, se) in _values(observation, metrics)}
        )
    return client


def _stacked(observations: Sequence[Observation]) -> FloatArray:
    return np.array([np.asarray(observation.shares, dtype=np.float64) for observation in observations])


def parameters_of(space: SearchSpace) -> list[str]:
    """Ax's names of the free coordinates."""
    return [f"x{index}" for index in range(space.dimensions)]


def _values(observation: Observation, metrics: Sequence[str]) -> list[tuple[str, tuple[float, float]]]:
    return [(metric, observation.values[metric]) for metric in metrics]


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must satisfy 0 <= seed < 2^32, got {seed}")


def _checked(
    space: SearchSpace, observations: Sequence[Observation], metrics: Sequence[str], objectives: int
) -> list[Observation]:
    """The observations within the space, after everything that Ax would accept in silence has been refused."""
    faults = []
    if objectives < 1:
        faults.append("`objectives` must name at least one metric")
    faults += [f"metric `{metric}` is named twice" for metric in dict.fromkeys(metrics) if metrics.count(metric) > 1]
    for index, observation in enumerate(observations):
        for metric in dict.fromkeys(metrics):
            if metric not in observation.values:
                faults.append(
                    f"observation {index} has no `{metric}` (it has {', '.join(observation.values) or 'none'})"
                )
                continue
            mean, error = observation.values[metric]
            if not (np.isfinite(mean) and np.isfinite(error) and error >= 0):
                faults.append(
                    f"`{metric}` of observation {index} must be finite with an error >= 0, got {(mean, error)}"
                )
    inside = [observation for observation in observations if space.contains(observation.shares).all()]
    if len(inside) < 2:
        faults.append(f"at least 2 observations within the space are needed, got {len(inside)} of {len(observations)}")
    if faults:
        raise ValueError("; ".join(faults))
    return inside
