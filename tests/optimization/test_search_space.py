"""The space of shares: S1 and S2 hold of every point, coordinates invert, Sobol points are uniform and extend."""

from __future__ import annotations

import numpy as np
import pytest

from features import InputError
from optimization.search.space import SearchSpace

FREE = {f"h{t}": SearchSpace.of({f"h{i}": 1 for i in range(t)}) for t in (2, 3, 4, 6)}
BOUNDED = {
    "lows": SearchSpace.of({"a": 1, "b": 1, "c": -1}, {"a": (0.2, 1.0), "c": (0.1, 1.0)}),
    "highs": SearchSpace.of(dict.fromkeys("abcde", 1), dict.fromkeys("abcde", (0.05, 0.3))),
    "pinned": SearchSpace.of(dict.fromkeys("abcd", 1), {"b": (0.25, 0.25)}),
    "pinned by the others": SearchSpace.of(
        dict.fromkeys("abc", 1), {"a": (0.0, 0.3), "b": (0.0, 0.2), "c": (0.5, 0.9)}
    ),
    "narrow": SearchSpace.of(dict.fromkeys("abc", 1), {"a": (0.3, 0.3001), "b": (0.3, 0.3001)}),
}
ALL = FREE | BOUNDED


@pytest.fixture(params=list(ALL))
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return ALL[request.param]


def test_every_drawn_point_satisfies_s1_and_s2(space: SearchSpace) -> None:
    for shares in (space.sobol(257, seed=1), space.random(257, seed=1)):
        assert shares.shape == (257, len(space.heads))
        assert space.contains(shares, tol=1e-12).all()
        weights = space.weights(shares)
        np.testing.assert_allclose(np.abs(weights).sum(axis=1), space.total, rtol=1e-12)
        assert (weights * np.array(space.signs) >= 0).all()
        assert len(np.unique(shares, axis=0)) == 257


def test_a_sobol_sequence_is_extended_and_seeded(space: SearchSpace) -> None:
    long = space.sobol(64, seed=4)
    np.testing.assert_array_equal(space.sobol(9, seed=4), long[:9])
    assert not np.array_equal(space.sobol(64, seed=5), long)


@pytest.mark.parametrize("name", list(FREE))
def test_unbounded_points_are_uniform_over_the_simplex(name: str) -> None:
    """Dirichlet(1, .., 1): mean 1/T, variance (T - 1) / (T^2 (T + 1)), and P(x_1 < 1/2) = 1 - 2^-(T-1)."""
    space = FREE[name]
    count = len(space.heads)
    shares = space.sobol(4096, seed=0)
    np.testing.assert_allclose(shares.mean(axis=0), 1 / count, atol=2e-3)
    np.testing.assert_allclose(shares.var(axis=0), (count - 1) / count**2 / (count + 1), rtol=0.02)
    np.testing.assert_allclose((shares < 0.5).mean(axis=0), 1 - 0.5 ** (count - 1), atol=0.005)


def test_with_lows_only_points_are_uniform_over_the_smaller_simplex() -> None:
    space = BOUNDED["lows"]
    inner = (space.sobol(4096, seed=0) - space.low) / (1 - space.low.sum())
    np.testing.assert_allclose(inner.mean(axis=0), 1 / 3, atol=2e-3)
    np.testing.assert_allclose(inner.var(axis=0), 1 / 18, rtol=0.02)


def test_points_reach_all_parts_of_a_space_with_highs() -> None:
    space = BOUNDED["highs"]
    shares = space.sobol(2048, seed=0)
    np.testing.assert_allclose(shares.min(axis=0), 0.05, atol=0.01)
    np.testing.assert_allclose(shares.max(axis=0), 0.3, atol=0.01)


def test_free_coordinates_are_the_cube_and_invert(space: SearchSpace) -> None:
    shares = space.sobol(200, seed=2)
    free = space.shares_to_free(shares)
    assert free.shape == (200, space.dimensions)
    assert ((free >= 0) & (free <= 1)).all()
    np.testing.assert_allclose(space.free_to_shares(free), shares, atol=1e-9)
    corners = np.array(np.meshgrid(*[[0.0, 1.0]] * space.dimensions)).reshape(space.dimensions, -1).T
    assert space.contains(space.free_to_shares(corners), tol=1e-12).all()
    np.testing.assert_allclose(
        space.free_to_shares(space.shares_to_free(space.free_to_shares(corners))),
        space.free_to_shares(corners),
        atol=1e-9,
    )


def test_dimensions_count_the_heads_that_can_move() -> None:
    assert [ALL[name].dimensions for name in ("h2", "h4", "h6")] == [1, 3, 5]
    assert BOUNDED["pinned"].dimensions == 2
    # Once a and b are pinned, only c and d can move, and one of them is what the other leaves.
    assert SearchSpace.of(dict.fromkeys("abcd", 1), {"a": (0.1, 0.1), "b": (0.2, 0.2)}).dimensions == 1


