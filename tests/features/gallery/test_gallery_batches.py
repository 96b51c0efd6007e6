"""Batches of galleries: within the budget, every gallery once, the same steps in every epoch, resumable."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from features.gallery.augmentation import Augmentation
from features.gallery.batches import GalleryBatch, GalleryBatches, sequential_batches
from features.gallery.gathering import ranges
from features.gallery.photos import PhotoIndex
from multitask import TrainingConfig, fit


class Numbered:
    """Photo i is all i (as two bytes): what was asked for can be read from the pixels."""

    def __init__(self, sound: np.ndarray, on_demand: bool = False) -> None:
        self.sound, self.on_demand, self.calls = sound, on_demand, 0

    def pixels(self, rows: np.ndarray) -> Tensor:
        if not self.sound[rows].all():
            raise ValueError("a masked photo was asked for")
        self.calls += 1
        numbers = torch.from_numpy(np.stack([rows % 256, rows // 256, 0 * rows], 1).astype(np.uint8))
        return numbers[:, :, None, None].expand(-1, 3, 2, 2).contiguous()


def index(counts: list[int]) -> PhotoIndex:
    rows = np.repeat(np.arange(len(counts)), counts)
    zeros = np.zeros(len(rows), np.int64)
    ids, orders = pa.array(np.arange(len(counts))), pa.array(zeros)
    return PhotoIndex(
        rows, np.concatenate([[0], np.cumsum(counts)]), zeros, zeros, orders, None, ids, (), "jpeg", Path(".")
    )


def numbers(batch: GalleryBatch) -> list[list[int]]:
    """The photo numbers of every gallery of a batch."""
    flat = (batch.galleries.pixels[:, 0, 0, 0].long() + 256 * batch.galleries.pixels[:, 1, 0, 0].long()).tolist()
    offsets = batch.galleries.offsets.tolist()
    return [flat[a:b] for a, b in pairwise(offsets)]


COUNTS = np.random.default_rng(0).integers(0, 12, 80).tolist()


def batches(
    counts: list[int] = COUNTS, budget: int = 40, masked: tuple[int, ...] = (), **options: object
) -> GalleryBatches:
    photos = index(counts)
    sound = np.ones(len(photos), bool)
    sound[list(masked)] = False
    source = Numbered(sound, bool(options.pop("on_demand", False)))
    rows = options.pop("item_rows", np.arange(len(counts)))
    labels = torch.arange(float(len(counts)))[:, None].expand(-1, 2)
    return GalleryBatches(source, photos, rows, labels, photo_budget=budget, **options)  # type: ignore[arg-type]


def expected(counts: list[int], masked: tuple[int, ...] = ()) -> dict[int, list[int]]:
    """The sound photos of every item that has any."""
    ends = np.cumsum(counts)
    own = {i: [p for p in range(ends[i] - counts[i], ends[i]) if p not in masked] for i in range(len(counts))}
    return {i: photos for i, photos in own.items() if photos}


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 44), min_size=1, max_size=40).filter(any), st.integers(0, 200), st.integers(0, 3),
    st.sampled_from([None, 1, 5]),
)  # fmt: skip
def test_every_epoch_has_each_gallery_once_within_the_budget(
    counts: list[int], more: int, epoch: int, sample: int | None
) -> None:
    largest = max(counts) if sample is None else min(max(counts), sample)
    made = batches(counts, largest + more, sample_photos=sample)
    found = list(made.epoch(epoch))
    assert len(found) == len(made)
    assert max(len(batch.galleries.pixels) for batch in found) <= largest + more
    assert min(len(batch) for batch in found) >= 1
    assert sorted(row for batch in found for row in batch.rows.tolist()) == sorted(expected(counts))


def test_a_gallery_holds_its_own_sound_photos_in_order_and_its_own_labels() -> None:
    masked = (0, 1, 2, 3, 17, 90, 91)
    own = expected(COUNTS, masked)
    made = batches(masked=masked)
    assert made.rows == len(own)
    for batch in made.epoch(0):
        assert numbers(batch) == [own[row] for row in batch.rows.tolist()]
        assert batch.labels.tolist() == [[row, row] for row in batch.rows.tolist()]
        assert batch.galleries.pixels.dtype == torch.uint8


def test_galleries_whose_photos_are_all_masked_are_left_out() -> None:
    made = batches([2, 3, 1], 10, masked=(0, 1, 5))
    assert [batch.rows.tolist() for batch in made.epoch(0)] == [[1]]


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    def order(made: GalleryBatches, epoch: int) -> list[int]:
        return [row for batch in made.epoch(epoch) for row in batch.rows.tolist()]

    made = batches(seed=3)
    second = order(made, 2)
    order(made, 0)
    assert order(made, 2) == second == order(batches(seed=3), 2)
    assert order(made, 1) != second
    assert order(batches(seed=4), 2) != second


@pytest.mark.parametrize(
    "options", [{}, {"on_demand": True}, {"sample_photos": 3, "augment": Augmentation(jitter=0.2)}]
)
def test_an_epoch_can_be_entered_at_any_step(options: dict[str, object]) -> None:
    made = batches(**options)
    whole = list(made.epoch(5))
    for start in (0, 1, len(made) - 1, len(made)):
        rest = list(made.epoch(5, start))
        assert len(rest) == len(made) - start
        for a, b in zip(whole[start:], rest, strict=True):
            assert torch.equal(a.galleries.pixels, b.galleries.pixels)
            assert torch.equal(a.rows, b.rows)


def test_sampling_takes_other_photos_every_epoch_in_their_order() -> None:
    own = expected(COUNTS)
    made = batches(budget=30, sample_photos=4)
    seen: Counter[tuple[int, int]] = Counter()
    for epoch in range(40):
        for batch in made.epoch(epoch):
            for row, photos in zip(batch.rows.tolist(), numbers(batch), strict=True):
                assert len(photos) == min(4, len(own[row]))
                assert photos == sorted(photos)
                assert set(photos) <= set(own[row])
                seen.update((row, photo) for photo in photos)
    large = max(own, key=lambda row: len(own[row]))
    share = np.array([seen[large, photo] for photo in own[large]]) / 40
    assert share.min() > 0.1
    assert share.max() < 0.7  # each of 11 photos is drawn 4 times in 11


def test_the_cover_can_be_kept() -> None:
    own = expected(COUNTS)
    for batch in batches(budget=30, sample_photos=3, keep_cover=True).epoch(1):
        assert [photos[0] for photos in numbers(batch)] == [own[row][0] for row in batch.rows.tolist()]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_every_batch_in_equal_parts(world: int) -> None:
    ranks = [batches(budget=60, rank=rank, world=world) for rank in range(world)]
    own = expected(COUNTS)
    assert len({len(made) for made in ranks}) == 1
    seen: list[int] = []
    for parts in zip(*(made.epoch(1) for made in ranks), strict=True):
        assert len({len(part) for part in parts}) == 1
        assert len(parts[0]) >= 1
        assert sum(len(part.galleries.pixels) for part in parts) <= 60
        for part in parts:
            assert numbers(part) == [own[row] for row in part.rows.tolist()]
            seen += part.rows.tolist()
    assert len(seen) == len(set(seen)) == ranks[0].rows == len(own) // world * world


def test_batches_come_ahead_only_where_the_source_decodes_on_demand() -> None:
    for on_demand, ahead in ((True, 2), (False, 1)):
        made = batches(on_demand=on_demand)
        epoch = made.epoch(0)
        next(epoch)
        epoch.close()  # waits for what is being prepared
        assert isinstance(made.source, Numbered)
        assert made.source.calls == ahead


def test_a_failure_in_the_thread_comes_up_where_the_batch_is_asked_for() -> None:
    made = batches(on_demand=True)
    made.source.sound = np.zeros_like(made.source.sound)
    with pytest.raises(ValueError, match="a masked photo was asked for"):
        list(made.epoch(0))


def test_augmentation_sees_epoch_and_step() -> None:
    seen: list[tuple[int, int]] = []

    def augment(pixels: Tensor, epoch: int, step: int) -> Tensor:
        seen.append((epoch, step))
        return 255 - pixels

    made = batches(augment=augment)
    plain = list(batches().epoch(3))
    for before, after in zip(plain, made.epoch(3), strict=True):
        assert torch.equal(255 - before.galleries.pixels, after.galleries.pixels)
    assert seen == [(3, step) for step in range(len(made))]


def test_batches_are_handed_over_on_the_device() -> None:
    batch = next(batches(device="meta").epoch(0))
    assert {batch.galleries.pixels.device.type, batch.labels.device.type, batch.rows.device.type} == {"meta"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 10}, r"`photo_budget` must be at least 11, the largest gallery \(or let `sample_photos`"),
        ({"budget": 21, "rank": 0, "world": 2}, "at least 22, the largest gallery for each of 2 processes"),
        ({"sample_photos": 0}, "`sample_photos` must be at least 1, got 0"),
        ({"rank": 2, "world": 2}, r"`rank` must satisfy 0 <= rank < world \(2\), got 2"),
        ({"item_rows": np.array([], np.int64)}, "`item_rows` must hold 1 galleries or more with a sound photo, got 0"),
    ],
)
def test_what_cannot_be_batched_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batches(**options)  # type: ignore[arg-type]


def test_labels_are_those_of_all_items() -> None:
    photos = index([1, 1])
    with pytest.raises(ValueError, match=r"`labels` must hold one row per item \(2\), got 1"):
        GalleryBatches(Numbered(np.ones(2, bool)), photos, np.arange(2), torch.zeros(1, 1), photo_budget=4)


@pytest.mark.parametrize("on_demand", [False, True])
@pytest.mark.parametrize("budget", [1, 11, 40, 10**6])
def test_in_sequence_every_gallery_comes_once_and_in_order(budget: int, on_demand: bool) -> None:
    photos, own = index(COUNTS), expected(COUNTS)
    rows = np.arange(len(COUNTS))[::-1]
    source = Numbered(np.ones(len(photos), bool), on_demand)
    found = list(sequential_batches(source, photos, rows, budget))
    assert [row for batch in found for row in batch.rows.tolist()] == [row for row in rows if row in own]
    for batch in found:
        assert numbers(batch) == [own[row] for row in batch.rows.tolist()]
        assert len(batch.galleries.pixels) <= budget or len(batch) == 1
        assert batch.labels.shape == (len(batch), 0)
    if budget == 10**6:
        assert len(found) == 1


def test_in_sequence_with_labels_and_without_galleries() -> None:
    photos = index([2, 0, 1])
    source = Numbered(np.ones(3, bool))
    (batch,) = sequential_batches(source, photos, np.arange(3), 9, labels=torch.tensor([[1.0], [2.0], [3.0]]))
    assert batch.labels.tolist() == [[1.0], [3.0]]
    assert list(sequential_batches(source, photos, np.array([1]), 9)) == []
    with pytest.raises(ValueError, match="`photo_budget` must be at least 1, got 0"):
        next(sequential_batches(source, photos, np.arange(3), 0))


def test_ranges_equal_the_loop() -> None:
    starts, counts = np.array([7, 3, 0, 9]), np.array([2, 0, 3, 1])
    loop = [start + i for start, count in zip(starts, counts, strict=True) for i in range(count)]
    assert ranges(starts, counts).tolist() == loop
    assert ranges(starts[:0], counts[:0]).tolist() == []


class Brightness(nn.Module):
    """A gallery's label from the mean of its photos: the smallest network that trains on galleries."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, batch: GalleryBatch) -> Tensor:
        galleries = batch.galleries
        photos = self.linear(galleries.pixels.float().mean((2, 3)) / 255)
        sums = torch.zeros(len(galleries), 1).index_add(0, galleries.gallery_of_photo, photos)
        return sums / galleries.counts[:, None]


