"""Training of gallery networks: the losses are the paper's, the validation loss is the data set's, labels are free."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from features.gallery.backbones import make_backbone
from features.gallery.batches import GalleryBatch, GalleryBatches, sequential_batches
from features.gallery.config import EncoderConfig
from features.gallery.data import GalleryData
from features.gallery.embedding import network_vectors
from features.gallery.fitting import fit_network, mean_losses
from features.gallery.network import GalleryNetwork
from features.gallery.source import DecodedPhotos
from features.gallery.triplets import FixedTriplets, TripletLoss
from multitask import Task, TrainingConfig, Uncertainty, make_weighting, masked_losses

NAN = float("nan")
TASKS = [Task("pool"), Task("city", "multiclass", n_classes=3), Task("price", "regression", variance=4.0)]
CONFIG = TrainingConfig(epochs=2, learning_rate=1e-3, ema_decay=0.0, precision="float32")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(tasks: list[Task], seed: int = 0) -> GalleryNetwork:
    torch.manual_seed(seed)
    return GalleryNetwork(make_backbone("small", size=32), tasks=tasks, head_hidden=8)


def labels(items: int = 60) -> torch.Tensor:
    random = np.random.default_rng(1)
    table = np.stack([random.integers(0, 2, items), random.integers(0, 3, items), random.normal(0, 2, items)], axis=1)
    table[random.random(table.shape) < 0.3] = np.nan
    return torch.from_numpy(table.astype(np.float32))


class Batches:
    """Given batches, each epoch the same."""

    def __init__(self, batches: list[GalleryBatch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, number: int, start: int = 0) -> Iterator[GalleryBatch]:
        yield from self.batches[start:]


def held_out(tiny: GalleryData, photos: DecodedPhotos, budget: int) -> list[GalleryBatch]:
    return list(sequential_batches(photos, tiny.photos, np.arange(60), budget, labels=labels()))


def test_the_validation_loss_is_the_mean_over_labels_not_over_batches(
    tiny: GalleryData, tiny_photos: DecodedPhotos
) -> None:
    """However the galleries are cut into batches; equal to one batch of all of them."""
    model = network(TASKS).eval()
    (whole,) = held_out(tiny, tiny_photos, 10_000)
    with torch.no_grad():
        expected, counts = masked_losses(TASKS, model(whole.galleries), whole.labels)
    for budget in (7, 64):
        found, found_counts = mean_losses(model, held_out(tiny, tiny_photos, budget))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(found_counts, counts)
    batches = held_out(tiny, tiny_photos, 7)
    per_batch = torch.stack([masked_losses(TASKS, model(b.galleries), b.labels)[0] for b in batches]).mean(0)
    assert not torch.allclose(per_batch, expected, rtol=1e-3)  # the positive control


@pytest.mark.parametrize("name", ["pseudo_uniform", "kendall"])
def test_the_loss_is_the_papers(name: str, tiny: GalleryData, tiny_photos: DecodedPhotos) -> None:
    """sum CE + sum BCE + sum MSE / var [Booking]; sum_cls L / s + sum_reg L / 2s + sum log sigma [Kendall 2018]."""
    model = network(TASKS)
    batches = held_out(tiny, tiny_photos, 10_000)
    model.train()
    with torch.no_grad():
        losses, _ = masked_losses(TASKS, model(batches[0].galleries), batches[0].labels)
    bce, ce, mse = losses.tolist()
    expected = bce + ce + mse / 4.0 * (1.0 if name == "pseudo_uniform" else 0.5)  # sigma = 1 at first
    history = fit_network(network(TASKS), Batches(batches), None, name, CONFIG.model_copy(update={"epochs": 1}))
    assert history.epochs[0].train_loss == pytest.approx(expected, rel=1e-5)


def test_kendalls_variances_are_learned_along(tiny: GalleryData, tiny_photos: DecodedPhotos) -> None:
    weighting = make_weighting("uncertainty", TASKS)
    assert isinstance(weighting, Uncertainty)
    fit_network(network(TASKS), Batches(held_out(tiny, tiny_photos, 64)), None, weighting, CONFIG)
    assert (weighting.log_variance != 0).all()


def test_labels_of_the_callers_own_train_one_task(tiny: GalleryData, tiny_photos: DecodedPhotos) -> None:
    """As the end-to-end arm of a probe does: any array, one task, a fixed number of epochs or a held-out part."""
    blue = torch.tensor([float(photos.float().mean((0, 2, 3))[2] > 150) for photos in _galleries(tiny, tiny_photos)])
    own = torch.full((60, 1), NAN)
    seen = np.flatnonzero(np.diff(tiny.photos.galleries(tiny_photos.sound)[1]))
    own[seen, 0] = blue
    train, held = seen[:40], seen[40:]
    batches = GalleryBatches(tiny_photos, tiny.photos, train, own, photo_budget=64, seed=0)
    config = CONFIG.model_copy(update={"epochs": 15, "learning_rate": 3e-3, "patience": 15})

    def validation() -> Iterator[GalleryBatch]:
        return sequential_batches(tiny_photos, tiny.photos, held, 64, labels=own)

    model = network([Task("blue")])
    history = fit_network(model, batches, validation, "pseudo_uniform", config)
    losses, counts = mean_losses(model, validation())
    assert losses[0].item() == pytest.approx(history.best_value, rel=1e-5)
    assert losses[0] < 0.35
    assert counts[0] == len(held)


def test_the_same_seed_gives_the_same_network(
    tiny: GalleryData, tiny_photos: DecodedPhotos, tiny_config: EncoderConfig
) -> None:
    def trained(seed: int) -> torch.Tensor:
        model = network(TASKS, seed)
        batches = GalleryBatches(tiny_photos, tiny.photos, np.arange(60), labels(), photo_budget=64, seed=seed)
        fit_network(model, batches, None, "pseudo_uniform", tiny_config.training)
        return torch.cat([parameter.flatten() for parameter in model.parameters()]).detach()

    assert torch.equal(trained(0), trained(0))
    assert not torch.equal(trained(0), trained(1))


def _galleries(tiny: GalleryData, photos: DecodedPhotos) -> list[torch.Tensor]:
    batches = sequential_batches(photos, tiny.photos, np.arange(60), 1)
    return [batch.galleries.pixels for batch in batches]


def test_the_triplets_of_the_validation_are_drawn_once(
    tiny: GalleryData, tiny_photos: DecodedPhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pytorch_metric_learning", reason="triplets need the extra [vision]")
    drawn = []
    draw = FixedTriplets.draw
    monkeypatch.setattr(FixedTriplets, "draw", lambda *args, **named: drawn.append(1) or draw(*args, **named))
    batches = held_out(tiny, tiny_photos, 64)
    for batch in batches:
        batch.labels[:, 2] = NAN  # classes only
    history = fit_network(network(TASKS), Batches(batches), lambda: batches, TripletLoss(), CONFIG)
    assert len(history.epochs) == 2
    assert len(drawn) == 1


@pytest.mark.parametrize("galleries", [0, 3, 58, 100])
def test_vectors_are_the_same_whatever_number_of_them_was_expected(
    galleries: int, tiny: GalleryData, tiny_photos: DecodedPhotos
) -> None:
    model, batches = network(TASKS).eval(), held_out(tiny, tiny_photos, 20)
    found, rows = network_vectors(model, batches, galleries)
    assert rows.tolist() == [0, *range(3, 60)]
    assert found.dtype == torch.float64
    with torch.no_grad():
        expected = torch.cat([model.embed(batch.galleries) for batch in batches])
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-5)