def test_a_vertex_is_reached_exactly() -> None:
    for shares in ([[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]):
        free = FREE["h3"].shares_to_free(shares)
        np.testing.assert_array_equal(FREE["h3"].free_to_shares(free), shares)


def test_nearest_equals_the_projection_onto_the_simplex_by_sorting() -> None:
    """Held, Wolfe, Crowder: x = max(y - theta, 0), theta from the sorted y."""
    space = FREE["h4"]
    points = np.random.default_rng(0).normal(0.25, 0.6, (300, 4))
    falling = -np.sort(-points, axis=1)
    thresholds = (np.cumsum(falling, axis=1) - 1) / np.arange(1, 5)
    last = (falling > thresholds).sum(axis=1) - 1
    expected = np.maximum(points - thresholds[np.arange(300), last][:, None], 0)
    np.testing.assert_allclose(space.nearest(points), expected, atol=1e-12)


def test_no_point_of_a_space_is_nearer_than_nearest(space: SearchSpace) -> None:
    points = np.random.default_rng(1).normal(0.3, 0.5, (40, len(space.heads)))
    near = space.nearest(points)
    assert space.contains(near, tol=1e-12).all()
    distance = np.linalg.norm(points - near, axis=1)
    others = space.random(300, seed=3)
    to_others = np.linalg.norm(points[:, None] - others[None], axis=2)
    # Every point between the projection and another one of the (convex) space is farther, too.
    halfway = np.linalg.norm(points[:, None] - (0.99 * near[:, None] + 0.01 * others[None]), axis=2)
    assert (to_others >= distance[:, None] - 1e-9).all()
    assert (halfway >= distance[:, None] - 1e-9).all()
    inside = space.random(5, seed=0)
    np.testing.assert_array_equal(space.nearest(inside), inside)


def test_fill_keeps_proportions_where_the_bounds_allow(space: SearchSpace) -> None:
    proportions = np.random.default_rng(2).exponential(size=(50, len(space.heads)))
    shares = space.fill(proportions)
    assert space.contains(shares, tol=1e-12).all()
    within = (shares > space.low + 1e-12) & (shares < space.high - 1e-12)
    scale = np.where(within, shares / proportions, np.nan)
    for row in scale[within.sum(axis=1) > 1]:
        np.testing.assert_allclose(row[~np.isnan(row)], np.nanmax(row), rtol=1e-6)
    np.testing.assert_allclose(space.fill(space.sobol(9, 0)), space.sobol(9, 0), atol=1e-12)


def test_weights_carry_sign_and_total_and_shares_invert() -> None:
    space = SearchSpace(("click", "hide"), (1, -1), total=4.0)
    np.testing.assert_array_equal(space.weights([[0.75, 0.25], [1.0, 0.0]]), [[3.0, -1.0], [4.0, 0.0]])
    assert not np.signbit(space.weights([1.0, 0.0])).any()  # no -0.0
    np.testing.assert_allclose(space.shares(space.weights([[0.75, 0.25]])), [[0.75, 0.25]])
    np.testing.assert_allclose(space.shares([[30.0, -10.0]]), [[0.75, 0.25]])


def test_bounds_hold_with_equality_and_nan_is_outside() -> None:
    space = BOUNDED["lows"]
    assert space.contains([[0.2, 0.7, 0.1], [0.9, 0.0, 0.1]]).all()
    assert not space.contains([[0.19, 0.71, 0.1], [0.2, 0.7, 0.11], [np.nan, 0.5, 0.5]]).any()


def test_all_faults_of_a_space_come_at_once() -> None:
    with pytest.raises(InputError) as caught:
        SearchSpace(("a", "a", "b"), (1, 2, -1), ((0.0, 1.0), (0.6, 0.5), (-0.1, 1.0)), total=0.0)
    text = str(caught.value)
    for part in ("`a` is named twice", "sign of `a`", "got 2", "`total`", "bounds of `a`", "bounds of `b`"):
        assert part in text, text
    assert len(caught.value.faults) == 5


@pytest.mark.parametrize(
    ("signs", "bounds", "part"),
    [
        ({"a": 1}, None, "at least 2 heads"),
        ({"a": 1, "b": 1}, {"c": (0.0, 1.0)}, "unknown head `c`"),
        ({"a": 1, "b": 1}, {"a": (0.6, 1.0), "b": (0.6, 1.0)}, "no point"),
        ({"a": 1, "b": 1}, {"a": (0.0, 0.4), "b": (0.0, 0.4)}, "no point"),
        ({"a": 1, "b": 1}, {"a": (0.4, 0.4)}, "only one point"),
        ({"a": 1, "b": 1, "c": 1}, {"a": (0.5, 1.0), "b": (0.5, 1.0)}, "only one point"),
        ({"a": 1, "b": 1}, {"a": (float("nan"), 1.0)}, "bounds of `a`"),
    ],
)
def test_unusable_spaces_are_refused(
    signs: dict[str, int], bounds: dict[str, tuple[float, float]] | None, part: str
) -> None:
    with pytest.raises(InputError, match=part):
        SearchSpace.of(signs, bounds)


def test_wrong_arguments_name_what_was_found() -> None:
    space = SearchSpace.of({"click": 1, "hide": -1})
    with pytest.raises(ValueError, match=r"`hide` has sign -1, got 1.0 in vector 1"):
        space.shares([[1.0, 0.0], [1.0, 1.0]])
    with pytest.raises(ValueError, match="not all be 0"):
        space.shares([0.0, 0.0])
    with pytest.raises(ValueError, match=r"shape \(V, 2\)"):
        space.weights([[0.2, 0.3, 0.5]])
    with pytest.raises(ValueError, match="sum to 1"):
        space.shares_to_free([0.6, 0.6])
    with pytest.raises(ValueError, match="unit cube"):
        space.free_to_shares([[1.1]])
    with pytest.raises(ValueError, match="proportions"):
        space.fill([[0.0, 0.0]])


TIGHT = {
    "four of at most .3": dict.fromkeys("abcd", (0.0, 0.3)),
    "four of at most .5": dict.fromkeys("abcd", (0.0, 0.5)),
    "six of at most .25": dict.fromkeys("abcdef", (0.0, 0.25)),
    "five of .05 to .3": dict.fromkeys("abcde", (0.05, 0.3)),
}


@pytest.mark.parametrize("name", list(TIGHT))
def test_equal_upper_bounds_give_equal_shares(name: str) -> None:
    """What is alike for all heads must come out alike: mean 1/T, whatever place a head has."""
    bounds = TIGHT[name]
    space = SearchSpace.of(dict.fromkeys(bounds, 1), bounds)
    for shares in (space.sobol(4096, seed=3), space.random(16384, seed=3)):
        np.testing.assert_allclose(shares.mean(axis=0), 1 / len(bounds), atol=3e-3)
        np.testing.assert_allclose(shares.var(axis=0), shares.var(), rtol=0.08)


def test_with_upper_bounds_points_are_uniform_in_law() -> None:
    """Four of at most .5: uniform points of the simplex that happen to lie within, by plain rejection."""
    flat = np.random.default_rng(0).dirichlet(np.ones(4), 200_000)
    flat = flat[(flat <= 0.5).all(axis=1)]
    shares = SearchSpace.of(dict.fromkeys("abcd", 1), TIGHT["four of at most .5"]).sobol(8192, seed=0)
    for quantile in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(np.quantile(shares, quantile, axis=0), np.quantile(flat, quantile), atol=6e-3)
    np.testing.assert_allclose(np.cov(shares.T), np.cov(flat.T), atol=6e-4)


def test_the_order_of_heads_does_not_matter_in_law() -> None:
    bounds = {"a": (0.0, 0.3), "b": (0.1, 0.6), "c": (0.0, 0.4), "d": (0.2, 0.9)}
    means = []
    for heads in ("abcd", "dcba", "cadb"):
        shares = SearchSpace.of(dict.fromkeys(heads, 1), {h: bounds[h] for h in heads}).sobol(8192, seed=1)
        columns = [heads.index(head) for head in "abcd"]
        means.append([shares.mean(axis=0)[columns], shares.std(axis=0)[columns]])
    np.testing.assert_allclose(means[1], means[0], atol=3e-3)
    np.testing.assert_allclose(means[2], means[0], atol=3e-3)


def test_a_sequence_under_upper_bounds_is_a_prefix_however_long_it_is() -> None:
    space = SearchSpace.of(dict.fromkeys("abcd", 1), {"a": (0.0, 0.3), "b": (0.0, 0.1)})
    for draw in (space.sobol, space.random):
        long = draw(300, seed=2)
        assert space.contains(long, tol=1e-12).all()
        for count in (0, 1, 7, 64, 65, 299):
            np.testing.assert_array_equal(draw(count, seed=2), long[:count])


def test_where_nearly_all_points_are_lost_sticks_are_broken() -> None:
    """A sliver of the simplex: rejection would draw without end, so points are within it, but not evenly spread."""
    bounds = {"a": (0.0, 0.01), "b": (0.0, 0.01), "c": (0.0, 0.5)}
    space = SearchSpace.of(dict.fromkeys("abcd", 1), bounds)
    assert space.low.tolist() == [0.0, 0.0, 0.0, 0.48]
    shares = space.sobol(256, seed=0)
    assert space.contains(shares, tol=1e-12).all()
    assert np.ptp(shares, axis=0) == pytest.approx([0.01, 0.01, 0.5, 0.52], abs=0.02)
    np.testing.assert_array_equal(space.sobol(9, seed=0), shares[:9])
