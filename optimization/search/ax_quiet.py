"""Ax as a guest: what it says, seeds and switches while it works ends when it is done."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# (message, category, reason): nothing that these warnings ask for can be done by a caller of Ax.
FILTERS: tuple[tuple[str, type[Warning], str], ...] = (
    (r"`torch\.jit\.", DeprecationWarning, "importing linear_operator compiles functions by torch.jit.script"),
    (r"ax\.service\.", DeprecationWarning, "importing ax.api goes through modules that Ax itself has moved"),
    (r"add_tracking_metric is deprecated", DeprecationWarning, "Ax's Client calls Ax's own deprecated method"),
    (r"ObjectiveThreshold is deprecated", DeprecationWarning, "Ax makes the thresholds it infers by its old class"),
    (r"Encountered a `MultiObjective` without", Warning, "Ax infers the objectives' thresholds, as is wanted"),
    (r"To copy construct from a tensor", UserWarning, "Ax copies a tensor of its own in a way torch advises against"),
    # Pandas4Warning, by message: the class does not exist in pandas 2.
    (r"The inplace keyword in DataFrame\.", Warning, "Ax builds its tables with keywords that pandas 4 drops"),
    (r"The '(lsuffix|rsuffix)", Warning, "Ax joins its tables with keywords that pandas 4 drops"),
    (r"The 'future\.infer_string' option", Warning, "Ax sets an option that is pandas 3's default"),
    (r"Very small noise values detected", Warning, "gpytorch puts 1e-6 in the place of a noise of 0, as is wanted"),
    (r"A not p\.d\., added jitter", Warning, "gpytorch repairs the covariance of nearly equal points, as is wanted"),
    (r"Data \(outcome observations\) is not standardized", Warning, "a metric that is the same at all points"),
    (r"When all training points are infeasible", Warning, "Ax's acquisition leads towards the feasible, too"),
    (r"Low-rank cholesky updates failed", Warning, "BoTorch samples in its standard way then"),
    # What BoTorch says of single restarts and fits: the best of all restarts is what counts.
    (r"Optimization failed (in|on|within) ", Warning, "a restart that stopped early is used as far as it came"),
    (r"`scipy_minimize` terminated with status", Warning, "a fit at its limit of iterations is used as it is"),
    (r"(Unable to find non-zero|All) acquisition (function )?values", Warning, "BoTorch starts at random points then"),
)


@contextmanager
def quiet_ax(seed: int) -> Iterator[None]:
    """One torch thread, seeded random states, and no chatter: everything is put back on exit.

    One thread, because a proposal of Ax takes longer on two (its matrices are tiny). The generators of Python, NumPy
    and torch are seeded, because Ax and BoTorch draw from the global ones.

    Args:
        seed: of the three generators, 0 <= seed < 2^32.

    >>> before = torch.get_rng_state()
    >>> with quiet_ax(seed=3):
    ...     _ = torch.rand(2)
    >>> bool((torch.get_rng_state() == before).all())
    True
    """
    threads, torch_state = torch.get_num_threads(), torch.get_rng_state()
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is Ax's
    with warnings.catch_warnings():
        for message, category, _ in FILTERS:
            warnings.filterwarnings("ignore", message=message, category=category)
        levels = _silence()
        try:
            torch.set_num_threads(1)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            yield
        finally:
            for logger, level in levels.items():
                logger.setLevel(level)
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
            torch.set_rng_state(torch_state)
            torch.set_num_threads(threads)


def _silence() -> dict[logging.Logger, int]:
    """Set every logger of Ax to ERROR; returns the levels before. Ax's loggers are made, with handlers, on import."""
    import ax.api.client  # noqa: F401

    loggers = [
        logger
        for name, logger in logging.Logger.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and (name == "ax" or name.startswith("ax."))
    ]
    levels = {logger: logger.level for logger in loggers}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    return levels
