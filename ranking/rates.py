"""The negative rate that training saw: what the correction of any row must know, whatever was done to that row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

from features import EncodedLog, InputError, Schema, negative_rates
from ranking.config import RankerConfig


def training_rate(schema: Schema, config: RankerConfig, rows: EncodedLog | pa.Table | None) -> float | np.ndarray:
    """The log's own rate in the train role times the rate used in training: a scalar, or (N,) for the N `rows`.

    A rate that varies by row is read from `rows`, where it must be known before the outcome; one rate for all needs no
    rows. Raises InputError where it is needed and missing.
    """
    sampling = schema.sampling
    if sampling is None or "train" not in sampling.roles:
        return config.negative_rate
    name = sampling.negative_rate_column
    if name is None:
        return float(sampling.negative_rate or 1.0) * config.negative_rate
    if isinstance(rows, EncodedLog) and isinstance(rows.negative_rate, torch.Tensor):
        return rows.negative_rate.numpy() * config.negative_rate
    if isinstance(rows, pa.Table):
        return negative_rates(rows, name) * config.negative_rate
    raise InputError(f"column `{name}` (the declared negative rate) is needed to correct the sampling")
