"""The studies of galleries and their benchmark on tiny worlds: the right rows and numbers, the promised output."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from evaluation.estimate import Estimate
from evaluation.intervals import auc_interval, paired_auc_difference
from features.gallery.store import Embeddings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    """The scripts as modules, found as Python finds them when they are run."""
    folders = [str(ROOT / "examples" / "galleries"), str(ROOT / "benchmarks")]
    names = ("world", "ranking_value", "query_value", "galleries")
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.path[:0] = folders
    yield {name: importlib.import_module(name) for name in names}
    for folder in folders:
        sys.path.remove(folder)
    for name, module in before.items():
        sys.modules.pop(name)
        if module is not None:
            sys.modules[name] = module


@pytest.fixture(scope="module")
def tiny(modules: dict[str, ModuleType]) -> object:
    return modules["world"].Sizes(
        properties=150, photos=3, users=200, requests=700, candidates=6, encoder_epochs=1, sample_photos=2,
        ranker_epochs=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def out(modules: dict[str, ModuleType], tiny: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of one seed."""
    folder = tmp_path_factory.mktemp("ranking_value")
    modules["ranking_value"].study(folder, 1, tiny, 1)
    return folder


def market(modules: dict[str, ModuleType], out: Path, tiny: object) -> object:
    return modules["world"].Marketplace(out / "seed0", 0, tiny, lambda line: None)


# ------------------------------------------------------------------------------------------------ the study
def test_results_have_every_arm_difference_and_check(modules: dict[str, ModuleType], out: Path) -> None:
    study = modules["ranking_value"]
    result = json.loads((out / "results.json").read_text(encoding="utf-8"))
    names = {*study.ARMS, *study.CATALOGUE, *(f"{a} - {b}" for a, b in study.DIFFERENCES), study.SHARE}
    assert set(result["mean"]) == names == set(result["seeds"][0])
    assert len(result["holds"]) == 5
    for name, estimate in result["mean"].items():
        assert estimate["low"] < estimate["value"] < estimate["high"], name
    assert result["mean"]["oracle"]["value"] > 0.55  # the truth ranks clicks, whatever the tiny models do


