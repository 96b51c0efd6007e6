"""What one training step with modulation does: k tasks are drawn, the others stay as they were; what masks act on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from features.errors import InputError
from features.gallery.backbones import Backbone, make_backbone
from features.gallery.building import make_network
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.encoder import GalleryEncoder
from features.gallery.modulated_network import ModulatedGalleryNetwork
from features.gallery.packed import PackedGalleries
from features.gallery.preprocessing import NetworkParts
from features.gallery.small_network import small_network
from features.gallery.source import DecodedPhotos
from features.gallery.torchvision_operators import declare_missing_operators
from multitask import Task
from multitask.tasks import output_slices
from multitask.towers import StackedTowers

TASKS = (Task("pool"), Task("city", "multiclass", n_classes=5), Task("price", "regression"))


pytestmark = pytest.mark.usefixtures("one_thread")


def one_step(base: EncoderConfig, k: int, seed: int = 0) -> EncoderConfig:
    """One step of all galleries, by plain gradient descent."""
    training = base.training.model_dump() | {"epochs": 1, "optimizer": "sgd", "learning_rate": 1e-4, "seed": seed}
    values = {"modulation": True, "modulation_tasks": k, "photo_budget": 10_000, "training": training}
    return EncoderConfig.model_validate(base.model_dump() | values)


def changed_tasks(encoder: GalleryEncoder, start: GalleryEncoder) -> list[list[int]]:
    """The tasks whose last layer, hidden layer, masks of the stage and masks of the vector a training has changed."""
    ours, theirs = encoder.network, start.network
    assert isinstance(ours.heads, StackedTowers)
    assert isinstance(theirs.heads, StackedTowers)
    assert isinstance(ours, ModulatedGalleryNetwork)
    assert isinstance(theirs, ModulatedGalleryNetwork)
    columns = output_slices(encoder.tasks.tasks)
    last = (ours.heads.output_weight != theirs.heads.output_weight).any(1)
    found = [torch.stack([last[own].any() for own in columns])]
    assert ours.heads.first is not None
    assert theirs.heads.first is not None
    for a, b in (
        (ours.heads.first.weight, theirs.heads.first.weight),
        (ours.stage_masks.weight, theirs.stage_masks.weight),
        (ours.vector_masks.weight, theirs.vector_masks.weight),
    ):
        found.append((a != b).flatten(1).any(1))
    return [own.nonzero().flatten().tolist() for own in found]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_step_teaches_exactly_the_tasks_that_it_draws(
    k: int, tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    config = one_step(tiny_config, k)
    start = GalleryEncoder.untrained(tiny, config, photos=tiny_photos, device="cpu")
    encoder = GalleryEncoder.fit(tiny, config, photos=tiny_photos, progress=False, device="cpu")
    parts = changed_tasks(encoder, start)
    assert len(parts[0]) == k
    assert parts == [parts[0]] * 4
    distances = encoder.report["modulation"]
    assert [name for name, distance in distances.items() if distance > 0] == [encoder.tasks.names[t] for t in parts[0]]


def test_a_steps_loss_is_of_the_size_of_all_tasks(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    """T times the loss of the one task that is drawn: their mean is the sum over all tasks."""
    start = GalleryEncoder.untrained(tiny, one_step(tiny_config, 1), photos=tiny_photos, device="cpu")
    alone = dict[int, float]()
    for seed in range(30):
        encoder = GalleryEncoder.fit(
            tiny, one_step(tiny_config, 1, seed), photos=tiny_photos, progress=False, device="cpu"
        )
        (drawn,), *_ = changed_tasks(encoder, start)
        alone[drawn] = encoder.history.epochs[0].train_loss
        if len(alone) == 4:
            break
    together = GalleryEncoder.fit(tiny, one_step(tiny_config, 4), photos=tiny_photos, progress=False, device="cpu")
    assert sum(alone.values()) / 4 == pytest.approx(together.history.epochs[0].train_loss, rel=1e-4)


def test_masks_learn_faster_than_weights() -> None:
    network = make_network(EncoderConfig(modulation=True), TASKS, torch.zeros(7), seed=0)
    assert isinstance(network, ModulatedGalleryNetwork)
    assert network.stage_masks.learning_rate_factor == network.vector_masks.learning_rate_factor == 10.0


def galleries(counts: list[int], size: int = 32) -> PackedGalleries:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (sum(counts), 3, size, size), generator=generator, dtype=torch.uint8)
    return PackedGalleries(pixels, torch.tensor([0, *counts]).cumsum(0))


def varied(parts: NetworkParts) -> ModulatedGalleryNetwork:
    """A network with masks away from 1."""
    torch.manual_seed(0)
    network = ModulatedGalleryNetwork(Backbone("small", parts), tasks=TASKS, head_hidden=6, tasks_at_once=2).eval()
    with torch.no_grad():
        for masks in (network.stage_masks, network.vector_masks):
            masks.weight.add_(0.5 * torch.randn(masks.weight.shape))
    return network


def test_each_head_reads_its_own_tasks_vector() -> None:
    network, packed = varied(small_network((8, 12, 16))), galleries([3, 0, 2])
    heads = network.heads
    assert isinstance(heads, StackedTowers)
    assert heads.first is not None
    with torch.no_grad():
        outputs = network(packed)
        for t, columns in enumerate(output_slices(TASKS)):
            vector = network.of_task(t).embed(packed)
            hidden = torch.relu(nn.functional.linear(vector, heads.first.weight[t], heads.first.bias[t]))
            expected = nn.functional.linear(hidden, heads.output_weight[columns], heads.output_bias[columns])
            torch.testing.assert_close(outputs[:, columns], expected)
        some = network.outputs(packed, torch.tensor([1, 2]))
        torch.testing.assert_close(some[:, 1:], outputs[:, 1:])


class _ChannelsLast(nn.Module):
    """Maps `(N, C, H, W)` as some networks of timm keep them, `(N, H, W, C)`; or back."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


