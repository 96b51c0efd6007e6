"""The utility: its arithmetic, what makes it an object, and its checks."""

from __future__ import annotations

import copy
import pickle
import tomllib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranking.utility import Utility

HEADS = ["closeup", "click", "save", "long_click"]
UTILITY = Utility(save=0.2, click=0.2, long_click=0.5, closeup=0.1)


@pytest.fixture
def probabilities():
    return np.random.default_rng(0).random((500, 4))


def test_score_is_the_weighted_sum_of_the_article(probabilities):
    """[Pinterest 2020] eq. (4): utility = sum_t w_t p_t."""
    w = np.array([0.1, 0.2, 0.2, 0.5])
    np.testing.assert_allclose(UTILITY.score(probabilities, HEADS), probabilities @ w, rtol=1e-15)
    assert UTILITY.score(np.array([[0.5, 0.25, 0.125, 0.0]]), HEADS).tolist() == pytest.approx([0.05 + 0.05 + 0.025])


def test_frames_and_arrays_score_the_same_bits_in_any_order_and_batch(probabilities):
    frame = pd.DataFrame(probabilities, columns=HEADS).assign(item_id=np.arange(500), request_id="a")
    whole = UTILITY.score(probabilities, HEADS)
    np.testing.assert_array_equal(UTILITY.score(frame), whole)
    np.testing.assert_array_equal(UTILITY.score(frame[frame.columns[::-1]]), whole)
    np.testing.assert_array_equal(UTILITY.score(probabilities[:, ::-1], HEADS[::-1]), whole)
    np.testing.assert_array_equal(Utility.from_mapping(dict(reversed(UTILITY.weights.items()))).score(frame), whole)
    singly = np.concatenate([UTILITY.score(probabilities[i : i + 1], HEADS) for i in range(500)])
    np.testing.assert_array_equal(singly, whole)


def test_scores_are_float64_whatever_comes_in(probabilities):
    single = probabilities.astype("float32")
    assert UTILITY.score(single, HEADS).dtype == np.float64
    np.testing.assert_array_equal(UTILITY.score(single, HEADS), UTILITY.score(single.astype("float64"), HEADS))
    assert UTILITY.score(np.zeros((0, 4)), HEADS).shape == (0,)


def test_contributions_add_up_to_the_score(probabilities):
    frame = pd.DataFrame(probabilities, columns=HEADS)
    terms = UTILITY.contributions(probabilities, HEADS)
    assert terms.shape == (500, 4)
    np.testing.assert_array_equal(terms[:, 3], 0.5 * probabilities[:, 3])
    np.testing.assert_allclose(terms.sum(axis=1), UTILITY.score(frame), rtol=1e-14)
    np.testing.assert_array_equal(UTILITY.contributions(frame, HEADS), terms)
    np.testing.assert_array_equal(UTILITY.contributions(frame), terms[:, [HEADS.index(h) for h in UTILITY.weights]])


def test_heads_without_a_weight_count_nothing(probabilities):
    """Nor does a NaN in a head of weight 0."""
    holes = probabilities.copy()
    holes[:, [0, 2]] = np.nan
    utility = Utility(click=2.0, save=0.0)
    np.testing.assert_array_equal(utility.score(holes, HEADS), 2.0 * probabilities[:, 1])
    assert np.flatnonzero(utility.contributions(holes, HEADS).any(axis=0)).tolist() == [1]


@pytest.mark.parametrize("head", HEADS)
def test_one_hot_weights_reproduce_a_heads_order(probabilities, head):
    order = np.argsort(Utility.from_mapping({head: 3.7}).score(probabilities, HEADS))
    np.testing.assert_array_equal(order, np.argsort(probabilities[:, HEADS.index(head)]))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    weights=st.lists(st.floats(0.01, 100), min_size=4, max_size=4),
    signs=st.lists(st.sampled_from([1, -1]), min_size=4, max_size=4),
    total=st.floats(0.01, 100),
)
def test_scaling_keeps_the_order_and_sets_the_sum(weights, signs, total):
    utility = Utility.from_mapping({h: w * s for h, w, s in zip(HEADS, weights, signs, strict=True)})
    scaled = utility.scaled(total)
    assert sum(abs(w) for w in scaled.weights.values()) == pytest.approx(total, rel=1e-12)
    p = np.random.default_rng(0).random((50, 4))
    np.testing.assert_array_equal(np.argsort(scaled.score(p, HEADS)), np.argsort(utility.score(p, HEADS)))


