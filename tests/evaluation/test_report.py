"""The page: what it says is what metrics.json holds, and it needs nothing but itself."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.counterfactual.estimating import estimate_reranking
from evaluation.counterfactual.reranking import Reranking
from evaluation.formatting import format_number
from evaluation.report import Figure, evaluation_figures, render_report, write_report
from evaluation.report.figures import themed
from evaluation.report.numbers import FORMS, resolve
from evaluation.report.words import arrows
from evaluation.slicing.slices import Slices
from evaluation.summary.evaluating import evaluate_predictions

NAMES = ["close/up", "click"]  # a head may be called anything
ROWS = 3_000


def arrays(rows: int = ROWS) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(rows, 1)) + 0.3 * rng.normal(size=(rows, 2))
    p = 1 / (1 + np.exp(np.array([1.0, 2.5]) - signal))
    platform = rng.choice(["web", "tv"], rows)
    return {
        "labels": (rng.random(p.shape) < p * np.where(platform == "tv", 0.6, 1.0)[:, None]).astype(float),
        "probabilities": p,
        "requests": rng.integers(0, rows // 10, rows),
        "names": NAMES,
        "weights": rng.choice([1.0, 5.0], rows),
        "p_any": 1 - np.prod(1 - p, axis=1),
        "stages": {"naive": 0.6 * p},
        "utility": {"close/up": 0.3, "click": 0.7},
        "comparisons": {"trees & <more>": signal + rng.normal(size=p.shape), "single": signal[:, 0]},
        "logged_position": (1.1 * p).clip(0, 1),
        "slices": [
            Slices.of("platform", platform, expected=["web", "tv", "<watch>"]),
            Slices.of("position", rng.integers(1, 11, rows), most=4, bins=3),
        ],
        "baseline": ("production & co", (p + 0.1 * rng.random(p.shape)).clip(0, 1)),
        "implications": {"click": "close/up"},
        "times": np.arange(rows),
        "fingerprints": {"data": "9f86d0", "candidate": "60303a", "baseline": "fd61a0"},
        "meta": {"model": "runs/<demo>", "data": "marketplace", "role": "test", "negative rate": 0.1, "seed": 7},
        "notes": ["A note of its own."],
    }


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    return json.loads(json.dumps(evaluate_predictions(**arrays()).metrics, allow_nan=False))


@pytest.fixture(scope="module")
def drawn(metrics: dict[str, Any]) -> list[Figure]:
    return evaluation_figures(metrics)


@pytest.fixture(scope="module")
def page(metrics: dict[str, Any], drawn: list[Figure]) -> str:
    return render_report(metrics, drawn, title="Evaluation of the demo")


class Page(HTMLParser):
    """The numbers that say where they come from, and the text of the table cells without them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.numbers: list[tuple[str, str]] = []
        self.forms: list[str] = []
        self.cells: list[str] = []
        self._key: str | None = None
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("td", "dd"):
            self._cell = True
            self.cells.append("")
        self._key = dict(attrs).get("data-key")
        if self._key is not None:
            self.forms.append(dict(attrs).get("data-form") or "number")

    def handle_endtag(self, tag: str) -> None:
        self._key = None
        if tag in ("td", "dd"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._key is not None:
            self.numbers.append((self._key, data))
        elif self._cell:
            self.cells[-1] += data.replace("\N{NO-BREAK SPACE}", " ")


def test_every_number_of_the_page_is_the_one_at_its_address(metrics: dict[str, Any], page: str) -> None:
    found = Page(page)
    assert len(found.numbers) == len(found.forms) > 800
    assert set(found.forms) == set(FORMS)
    for (address, text), form in zip(found.numbers, found.forms):
        assert text == FORMS[form](resolve(metrics, address)), address


def test_the_forms_of_a_number_agree_with_the_number() -> None:
    for value in (0.18777, -0.0393, 2.5161, 0.98, 0.995, -1.0, 12.344):
        for form in ("share", "change"):
            text = FORMS[form](value)
            sign, digits = (-1 if text.startswith("-") else 1), text.strip("+-").removesuffix("\N{NO-BREAK SPACE}%")
            assert sign * float(digits.replace(",", "")) / 100 == pytest.approx(
                value if form == "change" else abs(value), rel=0.03
            )
    for value in (0.006, 0.0123, 0.37143, 1.0):
        assert float(FORMS["p"](value)) == pytest.approx(value, rel=0.04)
    assert FORMS["p"](0.006) == "0.006"
    assert {FORMS[form](None) for form in FORMS} == {"–"}
    assert FORMS["change"](-1e-17) == "±0\N{NO-BREAK SPACE}%"
    assert FORMS["change"](-0.0) == "±0\N{NO-BREAK SPACE}%"


def test_changes_are_in_per_cent_everywhere(metrics: dict[str, Any], page: str) -> None:
    shown = Page(page)
    written = {address: form for (address, _), form in zip(shown.numbers, shown.forms)}
    assert any(test["change_low"] is not None for test in metrics["gate"]["tests"])
    for index, test in enumerate(metrics["gate"]["tests"]):
        if test["change_low"] is not None:
            keys = ("change", "change_low", "change_high", "detectable_share", "tolerance")
            forms = [written[f"/gate/tests/{index}/{key}"] for key in keys]
            assert forms == ["change", "change", "change", "share", "share"]
    table = page[page.index('<section id="comparison">') : page.index('<section id="slices">')]
    assert "distance to the floor" in unescape(table)
    assert "not the interval of the ratio" in table


def test_no_line_ends_between_a_number_and_its_unit(page: str) -> None:
    body = page[page.index("<body") :]
    assert re.search(r"\d\N{NO-BREAK SPACE}%", body)
    assert re.findall(r"\d %|\bp [=<] \d", body) == []
    heading = body[: body.index("</h1>")]
    assert " -&gt; " not in heading


def test_a_baseline_called_by_a_long_path_is_named_in_full_once() -> None:
    given = arrays(600)
    path = "/srv/models/runs/monday/baselines/trees"
    found = evaluate_predictions(
        given["labels"], given["probabilities"], given["requests"], names=NAMES, baseline=(path, given["baseline"][1])
    )
    page = render_report(found.metrics)
    assert found.metrics["baseline"] == path
    assert page.count(path) == 1
    assert page.index(path) > page.index('<section id="provenance">')
    assert "<th>baselines/trees</th>" in page
    assert "Change against baselines/trees" in page


def test_the_heads_table_only_says_too_much_where_the_corrected_test_agrees(metrics: dict[str, Any]) -> None:
    def said(p: float, low: float, high: float, predicted: float) -> str:
        changed = json.loads(json.dumps(metrics))
        changed["heads"]["click"]["ratio"] |= {"value": (low + high) / 2, "low": low, "high": high}
        for test in changed["calibration_tests"]:
            test |= {"p_adjusted": p, "predicted": predicted, "observed": 0.1}
        table = re.search(r'<section id="heads">.*?</table>', render_report(changed, []), flags=re.DOTALL)
        assert table is not None
        line = table[0][table[0].index("<tr><td>click</td>") :]
        word = re.search(r'<td class="word nowrap([^"]*)">(.*?)</td>', line)
        assert word is not None
        assert ("worse" in word[1]) == ("predicts" in word[2])
        return word[2]

    assert said(0.06, 1.1, 1.3, 0.2) == "above 1"
    assert said(0.05, 1.1, 1.3, 0.2) == "▲ predicts too much"
    assert said(0.05, 1.1, 1.3, 0.05) == "above 1"  # the test found that it predicts too little somewhere
    assert said(0.06, 0.7, 0.9, 0.05) == "below 1"
    assert said(0.01, 0.7, 0.9, 0.05) == "▼ predicts too little"
    assert said(0.01, 0.9, 1.1, 0.05) == "agrees"


def test_figure_table_and_json_go_by_one_p_value(metrics: dict[str, Any]) -> None:
    """Likely by itself (p = .03), not after correction for the heads: nowhere said to be off."""
    changed = json.loads(json.dumps(metrics))
    changed |= {"gate": None, "utility": None, "slices": [], "worst_segments": [], "reliability": []}  # nor drawn
    for test in changed["calibration_tests"]:
        test |= {"p_value": 0.03, "p_adjusted": 0.06, "rejected": False, "sentence": "No sign of it (p = 0.06)."}
    page = render_report(changed, [figure for figure in evaluation_figures(changed) if figure.section == "cumulative"])
    picture = page[page.index("<svg") : page.index("</svg>")].replace("\N{NO-BREAK SPACE}", " ")
    assert picture.count("not shown to be off, p = 0.06 (Holm)") == len(NAMES)
    assert "0.03 " not in picture
    assert "✗ predicts" not in page
    assert page.count("✓ not shown to be off") == len(NAMES)


def test_no_table_cell_holds_a_number_without_an_address(page: str) -> None:
    text = " ".join(cell for cell in Page(page).cells if not re.fullmatch(r"[0-9a-f]{6}", cell.strip()))
    for named in ("0-33 %", "33-67 %", "67-90 %", "90-100 %", "1 to 3", "4 to 7", "8 to 10", "version"):
        text = text.replace(named, "")
    times = re.findall(r"\b\d+ to \d+\b", text)  # the periods of the drift
    assert set(times) == {"0 to 1516", "1517 to 2999"}
    for named in set(times):
        text = text.replace(named, "")
    assert re.findall(r"(?<![\w.])[-+]?\d[\d.,]*", text) == []


def test_the_page_shows_every_number_that_people_ask_for(metrics: dict[str, Any], page: str) -> None:
    shown = {address for address, _ in Page(page).numbers}
    for head in ("close~1up", "click"):
        for metric in ("ap", "auc", "log_loss", "normalised_entropy", "brier", "ratio", "base_rate"):
            assert {f"/heads/{head}/{metric}/{part}" for part in ("value", "low", "high")} <= shown
    for index, record in enumerate(metrics["gate"]["tests"]):
        assert {f"/gate/tests/{index}/{key}" for key in ("candidate", "baseline", "p_holm", "tolerance")} <= shown
        if record["change_low"] is not None:
            assert f"/gate/tests/{index}/change_low" in shown
    for key in ("slices", "request_metrics", "calibration_tests", "worst_segments", "drift", "implications"):
        assert metrics[key], key
        for index in range(len(metrics[key])):
            assert any(address.startswith(f"/{key}/{index}/") for address in shown), (key, index)
    for index in range(len(metrics["reliability"])):
        assert f"/reliability/{index}/observed" in shown
    for stage in range(len(metrics["calibration"])):
        assert f"/calibration/{stage}/ratio" in shown
    assert {"/utility/predicted/value", "/utility/weights/click", "/comparisons/single/0/difference"} <= shown
    assert {"/rows", "/requests", "/weight", "/meta/seed", "/position/0/difference"} <= shown


def test_the_verdict_is_the_first_thing_said(metrics: dict[str, Any], page: str) -> None:
    body = re.sub(r"<[^>]+>", "", page[page.index("<h1") : page.index("</h1>")])
    said = " ".join(unescape(body).split())
    word, _, rest = metrics["verdict"]["sentence"].partition(": ")
    assert said.endswith(arrows(rest))
    assert word in said
    assert page.index("<h1") < page.index("<table")
    assert f'class="verdict {metrics["verdict"]["word"]}"' in page


def test_what_to_look_at_is_listed_in_order(metrics: dict[str, Any], page: str) -> None:
    assert metrics["look_at"]
    text = unescape(page).replace("\N{NO-BREAK SPACE}", " ")
    places = [text.index(arrows(item["sentence"])) for item in metrics["look_at"]]
    assert places == sorted(places)
    assert any("platform tv" in item["sentence"] for item in metrics["look_at"])


def test_a_slice_without_rows_is_listed_as_empty(metrics: dict[str, Any], page: str) -> None:
    empty = [record for record in metrics["slices"] if record["slice"] == "<watch>"]
    assert {record["rows"] for record in empty} == {0}
    assert {record["value"] for record in empty} == {None}
    assert "&lt;watch&gt; <em>(empty)</em>" in page
    assert "Slices without a row: platform &lt;watch&gt;." in page


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    for fetched in ("<script", "<link", "<img", "<iframe", "@import", "src="):
        assert fetched not in page
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http:" not in without_names
    assert "https:" not in without_names
    assert re.findall(r"url\((?!#)", without_names) == []


def test_what_users_name_is_escaped(page: str) -> None:
    for text in ("runs/&lt;demo&gt;", "trees &amp; &lt;more&gt;", "production &amp; co"):
        assert text in page
    for text in ("<demo>", "<more>", "<watch>"):
        assert text not in page


def test_the_contents_lead_to_every_section_and_each_begins_with_a_sentence(page: str) -> None:
    links = re.findall(r'<a href="#(\w+)">(.*?)</a>', page)
    sections = re.findall(r'<section id="(\w+)">\s*<h2>(.*?)</h2>\s*<p>', page)
    assert links == sections
    assert [words for _, words in links] == [
        "Heads at a glance", "What to look at", "Against the baseline", "Slices", "Calibration",
        "Ranking within requests", "Utility", "Other models", "Cost of the serving position", "Data and model",
        "Notes on method",
    ]  # fmt: skip


def test_sections_without_content_are_left_out() -> None:
    given = arrays(400)
    found = evaluate_predictions(given["labels"], given["probabilities"], given["requests"], names=NAMES)
    page = render_report(found.metrics, [])
    assert re.findall(r'<section id="(\w+)">', page) == [
        "heads", "look", "calibration", "requests", "provenance", "notes",
    ]  # fmt: skip


def test_ids_are_unique_among_references_of_the_figures(page: str) -> None:
    defined = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(defined)) == len(defined)
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page))
    assert {a or b for a, b in used} <= set(defined)


