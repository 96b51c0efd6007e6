from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from evaluation.gallery.embedding_map import embedding_map, principal_components
from evaluation.gallery.map_figure import CLASSES, MISSING, OTHER, draw_map, map_figure


@pytest.fixture(scope="module")
def kinds() -> np.ndarray:
    return np.random.default_rng(0).integers(3, size=120)


@pytest.fixture(scope="module")
def vectors(kinds: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(1)
    matrix: np.ndarray = 4.0 * generator.normal(size=(3, 60))[kinds] + generator.normal(size=(120, 60))
    return matrix


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_groups_stay_together(vectors: np.ndarray, kinds: np.ndarray, method: str) -> None:
    points = embedding_map(vectors, np.arange(120), method=method)  # type: ignore[arg-type]
    plane = points[["x", "y"]].to_numpy()
    near = NearestNeighbors(n_neighbors=6).fit(plane).kneighbors(return_distance=False)
    assert (kinds[near] == kinds[:, None]).mean() > 0.95
    again = embedding_map(vectors, np.arange(120), method=method)  # type: ignore[arg-type]
    np.testing.assert_array_equal(plane, again[["x", "y"]].to_numpy())


def test_principal_components_equal_scikit_learns(vectors: np.ndarray) -> None:
    ours, variance = principal_components(vectors, 5)
    theirs = PCA(5).fit(vectors)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs.transform(vectors)), atol=1e-8)
    np.testing.assert_allclose(variance, theirs.explained_variance_ratio_, atol=1e-10)
    turned, _ = principal_components(vectors[::-1], 5)
    np.testing.assert_allclose(turned[::-1], ours, atol=1e-8)  # the sign does not depend on the order


def test_the_length_of_vectors_does_not_move_the_map(vectors: np.ndarray) -> None:
    scale = np.random.default_rng(2).uniform(0.1, 10.0, (120, 1))
    first, second = (embedding_map(m, np.arange(120), method="pca") for m in (vectors, vectors * scale))
    np.testing.assert_allclose(first[["x", "y"]], second[["x", "y"]], atol=1e-5)


def test_draws_are_seeded_and_empty_galleries_left_out(vectors: np.ndarray) -> None:
    matrix = vectors.copy()
    matrix[[3, 50]] = 0.0
    ids = np.array([f"h{row}" for row in range(120)])
    points = embedding_map(matrix, ids, method="pca")
    assert len(points) == 118
    assert points.attrs["left_out"] == 2
    assert not {"h3", "h50"} & set(points["id"])
    few, other = (embedding_map(matrix, ids, method="pca", items=40, seed=seed) for seed in (0, 1))
    assert len(few) == 40
    assert points.attrs["variance"][0] > points.attrs["variance"][1] > 0
    assert few["row"].is_monotonic_increasing
    assert (ids[few["row"]] == few["id"]).all()
    assert set(few["id"]) != set(other["id"])


def test_few_items_get_a_smaller_perplexity(vectors: np.ndarray) -> None:
    for count, perplexity in [(120, 30.0), (31, 10.0), (4, 1.0), (3, 1.0)]:
        points = embedding_map(vectors[:count], np.arange(count))
        assert points.attrs["perplexity"] == pytest.approx(perplexity)
        assert np.isfinite(points[["x", "y"]].to_numpy()).all()


