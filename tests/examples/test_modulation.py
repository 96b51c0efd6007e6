"""The retrieval studies: triplets, data, arms, tiny runs, the tables' numbers, what a study writes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # as `python -m examples.modulation` has it

from examples.modulation import depth, many_tasks, paper, runs, study, tables, toy  # noqa: E402
from examples.modulation.__main__ import main  # noqa: E402
from examples.modulation.arms import TITLES, NetworkSizes, make_arm  # noqa: E402
from examples.modulation.attributes import make_attributes  # noqa: E402
from examples.modulation.claims import above, ahead  # noqa: E402
from examples.modulation.footwear import TASKS, bare_titles, load_footwear  # noqa: E402
from examples.modulation.images import UNKNOWN, Images, Triplets, draw_triplets, triplet_table  # noqa: E402
from examples.modulation.retrieval import nearest, retrieval_sheet  # noqa: E402
from examples.modulation.runs import Runs, Sizes, Unit, units  # noqa: E402
from multitask.interference import diagnostic  # noqa: E402

TINY = Sizes(network=NetworkSizes(48, (4, 8, 8, 8, 8), 16), triplets=8, tested=50, alone=4, record=1)


@pytest.fixture(scope="module")
def images() -> Images:
    return make_attributes(present=20, train=60, test=30, size=48, seed=0)


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A diagnostic of two batches, one thread."""
    monkeypatch.setattr(runs, "DIAGNOSTIC_BATCHES", 2)
    monkeypatch.setattr(runs, "DIAGNOSTIC_TRIPLETS", 2)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ------------------------------------------------------------------------------------------------ triplets
def test_triplets_are_of_one_class_and_another_and_of_the_rows_alone() -> None:
    random = np.random.default_rng(0)
    labels = random.choice([UNKNOWN, 0, 1, 2, 7], size=300, p=[0.1, 0.7, 0.1, 0.09, 0.01])
    rows = np.arange(0, 300, 2)
    anchor, positive, negative = draw_triplets(labels, rows, 4000, random).T
    assert (labels[anchor] == labels[positive]).all()
    assert (labels[anchor] != labels[negative]).all()
    assert (anchor != positive).all()
    drawn = np.concatenate([anchor, positive, negative])
    assert set(drawn) <= set(rows[labels[rows] != UNKNOWN])
    shares = np.unique(labels[anchor], return_counts=True)[1] / 4000
    np.testing.assert_allclose(shares, 1 / len(shares), atol=0.03)  # the class of 70 % has no more than the others


def test_triplets_need_two_classes_of_two() -> None:
    with pytest.raises(ValueError, match="two classes of two images"):
        draw_triplets(np.array([0, 0, 0, 1, UNKNOWN]), np.arange(5), 10, np.random.default_rng(0))


def test_a_task_has_the_same_triplets_whoever_else_is_trained(images: Images) -> None:
    every = triplet_table(images, images.train, 30, seed=3)
    alone = triplet_table(images.of(["a05"]), images.train, 30, seed=3)
    assert torch.equal(every[5], alone[0])
    assert not torch.equal(every[5], every[6])


def test_a_batch_holds_as_many_triplets_of_each_task(images: Images) -> None:
    three = images.of(["a03", "a00", "a01"])
    data = Triplets(three, 20, seed=0)
    batch = data.select(torch.tensor([4, 9]))
    assert batch.images.shape == (18, 3, 48, 48)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.tasks.tolist() == [0, 0, 1, 1, 2, 2] * 3
    anchors = data.triplets[:, [4, 9], 0].reshape(-1)
    expected = (three.pixels[anchors].permute(0, 3, 1, 2).float() - 127.5) / 64
    torch.testing.assert_close(batch.images[:6], expected)
    assert set(data.triplets.flatten().tolist()) <= set(three.train.tolist())