def test_a_second_run_fits_nothing_and_prints_the_same(
    modules: dict[str, ModuleType],
    out: Path,
    tiny: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("fitted again")

    before = (out / "results.json").read_text(encoding="utf-8")
    monkeypatch.setattr(modules["world"], "fit_and_score", never)
    monkeypatch.setattr(modules["world"], "make_world", never)
    good = modules["ranking_value"].study(out, 1, tiny, 1)
    assert (out / "results.json").read_text(encoding="utf-8") == before
    printed = capsys.readouterr().out
    assert all(name in printed for name in json.loads(before)["mean"])
    assert ("FAILS" in printed) == (not good)


def test_an_arm_that_is_missing_is_made_again_to_the_same_bits(
    modules: dict[str, ModuleType], out: Path, tiny: object
) -> None:
    path = out / "seed0" / "scores" / "shuffled.npy"
    before = path.read_bytes()
    path.unlink()
    modules["ranking_value"].scores(market(modules, out, tiny), catalogue=False)
    assert path.read_bytes() == before


def test_a_folder_of_other_sizes_is_refused(modules: dict[str, ModuleType], out: Path, tiny: object) -> None:
    with pytest.raises(SystemExit, match="other settings"):
        market(modules, out, replace(tiny, requests=701))


def test_tested_properties_are_new_to_encoder_and_ranker(
    modules: dict[str, ModuleType], out: Path, tiny: object
) -> None:
    made = market(modules, out, tiny)
    ids = made.data.item_ids.to_numpy()
    tested = set(made.log().table("test", ["item_id"])["item_id"].to_pylist())
    trained = set(made.log().table(["train", "calibrate"], ["item_id"])["item_id"].to_pylist())
    assert not tested & trained
    assert len(tested) > 10
    assert trained <= set(ids[made.known].tolist())
    assert not tested & set(ids[made.known].tolist())
    assert len(Embeddings.open(out / "seed0" / "vectors" / "mtl.parquet")) == tiny.properties


def test_arms_differ_in_their_vectors_alone(modules: dict[str, ModuleType], out: Path, tiny: object) -> None:
    made, folder = market(modules, out, tiny), out / "seed0" / "vectors"
    none, mtl = made.log(), made.log(vectors=folder / "mtl.parquet")
    assert none.schema.files.vectors is None
    assert none.schema.feature_columns == mtl.schema.feature_columns == ["segment", "price"]
    assert not {"star_rating", "item_id", "user_id"} & set(made.log("catalogue").schema.feature_columns)
    assert len(made.log("catalogue").schema.feature_columns) == 32  # 31 attributes, the price as shown, the segment
    ours, shuffled = (Embeddings.open(folder / f"{name}.parquet") for name in ("mtl", "shuffled"))
    assert ours.ids.tolist() == shuffled.ids.tolist()
    assert (ours.matrix != shuffled.matrix).any(axis=1).mean() > 0.9
    np.testing.assert_array_equal(np.sort(ours.matrix, axis=0), np.sort(shuffled.matrix, axis=0))
    truth = Embeddings.open(folder / "latents.parquet").matrix
    np.testing.assert_allclose(truth.std(0), 1, atol=1e-5)


# ------------------------------------------------------------------------------------------------ the numbers
def test_measures_are_those_of_evaluation(modules: dict[str, ModuleType]) -> None:
    random = np.random.default_rng(0)
    truth = {"click": (random.random(400) < 0.3).astype(float), "request_id": np.repeat(np.arange(40.0), 10)}
    truth["item_id"] = np.arange(400.0)  # each seen once: nothing to cluster by
    found = {name: truth["click"] * size + random.normal(size=400)
             for name, size in (("none", 0.2), ("mtl", 0.8), ("latents", 1.5), ("oracle", 2.0))}  # fmt: skip
    study = modules["ranking_value"]
    measured = study.measure(found, truth)
    assert measured["mtl"] == pytest.approx(auc_interval(truth["click"], found["mtl"], truth["request_id"]))
    assert measured["mtl - none"] == pytest.approx(
        paired_auc_difference(truth["click"], found["mtl"], found["none"], truth["request_id"])
    )
    share = measured["mtl - none"][0] / (measured["latents"][0] - measured["none"][0])
    assert measured[study.SHARE][0] == pytest.approx(share)
    assert measured[study.SHARE][1] > 0
    for arm, expected in (("latents", 1.0), ("none", 0.0)):  # the whole gap, and nothing of it
        value, error = study.measure(found | {"mtl": found[arm]}, truth)[study.SHARE]
        assert value == pytest.approx(expected, abs=1e-12)
        assert error == pytest.approx(0.0, abs=1e-12)


def test_the_error_of_the_share_is_that_of_replications(modules: dict[str, ModuleType]) -> None:
    study, shares, errors = modules["ranking_value"], [], []
    for seed in range(150):
        random = np.random.default_rng(seed)
        of_request = np.repeat(random.normal(size=200), 5)
        click = (random.random(1000) < 1 / (1 + np.exp(1 - of_request - random.normal(size=1000)))).astype(float)
        noise = random.normal(size=(3, 1000))
        found = {"none": noise[0], "mtl": click + noise[1], "latents": 2 * click + noise[2]}
        truth = {"click": click, "request_id": np.repeat(np.arange(200.0), 5), "item_id": np.arange(1000.0)}
        value, error = study.measure(found, truth)[study.SHARE]
        shares.append(value)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.2)


def test_errors_know_that_a_property_is_seen_in_many_requests(modules: dict[str, ModuleType]) -> None:
    """Against replications in which 40 properties are drawn anew, each shown in 25 of 200 requests."""
    study, values, errors, by_request = modules["ranking_value"], [], [], []
    for seed in range(150):
        random = np.random.default_rng(seed)
        item = np.concatenate([random.permutation(40)[:5] for _ in range(200)])
        quality, seen = random.normal(size=40)[item], random.normal(size=40)[item]
        click = (random.random(1000) < 1 / (1 + np.exp(1 - 2 * quality))).astype(float)
        truth = {"click": click, "request_id": np.repeat(np.arange(200.0), 5), "item_id": item.astype(float)}
        noise = random.normal(size=1000)
        found = {"none": noise, "mtl": quality + seen + 0.1 * noise, "latents": quality}
        value, error = study.measure(found, truth)["mtl"]
        values.append(value)
        errors.append(error)
        by_request.append(auc_interval(click, found["mtl"], truth["request_id"])[1])
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)
    assert np.mean(by_request) < 0.7 * np.std(values)


def test_means_over_worlds(modules: dict[str, ModuleType]) -> None:
    estimate = modules["ranking_value"].mean([{"a": (0.1, 0.03)}, {"a": (0.3, 0.04)}, {}], "a")
    assert estimate.value == pytest.approx(0.2)
    assert estimate.standard_error == pytest.approx(0.05 / 2)


