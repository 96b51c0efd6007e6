"""The folded network gives the vectors of the network that was trained, whatever it is made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from features.gallery.backbones import Backbone, Train, make_backbone
from features.gallery.inference import inference_network
from features.gallery.network import GalleryNetwork
from features.gallery.packed import PackedGalleries
from features.gallery.preprocessing import GlobalAverage, NetworkParts, Preprocessing


def galleries(counts: list[int], size: int) -> PackedGalleries:
    pixels = torch.randint(0, 256, (sum(counts), 3, size, size), dtype=torch.uint8)
    return PackedGalleries(pixels, torch.tensor([0, *counts]).cumsum(0))


def with_statistics(network: GalleryNetwork) -> GalleryNetwork:
    """BatchNorms that have seen data: at first they are the identity, and folding would show nothing."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                assert tensor is not None
                tensor.normal_(generator=generator)
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()


@pytest.mark.parametrize("train", ["all", "last_block", "none"])
@pytest.mark.parametrize("mirror", [False, True])
def test_the_small_network(train: Train, mirror: bool) -> None:
    torch.manual_seed(0)
    network = with_statistics(GalleryNetwork(make_backbone("small", train=train), embed_dim=16, mirror=mirror))
    batch = galleries([3, 1, 70], 64)  # more photos than a block
    with torch.no_grad():
        expected = network.embed(batch)
        found = inference_network(network).embed(batch)
        stored = inference_network(network).embed_stored(network.backbone.prefix(batch.pixels), batch.offsets)
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-4)
    if not mirror:
        torch.testing.assert_close(stored.float(), expected, rtol=1e-4, atol=1e-4)


def test_nothing_is_left_of_normalisation_and_the_network_stays_as_it_is() -> None:
    network = with_statistics(GalleryNetwork(make_backbone("small")))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = inference_network(network)
    kinds = {type(module) for module in folded.backbone.get_submodule("whole").modules()}
    assert not kinds & {nn.BatchNorm2d, nn.ReLU}
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_sequences_inside_other_layers_and_odd_convolutions() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.branch(x)

    torch.manual_seed(0)
    front = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same", padding_mode="reflect"), nn.ReLU(), Residual(), nn.BatchNorm2d(8)
    )
    parts = NetworkParts(front, GlobalAverage(), 8, Preprocessing(16, (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)))
    network = with_statistics(GalleryNetwork(Backbone("odd", parts)))
    batch = galleries([2, 5], 16)
    with torch.no_grad():
        torch.testing.assert_close(
            inference_network(network).embed(batch).float(), network.embed(batch), rtol=1e-4, atol=1e-4
        )


def test_squeezenet() -> None:
    torch.manual_seed(0)
    network = GalleryNetwork(make_backbone("squeezenet1_1", size=64)).eval()
    batch = galleries([2, 1], 64)
    with torch.no_grad():
        torch.testing.assert_close(
            inference_network(network).embed(batch).float(), network.embed(batch), rtol=1e-4, atol=1e-4
        )


def test_bfloat16_is_close() -> None:
    torch.manual_seed(0)
    network = with_statistics(GalleryNetwork(make_backbone("small")))
    batch = galleries([4, 4], 64)
    with torch.no_grad():
        expected, found = network.embed(batch), inference_network(network, "bfloat16").embed(batch)
    error = (found.float() - expected).norm() / expected.norm()
    assert 0 < error < 0.02
