"""Which segment each row belongs to: the vocabulary code of one categorical feature, as the encoders wrote it.

The code is read from the model's own inputs, so that predicting, ranking, streaming and measuring cannot differ in it.
Code 0 is every value that the encoders do not know: null, unseen, or rarer in training than `encoding.min_count`.
"""

from __future__ import annotations

import numpy as np

from features import Encoders, Fault, Inputs, Schema
from features.encoded import OWN
from features.vocabulary import Vocabulary


def segment_values(encoders: Encoders, by: str) -> tuple[str, ...]:
    """The known values of feature `by` as text; code 1 is the first of them."""
    return tuple(str(key) for key in _vocabularies(encoders)[by].keys)


def segment_codes(encoders: Encoders, by: str, inputs: Inputs) -> np.ndarray:
    """The segment (N,) of every row, 0 .. number of known values."""
    field = encoders.fields.index(by)
    codes: np.ndarray = inputs.ids[:, field].cpu().numpy() - encoders.offsets[field]
    return codes


def named_faults(schema: Schema, by: str | None) -> list[Fault]:
    """What the schema alone has against refitting by this feature, before any row is read."""
    names = sorted(name.removeprefix(OWN) for name in schema.columns.categorical)
    if by is None or by in names:
        return []
    candidates = f"those of the log are {', '.join(names)}" if names else "this log has none"
    return [Fault(f"`refit_by` must name a categorical feature with one value per row, got `{by}`; {candidates}")]


def segment_faults(encoders: Encoders, by: str | None) -> list[Fault]:
    """What stands against refitting by this feature; the features that one can refit by are named."""
    if by is None:
        return []
    known = {name: len(vocabulary) for name, vocabulary in _vocabularies(encoders).items()}
    usable = sorted(name for name, values in known.items() if values)
    candidates = f"one can refit by {', '.join(usable)}" if usable else "this log has none"
    if by in encoders.list_fields:
        return [Fault(f"`refit_by` must name a feature with one value per row, but `{by}` holds lists; {candidates}")]
    if by not in known:
        return [Fault(f"`refit_by` must name a categorical feature of the model, got `{by}`; {candidates}")]
    if not known[by]:
        rare = "no value of it is seen `encoding.min_count` times in the training rows"
        return [Fault(f"`refit_by` must name a feature with known values, but of `{by}` {rare}; {candidates}")]
    return []


def _vocabularies(encoders: Encoders) -> dict[str, Vocabulary]:
    """Those of the features with one value per row, without the position: it is set to one value when scoring."""
    parts = [encoders.own, *(side.fields for side in encoders.sides)]
    return {vocabulary.name: vocabulary for part in parts for vocabulary in part.scalars}
