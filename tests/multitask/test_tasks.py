"""Tasks: widths, columns, and refusals that name the argument."""

from __future__ import annotations

from typing import Any

import pytest

from multitask.tasks import Task, output_slices


def test_slices_partition_the_outputs() -> None:
    tasks = [Task("a"), Task("b", "multiclass", n_classes=5), Task("c", "regression"), Task("d")]
    columns = [list(range(8))[columns] for columns in output_slices(tasks)]
    assert columns == [[0], [1, 2, 3, 4, 5], [6], [7]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "`name`"),
        ({"name": "a", "kind": "ordinal"}, "`kind`.*'ordinal'"),
        ({"name": "a", "kind": "multiclass", "n_classes": 1}, "`n_classes`.*got 1"),
        ({"name": "a", "n_classes": 3}, "`n_classes`.*left out, got 3"),
        ({"name": "a", "kind": "regression", "variance": 0.0}, "`variance`.*got 0.0"),
        ({"name": "a", "kind": "regression", "variance": float("nan")}, "`variance`.*got nan"),
        ({"name": "a", "variance": 2.0}, "`variance`.*left out, got 2.0"),
    ],
)
def test_refusals_name_the_argument(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Task(**arguments)