def test_one_direction_is_a_line() -> None:
    angle = np.linspace(0.1, 0.12, 5)
    points = embedding_map(np.stack([np.ones(5), angle * 0.0 + 1.0, angle], axis=1), np.arange(5), method="pca")
    assert points["y"].abs().max() < 1e-4
    assert points["x"].is_monotonic_increasing or points["x"].is_monotonic_decreasing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"matrix": np.ones((9, 2)), "ids": range(9)}, "`matrix` must hold vectors that differ for a map"),
        ({"matrix": np.zeros((9, 2)), "ids": range(9)}, "at least 3 vectors that are not zero for a map, got 0"),
        ({"matrix": np.eye(4), "ids": range(3)}, r"`ids` must be \(4,\) as `matrix`, got shape \(3,\)"),
        ({"matrix": np.eye(4), "ids": range(4), "perplexity": 4.0}, r"`perplexity` must lie within 1..3 for 4 items"),
        ({"matrix": np.eye(4), "ids": range(4), "method": "umap"}, "`method` must be 'tsne' or 'pca', got 'umap'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        embedding_map(**arguments)  # type: ignore[arg-type]


@pytest.fixture
def points() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    table = pd.DataFrame(generator.normal(size=(200, 2)), columns=["x", "y"])
    table["city"] = [f"city {number}" for number in np.minimum(generator.zipf(1.5, 200), 30)]
    table["price"] = generator.lognormal(4.0, 1.0, 200)
    table.loc[:9, "price"] = np.nan
    table["pool"] = np.where(np.arange(200) % 10 == 0, None, np.arange(200) % 2 == 0)
    table["rooms"] = (np.arange(200) % 4 + 1).astype(float)
    return table


def test_classes_are_counted_and_the_rest_is_other(points: pd.DataFrame) -> None:
    axes = draw_map(points, ["city"], method="tsne").axes[0]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    counts = points["city"].value_counts()
    assert texts[0] == f"city 1 ({counts['city 1']})"
    assert len(texts) == 10
    assert texts[-1] == f"{len(counts) - 9} other values ({counts.iloc[9:].sum()})"
    drawn = {drawing.get_label(): len(drawing.get_offsets()) for drawing in axes.collections}
    assert sum(drawn.values()) == 200
    assert drawn[texts[0]] == counts["city 1"]
    assert len({*CLASSES, OTHER, MISSING}) == 11


def test_yes_no_and_missing(points: pd.DataFrame) -> None:
    axes = draw_map(points, ["pool", "rooms"], method="pca").axes
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["no (100)", "yes (80)", "missing (20)"]
    rooms = [text.get_text() for text in axes[1].get_legend().get_texts()]
    assert rooms == ["1 (50)", "2 (50)", "3 (50)", "4 (50)"]


def test_steps_get_shades_from_dark_to_light(points: pd.DataFrame) -> None:
    axes = draw_map(points, ["rooms"], ordered=["rooms"]).axes[0]
    light = [drawing.get_facecolor()[0, :3].sum() for drawing in axes.collections]
    assert [drawing.get_label() for drawing in axes.collections] == ["1 (50)", "2 (50)", "3 (50)", "4 (50)"]
    assert light == sorted(light)
    plain = draw_map(points, ["rooms"]).axes[0]
    np.testing.assert_allclose(plain.collections[0].get_facecolor()[0, 0], int(CLASSES[0][1:3], 16) / 255)


def test_numbers_have_a_bar_with_their_unit(points: pd.DataFrame) -> None:
    canvas = draw_map(points, ["price"], method="tsne", units={"price": "euro"})
    axes, bar = canvas.axes
    assert bar.get_ylabel() == "price (euro)"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["missing (10)"]
    low, high = axes.collections[-1].get_clim()
    assert (low, high) == pytest.approx(tuple(points["price"].quantile([0.02, 0.98])))
    assert len(axes.collections[-1].get_offsets()) == 190


def test_the_title_says_what_is_seen(points: pd.DataFrame) -> None:
    points.attrs = {"method": "tsne"}
    canvas = draw_map(points, ["city", "price", "pool"])
    words = [text.get_text() for text in canvas.texts]
    assert "200 items, t-SNE" in words[0]
    assert "how far apart groups lie means nothing" in words[1]
    titles = [axes.get_title(loc="left") for axes in canvas.axes if axes.get_title(loc="left")]
    assert titles == ["Coloured by city", "Coloured by price", "Coloured by pool"]
    points.attrs = {"method": "pca", "variance": [0.4, 0.25]}
    axes = draw_map(points, ["pool"]).axes[0]
    assert axes.get_xlabel() == "first component: 40 % of the variance"
    assert axes.get_ylabel() == "second component: 25 %"


def test_the_picture_is_a_png_and_the_same_each_time(points: pd.DataFrame) -> None:
    data = map_figure(points, ["city"], dots=60)
    assert data == map_figure(points, ["city"], dots=60)
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    colour = np.array([int(CLASSES[0][at : at + 2], 16) for at in (1, 3, 5)])
    assert (np.abs(picture.astype(int) - colour).sum(axis=2) < 60).any()


def test_repeated_row_labels_change_nothing(points: pd.DataFrame) -> None:
    repeated = points.set_index(np.zeros(200, int))
    names = ["city", "price", "pool", "rooms"]
    assert map_figure(repeated, names, method="pca", dots=40) == map_figure(points, names, method="pca", dots=40)


def test_missing_columns_are_named(points: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"got none named \['star'\]"):
        map_figure(points, ["star"])
    with pytest.raises(ValueError, match="at least one attribute"):
        map_figure(points, [])
