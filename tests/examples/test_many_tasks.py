"""The study of modulation and sharing in ranker and encoder: every arm on tiny data, and the tables' numbers."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from evaluation.clusters import clustered_error
from evaluation.freedom import t_quantile
from evaluation.intervals import paired_auc_difference, paired_log_loss_difference
from ranking import NetworkConfig, Prepared, RankerConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def study() -> Iterator[dict[str, ModuleType]]:
    """The modules, found as Python finds them when the study is run from the repository's root."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        names = ("trivago", "attributes", "runs", "vectors")
        yield {name: importlib.import_module(f"examples.many_tasks.{name}") for name in names}
    torch.set_num_threads(threads)


def arguments(module: ModuleType, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(list(words))


def test_every_arm_of_the_hotel_log_fits_any_log(
    study: dict[str, ModuleType], prepared: Prepared, small: RankerConfig, tmp_path: Path
) -> None:
    trivago = study["trivago"]
    network = NetworkConfig(embedding_dim=4, hidden=(8, 4), tower_hidden=4)
    base = small.model_copy(update={"network": network})
    results, scores = {}, {}
    for arm in trivago.ARMS:
        results[arm, 0], scores[arm, 0] = trivago.fit_arm(prepared, base, arm, 0, tmp_path / arm)
    heads = len(prepared.schema.head_names)
    n = len(scores[trivago.BASE, 0])
    assert all(p.shape == (n, heads) and p.min() > 0 for p in scores.values())
    sizes = {arm: result["parameters"] for (arm, _), result in results.items()}
    assert sizes["modulation"] - sizes[trivago.BASE] == (heads + 1) * (8 + 4)
    assert sizes["ple"] > sizes["mmoe"] > sizes[trivago.BASE]
    assert results["sharing, variance", 0]["groups"]
    assert results[trivago.BASE, 0]["groups"] is None
    y = (np.random.default_rng(0).random((n, heads)) < 0.3).astype(float)
    sessions = np.arange(n) // 10
    rows = [trivago.arm_row(arm, results, scores, y, sessions) for arm in trivago.ARMS]
    text = trivago.report(rows, list(prepared.schema.head_names), n, n // 10)
    assert all(f"| {arm} |" in text for arm in trivago.ARMS)
    assert "seed 0: kept" in text


def test_the_interval_of_the_mean_over_heads_and_seeds(study: dict[str, ModuleType]) -> None:
    """One head and one seed: the paired intervals of the evaluation. Two equal seeds: the same again."""
    trivago, random = study["trivago"], np.random.default_rng(1)
    sessions = np.repeat(np.arange(50), 8)
    y = (random.random((400, 1)) < 0.3).astype(float)
    a, b = (np.clip(0.2 + 0.3 * y + 0.2 * random.normal(size=y.shape), 0.01, 0.99) for _ in range(2))
    ours, theirs = trivago.measured(a, y), trivago.measured(b, y)
    for metric, paired in (("auc", paired_auc_difference), ("log_loss", paired_log_loss_difference)):
        value, error = paired(y[:, 0], a[:, 0], b[:, 0], sessions)
        influences = (ours[metric][1] - theirs[metric][1])[:, 0]
        for seeds in (1, 2):
            found = trivago.difference([(ours[metric], theirs[metric])] * seeds, sessions)
            assert found["mean"] == pytest.approx(value)
            half = t_quantile(clustered_error(influences, sessions).freedom) * error
            assert (found["low"], found["high"]) == pytest.approx((value - half, value + half))
            assert found["heads_error"] == pytest.approx([error])
    apart = trivago.difference([(ours["auc"], theirs["auc"]), (theirs["auc"], ours["auc"])], sessions)
    gap = abs(ours["auc"][0][0] - theirs["auc"][0][0])
    assert apart["mean"] == pytest.approx(0.0)
    assert apart["error_seeds"] == pytest.approx(gap)  # sd of +-gap is gap * sqrt(2), over two seeds
    assert apart["error_rows"] == pytest.approx(0.0)  # the influences cancel: one degree of freedom, of the seeds
    assert apart["high"] == pytest.approx(t_quantile(1.0) * gap)


def test_a_log_that_is_not_there_and_an_unknown_arm(study: dict[str, ModuleType], tmp_path: Path) -> None:
    trivago = study["trivago"]
    with pytest.raises(SystemExit, match="`make trivago` writes"):
        trivago.main(arguments(trivago, "--data", str(tmp_path), "--out", str(tmp_path / "out")))
    with pytest.raises(SystemExit, match=r"--arms must be some of shared bottom; modulation; .*got nothing"):
        trivago.main(arguments(trivago, "--arms", "ple; nothing"))


def test_the_attributes_end_to_end_and_on_frozen_vectors(
    study: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attributes = study["attributes"]
    words = ["--properties", "60", "--photos", "2", "--epochs", "1", "--trunk-epochs", "2", "--out", str(tmp_path)]
    assert attributes.main(arguments(attributes, "--seeds", "0", *words)) == 0
    text = (tmp_path / "table.md").read_text()
    assert text == attributes.report(
        attributes.run_missing(tmp_path, attributes.ARMS, ["heads"], [0], settings_of(tmp_path), None)
    )
    assert all(f"| {arm} |" in text for arm in attributes.ARMS)
    found = {arm: json.loads((tmp_path / "runs" / f"{arm}-0.json").read_text()) for arm in attributes.ARMS}
    assert all(len(result["tasks"]) == len(found["heads"]["tasks"]) > 20 for result in found.values())
    assert {row["kind"] for row in found["heads"]["tasks"]} == {"binary", "multiclass", "regression"}
    vectors = found["modulation"]["vectors"]
    assert vectors.keys() == {"mean masks", "own masks"}
    assert [record["task"] for record in vectors["own masks"]] == [row["task"] for row in found["heads"]["tasks"]]
    assert "| modulation, own masks |" in text
    assert attributes.main(arguments(attributes, "--seeds", "0", "--arms", "modulation", *words)) == 0
    assert (tmp_path / "table.md").read_text() == text  # whatever is asked for, all that is there is reported
    with pytest.raises(SystemExit, match="`out` must hold runs of the same settings"):
        attributes.main(arguments(attributes, "--seeds", "0", *words, "--epochs", "2"))
    with pytest.raises(SystemExit, match="reads the vectors of the arm 'heads', seed 1: run that first"):
        attributes.main(arguments(attributes, "--seeds", "1", "--arms", "frozen, ple", *words))
    capsys.readouterr()


def test_each_attribute_is_searched_under_its_own_masks(study: dict[str, ModuleType]) -> None:
    """Vectors that know one attribute, the one they are asked for: perfect for it, chance for the others."""
    random = np.random.default_rng(0)
    table = pa.table({"pool": random.random(200) < 0.5, "size": random.permutation(200.0 + np.arange(200))})
    known = {"pool": np.eye(2)[table["pool"].to_numpy().astype(int)], "size": np.c_[np.ones(200), table["size"]]}
    known["size"] = np.c_[np.cos(known["size"][:, 1] / 200), np.sin(known["size"][:, 1] / 200)]
    none = random.normal(size=(200, 2))

    def embed(data: object, rows: np.ndarray, *, task: str | None, photos: object) -> SimpleNamespace:
        return SimpleNamespace(matrix=(none if task is None else known[task])[rows])

    encoder = SimpleNamespace(
        embed=embed, tasks=SimpleNamespace(names=["pool", "size"]), config=SimpleNamespace(modulation=True)
    )
    schema = SimpleNamespace(task_columns={"pool": "binary", "size": "regression"})
    data = SimpleNamespace(schema=schema, attributes=table.select)
    found = study["vectors"].precisions(encoder, data, np.arange(0, 200, 2), None)
    assert found.keys() == {"mean masks", "own masks"}
    of = {kind: {record["task"]: record["precision"] for record in records} for kind, records in found.items()}
    assert of["own masks"]["pool"] == 1.0
    assert of["own masks"]["size"] > 0.7
    assert abs(of["mean masks"]["pool"] - 0.5) < 0.1
    assert of["mean masks"]["size"] < 0.4
    results = {("a", 0): {"vectors": {"": found["mean masks"]}}, ("b", 0): {"vectors": found}}
    lines = study["vectors"].vector_table(results, ["a", "b"], "a").splitlines()
    assert lines[3].startswith("| b, mean masks |")
    assert lines[3].endswith("| +0.0000 | 0 |")
    assert lines[4].startswith("| b, own masks |")
    assert lines[4].endswith("| 2 |")


def test_the_command_line_and_the_settings_of_before(
    study: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = study["runs"]
    with pytest.raises(SystemExit):
        arguments(study["trivago"], "--seeds", "0,")
    assert "must be numbers, separated by commas" in capsys.readouterr().err
    assert arguments(study["trivago"]).seeds == [0, 1, 2]

    def run(arm: str, seed: int, folder: Path) -> dict[str, object]:
        return {"value": seed}

    def missing(out: Path, seeds: list[int], **settings: object) -> dict[tuple[str, int], object]:
        found: dict[tuple[str, int], object] = runs.run_missing(out, ["a", "b"], ["a"], seeds, settings, run)
        return found

    assert missing(tmp_path / "old", [1], epochs=3).keys() == {("a", 1)}  # noted no data
    assert missing(tmp_path / "old", [0], epochs=3, data={"rows": "hash"}).keys() == {("a", 0), ("a", 1)}
    missing(tmp_path / "new", [0], epochs=3, data={"rows": "hash"})
    with pytest.raises(SystemExit, match=r"same settings, .*data .*choose another --out"):
        missing(tmp_path / "new", [0], epochs=3, data={"rows": "other"})
    capsys.readouterr()


def settings_of(out: Path) -> dict[str, object]:
    """Those that a study has noted: with them it finds its runs again."""
    settings: dict[str, object] = json.loads((out / "settings.json").read_text())
    return settings
