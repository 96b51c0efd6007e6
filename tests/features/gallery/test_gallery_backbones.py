"""Image encoders: what they are fed, which part trains, and weights that fit or are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from features.errors import InputError
from features.gallery.backbones import Backbone, Frozen, Train, count_parameters, make_backbone
from features.gallery.preprocessing import GlobalAverage, Normalise, Preprocessing
from features.gallery.small_network import small_network
from features.gallery.weights import load_weights, read_weights


def photos(n: int = 6, size: int = 64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


def backbone(train: Train = "all", seed: int = 0) -> Backbone:
    torch.manual_seed(seed)
    return make_backbone("small", train=train)


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def train_steps(model: Backbone, steps: int = 3) -> None:
    """A few steps of Adam, in training mode as the training loop sets it."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    head = nn.Linear(model.width, 1)
    optimizer = torch.optim.Adam([*trained, *head.parameters()], lr=1e-2)
    model.train()
    for step in range(steps):
        head(model(photos(seed=step))).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_normalisation_is_the_formula_on_bytes() -> None:
    own = Preprocessing(8, (122.68, 116.67, 104.01), (1.0, 2.0, 4.0))
    pixels = photos(2, 8)
    x = Normalise(own)(pixels)
    for channel in range(3):
        expected = (pixels[:, channel].float() - own.mean[channel]) / own.std[channel]
        assert torch.equal(x[:, channel], expected)
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_normalisation_leaves_float_pixels_alone() -> None:
    pixels = photos(1, 8).float()
    before = pixels.clone()
    assert torch.equal(Normalise(Preprocessing(8, (1.0,) * 3, (2.0,) * 3))(pixels), (before - 1) / 2)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize(
    ("size", "mean", "std", "argument"),
    [
        (0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "`size`"),
        (8, (0.0, float("nan"), 0.0), (1.0, 1.0, 1.0), "`mean`"),
        (8, (0.0, 0.0, 0.0), (1.0, 0.0, 1.0), "`std`"),
    ],
)
def test_preprocessing_names_its_fault(size: int, mean: Any, std: Any, argument: str) -> None:
    with pytest.raises(ValueError, match=argument):
        Preprocessing(size, mean, std)


def test_the_global_average_of_bf16_is_taken_in_float32() -> None:
    """300 ones and one 300 in bf16: a running bf16 sum would stop at 256."""
    x = torch.ones(1, 1, 1, 301, dtype=torch.bfloat16)
    x[..., 0] = 300
    mean = GlobalAverage()(x)
    assert mean.dtype == torch.float32
    assert mean.item() == pytest.approx(600 / 301, rel=1e-6)


def test_bytes_and_floats_give_the_same_float32_features() -> None:
    model = backbone().eval()
    features = model(photos())
    assert features.shape == (6, model.width)
    assert features.dtype == torch.float32
    assert torch.equal(model(photos().float()), features)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(photos()).dtype == torch.float32


def test_a_photo_does_not_depend_on_its_neighbours() -> None:
    model = backbone().eval()
    alone = torch.cat([model(photo[None]) for photo in photos()])
    torch.testing.assert_close(model(photos()), alone, rtol=1e-5, atol=1e-6)


def test_other_sizes_and_widths() -> None:
    parts = small_network((4, 8, 16))
    for size in (32, 64, 96, 128):
        assert parts.back(parts.front(torch.zeros(2, 3, size, size))).shape == (2, 16)
    for widths in ((8,), (8, 0)):
        with pytest.raises(ValueError, match="`widths`"):
            small_network(widths)


def test_the_untrained_network_does_not_fade() -> None:
    """[He 2015]: each stage keeps the second moment, up to the borders' zeros."""
    model = backbone().eval()
    x = model.prefix(photos(32))
    with torch.no_grad():
        inside = model.suffix[0](x)
    ratio = float(inside.square().mean() / x.square().mean())
    assert 0.2 < ratio < 2


