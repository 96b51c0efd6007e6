"""Properties, attributes and users follow the laws that methods section 7 gives them."""

from __future__ import annotations

import numpy as np
import pytest

from features.world.attributes import BINARIES, CLASSES, REGRESSIONS, TASKS
from features.world.geography import Geography, zipf_shares
from features.world.properties import Properties
from features.world.scale import CARDINALITIES
from features.world.tables import items_table
from features.world.users import SEGMENT_TASTES, Users
from features.world.vectors import item_vectors
from features.world.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return World.generate(seed=2, properties=8000, users=20000)


def test_the_31_attributes_are_columns_beside_the_holdout(world: World) -> None:
    assert (len(CLASSES), len(BINARIES), len(REGRESSIONS)) == (7, 17, 7)
    assert set(TASKS) | {"star_rating", "price", "item_id"} <= set(items_table(world).column_names)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_minority_fractions_span_four_hundredths_to_a_half(seed: int) -> None:
    attributes = World.generate(seed=seed, properties=8000, users=1).attributes
    minority = {name: min(attributes[name].mean(), 1 - attributes[name].mean()) for name in BINARIES}
    assert 0.035 < min(minority.values()) < 0.08
    assert 0.4 < max(minority.values()) <= 0.5


def test_a_binary_follows_its_law(world: World) -> None:
    """Pool: sigmoid(-1.2 + lux + .5 cst), in thirds of that probability."""
    p = 1 / (1 + np.exp(-(-1.2 + world.properties.latents[:, 1] + 0.5 * world.properties.latents[:, 2])))
    for third in np.array_split(np.argsort(p), 3):
        observed = world.attributes["pool"][third]
        assert abs((observed - p[third]).sum()) < 3.5 * np.sqrt((p * (1 - p))[third].sum())


def test_missing_structure(world: World) -> None:
    table = items_table(world).to_pandas()
    n, rental = len(table), world.attributes["vacation_rental"] == 1
    se = 3.5 * np.sqrt(0.1 * 0.9 / n)
    for name in TASKS:
        share = table[name].isna().mean()
        if name == "review":
            assert share == pytest.approx(0.2, abs=1e-3)
        elif name in ("hotel_segment", "rental_type"):
            absent = rental if name == "hotel_segment" else ~rental
            assert table.loc[absent, name].isna().all()
            assert table.loc[~absent, name].isna().mean() == pytest.approx(0.1, abs=2 * se)
        else:
            assert share == pytest.approx(0.1, abs=se), name
    assert table["star_rating"].notna().mean() == pytest.approx(0.48, abs=3.5 * np.sqrt(0.48 * 0.52 / n))
    assert (
        table.loc[table["review"].isna(), "popularity"].max() < table.loc[table["review"].notna(), "popularity"].min()
    )
    assert table["price"].notna().all()


def test_stars_are_ordered_by_quality(world: World) -> None:
    star, quality = world.attributes["star_rating"], world.properties.latents[:, 0]
    means = [quality[star == s].mean() for s in range(1, 6)]
    assert sorted(set(star.tolist())) == [1, 2, 3, 4, 5]
    assert means == sorted(means)


