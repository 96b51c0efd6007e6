"""Triplet losses: mined as [Etsy] describes, blind to missing labels, and fixed triplets that are what they say."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
import torch

from features.errors import InputError
from features.gallery.triplets import FixedTriplets, TripletLoss

pytest.importorskip("pytorch_metric_learning", reason="triplets need the extra [vision]")
NAN = float("nan")


def unit(degrees: list[float]) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def test_hard_mining_is_the_farthest_positive_with_the_nearest_negative() -> None:
    """Worked by hand: chords 2 sin(angle / 2)."""
    vectors, classes = unit([0.0, 20.0, 30.0, 80.0]), torch.tensor([[0.0], [0.0], [1.0], [1.0]])

    def d(a: float) -> float:
        return float(2 * np.sin(np.deg2rad(a) / 2))

    expected = np.mean([
        d(20) - d(30) + 0.5,  # 0: positive 20, nearest negative 30
        d(20) - d(10) + 0.5,  # 20
        d(50) - d(10) + 0.5,  # 30: positive 80, nearest negative 20
        d(50) - d(60) + 0.5,  # 80
    ])  # fmt: skip
    assert TripletLoss("hard", 0.5)(vectors, classes).item() == pytest.approx(expected, abs=1e-6)


def test_semihard_triplets_violate_the_margin_with_the_negative_farther() -> None:
    vectors, classes = unit([0.0, 20.0, 30.0]), torch.tensor([[0.0], [0.0], [1.0]])
    d = [float(2 * np.sin(np.deg2rad(a) / 2)) for a in (20.0, 30.0)]
    loss = TripletLoss("semihard", 0.2)(vectors, classes).item()  # anchor 20 has its negative nearer: not semi-hard
    assert loss == pytest.approx(d[0] - d[1] + 0.2, abs=1e-6)


@pytest.mark.parametrize("mining", ["random", "semihard", "hard"])
def test_missing_labels_take_no_part(mining: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(12, 4, generator=generator)
    classes = torch.randint(0, 2, (12, 1), generator=generator).float()
    loss = TripletLoss(mining)
    torch.manual_seed(5)
    alone = loss(vectors[:8], classes[:8])
    torch.manual_seed(5)
    classes[8:] = NAN
    masked = loss(vectors, classes)
    assert masked.item() == pytest.approx(alone.item(), abs=1e-6)
    vectors.requires_grad_(True)
    loss(vectors, classes).backward()
    assert not vectors.grad[8:].any()  # type: ignore[index]
    assert vectors.grad[:8].any()  # type: ignore[index]


def test_the_mean_is_over_attributes_that_have_triplets() -> None:
    vectors = unit([0.0, 20.0, 30.0, 80.0])
    one = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    useless = torch.tensor([[1.0, 0.0, NAN], [1.0, 1.0, 0.0], [1.0, 2.0, NAN], [1.0, 3.0, NAN]])
    loss = TripletLoss("hard", 0.5)
    assert loss(vectors, torch.cat([useless, one], 1)).item() == pytest.approx(loss(vectors, one).item())


def test_without_triplets_the_loss_is_zero_and_has_a_gradient() -> None:
    vectors = unit([0.0, 20.0]).requires_grad_(True)
    loss = TripletLoss()(vectors, torch.tensor([[NAN], [1.0]]))
    loss.backward()
    assert loss.item() == 0.0
    assert vectors.grad is not None
    assert not vectors.grad.any()


def test_fixed_triplets_are_triplets_of_their_attribute() -> None:
    generator = np.random.default_rng(0)
    classes = generator.integers(0, 5, (40, 4)).astype(float)
    classes[generator.random(classes.shape) < 0.3] = NAN
    classes[:, 2] = 1.0  # one class: no triplets
    drawn = FixedTriplets.draw(classes, per_attribute=500, seed=3)
    a, p, n = (classes[rows, drawn.attributes] for rows in (drawn.anchors, drawn.positives, drawn.negatives))
    assert len(drawn) == 1500
    assert (a == p).all()
    assert (a != n).all()
    assert not np.isnan([a, p, n]).any()
    assert (drawn.anchors != drawn.positives).all()
    again = FixedTriplets.draw(classes, per_attribute=500, seed=3)
    assert (again.negatives == drawn.negatives).all()


def test_fixed_triplets_give_the_mean_of_the_attributes_means() -> None:
    drawn = FixedTriplets(np.array([0, 0, 1]), np.array([1, 1, 0]), np.array([2, 2, 2]), np.array([0, 0, 1]))
    vectors = unit([0.0, 20.0, 30.0]) * 7.0  # lengths do not matter
    d20, d30, d10 = (2 * np.sin(np.deg2rad(a) / 2) for a in (20, 30, 10))
    first, second = d20 - d30 + 0.3, d20 - d10 + 0.3
    assert drawn.loss(vectors, 0.3) == pytest.approx((first + second) / 2, abs=1e-6)
    assert np.isnan(FixedTriplets.draw(np.full((3, 1), NAN)).loss(vectors, 0.3))


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pytorch_metric_learning"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"galleryrank\[vision\]"):
        TripletLoss()


def test_unknown_mining_is_refused() -> None:
    with pytest.raises(ValueError, match="`mining` must be one of"):
        TripletLoss("easy")  # type: ignore[arg-type]