def test_figures_have_text_alternatives_and_carry_the_numbers_as_text(
    metrics: dict[str, Any], drawn: list[Figure]
) -> None:
    figures = {figure.section: figure.svg for figure in drawn}
    assert {"comparison", "slices", "calibration", "cumulative", "segments", "reliability", "utility"} <= set(figures)
    for figure in drawn:
        assert re.search(r'<svg [^>]*role="img" aria-label="[^"]{20,}"', figure.svg), figure.title
    for head in NAMES:
        assert f"Brier {format_number(metrics['heads'][head]['brier']['value'])}" in figures["reliability"]
        assert head in figures["calibration"]
        assert head in figures["slices"]
    lowest = min(
        (record for record in metrics["slices"] if (record["metric"], record["head"]) == ("auc", "click")),
        key=lambda record: record["value"] if record["value"] is not None else 2.0,
    )
    assert f"click: from {format_number(lowest['value'])} in {lowest['column']} {lowest['slice']}" in figures["slices"]
    for stage in metrics["stages"]:
        assert stage in figures["calibration"]
        assert stage in figures["reliability"]


def test_pictures_take_their_colours_from_the_page() -> None:
    drawn = '<path style="fill: #ffffff; stroke: #0072b2; stroke-width: 2"/><text style="fill: #222222">#222222</text>'
    assert themed('<svg style="width:100%;max-width:300pt">').endswith('max-width:300pt;--drawn:300pt">')
    assert themed(drawn) == (
        '<path style="fill: var(--paper, #ffffff); stroke: var(--blue, #0072b2); stroke-width: 2"/>'
        '<text style="fill: var(--ink, #222222)">#222222</text>'
    )


