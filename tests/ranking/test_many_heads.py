"""Modulation and sharing as configuration of the ranker: at the start, when scoring, on disk, and killed half-way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from features import InputError
from features.artifact import sha256
from multitask.base_losses import watch_relative
from multitask.modulation import ModulatedBottom
from multitask.progress import Event
from multitask.sharing import Branches, SelectiveSharing
from multitask.sharing.grouping import in_order
from multitask.towers import StackedTowers
from ranking import NetworkConfig, Prepared, Ranker, RankerConfig, fit_prepared, network_fitting
from ranking.artifact import FORMAT
from ranking.network_fitting import build_network, fit_network
from ranking.scorer import NetworkScorer
from ranking.training_rows import TrainingRows

SIZES = {"embedding_dim": 4, "hidden": (16, 8), "tower_hidden": 6, "dropout": 0.1}
CHOICES: dict[str, dict[str, Any]] = {
    "modulation": {"modulation": True},
    "sharing": {"sharing": "similarity"},
    "both": {"modulation": True, "sharing": "similarity"},
    "sharing-mmoe": {"sharing": "random", "trunk": "mmoe"},
    "sharing-ple": {"sharing": "dissimilarity", "trunk": "ple"},
    "modulation-cross": {"modulation": True, "cross_layers": 1},
}


def configured(base: RankerConfig, epochs: int | None = None, **network: Any) -> RankerConfig:
    training = base.training.model_copy(update={} if epochs is None else {"epochs": epochs, "patience": epochs})
    return base.model_copy(update={"network": NetworkConfig(**{**SIZES, **network}), "training": training})


@pytest.fixture(scope="module")
def sharing(prepared: Prepared, small: RankerConfig) -> tuple[Ranker, list[str]]:
    """A ranker whose heads' hidden layers may be shared, and the lines of its log."""
    lines: list[str] = []
    return fit_prepared(prepared, configured(small, 4, sharing="similarity"), log=lines.append), lines


@pytest.fixture(scope="module")
def rows(prepared: Prepared, ranker: Ranker) -> pd.DataFrame:
    columns = ranker.encoders.required_columns(serving_position=True)
    return prepared.dataset.table("test", columns).to_pandas().head(300)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modulation": True, "trunk": "mmoe"}, 'trunk = "shared_bottom", got "mmoe"'),
        ({"modulation": True, "trunk": "ple"}, 'got "ple"'),
        ({"modulation": True, "hidden": ()}, "give `hidden` at least one width"),
        ({"sharing": "similarity"}, "give tower_hidden a width above 0"),
        ({"sharing": "closest"}, "'none', 'similarity', 'dissimilarity', 'variance' or 'random'"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NetworkConfig(**values)


def test_modulation_starts_as_the_shared_bottom(prepared: Prepared, small: RankerConfig) -> None:
    """Masks of ones: the same logits, and T masks for each hidden layer more."""
    inputs = prepared.train.inputs.slice(0, 100)
    plain, modulated = (build_network(prepared.encoders, configured(small, modulation=m), 5).eval() for m in (0, 1))
    with torch.no_grad():
        torch.testing.assert_close(modulated(inputs), plain(inputs), rtol=1e-5, atol=1e-6)
    sizes = [sum(p.numel() for p in network.parameters()) for network in (plain, modulated)]
    assert sizes[1] - sizes[0] == 5 * (16 + 8)


@pytest.mark.parametrize("name", CHOICES)
def test_scoring_equals_the_plain_forward_pass(prepared: Prepared, small: RankerConfig, name: str) -> None:
    network = build_network(prepared.encoders, configured(small, **CHOICES[name]), 5).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))  # away from masks of ones and equal branches
    inputs = prepared.train.inputs.slice(0, 300)
    with torch.no_grad():
        expected = network(inputs).numpy()
    scorer = NetworkScorer(network)
    np.testing.assert_allclose(scorer.logits(inputs), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scorer.with_precision("bfloat16").logits(inputs), expected, atol=0.1)


