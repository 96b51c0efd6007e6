"""Shuffled batches: every row once, an order that depends on seed and epoch only, equal slices per process."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from multitask.arrays import ShuffledBatches
from multitask.config import TrainingConfig


class Numbers:
    def __init__(self, n: int) -> None:
        self.values = torch.arange(n)

    def __len__(self) -> int:
        return len(self.values)

    def select(self, index: Tensor) -> Tensor:
        return self.values.index_select(0, index)


def rows(batches: ShuffledBatches[Tensor], epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [batch.tolist() for batch in batches.epoch(epoch, start)]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 25), st.integers(0, 3), st.booleans())
def test_each_epoch_holds_every_row_at_most_once(n: int, size: int, epoch: int, drop_last: bool) -> None:
    batches = ShuffledBatches(Numbers(n), size, seed=9, drop_last=drop_last)
    cut = rows(batches, epoch)
    flat = [row for batch in cut for row in batch]
    assert len(cut) == len(batches)
    assert len(flat) == len(set(flat)) == batches.rows
    if drop_last and n >= 2 * size:
        assert {len(batch) for batch in cut} == {size}
        assert n - len(flat) < size
    else:
        assert sorted(flat) == list(range(n))


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        torch.manual_seed(epoch)  # the global generator has no say
        return rows(ShuffledBatches(Numbers(50), 8, seed=seed), epoch)

    once = ShuffledBatches(Numbers(50), 8, seed=1)
    for epoch in range(3):
        assert rows(once, epoch) == order(1, epoch)
    assert len({str(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_batches_draw_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    rows(ShuffledBatches(Numbers(50), 8))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_can_start_at_any_step() -> None:
    batches = ShuffledBatches(Numbers(50), 8, drop_last=False)
    for start in range(len(batches) + 1):
        assert rows(batches, 2, start) == rows(batches, 2)[start:]


@pytest.mark.parametrize(("n", "size", "world"), [(50, 12, 3), (50, 10, 4), (7, 100, 2), (31, 10, 3)])
def test_processes_share_out_each_global_batch_equally(n: int, size: int, world: int) -> None:
    whole = ShuffledBatches(Numbers(n), size // world * world, drop_last=False, rank=0, world=1)
    parts = [ShuffledBatches(Numbers(n), size, drop_last=False, rank=r, world=world) for r in range(world)]
    shares = [rows(part) for part in parts]
    assert {len(share) for share in shares} == {len(parts[0])}
    for step, batch in enumerate(rows(whole)[: len(parts[0])]):
        assert {len(share[step]) for share in shares} == {len(batch) // world}
        assert [row for share in shares for row in share[step]] == batch[: len(batch) // world * world]
    assert parts[0].rows == sum(len(batch) for share in shares for batch in share)


def test_the_configuration_decides() -> None:
    config = TrainingConfig(batch_size=6, seed=4)
    assert rows(ShuffledBatches.of(Numbers(50), config)) == rows(ShuffledBatches(Numbers(50), 6, seed=4))


@pytest.mark.parametrize(
    ("n", "size", "rank", "world", "message"),
    [
        (5, 4, 2, 2, "`rank` must satisfy 0 <= rank < world .2., got 2"),
        (5, 1, 0, 2, "`batch_size` must be at least the number of processes .2., got 1"),
        (1, 4, 0, 2, "`data` must hold at least one row per process .2., got 1"),
    ],
)
def test_refusals(n: int, size: int, rank: int, world: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShuffledBatches(Numbers(n), size, rank=rank, world=world)
