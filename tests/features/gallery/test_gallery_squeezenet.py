"""SqueezeNet 1.1: the same network as torchvision's, and weights in torchvision's names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from features.errors import InputError
from features.gallery.backbones import count_parameters, make_backbone
from features.gallery.squeezenet import Fire, squeezenet1_1
from features.gallery.torchvision_operators import declare_missing_operators

# ImageNet weights beside the repository; the test that reads them is left out where they are not.
SHIPPED = (
    Path(__file__).resolve().parents[4]
    / "shared/data/backbone_squeezenet1_1/squeezenet1_1_caffe_rgb_fp16.pt"
)  # fmt: skip


def torchvision_net() -> nn.Module:
    declare_missing_operators()
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    net: nn.Module = models.squeezenet1_1(weights=None).eval()
    return net


def noise(size: int) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_parameters_by_hand() -> None:
    """A fire module has s(i + 1) + e(s + 1) + e(9s + 1) parameters."""

    def fire(i: int, s: int, e: int) -> int:
        return s * (i + 1) + e * (s + 1) + e * (9 * s + 1)

    early = [(64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128)]
    late = [(256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256)]
    back = sum(fire(*sizes) for sizes in late)
    front = 64 * (27 + 1) + sum(fire(*sizes) for sizes in early)
    assert count_parameters(make_backbone("squeezenet1_1", train="last_block")) == (back, front + back)
    assert count_parameters(Fire(64, 16, 64))[0] == fire(64, 16, 64)


def test_the_caffe_preprocessing() -> None:
    """Mean colour in RGB order, no division: the shipped weights' own convention."""
    own = make_backbone("squeezenet1_1").preprocessing
    assert (own.size, own.mean, own.std) == (227, (122.68, 116.67, 104.01), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("size", [64, 71, 96])
def test_equal_to_torchvision_with_weights_in_half_precision(tmp_path: Path, size: int) -> None:
    """At 71 pixels the pooling's rounding shows."""
    net = torchvision_net()
    halves = {name: tensor.half() for name, tensor in net.state_dict().items()}
    torch.save(halves, tmp_path / "w.pt")
    net.load_state_dict({name: tensor.float() for name, tensor in halves.items()})
    parts = squeezenet1_1(tmp_path / "w.pt")
    with torch.no_grad():
        expected = net.features(noise(size)).mean((2, 3))  # type: ignore[operator]
        found = parts.back(parts.front(noise(size)))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_the_map_before_the_last_block_rounds_up() -> None:
    """227 -> 113 -> 56 -> 28 -> 14, as Caffe rounds; rounding down would end at 13."""
    assert squeezenet1_1().front(torch.zeros(1, 3, 227, 227)).shape == (1, 256, 14, 14)


def test_a_file_without_a_layer_is_refused(tmp_path: Path) -> None:
    tensors = {f"features.{name}": tensor for name, tensor in _own_state().items()}
    del tensors["features.12.squeeze.weight"]
    torch.save(tensors, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"lacks 1 \(12.squeeze.weight\)"):
        make_backbone("squeezenet1_1", weights=tmp_path / "w.pt")


def _own_state() -> dict[str, Tensor]:
    parts = squeezenet1_1()
    front = parts.front.state_dict()
    names = ("9", "10", "11", "12")
    back = {f"{names[int(name[0])]}{name[1:]}": tensor for name, tensor in parts.back.state_dict().items()}
    return front | back


@pytest.mark.skipif(not SHIPPED.is_file(), reason="the ImageNet weights are not beside the repository")
def test_the_shipped_weights_load_and_see_a_difference() -> None:
    model = make_backbone("squeezenet1_1", weights=SHIPPED, size=96).eval()
    gray = torch.full((1, 3, 96, 96), 128, dtype=torch.uint8)
    stripes = gray.clone()
    stripes[..., ::8, :] = 255
    with torch.no_grad():
        features = model(torch.cat([gray, stripes]))
    assert features.shape == (2, 512)
    assert bool((features >= 0).all())
    assert bool(torch.isfinite(features).all())
    assert float(torch.cosine_similarity(features[:1], features[1:])) < 0.95
