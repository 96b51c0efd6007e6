"""Pooling: what may not matter (order, neighbours, empty galleries), what must, and references for each method."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from features.gallery.pooling import (
    POOLINGS,
    AttentionPooling,
    GalleryPooling,
    GeMPooling,
    MeanMaxStdPooling,
    MeanPooling,
    MultiheadAttentionPooling,
    make_pooling,
)
from features.gallery.segments import Segments

WIDTH = 8
NAMES = list(POOLINGS)


def pooling(name: str, width: int = WIDTH) -> GalleryPooling:
    torch.manual_seed(0)
    return make_pooling(name, width)


def packed(counts: list[int], width: int = WIDTH, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple:
    """Positive embeddings, as after a ReLU, and their offsets."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(sum(counts), width, generator=generator, dtype=torch.float64) * 2 + 0.1
    return x.to(dtype), torch.tensor([0, *counts]).cumsum(0)


def one_by_one(pool: GalleryPooling, x: Tensor, offsets: Tensor) -> Tensor:
    """The reference: every gallery on its own."""
    galleries = [x[a:b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist())]
    return torch.cat([pool(gallery, torch.tensor([0, len(gallery)])) for gallery in galleries])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=6), seed=st.integers(0, 1000))
def test_a_gallery_depends_on_its_own_photos_only_and_not_on_their_order(
    name: str, counts: list[int], seed: int
) -> None:
    pool = pooling(name).requires_grad_(False)
    x, offsets = packed(counts, seed=seed)
    vectors = pool(x, offsets)
    assert vectors.shape == (len(counts), pool.out_features)
    assert bool(torch.isfinite(vectors).all())
    assert float((vectors - one_by_one(pool, x, offsets)).abs().max()) <= 1e-5
    generator = torch.Generator().manual_seed(seed)
    order = torch.cat([a + torch.randperm(n, generator=generator) for a, n in zip(offsets.tolist(), counts)])
    assert float((pool(x[order], offsets) - vectors).abs().max()) <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_galleries_of_one_batch_trade_places(name: str) -> None:
    pool, (x, offsets) = pooling(name), packed([2, 3])
    swapped = pool(torch.cat([x[2:], x[:2]]), torch.tensor([0, 3, 5]))
    torch.testing.assert_close(swapped.flip(0), pool(x, offsets), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_gallery_is_zeros_and_leaves_gradients_finite(name: str) -> None:
    pool = pooling(name)
    x, offsets = packed([0, 2, 0, 1, 0])
    x.requires_grad_()
    vectors = pool(x, offsets)
    assert bool((vectors[[0, 2, 4]] == 0).all())
    vectors.square().sum().backward()
    gradients = [x.grad, *(parameter.grad for parameter in pool.parameters())]
    assert all(gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert pool(x[:0], torch.tensor([0, 0])).shape == (1, pool.out_features)
    assert pool(x[:0], torch.tensor([0])).shape == (0, pool.out_features)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gallery_of_nan_does_not_leak_into_its_neighbours(name: str, bad: float) -> None:
    pool = pooling(name)
    x, offsets = packed([2, 2, 3])
    expected = pool(x, offsets)
    x[2:4] = bad
    found = pool(x, offsets)
    torch.testing.assert_close(found[[0, 2]], expected[[0, 2]], rtol=1e-6, atol=1e-6)
    assert not bool(torch.isfinite(found[1]).all()) or name == "pma"


@pytest.mark.parametrize("name", ["mean", "max", "gem", "attention"])
def test_one_photo_is_the_photo(name: str) -> None:
    x, offsets = packed([1, 1, 1])
    torch.testing.assert_close(pooling(name)(x, offsets), x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_gallery_twice_over_is_the_gallery(name: str) -> None:
    pool, (x, offsets) = pooling(name), packed([3])
    torch.testing.assert_close(pool(torch.cat([x, x]), 2 * offsets), pool(x, offsets), rtol=1e-5, atol=1e-5)


def test_mean_max_and_deviation_are_torchs() -> None:
    x, offsets = packed([4, 1, 9])
    expected = [torch.cat([g.mean(0), g.amax(0), g.std(0, correction=0)]) for g in x.split([4, 1, 9])]
    pool = pooling("mean_max_std")
    torch.testing.assert_close(pool(x, offsets), torch.stack(expected), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(pooling("mean")(x, offsets), torch.stack(expected)[:, :WIDTH])
    assert torch.equal(pooling("max")(x, offsets), torch.stack(expected)[:, WIDTH : 2 * WIDTH])


def test_the_deviation_keeps_its_digits_far_from_zero() -> None:
    """1000 and 1000.5: the difference of squares would be 0 or 1/16 in float32, the deviation is 1/4."""
    x = torch.tensor([[1000.0], [1000.5]])
    assert MeanMaxStdPooling(1)(x, torch.tensor([0, 2]))[0, 2].item() == pytest.approx(0.25, rel=1e-4)


def test_the_deviations_gradient_at_equal_photos_is_zero() -> None:
    x = torch.full((3, 2), 0.3, requires_grad=True)
    MeanMaxStdPooling(2)(x, torch.tensor([0, 1, 3]))[:, 4:].sum().backward()
    assert torch.equal(x.grad, torch.zeros(3, 2))


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0, 20.0])
def test_gem_is_its_formula(power: float) -> None:
    """[Radenovic 2018] eq. 3 in float64."""
    x, offsets = packed([4, 1, 9])
    with torch.no_grad():
        found = GeMPooling(WIDTH, power)(x, offsets)
    expected = torch.stack([g.double().pow(power).mean(0).pow(1 / power) for g in x.split([4, 1, 9])])
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)


def test_gem_lies_between_mean_and_maximum_and_learns_its_power() -> None:
    x, offsets = packed([5])
    pool = pooling("gem")
    assert isinstance(pool, GeMPooling)
    low, high = pooling("mean")(x, offsets), pooling("max")(x, offsets)
    assert bool(((low <= pool(x, offsets) + 1e-6) & (pool(x, offsets) <= high + 1e-6)).all())
    pool(x, offsets).sum().backward()
    assert float(pool.log_p.grad) > 0  # a larger power is a larger mean
    with pytest.raises(ValueError, match="`p`"):
        GeMPooling(2, 0.0)


@pytest.mark.parametrize("power", [3.0, 60.0])
def test_gem_neither_over_nor_underflows(power: float) -> None:
    """1e-6 to the power of 60 is 0 in float32, 1000 to the power of 60 infinite."""
    x = torch.tensor([[0.0, 1000.0], [-1.0, 2000.0]], requires_grad=True)
    vector = GeMPooling(2, power)(x, torch.tensor([0, 2]))
    assert vector[0, 0].item() == pytest.approx(1e-6, rel=1e-3)
    assert 1000 < vector[0, 1].item() < 2000
    vector.sum().backward()
    assert bool(torch.isfinite(x.grad).all())


def test_attention_is_its_formula() -> None:
    """[Ilse 2018] eq. 9, gallery by gallery."""
    pool = AttentionPooling(WIDTH, hidden=5)
    x, offsets = packed([4, 1, 9])
    expected = []
    for gallery in x.split([4, 1, 9]):
        gated = torch.tanh(pool.value(gallery)) * torch.sigmoid(pool.gate(gallery))
        expected.append((torch.softmax(pool.score(gated), 0) * gallery).sum(0))
    torch.testing.assert_close(pool(x, offsets), torch.stack(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seeds", [1, 3])
def test_multihead_attention_is_torchs_on_padded_embeddings(seeds: int) -> None:
    """[Lee 2019] eq. 8 and 11 with torch's own scaled dot product."""
    torch.manual_seed(0)
    pool = MultiheadAttentionPooling(WIDTH, seeds, heads=2)
    assert pool.out_features == seeds * WIDTH
    x, offsets = packed([4, 1, 9])
    expected = []
    for gallery in x.split([4, 1, 9]):
        keys, values = pool.key_value(torch.relu(pool.before(gallery))).chunk(2, 1)
        q, k, v = (t.unflatten(1, (2, 4)).transpose(0, 1) for t in (pool.query(pool.seeds), keys, values))
        attended = F.scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1)  # (k, D)
        h = pool.norm_attended(pool.seeds + pool.out(attended))
        expected.append(pool.norm_out(h + torch.relu(pool.after(h))).flatten())
    torch.testing.assert_close(pool(x, offsets), torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    pool = pooling(name, 4).double()
    x, offsets = packed([3, 1, 0, 2], 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda y: pool(y, offsets), x.requires_grad_(), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_bf16_embeddings_are_pooled_in_float32(name: str) -> None:
    pool, (x, offsets) = pooling(name), packed([40, 3])
    with torch.autocast("cpu", torch.bfloat16):
        vectors = pool(x.bfloat16(), offsets)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, pool(x.bfloat16().float(), offsets))


def test_softmax_sums_to_one_over_each_gallery_at_any_scale() -> None:
    scores = torch.tensor([1000.0, 1001.0, -1000.0])
    weights = Segments(torch.tensor([0, 2, 3]), 3).softmax(scores)
    torch.testing.assert_close(weights, torch.tensor([1 / (1 + torch.e), torch.e / (1 + torch.e), 1.0]))


def test_faults() -> None:
    with pytest.raises(ValueError, match=r"mean_max_std.*got 'median'"):
        make_pooling("median", 4)
    with pytest.raises(ValueError, match=r"\(N, 4\), got \(2, 3\)"):
        MeanPooling(4)(torch.zeros(2, 3), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="`heads`"):
        MultiheadAttentionPooling(10)
    assert make_pooling("pma", 10).out_features == 10  # takes as many heads as divide
