"""No trainer learns from a held-out column, however the schema that names it as a feature came about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from features import Dataset, InputError, Schema
from ranking import Prepared, Ranker, RankerConfig, fit_prepared

TRAINERS = {"network": {}, "lightgbm": {"model": "lightgbm"}, "importance": {"objective": "importance"}}


def learning_from(schema: Schema, kind: str, column: str) -> Schema:
    """`schema` with one more feature; pydantic checks nothing in a copy."""
    features = {kind: (*getattr(schema.columns, kind), column)}
    return schema.model_copy(update={"columns": schema.columns.model_copy(update=features)})


@pytest.mark.parametrize("column", ["star_rating", "items.star_rating"])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_trainer_refuses_a_held_out_feature(
    prepared: Prepared, small: RankerConfig, trainer: str, column: str
) -> None:
    config = small.model_copy(update=TRAINERS[trainer])
    dataset = prepared.dataset
    assert dataset.schema.columns.holdout == ("star_rating",)
    for kind in ("numeric", "categorical"):
        leaking = Dataset(learning_from(dataset.schema, kind, column), dataset.folder)
        expected = rf"\[columns\]\.{kind}: `{column}` cannot be a feature: it is a hold-out column"
        with pytest.raises(InputError, match=expected):
            Ranker.fit(leaking, config)
        with pytest.raises(InputError, match=expected):
            fit_prepared(replace(prepared, dataset=leaking), config)
        with pytest.raises(InputError, match=expected):  # and where it is written in dataset.toml
            Schema.from_dict(leaking.schema.to_dict())


def test_faults_of_schema_and_settings_are_told_at_once(prepared: Prepared, small: RankerConfig) -> None:
    leaking = Dataset(learning_from(prepared.schema, "numeric", "star_rating"), prepared.dataset.folder)
    with pytest.raises(InputError) as caught:
        Ranker.fit(leaking, small.model_copy(update={"importance": {"buy": 1.0}}))
    assert len(caught.value.faults) == 2