# ------------------------------------------------------------------------------------------------ data
def test_attributes_are_seen_in_the_pixels_and_related_in_families() -> None:
    made = make_attributes(7, train=500, test=0, size=48, seed=1)
    assert np.mean(made.labels[:, 0] == made.labels[:, 5]) == pytest.approx(0.5 + np.arcsin(0.75) / np.pi, abs=0.06)
    assert np.mean(made.labels[:, 0] == made.labels[:, 1]) == pytest.approx(0.5, abs=0.08)
    assert made.labels.mean() == pytest.approx(0.5, abs=0.05)
    pixels = made.pixels.flatten(1).double().numpy()
    with_it, without = (pixels[made.labels[:, 0] == label][:100].mean(0) for label in (1, 0))
    rest = np.concatenate([pixels[made.labels[:, 0] == label][100:] for label in (1, 0)])
    truth = np.concatenate([np.full((made.labels[:, 0] == label).sum() - 100, label) for label in (1, 0)])
    score = (rest - (with_it + without) / 2) @ (with_it - without)
    assert np.mean((score > 0) == truth) > 0.9
    assert torch.equal(made.pixels, make_attributes(7, 500, 0, 48, 1).pixels)


def jpeg(height: int) -> bytes:
    """A red square of 60 pixels, with green above and below if the photo is higher."""
    from PIL import Image

    file, photo = io.BytesIO(), Image.new("RGB", (60, height), (0, 250, 0))
    photo.paste((220, 30, 30), (0, (height - 60) // 2 - 3, 60, (height + 60) // 2 + 3))
    photo.save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Sixty shoes in two colours each, of which eighty are black."""
    n = 120
    table = pd.DataFrame({
        "title": [f"Brand{'abcdefghijkl'[i // 10]} Men {('Black', 'Navy Blue')[i % 2]} Run {i // 2 % 5} x Shoes"
                  for i in range(n)],
        "base_colour": ["Black", "Navy Blue"] * (n // 2),
        "article_type": ["Heels"] * 50 + ["Flats"] * 50 + ["Boots"] * 20,
        "gender": ["men", "boys", "girls", "unknown"] * (n // 4),
        "usage": ["Casual", "Sports"] * (n // 2),
        "jpeg": [jpeg(80)] * (n - 1) + [jpeg(60)],
    })  # fmt: skip
    table.to_parquet(tmp_path / "footwear.parquet")
    return tmp_path


def test_footwear_is_split_by_titles_without_colours(shop: Path) -> None:
    loaded = load_footwear(shop, 48, seed=0, test_share=0.4)
    table = pd.read_parquet(shop / "footwear.parquet")
    titles = bare_titles(table["title"], table["base_colour"])
    assert titles.str.contains("black|navy|blue|[0-9]").sum() == 0
    assert not set(titles[loaded.train]) & set(titles[loaded.test])
    assert sorted([*loaded.train, *loaded.test]) == list(range(120))
    assert len(loaded.test) > 0
    assert loaded.tasks == TASKS


def test_footwear_classes_are_the_frequent_ones(shop: Path) -> None:
    loaded = load_footwear(shop, 48, seed=0)
    assert loaded.classes[0] == ("Heels", "Flats")  # twenty boots are too few
    assert (loaded.labels[100:, 0] == UNKNOWN).all()
    assert loaded.class_name(110, 0) == "unknown"
    assert loaded.classes[1] == ("kids",)  # boys and girls; thirty men are too few, "unknown" is none
    assert loaded.pixels.shape == (120, 48, 48, 3)
    assert (loaded.pixels[..., 0] > 190).all()  # the red middle of every photo, without the green above and below


# ------------------------------------------------------------------------------------------------ arms and runs
@pytest.mark.parametrize("arm", TITLES)
def test_every_arm_embeds_under_each_task(arm: str, images: Images) -> None:
    model = make_arm(arm, ("a", "b", "c"), TINY.network).eval()
    with torch.no_grad():
        every = model.all_tasks(images.pixels[:4].permute(0, 3, 1, 2).float())
        one = model(images.pixels[:4].permute(0, 3, 1, 2).float(), tasks=torch.tensor([2, 1, 0, 2]))
    torch.testing.assert_close(every[range(4), [2, 1, 0, 2]], one)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(4))


def test_an_unknown_arm_names_the_others() -> None:
    with pytest.raises(ValueError, match=r"`arm` must be one of modulation, independent.*got 'magic'"):
        make_arm("magic", ("a",), TINY.network)


def test_additional_parameters_at_the_papers_size() -> None:
    names, full = [f"a{i}" for i in range(20)], NetworkSizes()
    found = {arm: tables.additional_parameters(arm, names, full) for arm in many_tasks.ARMS}
    assert found["modulation"] == found["only_mask"] == 20 * (128 + 128 + 256) == 10_240
    assert found["csn"] == 20 * 256
    assert found["ib_wide"] == 20 * 256 * 256
    assert found["ib_narrow"] == 20 * 256 * 25 == 128_000
    assert found["shared"] == 0
    assert found["independent"] == 19 * 2_955_040


def test_batches_are_as_large_as_the_papers() -> None:
    assert [3 * n * runs.triplets_per_step(n, 16) for n in (7, 20)] == [168, 180]


def test_the_diagnostic_of_each_tasks_own_triplets_is_that_of_all_together(images: Images) -> None:
    three = images.of(["a00", "a01", "a02"])
    data = Triplets(three, 12, seed=0)
    model = make_arm("modulation", three.tasks, TINY.network).eval()
    indices = torch.arange(12).split(6)
    whole = diagnostic(model, runs.task_losses, [data.select(i) for i in indices])
    batches = ([data.of_task(t, i) for t in range(3)] for i in indices)
    apart = diagnostic(model, runs.task_losses, batches, per_task=True)
    torch.testing.assert_close(apart.grams, whole.grams, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, images: Images) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"), lambda seed: images, TINY, [0], related=[("a00", "a01", "a02")])


def test_runs_are_found_again_and_made_again_to_the_same_numbers(made: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = Unit("modulation", ("a00", "a01", "a02"))
    first = made.results([unit])[unit.name, 0]
    assert set(first["accuracy"]) == set(unit.tasks)
    assert all(0 <= share <= 1 for share in first["accuracy"].values())
    assert first["additional"] == 3 * (8 + 8 + 16)
    assert first["steps"] == 1
    assert np.shape(first["training"]["ucr"]) == np.shape(first["diagnostic"]["ucr"]) == (3, 3)
    assert first["diagnostic"]["minibatches"] == 2
    assert len(first["distances"]) == 3
    with monkeypatch.context() as patch:
        patch.setattr(runs, "fit", None)  # nothing is trained
        assert made.results([unit])[unit.name, 0] == first
    (made.out / "runs" / f"{unit.name}-0.json").unlink()
    assert not (made.out / "runs" / f"{unit.name}-0").exists()  # the checkpoint
    again = made.results([unit])[unit.name, 0]
    timing = ("seconds", "cpu_seconds")
    assert {k: v for k, v in again.items() if k not in timing} == {k: v for k, v in first.items() if k not in timing}
    assert made.model(unit, 0).extra_parameters == first["additional"]


def test_only_the_masks_learn_on_the_branches_network(made: Runs) -> None:
    tasks = ("a00", "a01", "a02", "a03")
    masks, branches = Unit("only_mask", tasks), Unit("ib_wide", tasks)
    made.results([masks])  # the branches are trained for it
    trained, pretrained = made.model(masks, 0), made.model(branches, 0)
    for one, other in zip(trained.network.parameters(), pretrained.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert any((mask != 1).any() for mask in trained.masks().values())


def test_the_regulariser_changes_the_training(made: Runs) -> None:
    tasks = ("a00", "a01", "a02")
    found = made.results([Unit("regularised", tasks), Unit("modulation", tasks)])
    assert "training" not in found["regularised-a00+a01+a02", 0]
    losses = [found[f"{arm}-a00+a01+a02", 0]["train_loss"] for arm in ("regularised", "modulation")]
    assert losses[0] > losses[1]  # the same first step, with the penalty on top


def test_independent_networks_are_one_run_per_task() -> None:
    assert [unit.name for unit in units(["independent", "csn"], ("a", "b", "c", "d"))] == [
        "independent-a", "independent-b", "independent-c", "independent-d", "csn-4",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------ tables
def results(accuracies: dict[str, list[float]]) -> dict[tuple[str, int], dict[str, object]]:
    """Of two seeds and tasks x and y."""
    found: dict[tuple[str, int], dict[str, object]] = {}
    for arm, values in accuracies.items():
        for seed, value in enumerate(values):
            if arm == "independent":
                for task, off in (("x", -0.1), ("y", 0.1)):
                    found[f"independent-{task}", seed] = {"accuracy": {task: value + off}, "cpu_seconds": 1.0}
            else:
                found[f"{arm}-x+y", seed] = {"accuracy": {"x": value - 0.1, "y": value + 0.1}, "cpu_seconds": 5.0}
    return found


def test_the_accuracy_table_is_means_and_differences_within_seeds() -> None:
    found = results({"shared": [0.6, 0.8], "modulation": [0.7, 0.9], "independent": [0.7, 0.8]})
    text = tables.accuracy_table(
        found, ("modulation", "independent", "shared"), ("x", "y"), [0, 1], TINY.network, paper.ATTRIBUTES_20
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]
    assert rows[0][1].startswith("80.0 [-47.1")  # 0.8 -+ 12.7 x 0.1
    assert rows[0][2] == "+10.0 [+10.0, +10.0]"
    assert rows[0][3:] == ["64", "1,024", "5", "84.9", "+15.5"]
    assert rows[1][2].startswith("+5.0")
    assert rows[1][5] == "2"  # two runs of one second
    assert rows[2][2] == rows[2][7] == ""


def test_the_papers_numbers_are_consistent() -> None:
    assert len(paper.COMPLIANCE_MODULATED) == len(paper.COMPLIANCE_SHARED) == 21
    assert depth.PAPER_UCR["modulation"] - depth.PAPER_UCR["shared"] == pytest.approx(23.7, abs=1.0)
    assert set(paper.ATTRIBUTES_20) == set(many_tasks.ARMS)
    assert set(paper.ATTRIBUTES_7) == set(depth.ARMS)
    assert set(paper.TOY) == set(toy.ROWS)


def test_claims_are_about_the_mean() -> None:
    assert ahead("a", [0.8, 0.9], "b", [0.7, 0.78], 10).holds
    assert not ahead("a", [0.8, 0.9], "b", [0.7, 0.9], 10).holds
    assert ahead("a", [0.8], "b", [0.81], -2).holds
    assert not above("c", [0.1], [0.1]).holds


def test_retrieval_finds_the_nearest_and_frames_the_wrong(images: Images) -> None:
    m = len(images.test)
    line = torch.arange(m, dtype=torch.float32)[:, None]
    assert nearest(line, 3, 2) in ([2, 4], [4, 2])
    two = images.of(["a00", "a01"])
    figure = retrieval_sheet(two, {"arm": line[:, None].expand(m, 2, 1)}, query=3, count=4)
    assert len(figure.axes) == 2 * 5
    row = figure.axes[1:5]
    thick = [axes.spines["left"].get_linewidth() > 1 for axes in row]
    order = nearest(line, 3, 4)
    labels = two.labels[two.test, 0]
    assert thick == [bool(labels[found] != labels[3]) for found in order]


# ------------------------------------------------------------------------------------------------ a study
def test_a_study_writes_what_it_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study, "SMALL", TINY)
    for module in (many_tasks, toy):
        monkeypatch.setattr(module, "IMAGES", {"train": 40, "test": 20})
    given = ["toy", "--seeds", "1", "--triplets", "8", "--out", str(tmp_path)]
    assert main(given) == 0
    text, found = (tmp_path / "toy.md").read_text(), json.loads((tmp_path / "toy.json").read_text())
    assert text in capsys.readouterr().out
    assert len(found["runs"]) == 8
    record = next(run for run in found["runs"] if run["run"] == "modulation-a00+a05+a01")
    assert f"{100 * record['accuracy']['a00']:.1f}" in text
    with pytest.raises(ValueError, match="same settings"):
        main([*given[:4], "9", *given[5:]])


def test_another_process_at_work_leaves_the_tables_to_it(made: Runs) -> None:
    absent = SimpleNamespace(results=lambda wanted, settings: {}, seeds=[0])
    assert study.completed(absent, [Unit("csn", ("x", "y"))], {}) is None  # type: ignore[arg-type]
