"""`galleryrank simulate`: what its runs leave in their folder, that they go on, and what they refuse."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.formatting import format_number
from features import InputError
from galleryrank import cli_simulate, simulate, simulate_arms, simulate_photos, simulate_worlds
from galleryrank.simulate import simulate_ab, simulate_galleries, simulate_rounds_run
from galleryrank.simulate_photos import PhotoSizes
from galleryrank.simulate_words import lift_summary, round_summary
from galleryrank.simulate_worlds import DECLARED, HAND, OFFLINE, VALUED, Sizes, across_worlds
from optimization.online.simulated import ONLINE, ORACLE

SMALL = Sizes(properties=150, requests=1200, epochs=2)
PHOTOS = PhotoSizes(properties=80, photos=3, photo_size=32, requests=600, encoder_epochs=1, ranker_epochs=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A village instead of a city: the commands are what is tested."""
    for module in (simulate, simulate_photos, simulate_worlds):
        monkeypatch.setattr(module, "POPULATION", 2000)
    monkeypatch.setattr(simulate_arms, "CANDIDATES", 10)
    monkeypatch.setattr(simulate_arms, "SHOWN", 4)
    monkeypatch.setattr(simulate_arms, "TRUTH_BLOCKS", 2)
    monkeypatch.setattr(simulate_arms, "TRUTH_BLOCK", 300)
    monkeypatch.setattr(simulate_worlds, "JUDGED_ON", 200)
    monkeypatch.setattr(simulate_worlds, "SWEEP", 16)
    monkeypatch.setattr(simulate_worlds, "CHECKS", 5)


def metrics_of(out: Path) -> dict:
    return json.loads((out / "metrics.json").read_text(encoding="utf-8"))


def test_ab_leaves_a_report_and_goes_on_after_a_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ab"
    simulate_ab(out, seed=2, requests=4000, sizes=SMALL, format="json")
    found = metrics_of(out)
    assert json.loads(capsys.readouterr().out) == found
    (block,) = found["experiments"]
    assert (block["treatment"], block["control"]) == ("multi-head", "single head")
    assert sum(arm["requests"] for arm in block["arms"].values()) == 4000
    assert {(r["head"], r["measure"]) for r in block["lifts"]} == {
        (head, measure) for head in ("closeup", "click", "long_click", "save") for measure in ("propensity", "volume")
    }
    page = (out / "report.html").read_text(encoding="utf-8")
    for r in block["lifts"]:
        assert format_number(r["lift"], signed=True) in page
        assert format_number(r["true_lift"], signed=True) in page
    assert not re.search(r'(src|href)="http', page)  # opens offline
    with pytest.raises(InputError, match="finished"):
        simulate_ab(out, seed=2, requests=4000, sizes=SMALL, quiet=True)
    (out / "report.html").unlink()  # as a kill before the end would leave it
    (out / "metrics.json").unlink()
    with pytest.raises(InputError, match="another seed"):
        simulate_ab(out, seed=3, requests=4000, sizes=SMALL, quiet=True)
    simulate_ab(out, seed=2, requests=4000, sizes=SMALL, quiet=True)
    assert metrics_of(out) == found
    assert capsys.readouterr().err == ""  # quiet


def test_rounds_leave_a_report_whose_numbers_are_those_of_metrics_json(tmp_path: Path) -> None:
    out = tmp_path / "rounds"
    simulate_rounds_run(out, seed=1, rounds=1, groups=2, requests_per_group=1000, sizes=SMALL, quiet=True)
    found = metrics_of(out)
    policies = pd.DataFrame(found["policies"])
    assert policies["policy"].tolist() == [HAND, OFFLINE, VALUED, DECLARED, ONLINE, ORACLE]
    assert [group["group"] for group in found["groups"]] == ["r1-control", "r1-a", "r1-b"]
    page = (out / "report.html").read_text(encoding="utf-8")
    for record in found["policies"]:
        assert format_number(record["utility"]) in page
    for record in found["groups"]:
        assert format_number(record["value"]) in page
    assert (out / "rounds" / "journal.jsonl").is_file()


def test_galleries_compare_on_properties_that_nobody_has_met(tmp_path: Path) -> None:
    out = tmp_path / "galleries"
    simulate_galleries(out, seed=1, requests=1500, sizes=PHOTOS, quiet=True)
    found = metrics_of(out)
    assert [block["title"] for block in found["experiments"]] == ["New properties", "Properties of the log"]
    assert found["meta"]["new properties"] + found["meta"]["properties of the log"] == PHOTOS.properties
    world = simulate_photos.PhotoWorld(out, 1, PHOTOS, lambda _: None)
    dataset = simulate_photos.Dataset.open(world.description, vectors=False)
    seen = set(dataset.table(["train", "calibrate"], ["item_id"])["item_id"].to_pylist())
    assert not seen & set(world.new_items.tolist())
    answers = {galleries: world.table(galleries).values for galleries in (True, False)}
    assert not np.array_equal(answers[True], answers[False])