def test_price_is_the_standardised_log_euro(world: World) -> None:
    price, euro = world.properties.price, world.attributes["daily_rate_euro"]
    assert (price.mean(), price.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    assert np.corrcoef(price, np.log(euro))[0, 1] == pytest.approx(1)
    assert 60 < np.median(euro) < 90  # exp(4.3) = 74


def test_popularity_is_zipf_and_favours_quality(world: World) -> None:
    """share_k proportional to k^-1.05: a line of slope -1.05 in log share against log rank."""
    popularity = np.sort(world.properties.popularity)[::-1]
    slope = np.polyfit(np.log(np.arange(1, len(popularity) + 1)), np.log(popularity), 1)[0]
    assert slope == pytest.approx(-1.05)
    assert popularity.sum() == pytest.approx(1)
    assert np.corrcoef(world.properties.popularity.argsort().argsort(), world.properties.latents[:, 0])[0, 1] > 0.3


def test_cities_are_zipf_and_belong_to_a_tree(world: World) -> None:
    city, country, region = (world.attributes[name] for name in ("city", "country", "region"))
    count, share = np.bincount(city, minlength=60), zipf_shares(60)
    assert (np.abs(count - 8000 * share) < 4 * np.sqrt(8000 * share * (1 - share))).all()
    for c in np.unique(city):
        assert len(set(country[city == c])) == 1
    for c in np.unique(country):
        assert len(set(region[country == c])) == 1


def test_place_effects_have_the_stated_spread() -> None:
    """The tree adds N(0, .7^2) to coast, mountain and urban."""
    effects = np.concatenate([Geography.generate(s, CARDINALITIES["paper"]).city_effect for s in range(40)])
    assert effects.std() == pytest.approx(0.7, rel=0.05)


def test_latent_equations(world: World) -> None:
    """lux = .6 q + .8 z has variance 1; without places mtn has covariance -.3 with cst, urb -.3 Var(mtn) with mtn."""
    place = world.geography.city_effect[world.properties.city]
    q, lux, cst, mtn, urb, fam = world.properties.latents.T
    cst, mtn, urb = (x - place[:, i] for i, x in enumerate((cst, mtn, urb)))
    cov = np.cov(np.stack([q, lux, cst, mtn, urb, fam]))
    m = 1 + 0.09
    expected = np.diag([1, 1, 1, m, 1 + 0.09 * m, 1])
    for i, j, value in ((0, 1, 0.6), (2, 3, -0.3), (3, 4, -0.3 * m), (2, 4, 0.09)):
        expected[i, j] = expected[j, i] = value
    np.testing.assert_allclose(cov, expected, atol=0.06)


def test_photo_qualities_are_on_the_scale_of_q(world: World) -> None:
    properties = world.properties
    counts = np.diff(properties.photo_offsets)
    assert (counts.min(), counts.max() <= 44) == (5, True)
    assert counts.mean() == pytest.approx(15, abs=0.4)
    assert properties.cover_quality.mean() == pytest.approx(0, abs=0.04)
    assert properties.cover_quality.std() == pytest.approx(1, abs=0.04)
    first = slice(properties.photo_offsets[7], properties.photo_offsets[8])
    one = Properties.generate(2, 8000, world.geography).photo_values[first]
    assert np.array_equal(one, properties.photo_values[first])
    error = properties.photo_quality - properties.cover_quality
    assert abs(error.mean()) < 0.03
    assert 0.3 < properties.mismatch.std() < 0.7


def test_users_follow_their_segments() -> None:
    users = Users.generate(1, 20000)
    for s, row in enumerate(SEGMENT_TASTES):
        taste = users.taste[users.segment == s]
        assert len(taste) == pytest.approx(5000, abs=250)
        np.testing.assert_allclose(taste.mean(axis=0), row, atol=0.02)
        np.testing.assert_allclose(taste.std(axis=0), 0.3, atol=0.02)
    assert np.array_equal(users.taste_at(np.arange(5), np.full(5, 0.5)), users.taste[:5])


def test_vectors_tell_the_latents_but_not_exactly(world: World) -> None:
    x = item_vectors(2, world.properties).astype(np.float64)
    z = world.properties.latents
    design = np.column_stack([x, np.ones(len(x))])
    train, test = slice(0, 6000), slice(6000, 8000)
    fitted = design[test] @ np.linalg.lstsq(design[train], z[train], rcond=None)[0]
    r2 = 1 - ((z[test] - fitted) ** 2).mean(axis=0) / z[test].var(axis=0)
    assert ((r2 > 0.8) & (r2 < 0.97)).all()


def test_paper_scale_has_the_paper_s_classes() -> None:
    """[Booking] table 1: 1981 cities, 9 regions, 107 countries, 28 types."""
    attributes = World.generate(properties=20000, users=1, scale="paper").attributes
    assert attributes["city"].max() < 1981
    assert len(np.unique(attributes["city"])) > 1200
    seen = [len(np.unique(attributes[name])) for name in ("region", "country", "type", "size")]
    assert seen[0] == 9
    assert 95 < seen[1] <= 107
    assert seen[2:] == [28, 9]