@pytest.mark.parametrize(
    ("changed", "value", "failing"),
    [
        (None, 0.0, []),
        ("mtl - none", 0.0205, ["mtl - none >= .02"]),  # the interval reaches below .02
        ("mtl - random", 0.009, ["mtl - random >= .01"]),
        ("shuffled - none", -0.006, ["shuffled within .005 of none"]),
        ("oracle - mtl", -0.01, ["mtl <= oracle"]),
    ],
)
def test_checks(modules: dict[str, ModuleType], changed: str | None, value: float, failing: list[str]) -> None:
    study = modules["ranking_value"]
    good = {"mtl - none": 0.06, "mtl - random": 0.04, "shuffled - none": -0.003, "oracle - mtl": 0.07, study.SHARE: 0.6}
    means = {name: Estimate.linear(v, 0.001) for name, v in (good | ({changed: value} if changed else {})).items()}
    assert [what for what, holds in study.checks(means) if not holds] == failing


# ------------------------------------------------------------------------------------------------ the query
def test_query_study(
    modules: dict[str, ModuleType], tiny: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = modules["query_value"]
    sizes = replace(tiny, query=2.0, properties=100)
    good = study.study(tmp_path, 1, sizes)
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert {*study.ARMS, *(f"{a} - {b}" for a, b in study.DIFFERENCES)} <= set(result["mean"])
    assert all(name in printed for name in result["mean"])
    assert good == all(result["holds"].values())
    made = modules["world"].Marketplace(tmp_path / "seed0", 0, sizes, lambda line: None)
    vectors = tmp_path / "seed0" / "vectors" / "mtl.parquet"
    assert made.log(query=True, vectors=vectors).schema.columns.query_item == "query_item_id"
    assert made.log(vectors=vectors).schema.columns.query_item is None
    scores = tmp_path / "seed0" / "scores"
    assert not np.array_equal(np.load(scores / "mtl.npy"), np.load(scores / "mtl_query.npy"))


# ------------------------------------------------------------------------------------------------ the benchmark
def test_gallery_sizes_are_those_that_are_promised(modules: dict[str, ModuleType]) -> None:
    benchmark = modules["galleries"]
    sizes = benchmark.sizes(200_000)
    assert (sizes.min(), sizes.max()) == (5, 44)
    assert sizes.mean() == pytest.approx(20.0, abs=0.1)
    made = benchmark.batches(100, 32, 5, torch.device("cpu"))
    assert len(made) == 5
    assert all(40 < len(galleries.pixels) <= 100 for galleries in made)


def test_packed_and_padded_agree_and_a_wrong_mask_does_not(modules: dict[str, ModuleType]) -> None:
    benchmark = modules["galleries"]
    torch.manual_seed(0)
    network = benchmark.GalleryNetwork(benchmark.make_backbone("small"), tasks=benchmark.TASKS)
    galleries = benchmark.batches(100, 64, 1, torch.device("cpu"))[0]
    found = benchmark.difference(network, galleries)
    assert set(found) == {"vectors", "gradients"}
    assert max(found.values()) < benchmark.TOLERANCE
    pixels, mask = benchmark.padded(galleries)
    with torch.no_grad():
        ours, everything = network.embed(galleries), benchmark.embed_padded(network, pixels, torch.ones_like(mask))
    assert float((ours - everything).abs().max() / ours.abs().max()) > 100 * benchmark.TOLERANCE


def test_benchmark_measures_every_step(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    benchmark = modules["galleries"]
    words = ["--data", str(tmp_path / "world"), "--properties", "40", "--photos", "60", "--batches", "2", "--quick",
             "--cached", "6", "--cache-size", "64"]  # fmt: skip
    arguments = benchmark.parse(words)
    assert isinstance(arguments, argparse.Namespace)
    result = json.loads(json.dumps(benchmark.measure(arguments)))  # JSON throughout
    row = result["packed"][0]
    assert row["photos_and_blanks"] > row["photos"] > 0
    assert max(row["difference"].values()) < benchmark.TOLERANCE
    assert all(row[what][key] > 0 for what in ("forward", "step") for key in ("ratio", "packed_ms_per_photo"))
    assert list(result["rates"]) == ["render", "decode", "train float32", "train bfloat16", "embed"]
    assert list(result["cache"]) == ["from pixels", "making the cache", "from the cache"]
    assert result["cache"]["from pixels"]["photos"] == result["cache"]["from the cache"]["photos"] < 6 * 8
    text = benchmark.table(result)
    assert all(name in text for name in [*result["rates"], *result["cache"], "small, all, 64 px, cpu"])