@pytest.mark.parametrize("name", CHOICES)
def test_what_is_loaded_scores_bit_for_bit_alike(
    prepared: Prepared, small: RankerConfig, rows: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    saved = fit_prepared(prepared, configured(small, **CHOICES[name]))
    loaded = Ranker.load(saved.save(tmp_path / "model"))
    pd.testing.assert_frame_equal(loaded.predict(rows), saved.predict(rows), check_exact=True)
    assert loaded.config == saved.config
    card = (tmp_path / "model" / "README.md").read_text()
    assert ("by masks of its own" in card) == saved.config.network.modulation


def test_heads_come_to_share(sharing: tuple[Ranker, list[str]], tmp_path: Path) -> None:
    """Groups in the history, the log, the model card and config.json are those of the weights that were kept."""
    ranker, lines = sharing
    network, record = ranker.scorer.network, ranker.info["history"]["sharing"]
    assert ranker.tree is not None
    branches = network.towers
    assert isinstance(branches, Branches)
    assert branches.n_groups < branches.n_tasks == len(ranker.tree.nodes)
    assert sorted(name for group in record["groups"] for name in group) == sorted(ranker.tree.nodes)
    assert len(record["groups"]) == branches.n_groups
    assert [epoch["epoch"] for epoch in record["epochs"]] == list(range(len(record["epochs"])))
    assert record["epochs"][-1]["parameters"] == sum(p.numel() for p in branches.parameters())
    together = " with ".join(next(group for group in record["groups"] if len(group) > 1))
    model = ranker.save(tmp_path / "model")
    assert any(together in line for line in lines), lines
    assert together in (model / "README.md").read_text()
    assert "`any`: the head of any engagement at all" in (model / "README.md").read_text()
    assert json.loads((model / "config.json").read_text())["group_of"] == branches.group_of.tolist()


def test_a_merged_model_is_loaded_with_its_groups(
    sharing: tuple[Ranker, list[str]], rows: pd.DataFrame, tmp_path: Path
) -> None:
    saved = sharing[0]
    loaded = Ranker.load(saved.save(tmp_path / "model"))
    assert loaded.scorer.network.towers.n_groups == saved.scorer.network.towers.n_groups
    pd.testing.assert_frame_equal(loaded.predict(rows), saved.predict(rows), check_exact=True)


def rewritten(model: Path, change: Callable[[dict[str, Any]], None], format: int = FORMAT) -> Path:
    """The model directory with another config.json (and format), whose checksums fit."""
    config, manifest = (json.loads((model / name).read_text()) for name in ("config.json", "manifest.json"))
    change(config)
    (model / "config.json").write_text(json.dumps(config))
    manifest["sha256"]["config.json"] = sha256(model / "config.json")
    (model / "manifest.json").write_text(json.dumps(manifest | {"format": format}))
    return model


def other_members(of: list[int]) -> list[int]:
    """As many groups with other members."""
    changed = ([*of[:t], g, *of[t + 1 :]] for t in range(len(of)) for g in range(max(of) + 1) if g != of[t])
    return next(new for new in changed if max(new) == max(of) and in_order(new).tolist() == new)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda of: list(range(len(of))), "layers.0.weight` must be"),  # other numbers of groups: other shapes
        (lambda of: of[1:], "does not hold the groups of this model's heads: `group_of` must have shape"),
        (lambda of: [g + 1 for g in of], "must number the groups"),
        (lambda of: other_members(of), r"model\.safetensors: must hold the groups \[.* of config\.json"),
        (lambda of: "all", "does not hold the groups"),
    ],
)
def test_other_groups_than_the_weights_are_refused(
    sharing: tuple[Ranker, list[str]], tmp_path: Path, change: Callable[[list[int]], Any], message: str
) -> None:
    model = sharing[0].save(tmp_path / "model")
    with pytest.raises(InputError, match=message):
        Ranker.load(rewritten(model, lambda config: config.update(group_of=change(config["group_of"]))))


def test_a_model_of_format_3_is_read(ranker: Ranker, rows: pd.DataFrame, tmp_path: Path) -> None:
    """It knew neither option."""

    def older(config: dict[str, Any]) -> None:
        del config["group_of"]
        for name in ("modulation", "sharing"):
            del config["config"]["network"][name]

    model = rewritten(ranker.save(tmp_path / "model"), older, format=3)
    pd.testing.assert_frame_equal(Ranker.load(model).predict(rows), ranker.predict(rows), check_exact=True)


