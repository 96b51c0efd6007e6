"""The studies on frozen vectors: their data, their measures, and every arm on small made-up tables."""

from __future__ import annotations

import argparse
import doctest
import importlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from features import make_world
from features.gallery.squeezenet import squeezenet1_1
from multitask import Task, TrainingConfig

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("task_table", "photo_vectors", "heterogeneous_data", "vector_arms", "vector_report", "vector_study",
         "heterogeneous", "ranking", "networks")  # fmt: skip


@pytest.fixture(scope="module")
def study() -> Iterator[dict[str, ModuleType]]:
    """The example's modules, imported as `python -m examples.selective_sharing` does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield {name: importlib.import_module(f"examples.selective_sharing.{name}") for name in NAMES}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SqueezeNet weights, random ones."""
    torch.manual_seed(0)
    parts = squeezenet1_1()
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    layers = torch.nn.Sequential(*parts.front, *parts.back)
    torch.save({f"features.{name}": tensor for name, tensor in layers.state_dict().items()}, path)
    return path


def jpeg(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 16), colour).save(buffer, "JPEG")
    return buffer.getvalue()


COLOURS = {"Black": (10, 10, 10), "Red": (220, 20, 20), "White": (250, 250, 250)}


def shoe_table(products: int = 240, seed: int = 0) -> pd.DataFrame:
    """Like the real one: the colour can be seen, the rest is drawn by lot."""
    rng = np.random.default_rng(seed)
    colour = rng.choice(list(COLOURS), products)
    brand = rng.choice(["Puma", "Nike"], products)
    return pd.DataFrame({
        "product_id": np.arange(products) * 10 + 1000,
        "title": [f"{b} {c} {n // 2}" for n, (b, c) in enumerate(zip(brand, colour))],
        "sub_category": rng.choice(["Shoes", "Sandal"], products),
        "article_type": np.where(np.arange(products) < 3, "Boots", rng.choice(["Heels", "Flats"], products)),
        "base_colour": colour,
        "usage": rng.choice(["Casual", "Sports"], products),
        "gender": rng.choice(["men", "women", "boys", "girls", "unknown"], products),
        "brand": brand,
        "jpeg": [jpeg(COLOURS[c]) for c in colour],
    })  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_in_docstrings_hold(study: dict[str, ModuleType], name: str) -> None:
    assert doctest.testmod(study[name], optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


# ------------------------------------------------------------------------------------------------------- data
def test_split_keeps_groups_together_and_differs_between_seeds(study: dict[str, ModuleType]) -> None:
    groups = np.repeat(np.arange(300), 3)
    parts = study["task_table"].split_by(groups, seed=1)
    assert [len(part) for part in parts] == [720, 90, 90]
    sides = [set(groups[part]) for part in parts]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 300
    assert set(study["task_table"].split_by(groups, seed=2)[2]) != set(parts[2])


def test_shoe_labels(study: dict[str, ModuleType]) -> None:
    table = shoe_table()
    train = np.arange(200)
    tasks, labels, units = study["heterogeneous_data"].shoe_labels(table, train)
    by_name = dict(zip([task.name for task in tasks], labels.T))
    assert torch.isnan(by_name["type"][:3]).all()  # "Boots" is a class too rare to be learned
    assert not torch.isnan(by_name["type"][3:]).any()
    assert torch.isnan(by_name["gender"]).tolist() == (table.gender == "unknown").tolist()
    assert next(task for task in tasks if task.name == "gender").n_classes == 3  # boys and girls are kids
    number = by_name["catalogue number"]
    assert number[:200].mean().item() == pytest.approx(0, abs=1e-6)
    assert number[:200].std(unbiased=False).item() == pytest.approx(1, abs=1e-6)
    assert (number[1] - number[0]).item() * units["catalogue number"] == pytest.approx(0.01, rel=1e-4)  # 10 of 1,000


def test_photo_vectors_are_found_again_and_broken_photos_left_out(
    study: dict[str, ModuleType], weights: Path, tmp_path: Path
) -> None:
    photos = [jpeg(COLOURS["Red"]), b"", jpeg(COLOURS["White"])]
    module, file = study["photo_vectors"], tmp_path / "vectors.npy"
    vectors = module.photo_vectors(photos, weights, 32, file)
    assert vectors.shape == (3, 512)
    assert np.isnan(vectors[1]).all()
    assert not np.isnan(vectors[[0, 2]]).any()
    means = module.gallery_means(vectors, np.array([0, 0, 1]), 3)
    np.testing.assert_array_equal(means, [vectors[0], vectors[2], np.zeros(512)])
    stamp = file.stat().st_mtime_ns
    np.testing.assert_array_equal(module.photo_vectors(photos, weights, 32, file), vectors)
    assert file.stat().st_mtime_ns == stamp
    with pytest.raises(ValueError, match="`file` must hold vectors of"):
        module.photo_vectors(photos, weights, 40, file)


def test_properties_have_tasks_of_all_kinds(study: dict[str, ModuleType], weights: Path, tmp_path: Path) -> None:
    make_world(tmp_path / "world", seed=1, properties=150, users=20, requests=20, photos=1, photo_size=32)
    source = study["heterogeneous_data"].properties(tmp_path / "world", weights, tmp_path)
    tasks, parts, units = source.parts(seed=0)
    assert {task.kind for task in tasks} == {"binary", "multiclass", "regression"}
    assert parts.train.labels.shape == (120, len(tasks))
    assert torch.isnan(parts.train.labels).any()  # some are missing
    assert set(units) == {task.name for task in tasks if task.kind == "regression"}


# --------------------------------------------------------------------------------------------------- measures
def test_heterogeneous_measure_by_hand(study: dict[str, ModuleType]) -> None:
    tasks = [Task("sea", "binary"), Task("type", "multiclass", n_classes=2), Task("year", "regression")]
    outputs = torch.tensor([[1.0, 2.0, 0.0, 0.5], [1.0, 0.0, 1.0, 1.0], [-1.0, 3.0, 0.0, 2.0], [-9.0, 0.0, 1.0, 9.0]])
    nan = float("nan")
    labels = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [nan, nan, nan]])
    found = study["heterogeneous"].Heterogeneous({"year": 10.0}).measure(tasks, outputs, labels)
    assert found["sea"] == pytest.approx(2 / 3)
    assert found["balanced"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["type"] == pytest.approx(2 / 3)
    assert found["year"] == pytest.approx(10 * 0.5 / 3)  # errors .5, 0, 0
    assert found["error over the median's"] == pytest.approx(0.5 / 2)  # the median's: 1, 0, 1
    assert found["score"] == pytest.approx((2 / 3 + 2 / 3 + 3 / 4) / 3)


def test_ranking_measure(study: dict[str, ModuleType]) -> None:
    labels = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    outputs = torch.tensor([[0.1, 5.0, 1.0], [0.2, 4.0, 1.0], [0.3, 3.0, 1.0]])
    found = study["ranking"].Ranking().measure([Task(name, "regression") for name in "abc"], outputs, labels)
    assert found == pytest.approx({"a": 1.0, "b": -1.0, "c": 0.0, "score": 0.0})


# ------------------------------------------------------------------------------------------------------- arms
def planted(study: dict[str, ModuleType]) -> tuple[object, object]:
    """Three questions, each asked twice; and the parts of a table that answers them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 8, generator=generator)
    labels = (x[:, [0, 1, 2, 0, 1, 2]] > 0).float()
    rows = (np.arange(400), np.arange(400, 450), np.arange(450, 500))
    module = study["vector_arms"]
    config = TrainingConfig(
        epochs=4, batch_size=50, learning_rate=0.02, ema_decay=0.0, monitor="score", direction="max", patience=4,
        precision="float32",
    )  # fmt: skip
    problem = study["heterogeneous"].Heterogeneous({})
    setup = module.Setup([Task(name) for name in "abcdef"], problem, study["networks"].Architecture(16, (8,)), config)
    return setup, study["task_table"].Parts.cut(x, labels, rows)


def test_similarity_pairs_questions_asked_twice_and_is_tested_merged(study: dict[str, ModuleType]) -> None:
    setup, parts = planted(study)
    result = study["vector_arms"].run_arm("similarity", setup, parts)
    assert result["groups"] == [["a", "d"], ["b", "e"], ["c", "f"]]
    assert result["lock_epoch"] == 1
    assert result["best_epoch"] > 1  # behind the merge, whatever came before
    fixed, per_branch = result["law"]
    assert result["parameters_before"] == fixed + 6 * per_branch
    assert result["parameters"] == fixed + 3 * per_branch
    assert result["test"]["score"] > 0.7


@pytest.mark.parametrize("arm", ["single_task", "unmerged", "one_branch", "cross_stitch"])
def test_arms_that_do_not_group(study: dict[str, ModuleType], arm: str) -> None:
    setup, parts = planted(study)
    result = study["vector_arms"].run_arm(arm, setup, parts)
    assert set(result["test"]) >= {*"abcdef", "score"}
    shared, branch, output = 8 * 16 + 16, 16 * 8 + 8, 8 + 1
    expected = {
        "single_task": 6 * (shared + branch + output),
        "unmerged": shared + 6 * (branch + output),
        "one_branch": shared + branch + 6 * output,
        "cross_stitch": shared + 6 * (branch + output) + 6 * 6,
    }
    assert result["parameters"] == expected[arm]


def test_unknown_arm_is_refused(study: dict[str, ModuleType]) -> None:
    with pytest.raises(ValueError, match="`arm` must be one of single_task"):
        study["vector_arms"].run_arm("none", *planted(study))


# --------------------------------------------------------------------------------------------------- commands
def arguments(module: ModuleType, *given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(given)


def test_heterogeneous_command(study: dict[str, ModuleType], weights: Path, tmp_path: Path) -> None:
    shoe_table().to_parquet(tmp_path / "footwear.parquet")
    given = ["--data", str(tmp_path), "--weights", str(weights), "--out", str(tmp_path / "out"), "--epochs", "2",
             "--width", "0.01", "--seeds", "1"]  # fmt: skip
    module = study["heterogeneous"]
    assert module.main(arguments(module, *given, "--arms", "unmerged,random")) == 0
    first = (tmp_path / "out" / "runs" / "random-0.json").read_bytes()
    assert module.main(arguments(module, *given, "--arms", "unmerged,random,one_branch")) == 0
    assert (tmp_path / "out" / "runs" / "random-0.json").read_bytes() == first  # found, not done again
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    runs = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["runs"]
    assert [run["arm"] for run in runs] == ["unmerged", "one_branch", "random"]
    assert "| one branch for all |" in table
    assert "Parameter law: P(G) = " in table
    assert f"{100 * runs[0]['test']['colour']:.1f}" in table


def test_ranking_command(study: dict[str, ModuleType], weights: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [f"id{n}" for n in range(60)]
    module = study["ranking"]
    bright = rng.integers(0, 256, 60)
    listings = pd.DataFrame({"listing_id": ids, "group": np.arange(60)})
    for name in module.GRADED:
        listings[name] = np.where(rng.random(60) < 0.1, np.nan, bright).astype(np.float32)
    listings.to_parquet(tmp_path / "listings.parquet")
    photos = pd.DataFrame({"listing_id": ids * 2, "jpeg": [jpeg((b, b, b)) for b in [*bright, *bright]]})
    photos.to_parquet(tmp_path / "photos.parquet")
    given = ["--data", str(tmp_path), "--weights", str(weights), "--out", str(tmp_path / "out"), "--epochs", "3",
             "--width", "0.02", "--seeds", "2", "--arms", "unmerged,similarity"]  # fmt: skip
    assert module.main(arguments(module, *given)) == 0
    runs = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["runs"]
    assert {(run["arm"], run["seed"]) for run in runs} == {(a, s) for a in ("unmerged", "similarity") for s in (0, 1)}
    assert all(-1 <= run["test"]["score"] <= 1 for run in runs)


def test_a_broken_law_is_refused(study: dict[str, ModuleType], tmp_path: Path) -> None:
    run = {"test": {"score": 0.5}, "parameters": 26, "law": [5, 10], "groups": [["a"], ["b"]], "lock_epoch": 1,
           "cpu_seconds": 1.0}  # fmt: skip
    with pytest.raises(ValueError, match="must obey the parameter law, got 26 for random, seed 0"):
        study["vector_report"].write_report(tmp_path, {("random", 0): run}, [], "", "")