def test_the_three_ways_to_train_are_one_network() -> None:
    outputs = [backbone(train).eval()(photos()) for train in ("all", "last_block", "none")]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_the_parts_that_train_are_counted() -> None:
    whole = sum(9 * a * b + 2 * b for a, b in ((3, 24), (24, 48), (48, 96), (96, 192)))
    assert count_parameters(backbone("all")) == (whole, whole)
    assert count_parameters(backbone("last_block")) == (9 * 96 * 192 + 2 * 192, whole)
    assert count_parameters(backbone("none")) == (0, whole)


def test_prefix_then_suffix_is_the_network_and_only_the_suffix_has_gradients() -> None:
    model = backbone("last_block").train()
    stored = model.prefix(photos())
    assert not stored.requires_grad
    assert model.suffix(stored).requires_grad
    model.eval()
    assert torch.equal(model.suffix(model.prefix(photos())), model(photos()))


@pytest.mark.parametrize("train", ["last_block", "none"])
def test_frozen_layers_come_out_of_training_bit_for_bit(train: Train) -> None:
    model = backbone(train)
    before = copied(model.prefix)
    trained = copied(model.suffix)
    train_steps(model)
    after = model.prefix.state_dict()
    assert any(name.endswith("running_mean") for name in after)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    if train == "last_block":
        assert all(not torch.equal(model.suffix.state_dict()[name], tensor) for name, tensor in trained.items())


def test_unfrozen_statistics_do_drift() -> None:
    """The positive control of the test above."""
    model = backbone("all")
    before = copied(model.suffix)
    train_steps(model)
    after = model.suffix.state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in before if name.endswith("running_mean"))


def test_frozen_stays_in_evaluation_mode_inside_a_training_module() -> None:
    outer = nn.Sequential(Frozen(nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5))), nn.Dropout(0.5)).train()
    assert [module.training for module in outer[0].modules()] == [False] * 4
    assert outer[1].training


def test_all_faults_of_a_backbone_at_once() -> None:
    with pytest.raises(InputError) as error:
        make_backbone("small", train="most", size=8, pretrained=True)  # type: ignore[arg-type]
    assert [fault.key for fault in error.value.faults] == ["train", "photo_size", "pretrained"]
    with pytest.raises(InputError, match="`weights` names a file"):
        make_backbone("vgg16", weights="w.pt", pretrained=True)


def test_weights_of_the_small_network_load(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    first, second = small_network((4, 8)), small_network((4, 8))
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    stages = nn.Sequential(*first.front, first.back[0])  # type: ignore[arg-type, index]
    save_file(stages.state_dict(), tmp_path / "w.safetensors")
    torch.save({"state_dict": stages.state_dict()}, tmp_path / "w.pt")
    assert not torch.allclose(second.back(second.front(x)), first.back(first.front(x)))
    for name in ("w.safetensors", "w.pt"):
        loaded = small_network((4, 8), tmp_path / name)
        assert torch.equal(loaded.back(loaded.front(x)), first.back(first.front(x)))
    with pytest.raises(InputError, match="shape"):
        make_backbone("small", weights=tmp_path / "w.pt")


def test_every_tensor_that_does_not_fit_is_named() -> None:
    tensors = {"weight": torch.zeros(2, 3), "scale": torch.zeros(1)}
    with pytest.raises(InputError) as error:
        load_weights(nn.Linear(2, 1), tensors, "w.pt")
    lacks, unknown, shape = map(str, error.value.faults)
    assert "lacks 1 (bias)" in lacks
    assert "1 (scale)" in unknown
    assert "(1, 2), got (2, 3)" in shape


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"weight": print}, tmp_path / "code.pt")
    for name, message in (
        ("absent.pt", "does not exist"),
        ("empty.pt", "cannot be read"),
        ("cut.safetensors", "cannot be read"),
        ("list.pt", "tensors by name, got 'list'"),
        ("code.pt", "tensors only"),
    ):
        with pytest.raises(InputError, match=message):
            read_weights(tmp_path / name)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'galleryrank\[vision\]'"):
        make_backbone("vgg16")