def test_options_out_of_range_are_named_at_once_and_claim_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        simulate_rounds_run(tmp_path / "no", seed=-1, rounds=0, groups=0, requests_per_group=0)
    assert all(f"--{name}" in str(error.value) for name in ("seed", "rounds", "groups", "requests-per-group"))
    with pytest.raises(InputError, match="--groups: must be at most 26"):
        simulate_rounds_run(tmp_path / "no", groups=27)
    with pytest.raises(InputError, match="--requests: must be at least 1000, got 40"):
        simulate_ab(tmp_path / "no", requests=40)
    with pytest.raises(InputError, match="--format"):
        simulate_ab(tmp_path / "no", format="xml")
    assert not (tmp_path / "no").exists()


def test_the_commands_have_the_defaults_of_what_they_call() -> None:
    def default(command: object, name: str) -> object:
        return inspect.signature(command).parameters[name].default  # type: ignore[arg-type]

    assert default(cli_simulate.ab, "requests") == default(cli_simulate.galleries, "requests") == simulate.REQUESTS
    assert default(cli_simulate.simulated_rounds, "requests_per_group") == simulate_worlds.REQUESTS_PER_GROUP
    for name, own in (("count", "rounds"), ("groups", "groups"), ("days_per_round", "days_per_round")):
        assert default(cli_simulate.simulated_rounds, name) == default(simulate_rounds_run, own)


def policies(offline: float, online: float, control: float = 0.0) -> pd.DataFrame:
    names = [HAND, OFFLINE, ONLINE, ORACLE, DECLARED, VALUED]
    rounds = [0, 0, 1, 0, 0, 0]
    lift = [control, offline, online, 2.0, 0.0, 0.5]
    return pd.DataFrame({"policy": names, "round": rounds, "lift": lift, "low": lift, "high": lift})


def test_worlds_are_summed_up_by_t_interval_and_sign_test() -> None:
    """Six worlds by hand: online - offline = 1, 2, 3, 0, 1, -1."""
    worlds = [policies(0.5, 0.5 + d) for d in (1.0, 2.0, 3.0, 0.0, 1.0, -1.0)]
    table = across_worlds(worlds).set_index(["rounds", "against"])
    row = table.loc[(1, OFFLINE)]
    assert (row["worlds"], row["better"], row["equal"], row["worse"]) == (6, 4, 1, 1)
    error = np.std([1, 2, 3, 0, 1, -1], ddof=1) / np.sqrt(6)
    assert [row["mean"], row["low"], row["high"]] == pytest.approx([1, 1 - 2.570582 * error, 1 + 2.570582 * error])
    assert row["p"] == pytest.approx(2 * (1 + 5) / 2**5)  # two-sided: 4 or 5 of 5, or as few
    assert row["share"] == pytest.approx(0.8)
    # without any round: the hand-picked weights (0) against the offline-tuned ones (.5), and not against themselves
    before = table.loc[(0, OFFLINE)]
    assert (before["mean"], before["better"], before["worse"]) == (-0.5, 0, 6)
    assert (0, HAND) not in table.index
    assert np.isnan(table.loc[(0, DECLARED), "p"])  # equal in every world: nothing to test


def test_words_of_rounds_are_those_that_the_paired_interval_deserves() -> None:
    def words(gain: float, half: float, online: float = 1.0) -> str:
        gains = pd.DataFrame({"round": [1], "against": OFFLINE, "gain": gain, "low": gain - half, "high": gain + half})
        table = policies(online - gain, online)
        table["high"] += 0.1 * (table["lift"] != 0)  # an interval, but for weights that rank as the control does
        return round_summary(table, gains)[1]

    assert words(1.5, 0.5).startswith("Online-tuned weights are better than offline-tuned ones in this world: +1.500 %")
    assert words(-1.5, 0.5).startswith("Online-tuned weights are worse")
    assert words(0.4, 0.5).startswith("No difference is shown")
    assert "The rounds left these as they were" in words(1.5, 0.5, online=0.0)
    assert "The rounds left" not in words(1.5, 0.5)


def test_words_of_an_experiment_count_the_lines_that_miss_the_truth() -> None:
    line = {"head": "click", "measure": "volume", "lift": 2.0, "low": 1.0, "high": 3.0, "verdict": "better"}
    block = {"treatment": "ours", "control": "theirs"}
    assert lift_summary(block | {"lifts": [line | {"true_lift": 1.5}]})[-1].endswith("in 1 of 1 lines.")
    undefined = line | {"lift": None, "low": None, "high": None, "verdict": None, "true_lift": 1.0}
    missed = lift_summary(block | {"lifts": [line | {"true_lift": -0.5}, undefined]})[-1]
    assert "in 0 of 1 lines; it misses volume of click (truly -0.5000 %)" in missed