class Interrupted(Exception):
    """Stands for a killed process."""


@pytest.mark.parametrize("on_demand", [False, True])
def test_the_training_loop_resumes_in_the_middle_of_an_epoch_to_the_same_bits(tmp_path: Path, on_demand: bool) -> None:
    config = TrainingConfig(epochs=3, batch_size=1, learning_rate=0.05, precision="float32", checkpoint_steps=2)
    options = {"sample_photos": 5, "augment": Augmentation(jitter=0.1), "on_demand": on_demand}

    def loss(model: nn.Module, batch: GalleryBatch) -> Tensor:
        return (model(batch) - batch.labels[:, :1] / 80).square().mean()

    def trained(checkpoint: Path | None, stop_at: int | None = None) -> tuple[list[Tensor], int]:
        torch.manual_seed(0)
        model, steps = Brightness(), [0]

        def counted(model: nn.Module, batch: GalleryBatch) -> Tensor:
            steps[0] += 1
            if steps[0] == stop_at:
                raise Interrupted
            return loss(model, batch)

        fit(model, counted, batches(**options), config, checkpoint=checkpoint, progress=False, device="cpu")
        return [parameter.detach().clone() for parameter in model.parameters()], steps[0]

    whole, steps = trained(None)
    length = len(batches(**options))
    assert length > 5
    with pytest.raises(Interrupted):
        trained(tmp_path, stop_at=length + 4)
    resumed, rest = trained(tmp_path)
    assert (steps, rest) == (3 * length, 2 * length - 2)  # from step 2 of the second epoch on
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
