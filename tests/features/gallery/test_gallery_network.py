"""The gallery network: packed equals padded, the paper's parameter counts, frozen layers under the training loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from features.gallery.backbones import Backbone, Train, count_parameters, make_backbone
from features.gallery.network import GalleryNetwork
from features.gallery.packed import PackedGalleries
from features.gallery.preprocessing import NetworkParts, Preprocessing
from features.gallery.small_network import small_network
from multitask import Task, TrainingConfig, fit, masked_losses

TASKS = (Task("pool"), Task("city", "multiclass", n_classes=5), Task("price", "regression"))
# Table 1 of [Booking]: seven multiclass tasks, 17 binary ones, 7 regressions.
TABLE_1 = (
    *(Task(f"C{i}", "multiclass", n_classes=n) for i, n in enumerate((1981, 9, 107, 28, 9, 6, 6), start=1)),
    *(Task(f"B{i}") for i in range(1, 18)),
    *(Task(f"R{i}", "regression") for i in range(1, 8)),
)


def galleries(counts: list[int], size: int = 32, seed: int = 0) -> PackedGalleries:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (sum(counts), 3, size, size), generator=generator, dtype=torch.uint8)
    return PackedGalleries(pixels, torch.tensor([0, *counts]).cumsum(0))


def network(
    pooling: str = "mean", cover: bool = False, embed_dim: int | None = 12, train: Train = "all"
) -> GalleryNetwork:
    torch.manual_seed(0)
    backbone = Backbone("small", small_network((8, 16)), train)
    return GalleryNetwork(
        backbone, embed_dim=embed_dim, pooling=pooling, cover=cover, tasks=TASKS, head_hidden=6
    ).eval()  # fmt: skip


def padded_reference(model: GalleryNetwork, packed: PackedGalleries) -> Tensor:
    """[Booking] as published: every gallery padded to the longest, all of it encoded, masked mean."""
    counts = packed.counts.tolist()
    longest = max(counts)
    pixels = packed.pixels.new_zeros(len(counts), longest, *packed.pixels.shape[1:])
    mask = torch.zeros(len(counts), longest, dtype=torch.bool)
    for b, (start, n) in enumerate(zip(packed.offsets.tolist(), counts)):
        pixels[b, :n] = packed.pixels[start : start + n]
        mask[b, :n] = True
    embeddings = model.project(model.backbone(pixels.flatten(0, 1))).unflatten(0, mask.shape)  # (B, Nmax, D)
    return (embeddings * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


@pytest.mark.parametrize("embed_dim", [None, 12])
def test_packed_equals_padded(embed_dim: int | None) -> None:
    model, packed = network(embed_dim=embed_dim), galleries([5, 1, 44, 20])
    expected = padded_reference(model, packed)
    assert float((model.embed(packed) - expected).abs().max().detach()) <= 1e-5
    gradients = []
    for vectors in (model.embed(packed), expected):
        model.zero_grad()
        vectors.square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for ours, theirs in zip(*gradients):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "max", "mean_max_std", "gem", "attention", "pma"])
@pytest.mark.parametrize("cover", [False, True])
def test_the_order_of_photos(pooling: str, cover: bool) -> None:
    """It never matters, except which one is the cover when the cover is joined."""
    model, packed = network(pooling, cover), galleries([4, 3])
    vectors = model.embed(packed)
    assert vectors.shape == (2, model.dim)
    behind_the_cover = packed.pixels[torch.tensor([0, 3, 1, 2, 4, 6, 5])]
    other_cover = packed.pixels[torch.tensor([1, 0, 2, 3, 5, 6, 4])]
    for pixels, same in ((behind_the_cover, True), (other_cover, not cover)):
        change = float((model.embed(PackedGalleries(pixels, packed.offsets)) - vectors).abs().max().detach())
        assert (change <= 1e-5) == same


def test_the_cover_is_the_first_photos_embedding() -> None:
    model, packed = network(cover=True), galleries([4, 0, 3])
    assert model.dim == 24
    vectors = model.embed(packed)
    firsts = model.project(model.backbone(packed.pixels[[0, 4]]))
    torch.testing.assert_close(vectors[[0, 2], 12:], firsts, rtol=1e-5, atol=1e-6)
    assert bool((vectors[1] == 0).all())
    assert model.embed(galleries([0])).tolist() == [[0.0] * 24]


def test_stored_outputs_of_the_prefix_give_the_same_vectors() -> None:
    model, packed = network(train="last_block"), galleries([2, 3])
    expected = model.embed(packed)
    stored = model.backbone.prefix(packed.pixels)
    assert torch.equal(model.embed_stored(stored, packed.offsets), expected)
    assert torch.equal(model.embed_features(model.backbone(packed.pixels), packed.offsets), expected)
    assert torch.equal(model.predict(expected), model(packed))


def test_outputs_in_float32_and_first_biases() -> None:
    bias = torch.arange(7.0)
    backbone = Backbone("small", small_network((8, 16)))
    model = GalleryNetwork(backbone, tasks=TASKS, head_hidden=0, bias=bias).eval()
    assert torch.equal(model(galleries([0, 0])), bias.expand(2, 7))  # the vector of no photos is zeros
    with torch.autocast("cpu", torch.bfloat16):
        assert model(galleries([2, 1])).dtype == torch.float32


def test_faults() -> None:
    backbone = Backbone("small", small_network((8, 16)))
    with pytest.raises(ValueError, match="`embed_dim`"):
        GalleryNetwork(backbone, embed_dim=0)
    model = GalleryNetwork(backbone)
    assert model.embed(galleries([1])).shape == (1, 16)
    with pytest.raises(ValueError, match="`tasks`"):
        model(galleries([1]))


def test_the_papers_parameters() -> None:
    """[Booking] 3.2 on vectors of 512: 31 heads have 18,073 h + 2,170 parameters, 5.7 million at h = 315."""
    parts = NetworkParts(nn.Identity(), nn.Identity(), 512, Preprocessing(224, (0.0,) * 3, (1.0,) * 3))
    for hidden in (2, 315):
        heads = GalleryNetwork(Backbone("vgg16", parts), tasks=TABLE_1, head_hidden=hidden).heads
        assert heads is not None
        assert count_parameters(heads) == (18_073 * hidden + 2_170,) * 2
    assert round(count_parameters(heads)[0] / 1e6, 1) == 5.7


@dataclass
class Labelled:
    galleries: PackedGalleries
    labels: Tensor


class Steps:
    """Batches of the training loop: the brightness of a gallery is its price."""

    def __len__(self) -> int:
        return 4

    def epoch(self, number: int, start: int = 0) -> Iterator[Labelled]:
        for step in range(start, 4):
            packed = galleries([1, 3, 2, 5], seed=100 * number + step)
            shade = torch.linspace(0.2, 1, 4)[packed.gallery_of_photo]
            dark = PackedGalleries((packed.pixels * shade[:, None, None, None]).to(torch.uint8), packed.offsets)
            price = torch.linspace(-1, 1, 4)
            labels = torch.stack([(price > 0).float(), torch.arange(4.0), price], dim=1)
            yield Labelled(dark, labels)


def loss(model: nn.Module, batch: Labelled) -> Tensor:
    return masked_losses(TASKS, model(batch.galleries), batch.labels)[0].sum()


@pytest.mark.parametrize("train", ["last_block", "none"])
def test_frozen_layers_survive_the_training_loop_bit_for_bit(train: Train) -> None:
    model = network(train=train)
    before = {name: tensor.clone() for name, tensor in model.backbone.prefix.state_dict().items()}
    config = TrainingConfig(epochs=3, learning_rate=0.01, ema_decay=0.0, precision="float32")
    history = fit(model, loss, Steps(), config, progress=False, device="cpu")
    after = model.backbone.prefix.state_dict()
    assert any(name.endswith("running_var") for name in after)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert history.epochs[-1].train_loss < 0.9 * history.epochs[0].train_loss


def test_a_trained_network_predicts_the_same_packed_or_one_gallery_at_a_time() -> None:
    model, packed = network("attention"), galleries([2, 5, 1])
    alone = [PackedGalleries.from_list([gallery]) for gallery in packed.pixels.split([2, 5, 1])]
    torch.testing.assert_close(model(packed), torch.cat([model(one) for one in alone]), rtol=1e-5, atol=1e-6)


def test_the_built_in_network_by_name() -> None:
    model = GalleryNetwork(make_backbone("small"), pooling="mean_max_std", cover=True)
    assert model.dim == 4 * 192


def test_mirror_averages_a_photo_and_its_mirror_image_in_evaluation_only() -> None:
    model, packed = network(embed_dim=None), galleries([2, 3])
    flipped = PackedGalleries(packed.pixels.flip(3), packed.offsets)
    expected = (model.embed(packed) + model.embed(flipped)) / 2  # the mean over photos is linear
    model.mirror = True
    torch.testing.assert_close(model.embed(packed), expected)
    torch.testing.assert_close(model.embed(flipped), expected)
    model.train()
    assert not torch.allclose(model.embed(packed), model.embed(flipped))


def test_root_is_the_signed_square_root_with_a_finite_slope_at_zero() -> None:
    model = network(embed_dim=None)
    model.root = True
    features = torch.tensor([[4.0, -9.0, 0.0, *[1.0] * 13]], requires_grad=True)
    vector = model.embed_features(features, torch.tensor([0, 1]))
    torch.testing.assert_close(vector[0, :4], torch.tensor([2.0, -3.0, 0.0, 1.0]), atol=0.02, rtol=0)
    vector.sum().backward()
    assert features.grad is not None
    assert bool(torch.isfinite(features.grad).all())
