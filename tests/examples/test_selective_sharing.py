"""The study of image sets on small digits: arms, runs that go on, tables, claims and pictures."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # as `python -m` has it

from examples.selective_sharing import (
    arms,
    data,
    images,
    measures,
    networks,
    training,
)
from examples.studies import runs


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's digits as a file of MNIST's form, enlarged to 28 x 28 px."""
    from sklearn.datasets import load_digits

    small = load_digits()
    pixels = np.pad(np.kron(small.images, np.ones((3, 3))) * 255 / 16, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    folder = tmp_path_factory.mktemp("mnist")
    np.savez(folder / "mnist.npz", x_train=pixels[:1500], y_train=small.target[:1500], x_test=pixels[1500:],
             y_test=small.target[1500:])  # fmt: skip
    return folder


@pytest.fixture(autouse=True)
def small_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "VALIDATION", 300)


def test_small_is_a_sample_of_the_training_images_and_leaves_the_others_whole(digits: Path) -> None:
    whole = data.mnist(digits)
    small = whole.small(100)
    assert (len(whole.train), len(whole.validation), len(whole.test)) == (1200, 300, 297)
    assert (len(small.train), len(small.validation), len(small.test)) == (100, 300, 297)
    assert torch.equal(small.train.pixels, whole.train.pixels[:100])
    assert len(small.train.labels.unique()) == 10
    with pytest.raises(ValueError, match=r"`images` must be at least 1, got 0"):
        whole.small(0)