def test_the_same_metrics_give_the_same_bytes(metrics: dict[str, Any], page: str) -> None:
    assert render_report(metrics, title="Evaluation of the demo") == page


def test_reasons_replace_what_is_undefined_and_pictures_do_not_fail(tmp_path: Path) -> None:
    labels = np.array([[0.0, np.nan], [0.0, np.nan], [0.0, np.nan]])
    p = np.array([[0.0, 0.2], [0.5, 0.2], [1.0, 0.2]])
    result = evaluate_predictions(
        labels, p, [1, 2, 3], names=["closeup", "click"], p_any=[0.1, 0.5, 0.9], baseline=("old", p),
        slices=[Slices.of("platform", ["web", "web", "tv"])],
    )  # fmt: skip
    text = write_report(tmp_path / "report.html", result.metrics).read_text(encoding="utf-8")
    assert "closeup, base rate: no positive row: no interval." in text
    assert "closeup, PR-AUC, AUC, normalised entropy and predicted / observed: no positive row." in text
    assert re.search(r"click, [^<]*PR-AUC[^<]*Brier score: no row with a label\.", text)
    assert result.metrics["verdict"]["word"] == "inconclusive"
    assert not re.search(r"\bnan\b", re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL))
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_utility_with_negative_weights_is_drawn_on_linear_axes() -> None:
    rng = np.random.default_rng(1)
    p = rng.random((300, 2))
    labels = (rng.random((300, 2)) < p).astype(float)
    result = evaluate_predictions(
        labels, p, np.arange(300) // 5, names=["click", "hide"], utility={"click": 1.0, "hide": -1.0}
    )
    assert result.metrics["utility"]["scale"] == "linear"
    assert "realised weighted engagement" in evaluation_figures(result.metrics)[-1].svg


