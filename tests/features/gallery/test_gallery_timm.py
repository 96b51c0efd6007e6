"""Networks of timm: their feature widths, where they are cut, what stays frozen, which weights fit."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from features.errors import InputError
from features.gallery import torchvision_operators
from features.gallery.backbones import Backbone, Train, count_parameters, make_backbone
from features.gallery.torchvision_operators import declare_missing_operators

declare_missing_operators()
timm: Any = pytest.importorskip("timm", reason="pip install 'galleryrank[vision]'")

# Methods' seven, and the smallest photo that each takes without a change of its stride or attention.
SEVEN = [
    ("vgg16", 32, 512),
    ("efficientnet_b0", 32, 1280),
    ("vit_base_patch16_224", 32, 768),
    ("deit_base_patch16_224", 32, 768),
    ("mobilevit_s", 64, 640),
    ("efficientformer_l1", 224, 448),
    ("efficientformer_l3", 224, 512),
]


def photos(n: int, size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


def backbone(name: str, train: Train = "all", size: int | None = None) -> Backbone:
    torch.manual_seed(0)
    return make_backbone(name, train=train, size=size)


@cache
def with_last_block(name: str, size: int) -> Backbone:
    """Built once: the large ones take a second each."""
    return backbone(name, "last_block", size)


@pytest.mark.parametrize(("name", "size", "width"), SEVEN)
def test_the_seven_backbones_have_the_stated_width(name: str, size: int, width: int) -> None:
    model = with_last_block(name, size).eval()
    with torch.no_grad():
        features = model(photos(1, size))
    assert model.width == width
    assert features.shape == (1, width)
    assert features.dtype == torch.float32
    assert bool(torch.isfinite(features).all())


def test_the_networks_own_preprocessing() -> None:
    own = make_backbone("resnet10t").preprocessing
    assert own.mean == pytest.approx((0.485 * 255, 0.456 * 255, 0.406 * 255))
    assert own.std == pytest.approx((0.229 * 255, 0.224 * 255, 0.225 * 255))
    assert own.size == timm.get_pretrained_cfg("resnet10t").input_size[-1]
    assert make_backbone("vit_tiny_patch16_224", size=64).preprocessing.mean == (127.5, 127.5, 127.5)


def test_block_five_of_vgg16_trains() -> None:
    """[Booking] 3.2: 7.1 of 14.7 million: three convolutions of 512 x 512 x 3 x 3 with biases."""
    model = with_last_block("vgg16", 32)
    assert count_parameters(model) == (3 * (512 * 512 * 9 + 512), 14_714_688) == (7_079_424, 14_714_688)
    stored = model.prefix(photos(2, 32))
    assert stored.shape == (2, 512, 2, 2)  # pool4: a sixteenth of the side
    frozen = {name: tensor.clone() for name, tensor in model.prefix.state_dict().items()}
    model.train()
    model(photos(2, 32)).sum().backward()
    torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3).step()
    assert all(torch.equal(model.prefix.state_dict()[name], tensor) for name, tensor in frozen.items())
    assert all(parameter.grad is not None for parameter in model.suffix.parameters())


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet10t", 64),
        ("efficientnet_b0", 64),
        ("vit_tiny_patch16_224", 64),
        ("mobilevit_xxs", 64),
        ("convnext_atto", 64),
        ("mobilenetv3_small_050", 64),
    ],
)
def test_a_cut_network_is_the_whole_one(name: str, size: int) -> None:
    whole, cut = backbone(name, "all", size).eval(), backbone(name, "last_block", size).eval()
    with torch.no_grad():
        torch.testing.assert_close(cut(photos(2, size)), whole(photos(2, size)), rtol=1e-5, atol=1e-6)
    trained, total = count_parameters(cut)
    assert total == count_parameters(whole)[1]
    assert 0.02 * total < trained < 0.95 * total
    cut.train()(photos(2, size)).sum().backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in cut.parameters())


def test_the_last_block_of_a_transformer_is_one_of_twelve() -> None:
    """4 D^2 of attention and 8 D^2 of the two layers behind it, their biases and norms, and the last norm."""
    d = 192
    block = 12 * d * d + (3 + 1 + 4 + 1) * d + 2 * 2 * d
    assert count_parameters(backbone("vit_tiny_patch16_224", "last_block", 64))[0] == block + 2 * d


def test_frozen_batchnorm_statistics_come_out_bit_for_bit() -> None:
    for train in ("last_block", "none"):
        model = backbone("efficientnet_b0", train, 32)  # type: ignore[arg-type]
        before = {name: tensor.clone() for name, tensor in model.prefix.state_dict().items()}
        for step in range(2):
            model.train()(photos(4, 32, step))
        after = model.prefix.state_dict()
        assert sum(name.endswith("running_var") for name in after) > 10
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    drifting = backbone("efficientnet_b0", "all", 32)
    means = {name: tensor.clone() for name, tensor in drifting.state_dict().items() if name.endswith("running_mean")}
    drifting.train()(photos(4, 32))
    assert all(not torch.equal(drifting.state_dict()[name], tensor) for name, tensor in means.items())


def test_a_network_that_is_more_than_its_layers_is_not_cut() -> None:
    """Its tokens join in the middle: the halves would compute something else, or nothing."""
    with pytest.raises(InputError, match="cannot be cut"):
        make_backbone("xcit_nano_12_p16_224", train="last_block")
    assert make_backbone("xcit_nano_12_p16_224", train="none").width == 128


def test_weights_in_a_file_without_their_classifier(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = timm.create_model("resnet10t", num_classes=7).eval()
    torch.save(net.state_dict(), tmp_path / "w.pt")
    model = make_backbone("resnet10t", weights=tmp_path / "w.pt", size=64).eval()
    with torch.no_grad():
        x = model.prefix(photos(2, 64))
        torch.testing.assert_close(model.suffix(x), net.forward_features(x).mean((2, 3)), rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="lacks"):
        make_backbone("resnet18", weights=tmp_path / "w.pt")


def test_vgg_weights_of_torchvision_fit(tmp_path: Path) -> None:
    """Both name the convolutions `features.N`; the classifiers differ and are left out."""
    first = backbone("vgg11", size=32).eval()
    convolutions = first.suffix[1]
    tensors = {f"features.{name}": tensor for name, tensor in convolutions.state_dict().items()}
    torch.save(tensors | {"classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "w.pt")
    torch.manual_seed(1)
    second = make_backbone("vgg11", weights=tmp_path / "w.pt", train="last_block", size=32).eval()
    with torch.no_grad():
        torch.testing.assert_close(second(photos(2, 32)), first(photos(2, 32)), rtol=1e-5, atol=1e-6)


def test_unknown_names_and_sizes() -> None:
    with pytest.raises(InputError, match=r"near it: .*vgg16"):
        make_backbone("vgg61")
    with pytest.raises(InputError, match=r"photo_size.*efficientformer_l1"):
        make_backbone("efficientformer_l1", size=64)


def test_a_network_without_published_weights_does_not_pass_as_pretrained() -> None:
    name = next(name for name in timm.list_models() if not timm.models.is_model_pretrained(name))
    with pytest.raises(InputError, match="has no weights"):
        make_backbone(name, pretrained=True)


def test_weights_that_do_not_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> nn.Module:
        raise OSError("no connection")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match=r"could not be fetched.*no connection"):
        make_backbone("resnet18", pretrained=True)


def test_operators_are_declared_only_where_they_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not declare_missing_operators()  # torchvision is imported by now
    monkeypatch.delitem(sys.modules, "torchvision")
    assert not declare_missing_operators()  # declared or loaded before
    assert all(hasattr(torch.ops.torchvision, name) for name in ("nms", "qnms"))
    monkeypatch.setattr(torchvision_operators, "_OPERATORS", ("made_up_operator",))
    assert declare_missing_operators()
    assert hasattr(torch.ops.torchvision, "made_up_operator")
    monkeypatch.setattr(torchvision_operators.importlib.util, "find_spec", lambda _: None)
    assert not declare_missing_operators()


def test_a_compiled_library_that_does_not_load_is_no_library(tmp_path: Path) -> None:
    assert not torchvision_operators._load_compiled(tmp_path)
    for suffix in torchvision_operators.importlib.machinery.EXTENSION_SUFFIXES:
        (tmp_path / f"_C{suffix}").write_bytes(b"built for something else")
    assert not torchvision_operators._load_compiled(tmp_path)