def test_the_parts_of_the_training_file_are_disjoint() -> None:
    """Every image is another one, so a shared one would be found."""
    pixels = np.arange(500)[:, None, None, None].astype(np.uint8) + np.zeros((500, 1, 1, 2), np.uint8)
    pixels[..., 1] = (np.arange(500) // 256)[:, None, None]
    parts = data._train_and_test((pixels, np.zeros(500)), (pixels[:5], np.zeros(5)), ("a",), centre=False)
    seen = torch.cat([parts.train.pixels, parts.validation.pixels]).flatten(1)
    assert len(seen.unique(dim=0)) == 500


def test_the_networks_have_the_papers_layers() -> None:
    """MNIST's: conv 20 of 5 x 5, conv 40 of 5 x 5, 640 units; branch 100 - 50 - 1, on images of 28 x 28 px."""
    trunk = 20 * 25 + 20 + 2 * 20 + 40 * 20 * 25 + 40 + 2 * 40 + (40 * 4 * 4) * 640 + 640
    branch = 640 * 100 + 100 + 100 * 50 + 50
    net = arms.build("unmerged", networks.mnist_trunk, networks.ARCHITECTURES["mnist"], "0123456789", 0).model
    assert training.count(net) == trunk + 10 * (50 + 1) + 10 * branch
    for name, channels, side in (("mnist", 1, 28), ("omniglot", 1, 28), ("cifar10", 3, 32)):
        features = networks.TRUNKS[name](0.125)(torch.zeros(2, channels, side, side))
        assert features.shape == (2, networks.ARCHITECTURES[name].shared)


def test_all_arms_start_from_the_same_trunk() -> None:
    built = {arm: arms.build(arm, _trunk, networks.ARCHITECTURES["mnist"], "0123456789", 3) for arm in arms.ARMS}
    first = built["unmerged"].model.trunk.state_dict()
    for arm in built.values():
        assert all(torch.equal(first[name], tensor) for name, tensor in arm.model.trunk.state_dict().items())
    assert {name: arm.model.branches.n_groups for name, arm in built.items() if arm.sharing is None} == {
        "single_task": 1,
        "unmerged": 10,
        "one_branch": 1,
        "cross_stitch": 10,
    }
    with pytest.raises(ValueError, match=r"`arm` must be one of single_task, .*, got 'all'"):
        arms.build("all", _trunk, networks.ARCHITECTURES["mnist"], "01", 0)


def test_accuracies_of_a_constant_no() -> None:
    """10 equally frequent classes: 90 % of the answers are right, and nothing is told apart."""
    found = measures.accuracies(torch.full((100, 10), 0.1), torch.arange(100) % 10)
    assert found == pytest.approx({"top1": 0.1, "binary": 0.9, "balanced": 0.5})
    absent = measures.accuracies(torch.tensor([[0.9, 0.1, 0.1]]).expand(4, 3), torch.tensor([0, 1, 0, 1]))
    assert absent["balanced"] == pytest.approx(0.5)  # class 2 never occurs


def test_a_killed_run_goes_on_to_the_same_numbers(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups merge after the second and the third epoch; it is killed in between."""
    splits = data.mnist(digits)
    settings = training.config(4, 0).model_copy(update={"learning_rate": 0.05})

    def run(folder: Path) -> dict[str, Any]:
        arm = arms.build("similarity", _trunk, networks.ARCHITECTURES["mnist"], splits.names, 0)
        return training.train_and_test(arm, splits, settings, folder)

    whole = run(tmp_path / "whole")
    calls = []

    def killed(*arguments: Any) -> dict[str, float]:
        calls.append(0)
        if len(calls) == 3:  # the validation of the third epoch
            raise RuntimeError("killed")
        return measures.accuracies(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "accuracies", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(tmp_path / "again")
    resumed = run(tmp_path / "again")
    assert [record["changed"] for record in whole["sharing"]][1:3] == [True, True]
    for name in ("test", "best_epoch", "parameters", "tested_groups", "distances"):
        assert json.dumps(resumed[name]) == json.dumps(whole[name]), name
    assert len(resumed["epochs"]) == 4  # with the seconds of those before the kill
    assert not (tmp_path / "again").exists()


def test_a_run_belongs_to_one_process_and_is_not_done_twice(tmp_path: Path) -> None:
    done: list[str] = []

    def run(arm: str, seed: int, folder: Path) -> dict[str, Any]:
        done.append(f"{arm}-{seed}")
        if arm == "b" and done.count("b-0") == 1:
            raise RuntimeError("killed")
        return {"value": seed}

    def all_runs(settings: dict[str, Any]) -> runs.Results:
        return runs.run_all(tmp_path, ["a", "b"], [0], settings, run)

    with pytest.raises(RuntimeError, match="killed"):
        all_runs({"epochs": 1})
    with runs.claimed(tmp_path / "runs" / "b-0.lock") as mine:
        assert mine
        assert set(all_runs({"epochs": 1})) == {("a", 0)}  # b is another process's
    assert set(all_runs({"epochs": 1})) == {("a", 0), ("b", 0)}
    assert done == ["a-0", "b-0", "b-0"]
    with pytest.raises(ValueError, match=r"of the same settings, got .* \(epochs 1 there, 2 here\)"):
        all_runs({"epochs": 2})


def test_the_study_and_its_report(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some = ("single_task", "unmerged", "one_branch", "similarity")
    asked = Namespace(data=digits, seeds=(0, 1), arms=some, epochs=2, images=200, width=0.25, threads=1,
                      out=tmp_path, report=False)  # fmt: skip
    assert images.main("mnist", Namespace(**vars(asked) | {"report": True})) == 0
    assert "8 of the runs asked for do not exist yet" in capsys.readouterr().out
    assert images.main("mnist", Namespace(**vars(asked) | {"seeds": (0,), "arms": some[:3]})) == 0
    partial = capsys.readouterr().out
    assert "not run yet: 30 % of the parameters" in partial
    assert "activation" not in partial
    assert images.main("mnist", asked) == 0
    text = (tmp_path / "table.md").read_text()
    printed = capsys.readouterr().out
    assert text in printed
    stamps = [path.stat().st_mtime_ns for path in sorted((tmp_path / "runs").glob("*.json"))]
    assert len(stamps) == 8
    assert images.main("mnist", asked) == 0  # everything is found
    assert stamps == [path.stat().st_mtime_ns for path in sorted((tmp_path / "runs").glob("*.json"))]
    assert (tmp_path / "table.md").read_text() == text
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {"epochs.png", "activation.png", "groups-similarity-0.png", "groups-similarity-1.png"}

    found = json.loads((tmp_path / "results.json").read_text())
    by_arm = {row["arm"]: row for row in found["arms"]}
    top1 = {(row["arm"], row["seed"]): row["top1"] for row in found["runs"]}
    mean = np.mean([top1["similarity", seed] - top1["unmerged", seed] for seed in (0, 1)])
    assert by_arm["similarity"]["less_unmerged"] == pytest.approx(mean)
    assert by_arm["similarity"]["less_unmerged_low"] <= mean <= by_arm["similarity"]["less_unmerged_high"]
    assert all(row["law_exact"] for row in found["runs"])
    assert f"| {by_arm['unmerged']['top1']:.2f} ± " in text
    assert set(found["activation_spans"]) == {"single task", "MTL, a branch per task", "similarity, before merging",
                                              "similarity, merged"}  # fmt: skip


def _trunk() -> nn.Sequential:
    return networks.mnist_trunk(0.25)
