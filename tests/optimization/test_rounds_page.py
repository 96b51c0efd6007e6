"""The page of an experiment in rounds: its numbers are the status's, and it says no more than these do."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from evaluation.formatting import format_interval, format_number
from optimization.online.lift_figure import LOOKS, draw_lift_figure, lift_figure
from optimization.online.page import render_rounds, write_rounds
from optimization.online.rounds import Rounds
from ranking import Utility

HEADS = {"click": 1, "<save>": 1, "hide": -1}
BASELINE = {"click": 0.5, "<save>": 0.25, "hide": -0.25}


def cheap(space: Any, observations: Any, *, count: int = 1, seed: int, **_: Any) -> Any:
    """In place of Ax."""
    return space.random(count, seed)


def believed(space: Any, observations: Any, metric: str, shares: Any) -> Any:
    """In place of Ax: every observed mean as it is."""
    known = {tuple(o.shares): o.values[metric][0] for o in observations}
    return np.array([known[tuple(row)] for row in shares]), np.zeros(len(shares))


def begin(folder: Path, **options: Any) -> Rounds:
    options = {"groups": 3, "propose": cheap, "posterior": believed, **options}
    return Rounds.create(folder / "exp", HEADS, BASELINE, **options)


def give(rounds: Rounds, values: dict[str, float], metric: str = "utility", error: float = 0.01) -> None:
    table = {"group": list(values), "metric": metric, "value": list(values.values()), "standard_error": error}
    rounds.ingest(pd.DataFrame(table))


def contents(rounds: Rounds) -> tuple[dict[str, Any], dict[str, Any]]:
    """As they would come back from a file."""
    status, design = rounds.status().to_dict(), rounds.design.to_dict()
    return json.loads(json.dumps(status, allow_nan=False)), json.loads(json.dumps(design, allow_nan=False))


def page_of(rounds: Rounds) -> str:
    return render_rounds(*contents(rounds))


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """Cells by first cell of the table below a heading."""
    part = page[page.index(f">{heading}</h") :]
    table = part[part.index("<table>") : part.index("</table>")]
    lines = [re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL) for row in table.split("<tr")]
    plain = [[unescape(re.sub(r"<[^>]+>", " ", cell)).strip() for cell in line] for line in lines if line]
    return {line[0].removesuffix(" (best)"): line[1:] for line in plain}


@pytest.fixture
def two_rounds(tmp_path: Path) -> Rounds:
    """r1-a the best, r1-c higher but against the constraint; of the second round one group is still out."""
    rounds = begin(tmp_path, constraints=["hides <= 0.1"], record=["clicks"])
    rounds.propose()
    give(rounds, {"r1-control": 1.0, "r1-a": 1.2, "r1-b": 0.9, "r1-c": 1.3})
    give(rounds, {"r1-control": 0.05, "r1-a": 0.06, "r1-b": 0.04, "r1-c": 0.2}, "hides", 0.001)
    give(rounds, {"r1-a": 7.0}, "clicks")
    rounds.propose()
    give(rounds, {"r2-control": 3.0, "r2-a": 3.1, "r2-b": 2.9})
    give(rounds, {"r2-control": 0.05, "r2-a": 0.05}, "hides", 0.001)
    return rounds


def test_every_number_of_the_status_is_on_the_page(two_rounds: Rounds) -> None:
    status, design = contents(two_rounds)
    page = render_rounds(status, design)
    text = unescape(page)
    for sentence in status["sentences"]:
        assert sentence in text
    assert Utility.from_mapping(status["best"]["weights"]).to_toml() in text
    groups = rows(page, "Every group against its control")
    assert list(groups) == [group["group"] for group in status["groups"]]
    for group in status["groups"]:
        cells = groups[group["group"]]
        assert cells[:2] == [group["kind"], group["state"]]
        assert cells[2:5] == [format_number(group[head]) for head in HEADS]
    for reading in status["readings"]:
        where = "Every group against its control" if reading["metric"] == "utility" else reading["metric"]
        line = " ".join(rows(page, where)[reading["group"]])
        for number in (format_number(reading["value"]), format_number(reading["standard_error"])):
            assert number in line
        assert format_number(reading["lift"], signed=True) in line
        assert format_interval(reading["low"], reading["high"], signed=True) in line
    compared = rows(page, "The weights compared")
    assert next(iter(compared)) == "r1-c"  # the best expected first, though it is not allowed
    for arm in status["arms"][1:]:
        line = compared[arm["groups"]]
        assert format_number(arm["expected"], signed=True) == line[2]
        assert format_interval(arm["low_all"], arm["high_all"], signed=True) == line[1]
        assert line[3].startswith(format_number(arm["slack of hides <= 0.1"], signed=True))


def test_constraints_and_what_is_missing_are_said_of_the_right_groups(two_rounds: Rounds) -> None:
    page = page_of(two_rounds)
    groups = rows(page, "Every group against its control")
    said = {name: cells[-1] for name, cells in groups.items()}
    assert said["r1-c"] == "breaks hides <= 0.1"
    assert said["r2-b"] == said["r2-c"] == "–"
    assert {said[name] for name in ("r1-control", "r1-a", "r1-b", "r2-control", "r2-a")} == {"hold"}
    assert re.findall(r"<td>(\S+) \(best\)</td>", page) == ["r1-a"] * 4  # in every table with groups, and nowhere else
    waiting = rows(page, "What is waiting")
    assert waiting == {"r2-b": ["hides"], "r2-c": ["utility, hides"]}


def test_the_page_stands_alone_and_is_the_same_again(two_rounds: Rounds, tmp_path: Path) -> None:
    status, design = contents(two_rounds)
    page = write_rounds(tmp_path / "report.html", status, design).read_text(encoding="utf-8")
    assert page == render_rounds(status, design)
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"|@import|<script|url\((?!#)', page)
    assert "<save>" not in page  # a head is no markup
    assert str(tmp_path) not in page


def test_before_any_number(tmp_path: Path) -> None:
    rounds = begin(tmp_path)
    page = page_of(rounds)
    assert "No round has been proposed" in page
    assert "<svg" not in page
    rounds.propose()
    page = page_of(rounds)
    assert "No treatment group can be compared with its control yet" in page
    assert "None can be named" in page
    assert "To copy" not in page
    assert list(rows(page, "What is waiting")) == ["r1-control", "r1-a", "r1-b", "r1-c"]
    give(rounds, {"r1-a": 1.0})  # a number, but no control to hold it against
    assert "<svg" not in page_of(rounds)


def test_a_metric_to_bring_down(tmp_path: Path) -> None:
    rounds = begin(tmp_path, metric="hides", maximise=False)
    rounds.propose()
    give(rounds, {"r1-control": 1.0, "r1-a": 1.2, "r1-b": 0.8, "r1-c": 0.9}, "hides")
    page = page_of(rounds)
    assert "Left of the line is better" in page
    assert "less is better" in page
    assert rows(page, "Every group against its control")["r1-b"][6].startswith("-0.2000")
    compared = rows(page, "The weights compared")
    assert list(compared) == ["r1-b", "r1-c", "control (in production)", "r1-a"]
    assert compared["r1-b"][0].startswith("+0.2000")  # a fall is a gain
    assert re.findall(r'<td class="(better|worse)">', page) == ["better", "better", "worse"]


def test_when_the_weights_in_production_are_best(tmp_path: Path) -> None:
    rounds = begin(tmp_path)
    rounds.propose()
    give(rounds, {"r1-control": 1.0, "r1-a": 0.9, "r1-b": 0.8, "r1-c": 0.7})
    page = page_of(rounds)
    assert "<p>Those in production.</p>" in page
    assert Utility.from_mapping(BASELINE).to_toml() in unescape(page)
    assert "Nothing: every group of round 1 has its numbers" in page
    assert "The star" not in page


def test_a_control_against_the_constraints_is_not_recommended(tmp_path: Path) -> None:
    rounds = begin(tmp_path, constraints=["hides <= 0.1"])
    rounds.propose()
    give(rounds, {"r1-control": 1.0, "r1-a": 0.9, "r1-b": 0.8, "r1-c": 0.7})
    give(rounds, {"r1-control": 0.2, "r1-a": 0.3, "r1-b": 0.3, "r1-c": 0.3}, "hides")
    page = page_of(rounds)
    assert "None can be named" in page
    assert "keep" not in page
    assert {cells[-1] for cells in rows(page, "Every group against its control").values()} == {"breaks hides <= 0.1"}


def figure_table() -> pd.DataFrame:
    nan = float("nan")
    return pd.DataFrame(
        [
            ("r1-a", 1, "broken", 3.0, 2.0, 4.0),
            ("r1-b", 1, "holds", -1.0, -2.0, 0.0),
            ("r2-a", 2, "best", 2.0, 1.5, 2.5),
            ("r2-b", 2, "incomplete", 1.0, 0.0, 2.0),
            ("r2-c", 2, "incomplete", nan, nan, nan),
        ],
        columns=["group", "round", "mark", "lift", "low", "high"],
    )


def test_the_figure_draws_every_group_where_it_lies() -> None:
    table = figure_table()
    canvas = draw_lift_figure(table, metric="a $b$ c")
    (axes,) = canvas.axes
    places = dict(zip([t.get_text() for t in axes.get_yticklabels()], axes.get_yticks()))
    assert list(places) == table["group"].tolist()
    assert places["r2-a"] - places["r1-b"] > places["r1-b"] - places["r1-a"]  # rounds stand apart
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first round on top
    drawn = {}
    for container in axes.containers:
        points, _, (bars,) = container.lines
        colour = to_hex(points.get_color())
        for x, y, segment in zip(points.get_xdata(), points.get_ydata(), bars.get_segments()):
            drawn[y] = (x, *segment[:, 0], colour)
    for row in table.dropna().itertuples():
        assert drawn[places[row.group]] == (row.lift, row.low, row.high, LOOKS[row.mark][0].lower())
    assert len(drawn) == 4
    assert "no lift yet" in [t.get_text() for t in axes.texts]
    assert axes.get_xlabel() == "a $b$ c: difference to the round's control (more is better)"


def test_the_figure_without_lifts_and_as_text() -> None:
    table = figure_table()
    text = lift_figure(table, metric="a $b$ <c>", maximise=False)
    assert text == lift_figure(table, metric="a $b$ <c>", maximise=False)
    assert "a $b$ &lt;c&gt;: difference to the round's control (less is better)" in text
    with pytest.raises(ValueError, match="at least one lift"):
        draw_lift_figure(table.iloc[4:], metric="m")
