"""Inputs: rows selected, sliced and moved together."""

from __future__ import annotations

import pytest
import torch

from features.inputs import Inputs


def example(vectors: bool) -> Inputs:
    n = 6
    return Inputs(
        torch.arange(2 * n, dtype=torch.int32).reshape(n, 2),
        (torch.arange(3 * n, dtype=torch.int32).reshape(n, 3),),
        torch.arange(n, dtype=torch.float32)[:, None],
        torch.arange(n, dtype=torch.int32) if vectors else None,
        torch.arange(n, dtype=torch.int32) + 10 if vectors else None,
    )


def parts(inputs: Inputs) -> list[torch.Tensor | None]:
    return [inputs.ids, *inputs.lists, inputs.numeric, inputs.item_row, inputs.query_row]


@pytest.mark.parametrize("vectors", [False, True])
def test_select_and_slice_agree_in_every_part(vectors: bool) -> None:
    inputs = example(vectors)
    chosen, view = inputs.select(torch.tensor([2, 3, 4])), inputs.slice(2, 5)
    assert len(chosen) == len(view) == 3
    for a, b, whole in zip(parts(chosen), parts(view), parts(inputs)):
        if whole is None:
            assert a is None
            assert b is None
        else:
            assert torch.equal(a, whole[2:5])
            assert torch.equal(b, whole[2:5])
            assert b.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
            assert a.dtype == whole.dtype


def test_select_repeats_and_reorders() -> None:
    assert example(True).select(torch.tensor([5, 0, 5])).item_row.tolist() == [5, 0, 5]


def test_to_moves_every_part() -> None:
    moved = example(True).to("meta")
    assert moved.device.type == "meta"
    assert {part.device.type for part in parts(moved)} == {"meta"}
    assert example(False).to("meta").item_row is None


def test_empty_has_the_shapes_asked_for() -> None:
    inputs = Inputs.empty(4, 3, [5, 5], 2, item_vectors=True)
    assert [tuple(p.shape) if p is not None else None for p in parts(inputs)] == [
        (4, 3),
        (4, 5),
        (4, 5),
        (4, 2),
        (4,),
        None,
    ]
    assert inputs.ids.dtype == inputs.lists[0].dtype == inputs.item_row.dtype == torch.int32
    assert inputs.numeric.dtype == torch.float32