def test_channels_may_come_last() -> None:
    front, back, width, preprocessing = small_network((8, 12, 16))
    plain = varied(NetworkParts(front, back, width, preprocessing))
    front, back = nn.Sequential(front, _ChannelsLast(0, 2, 3, 1)), nn.Sequential(_ChannelsLast(0, 3, 1, 2), back)
    other = varied(NetworkParts(front, back, width, preprocessing))
    other.load_state_dict(dict(zip(other.state_dict(), plain.state_dict().values())))
    assert (plain.stage_masks.channel_axis, other.stage_masks.channel_axis) == (1, -1)
    packed = galleries([3, 0, 2])
    with torch.no_grad():
        torch.testing.assert_close(other.embed_tasks(packed), plain.embed_tasks(packed))


def test_masks_on_the_photos_themselves_are_refused() -> None:
    front, back, width, preprocessing = small_network((8, 12, 16))
    whole = NetworkParts(nn.Identity(), nn.Sequential(front, back), width, preprocessing)
    with pytest.raises(ValueError, match="`backbone` must be cut before its last stage"):
        varied(whole)


def test_networks_of_timm_are_cut_for_modulation() -> None:
    declare_missing_operators()
    pytest.importorskip("timm", reason="networks of timm need the extra [vision]")
    settings: dict[str, Any] = {"backbone": "resnet18", "photo_size": 64, "modulation": True}
    network = make_network(EncoderConfig.model_validate(settings), TASKS, torch.zeros(7), seed=0)
    assert isinstance(network, ModulatedGalleryNetwork)
    assert network.stage_masks.channels == 256
    with pytest.raises(ValueError, match="`backbone` must be cut before its last stage"):
        ModulatedGalleryNetwork(make_backbone("resnet18", size=64), tasks=TASKS)
    with pytest.raises(InputError, match=r"modulation: xcit_nano\S* cannot be cut before its last stage.*leave it out"):
        make_backbone("xcit_nano_12_p16_224", cut=True)