def test_scaling_the_largest_weights_does_not_overflow():
    assert Utility(a=1.7e308, b=-1.7e308).scaled() == Utility(a=0.5, b=-0.5)
    with pytest.raises(ValueError, match="`total` must be finite and > 0, got 0"):
        UTILITY.scaled(0)


def test_equal_weights_follow_the_signs():
    utility = Utility.equal({"click": 1, "save": 1, "hide": -1, "report": -1})
    assert utility == Utility(click=0.25, save=0.25, hide=-0.25, report=-0.25)
    utility.check({"click": 1, "save": 1, "hide": -1, "report": -1})


def test_is_a_value():
    same = Utility(closeup=0.1, long_click=0.5, click=0.2, save=0.2)
    assert same == UTILITY
    assert hash(same) == hash(UTILITY)
    assert len({same, UTILITY}) == 1
    assert Utility(save=0.2) != UTILITY
    assert UTILITY != {"save": 0.2}
    assert copy.deepcopy(UTILITY) == UTILITY == pickle.loads(pickle.dumps(UTILITY))
    assert list(UTILITY.weights) == ["save", "click", "long_click", "closeup"]


def test_is_immutable():
    with pytest.raises(AttributeError, match="immutable"):
        UTILITY.save = 0.3
    with pytest.raises(AttributeError, match="immutable"):
        UTILITY._weights = {}
    with pytest.raises(AttributeError, match="immutable"):
        del UTILITY._weights
    with pytest.raises(TypeError):
        UTILITY.weights["save"] = 0.3
    given_weights = {"save": 0.2}
    utility = Utility.from_mapping(given_weights)
    given_weights["save"] = 9.0
    assert utility.weights["save"] == 0.2


@pytest.mark.parametrize(
    "utility",
    [UTILITY, Utility(click=1, hide=-3), Utility.from_mapping({"self": 1.0, "lang klick": 0.1, 'q"\n\x7fé': 1e-7})],
)
def test_its_repr_is_its_spelling_and_it_survives_toml_and_dicts(utility):
    assert eval(repr(utility)) == utility
    assert Utility.from_mapping(tomllib.loads(utility.to_toml())["utility"]) == utility
    assert Utility.from_dict(utility.to_dict()) == utility


def test_check_lists_all_faults_at_once():
    utility = Utility(click=-1.0, hide=0.5, sale=1.0, bok=0.0, save=0.2)
    with pytest.raises(ValueError, match="the utility does not fit the model") as error:
        utility.check({"click": 1, "save": 1, "hide": -1})
    for part in (
        "unknown head `sale`",
        "unknown head `bok`",
        "the heads are click, save, hide",
        "`click` has sign +1, so its weight must be >= 0, got -1.0",
        "`hide` has sign -1, so its weight must be <= 0, got 0.5",
    ):
        assert part in str(error.value)
    assert "`save`" not in str(error.value)
    Utility(click=0.0, hide=-1.0).check({"click": 1, "hide": -1})  # 0 has either sign, and save may be left out


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.2", None, True])
def test_weights_must_be_finite_numbers(value):
    with pytest.raises(ValueError, match=r"finite numbers, got save = .*, click = "):
        Utility(save=value, click=value, closeup=1.0)


def test_some_weight_must_count():
    for weights in ({}, {"click": 0, "save": -0.0}):
        with pytest.raises(ValueError, match="must have a weight other than 0"):
            Utility(**weights)


def test_a_weighted_head_needs_its_column(probabilities):
    with pytest.raises(ValueError, match="missing save, long_click"):
        UTILITY.score(pd.DataFrame(probabilities[:, :2], columns=HEADS[:2]))
    with pytest.raises(ValueError, match="missing save, long_click"):
        UTILITY.score(probabilities[:, :2], HEADS[:2])
    for heads in (None, HEADS[:3]):
        with pytest.raises(ValueError, match=r"names of its T columns in `heads`, got shape \(500, 4\)"):
            UTILITY.score(probabilities, heads)