@pytest.mark.parametrize("name", ["modulation", "sharing"])
def test_a_killed_fit_goes_on_to_the_same_bits(
    prepared: Prepared, small: RankerConfig, sharing: tuple[Ranker, list[str]], tmp_path: Path, name: str
) -> None:
    config = configured(small, 4, **CHOICES[name])
    whole = sharing[0] if name == "sharing" else fit_prepared(prepared, config)

    def kill(event: Event) -> None:
        if event.epoch == 3:  # groups have merged by now
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fit_prepared(prepared, config, checkpoint=tmp_path, progress=kill)  # type: ignore[arg-type]
    resumed = fit_prepared(prepared, config, checkpoint=tmp_path)
    for key, tensor in whole.scorer.network.state_dict().items():
        assert torch.equal(resumed.scorer.network.state_dict()[key], tensor), key
    ours, theirs = (r.info["history"].get("sharing") for r in (resumed, whole))
    for record in (ours, theirs):
        for epoch in record["epochs"] if record else []:
            del epoch["clustering_seconds"]  # of the clock
    assert ours == theirs


def test_the_observer_is_what_the_settings_say_and_sees_relative_losses(
    prepared: Prepared, small: RankerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, bases = list[SelectiveSharing](), list[torch.Tensor]()

    def noted(*arguments: Any, **settings: Any) -> SelectiveSharing:
        made.append(SelectiveSharing(*arguments, **settings))
        return made[-1]

    def watched(watch: Any, losses: Any, base: torch.Tensor) -> Any:
        bases.append(base)
        assert watch.__self__ is made[0]
        return watch_relative(watch, losses, base)

    monkeypatch.setattr(network_fitting, "SelectiveSharing", noted)
    monkeypatch.setattr(network_fitting, "watch_relative", watched)
    config = configured(small, 1, sharing="variance")
    training = config.training.model_copy(update={"seed": 7})
    ranker = fit_prepared(prepared, config.model_copy(update={"training": training}))
    assert ranker.tree is not None
    assert [(own.directive, own.seed, own.task_names) for own in made] == [("variance", 7, list(ranker.tree.nodes))]
    assert [len(base) for base in bases] == [len(ranker.tree.nodes)]
    assert float(bases[0].min()) < 0.6 * float(bases[0].max())  # rare heads and common ones


def test_what_one_output_or_trees_do_not_read_is_said(prepared: Prepared, small: RankerConfig, tmp_path: Path) -> None:
    """The single head of eq. 1 has nobody to share with; the network has neither masks nor branches."""
    both = configured(small, 1, sharing="similarity", modulation=True)
    for update, what in (
        ({"objective": "importance"}, "the single score of importance"),
        ({"model": "lightgbm"}, "lightgbm"),
    ):
        lines: list[str] = []
        ranker = fit_prepared(prepared, both.model_copy(update=update), log=lines.append)
        assert f"not read by {what}: network.modulation, network.sharing" in lines
        assert "sharing" not in ranker.info["history"]
        card = (ranker.save(tmp_path / what) / "README.md").read_text()
        assert "masks of its own" not in card
        assert "Hidden layers" not in card
        if what != "lightgbm":
            network = Ranker.load(tmp_path / what).scorer.network
            assert isinstance(network.towers, StackedTowers)
            assert not isinstance(network.trunk, ModulatedBottom)
    lines = []
    fit_prepared(prepared, both, log=lines.append)
    assert not any("not read" in line for line in lines)


def test_two_heads_are_not_clustered(prepared: Prepared, small: RankerConfig) -> None:
    log, columns = prepared.train, torch.tensor([0, 1])
    rows = TrainingRows(log.inputs, log.labels[:, columns].float(), None)
    config = configured(small, 2, sharing="similarity")
    held_out, loss = prepared.held_out.inputs, lambda z: float(np.square(z).mean())
    settings: dict[str, Any] = {"checkpoint": None, "progress": False, "device": "cpu"}
    _, history = fit_network(prepared.encoders, rows, ("click", "save"), config, held_out, loss, **settings)
    assert history["sharing"]["groups"] == [["click"], ["save"]]
    assert [epoch["locked"] for epoch in history["sharing"]["epochs"]] == [True, True]