def test_own_figures_are_shown_at_their_place(metrics: dict[str, Any]) -> None:
    figure = Figure("more", "Another picture", "How to read it.", "<svg id='mine'></svg>")
    page = render_report(metrics, [figure])
    assert "<svg id='mine'></svg>" in page
    assert page.count("<svg") == 1
    assert page.index("Another picture") > page.index("Notes on method")


def test_a_counterfactual_evaluation_is_told_with_its_numbers() -> None:
    rng = np.random.default_rng(4)
    requests, places = np.repeat(np.arange(200), 3), np.tile([1, 2, 3], 200)
    items = np.concatenate([rng.permutation(3) for _ in range(200)])
    new = Reranking.of(-items, items, requests, places, np.full(600, 1 / 3))
    clicks = (rng.random((600, 1)) < 0.5 / places[:, None] * (items[:, None] + 1) / 3).astype(float)
    found = estimate_reranking(new, clicks, names=["click"], relevance=np.full((600, 1), 0.3)).to_dict()
    result = evaluate_predictions(clicks, np.full((600, 1), 0.3), requests, names=["click"], counterfactual=found)
    page = render_report(result.metrics, [])
    shown = dict(Page(page).numbers)
    for index, record in enumerate(found["table"]):
        assert shown[f"/counterfactual/table/{index}/value"] == format_number(record["value"])
    assert re.search(r'<section id="counterfactual">.*doubly robust \(DR\)', page, flags=re.DOTALL)
    assert "Support: " in page
