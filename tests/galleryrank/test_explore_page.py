"""The explore page in a real browser: its numbers are Python's, and it works without a network, a mouse or an error."""

from __future__ import annotations

import json
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from evaluation import average_precision
from galleryrank.explore_page import Choices, PageRows, ShownRequest, Thumbnails, page_html
from galleryrank.run_directory import parse_utility
from galleryrank.weights import read_weights
from ranking import Utility

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

SIGNS = {"save": 1, "click": 1, "hide": -1, 'odd "näme" </script>': 1}
HEADS = list(SIGNS)
REQUESTS, SIZE = 60, 8
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


def make_rows(weighted: bool = True) -> PageRows:
    """Rows with many ties (probabilities in eighths), unequal weights, missing labels; requests of unequal length."""
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 2 * SIZE, REQUESTS)
    count = int(sizes.sum())
    p = (rng.integers(0, 9, (count, 4)) / 8).astype(np.float32)
    p[: count // 2] = rng.random((count // 2, 4), dtype=np.float32)
    labels = (rng.random((count, 4)) < 0.15 + 0.3 * p).astype(np.float32)
    labels[rng.random(count) < 0.2, 1] = np.nan
    weights = rng.choice([1.0, 1 / np.float32(0.3)], count) if weighted else np.ones(count)
    items = pa.array([f"item-{i:03d}" for size in sizes for i in range(size)])
    return PageRows("a log", "tune", SIGNS, p, labels, weights, sizes, np.arange(count), items, count, REQUESTS, 0)


ROWS = make_rows()
HAND = {"save": 0.5, "click": 0.3, "hide": -0.2, HEADS[3]: 0.0}
TUNED = {"save": 0.25, "click": 0.55, "hide": -0.1, HEADS[3]: 0.1}
FLOORS = {"save": 0.97, "hide": 1.02}


def make_choices(floors: dict[str, float] | None = None) -> Choices:
    rng = np.random.default_rng(0)
    cloud = rng.dirichlet(np.ones(4), 40) * np.array(list(SIGNS.values()))
    named = {"hand-picked": HAND, "equal": {h: s / 4 for h, s in SIGNS.items()}, "tuned": TUNED}
    return Choices(named, FLOORS if floors is None else floors, cloud, "40 trials", ("A <note>.",))


def make_shown(rows: PageRows) -> list[ShownRequest]:
    longest = np.argsort(-rows.sizes, kind="stable")[:3]
    shown = []
    for number in longest.tolist():
        start, size = int(rows.starts[number]), int(rows.sizes[number])
        names = tuple(rows.items.slice(start, size).to_pylist())
        shown.append(ShownRequest(f"r<{number}>", start, names, tuple(range(size, 0, -1)), {"device": "phone & pad"}))
    return shown


def precise(weights: dict[str, float], rows: PageRows = ROWS) -> list[float]:
    """PR-AUC of every head by Python."""
    score = Utility.from_mapping(weights).score(rows.probabilities, rows.heads)
    known = ~np.isnan(rows.labels)
    return [average_precision(rows.labels[k, h], score[k], rows.weights[k]) for h, k in enumerate(known.T)]


# ------------------------------------------------------------------------------------------------ browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium as it is installed, else Playwright's own."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_api.sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).is_file():
            pytest.skip("no Chromium on PATH, and Playwright has none")
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


class Visit:
    """One open page, and all that went wrong or out of it."""

    def __init__(self, browser: Any, file: Path, hash: str = "", **context: Any) -> None:
        self.context = browser.new_context(
            **{"viewport": {"width": 1240, "height": 900}, "reduced_motion": "reduce", **context}
        )
        self.page = self.context.new_page()
        self.troubles: list[str] = []
        self.page.on("console", lambda message: self.troubles.append(f"console {message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.troubles.append(f"page error: {error}"))
        self.page.on("request", lambda request: self.note(request.url, file.as_uri()))
        self.page.goto(file.as_uri() + hash)

    def note(self, url: str, own: str) -> None:
        if not url.startswith("data:") and url.split("#")[0] != own:
            self.troubles.append(f"request: {url}")

    def weights(self) -> list[float]:
        return list(json.loads(self.page.evaluate("document.documentElement.dataset.shown")))

    def until(self, expression: str) -> None:
        """Wait until JavaScript is true. Playwright's own waiting evaluates text in the page: its rule forbids it."""
        for _ in range(1000):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(10)
        pytest.fail(f"never true: {expression}; weights {self.weights()}")

    def expect_weights(self, weights: list[float]) -> None:
        text = json.dumps(weights)
        self.until(f"document.documentElement.dataset.shown === JSON.stringify({text})")

    def values(self) -> list[float | None]:
        cells = self.page.eval_on_selector_all("#heads td.now", "cells => cells.map(cell => cell.dataset.value)")
        return [None if cell in (None, "null") else float(cell) for cell in cells]

    def set_hash(self, weights: dict[str, float]) -> None:
        """Weights through the address, as a colleague's link brings them."""
        self.page.evaluate(
            "weights => new Promise(done => { const f = new URLSearchParams();"
            "for (const [head, w] of Object.entries(weights)) f.set('w.' + head, String(w));"
            "addEventListener('hashchange', done, { once: true }); location.hash = f; })",
            weights,
        )
        assert self.weights() == list(weights.values())

    def items(self) -> list[str]:
        return self.page.eval_on_selector_all("#tiles li .item", "all => all.map(one => one.title.slice(5))")

    def close(self) -> None:
        assert self.troubles == []
        self.context.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explore") / "explore.html"
    path.write_text(
        page_html(ROWS, make_choices(), make_shown(ROWS), Thumbnails({"item-001": DOT}, "One photo.")), encoding="utf-8"
    )
    return path


@pytest.fixture
def visit(browser: Any, file: Path) -> Iterator[Visit]:
    """A visit, which ends without a trouble."""
    opened = Visit(browser, file)
    yield opened
    opened.close()


# ------------------------------------------------------------------------------------------------ numbers


def drawn_weights(count: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(9)
    drawn = [
        dict(zip(SIGNS, (rng.dirichlet(np.ones(4)) * np.array(list(SIGNS.values()))).tolist())) for _ in range(count)
    ]
    rounded = [{head: round(weight, 1) for head, weight in weights.items()} for weights in drawn[:10]]  # many ties
    alone = [{head: float(sign) if head == one else 0.0 for head, sign in SIGNS.items()} for one in SIGNS]
    tiny = {"save": 1e-300, "click": 1e-12, "hide": -1e-9, HEADS[3]: 1.0}
    return [*drawn, *[w for w in rounded if any(w.values())], *alone, tiny]


def test_pr_auc_is_pythons_and_scikit_learns_and_the_guardrails_follow_it(visit: Visit) -> None:
    """With ties, weights, missing labels and negative weights, to 1e-9 (and much better).

    A guardrail is a floor of a wanted head and a ceiling of an unwanted one; the reference's own weights keep both.
    """
    from sklearn.metrics import average_precision_score

    at, seen = precise(HAND), set()
    for weights in [HAND, *drawn_weights(8)]:
        visit.set_hash(weights)
        found, now = visit.values(), precise(weights)
        np.testing.assert_allclose(found, now, rtol=0, atol=1e-12)
        broken = [h for i, h in enumerate(HEADS) if h in FLOORS and SIGNS[h] * (now[i] - FLOORS[h] * at[i]) < -1e-12]
        text = visit.page.text_content("#status")
        assert text.startswith(f"✗ Guardrail broken: {', '.join(broken)}." if broken else "✓ All 2 guardrails hold.")
        seen.add(tuple(broken))
    assert {(), ("save",), ("hide",)} <= seen
    score = Utility.from_mapping(weights).score(ROWS.probabilities, ROWS.heads)
    for head, value in enumerate(found):
        known = ~np.isnan(ROWS.labels[:, head])
        theirs = average_precision_score(ROWS.labels[known, head], score[known], sample_weight=ROWS.weights[known])
        assert value == pytest.approx(theirs, abs=1e-9)


def test_all_weights_zero_rank_nothing(visit: Visit) -> None:
    """Every row ties: the base rate, which is the mean label by weight; nothing to copy, no guardrail to hold or break.

    No candidate has a place, and none moved.
    """
    visit.set_hash(dict.fromkeys(SIGNS, 0.0))
    known = ~np.isnan(ROWS.labels)
    rates = [np.average(ROWS.labels[k, h], weights=ROWS.weights[k]) for h, k in enumerate(known.T)]
    np.testing.assert_allclose(visit.values(), rates, atol=1e-12)
    assert visit.page.is_disabled("#copy")
    assert visit.page.is_disabled("#copy-option")
    assert "nothing is ranked" in visit.page.text_content("#toml")
    assert visit.page.text_content("#status") == "Every weight is 0: nothing is ranked."
    marks = "#heads .breaks, .status.breaks, .holds, .better, .worse, #tiles .up, #tiles .down"
    assert visit.page.locator(marks).count() == 0
    places = visit.page.eval_on_selector_all("#tiles .place, #tiles .move", "all => all.map(one => one.textContent)")
    assert set(places) == {"–", ""}
    visit.set_hash(HAND)
    assert visit.page.locator("#status.holds").count() == 1


@pytest.mark.parametrize("kinds", [1, 2, 300])
def test_row_weights_of_every_kind_and_a_head_without_positives(browser: Any, tmp_path: Path, kinds: int) -> None:
    """No weights, few different ones and many are packed differently. No positive row: no number, and a reason."""
    rows = make_rows(weighted=False)
    choice = np.random.default_rng(1).integers(0, kinds, len(rows.weights))
    labels = rows.labels.copy()
    labels[:, 2] = np.where(np.isnan(labels[:, 2]), np.nan, 0.0)
    rows = PageRows(**{**vars(rows), "weights": np.linspace(1.0, 7.0, kinds)[choice], "labels": labels})
    path = tmp_path / "explore.html"
    path.write_text(page_html(rows, make_choices(), make_shown(rows)), encoding="utf-8")
    visit = Visit(browser, path)
    expected = precise(TUNED, rows)
    found = visit.values()
    assert found[2] is None
    assert np.isnan(expected[2])
    np.testing.assert_allclose([v for v in found if v is not None], np.array(expected)[[0, 1, 3]], atol=1e-12)
    row = visit.page.locator("#heads tr").nth(3)
    assert "no row has this engagement" in row.text_content()
    assert visit.page.locator("#across option").count() == 3
    visit.close()


def test_candidates_are_in_the_order_of_the_utility_with_arrows(visit: Visit) -> None:
    """Ties by item id; an arrow says how many places a candidate moved against the reference."""
    request = make_shown(ROWS)[0]
    span = slice(request.start, request.start + len(request.items))

    def order(weights: dict[str, float]) -> list[str]:
        score = Utility.from_mapping(weights).score(ROWS.probabilities[span], ROWS.heads)
        return [request.items[i] for i in np.lexsort((np.arange(len(score)), -score))]

    assert len(request.items) > 12
    visit.page.click("#all")
    for weights in drawn_weights(3)[:6]:
        visit.set_hash(weights)
        assert visit.items() == order(weights)
        before = {item: place for place, item in enumerate(order(HAND))}
        moved = [before[item] - place for place, item in enumerate(order(weights))]
        arrows = visit.page.eval_on_selector_all("#tiles .move", "all => all.map(one => one.textContent)")
        assert arrows == [f"▲ {m}" if m > 0 else f"▼ {-m}" if m < 0 else "=" for m in moved]
    did = visit.page.eval_on_selector_all("#tiles li", "all => all.map(li => [...li.querySelectorAll('.did')].length)")
    at = [request.start + request.items.index(item) for item in visit.items()]
    assert did == (ROWS.labels[at] == 1.0).sum(axis=1).tolist()


def test_share_of_requests_with_another_first_candidate(visit: Visit) -> None:
    firsts = []
    for weights in (HAND, TUNED):
        score = Utility.from_mapping(weights).score(ROWS.probabilities, ROWS.heads)
        firsts.append([start + np.argmax(score[start : start + n]) for start, n in zip(ROWS.starts, ROWS.sizes)])
    share = 100 * np.mean(np.array(firsts[0]) != np.array(firsts[1]))
    assert 0 < share < 100
    assert f"comes first in {share:.1f} % of requests" in visit.page.text_content("#status")


# ------------------------------------------------------------------------------------------------ hands


def test_buttons_sliders_numbers_address_and_the_way_back(visit: Visit) -> None:
    visit.expect_weights(list(TUNED.values()))
    visit.page.get_by_role("button", name="hand-picked", exact=True).click()
    visit.expect_weights(list(HAND.values()))
    assert visit.page.get_by_role("button", name="hand-picked", exact=True).get_attribute("aria-pressed") == "true"
    hide = visit.page.get_by_role("slider", name="weight of hide")
    assert (hide.get_attribute("min"), hide.get_attribute("max")) == ("-1", "0")
    hide.fill("-0.4")
    visit.expect_weights([0.5, 0.3, -0.4, 0.0])
    number = visit.page.get_by_role("spinbutton", name="weight of hide")
    number.fill("3")  # against its sign: as near as may be
    number.press("Enter")
    visit.expect_weights([0.5, 0.3, 0.0, 0.0])
    assert number.input_value() == "0"
    link = visit.page.url
    visit.page.go_back()
    visit.expect_weights([0.5, 0.3, -0.4, 0.0])
    visit.page.go_back()
    visit.expect_weights(list(HAND.values()))
    visit.page.go_forward()
    visit.page.go_forward()
    visit.expect_weights([0.5, 0.3, 0.0, 0.0])
    assert visit.page.url == link
    visit.page.reload()
    visit.expect_weights([0.5, 0.3, 0.0, 0.0])


def test_everything_by_keyboard(visit: Visit) -> None:
    """From the top by Tab alone: a button, a slider, the cloud, another request."""
    page = visit.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "hand-picked"
    page.keyboard.press("Enter")
    visit.expect_weights(list(HAND.values()))
    for _ in range(4):  # two buttons, a number, and then the slider
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    visit.expect_weights([0.505, 0.3, -0.2, 0.0])
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.className.baseVal || 'x'"))
        if "point" in page.evaluate("document.activeElement.getAttribute('class') ?? ''"):
            break
    assert {"copy", "before", "request", "after", "across", "up"} <= seen
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    said = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert said.startswith("PR-AUC of save ")
    assert page.text_content("#point") == f"{said}."
    page.keyboard.press("Enter")
    visit.until("document.documentElement.dataset.shown !== '[0.505,0.3,-0.2,0]'")
    assert any(np.allclose(visit.weights(), trial, rtol=0, atol=0) for trial in make_choices().cloud)
    page.focus("#after")
    page.keyboard.press("Enter")
    assert "r<" in page.text_content("#facts")
    assert page.input_value("#request") == "1"
    assert page.url.count("request=2") == 1


def test_a_click_on_the_cloud_sets_the_sliders(visit: Visit) -> None:
    """Every trial has a point; the ring goes to the one that was clicked, whose PR-AUC it says."""
    page = visit.page
    assert page.locator("#cloud .point").count() == 40
    page.select_option("#up", label="hide")
    point = page.locator("#cloud .point").nth(7)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visit.until(f"document.documentElement.dataset.shown !== JSON.stringify({list(TUNED.values())})")
    taken = visit.weights()
    trial = int(np.argmin(np.abs(make_choices().cloud - taken).sum(axis=1)))
    assert taken == make_choices().cloud[trial].tolist()
    approximate = make_choices().cloud_values(ROWS)[trial]
    np.testing.assert_allclose(visit.values(), approximate, rtol=1e-4)
    ring, spot = page.locator("#cloud .centre").bounding_box(), page.locator("#cloud .point.near").bounding_box()
    assert abs(ring["x"] + ring["width"] / 2 - spot["x"] - spot["width"] / 2) < 2


def test_toml_is_what_tune_writes_and_python_reads(browser: Any, file: Path, tmp_path: Path) -> None:
    visit = Visit(browser, file)
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    assert tomllib.loads(visit.page.text_content("#toml")) == {"utility": TUNED}
    weights = drawn_weights(3)[2]
    visit.set_hash(weights)
    visit.page.click("#copy")
    visit.until("document.getElementById('copied').textContent === 'copied as TOML'")
    text = visit.page.evaluate("navigator.clipboard.readText()")
    assert tomllib.loads(text)["utility"] == weights
    chosen = tmp_path / "chosen.toml"
    chosen.write_text(text, encoding="utf-8")
    assert read_weights(str(chosen))[0].weights == weights  # of `galleryrank weights FILE` and of `tune --baseline`
    visit.page.click("#copy-option")
    visit.until("document.getElementById('copied').textContent === 'copied for --utility'")
    (word,) = shlex.split(visit.page.evaluate("navigator.clipboard.readText()"))  # as a shell hands it over
    assert parse_utility(word).weights == weights
    assert visit.page.text_content("#option") == visit.page.evaluate("navigator.clipboard.readText()")
    visit.close()


def test_a_name_that_no_option_can_say_is_not_offered(browser: Any, tmp_path: Path) -> None:
    names = dict(zip(HEADS, ["save", "click", "hide", "a=b"]))
    rows = PageRows(**{**vars(ROWS), "signs": {names[head]: sign for head, sign in SIGNS.items()}})
    choices = make_choices(floors={})
    renamed = {name: {names[h]: w for h, w in weights.items()} for name, weights in choices.named.items()}
    path = tmp_path / "explore.html"
    path.write_text(page_html(rows, replace(choices, named=renamed), make_shown(rows)), encoding="utf-8")
    visit = Visit(browser, path)
    assert visit.page.is_disabled("#copy-option")
    assert not visit.page.is_disabled("#copy")
    assert "only the TOML can say it" in visit.page.text_content("#option")
    visit.close()


def test_what_is_said_depends_on_the_heads_and_the_rows(browser: Any, file: Path, tmp_path: Path) -> None:
    """A pale part of a bar and "at most" are explained where a head is unwanted, and only there."""
    visit = Visit(browser, file)
    text = visit.page.inner_text("main")
    assert "at least so much of the reference's PR-AUC must remain; of an unwanted engagement there may be at m" in text
    assert "pale: takes away (hide)" in text
    assert "choose weights on them, and judge your choice on the test rows. The tuned weights were chosen" in text
    assert visit.page.locator("#tiles .bar .minus").count() > 0
    visit.close()
    signs = dict.fromkeys(SIGNS, 1)
    own = dict.fromkeys(SIGNS, 0.25)
    named = {"the model's own": own, "equal": {**own, "save": 0.25 + 1e-12}}
    choices = Choices(named, {"save": 0.9}, make_choices().cloud, "")
    path = tmp_path / "explore.html"
    rows = PageRows(**{**vars(ROWS), "signs": signs, "role": "calibrate"})
    path.write_text(page_html(rows, choices, make_shown(rows)), encoding="utf-8")
    visit = Visit(browser, path)
    text = visit.page.inner_text("main")
    assert "must remain." in text
    assert "at most" not in text
    assert "pale" not in text
    assert "to which the probabilities were fitted too" in text
    assert "tuned" not in visit.page.text_content("#role")
    buttons = visit.page.locator("#named button")
    assert buttons.all_text_contents() == ["the model's own = equal"]  # two names of the same weights: one button
    assert visit.page.locator("#cloud .named").count() == 1
    visit.close()


@pytest.mark.parametrize("width", [390, 1240])
def test_labels_of_near_weights_do_not_cover_each_other(browser: Any, tmp_path: Path, width: int) -> None:
    near = {f"weights {n}": {**HAND, "click": 0.3 + 1e-4 * n} for n in range(5)}
    path = tmp_path / "explore.html"
    path.write_text(page_html(ROWS, replace(make_choices(), named=near), make_shown(ROWS)), encoding="utf-8")
    visit = Visit(browser, path, viewport={"width": width, "height": 844})
    visit.until("document.querySelectorAll('#cloud .label').length === 5")
    boxes = [label.bounding_box() for label in visit.page.locator("#cloud .label").all()]
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a["x"] + a["width"] < b["x"] or b["x"] + b["width"] < a["x"] or abs(a["y"] - b["y"]) >= 10
    visit.close()


def test_on_a_phone_a_line_below_says_the_weights_and_leads_back(browser: Any, file: Path) -> None:
    visit = Visit(browser, file, viewport={"width": 390, "height": 844})
    page = visit.page
    visit.until("document.getElementById('far').hidden")
    page.evaluate("document.getElementById('tiles').scrollIntoView()")
    visit.until("!document.getElementById('far').hidden")
    assert page.inner_text("#summary").startswith("save 0.25, click 0.55, hide -0.1")
    page.click("#to-weights")
    visit.until("document.getElementById('far').hidden")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "weight of save"
    visit.close()
    wide = Visit(browser, file)
    wide.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert not wide.page.is_visible("#far")
    wide.close()


@pytest.mark.parametrize(
    "hash", ["#", "#w.click=x&request=99&across=no", "#request=-3&up=%FF", "#w.save=1e999&w.hide=7"]
)
def test_an_address_that_cannot_be_read_harms_nothing(browser: Any, file: Path, hash: str) -> None:
    visit = Visit(browser, file, hash)
    weights = visit.weights()
    assert weights == ([0.0] * 4 if "w." in hash else list(TUNED.values()))
    assert visit.page.input_value("#request") == "0"
    assert visit.page.locator("#cloud .point").count() == 40
    visit.close()


# ------------------------------------------------------------------------------------------------ the page as a whole


def test_what_was_sampled_is_said_and_foreign_text_stays_text(browser: Any, tmp_path: Path) -> None:
    foreign = {"all_rows": 2_000_000, "all_requests": 100_000, "name": "<b>x</b>", "role": "test"}
    rows = PageRows(**{**vars(ROWS), **foreign})
    path = tmp_path / "explore.html"
    path.write_text(page_html(rows, make_choices(floors={}), make_shown(rows)), encoding="utf-8")
    visit = Visit(browser, path)
    text = visit.page.inner_text("main")
    assert "drawn at random from all 100,000, which have 2,000,000 rows" in text
    assert visit.page.title() == visit.page.inner_text("h1") == "Try utility weights: <b>x</b>, test rows"
    assert "can no longer be judged on them" in visit.page.text_content("#role")
    assert HEADS[3] in visit.page.text_content("#heads")
    assert "device: phone & pad" in text
    assert "A <note>." in text
    assert "No guardrails are set." in text
    visit.close()


@pytest.mark.parametrize("width", [390, 768, 1240])
def test_nothing_but_the_page_itself_scrolls_sideways(browser: Any, file: Path, width: int) -> None:
    visit = Visit(browser, file, viewport={"width": width, "height": 844})
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    visit.page.click("#all")
    assert visit.page.locator("#tiles img").count() == 1
    assert visit.page.evaluate("document.querySelector('#tiles img').naturalWidth") == 1
    visit.close()


def test_dark_scheme(browser: Any, file: Path) -> None:
    """Text is brighter than its page, and the other way round in the light."""
    brightness = []
    for scheme in ("dark", "light"):
        visit = Visit(browser, file, color_scheme=scheme)
        style = "getComputedStyle(document.body)"
        both = [visit.page.evaluate(f"{style}.{name}") for name in ("color", "backgroundColor")]
        brightness.append([sum(int(part) for part in colour[4:-1].split(",")) for colour in both])
        visit.close()
    (ink, paper), (light_ink, light_paper) = brightness
    assert ink > paper + 300
    assert light_paper > light_ink + 300


def test_the_browser_is_forbidden_to_load_anything(browser: Any, file: Path) -> None:
    """The positive control of every visit: what is asked for is refused by the page's own rule, and shows up."""
    visit = Visit(browser, file)
    refused = visit.page.evaluate(
        "() => new Promise(done => {"
        "document.addEventListener('securitypolicyviolation', event => done(event.violatedDirective));"
        "fetch('https://example.org/x').catch(() => {}); })"
    )
    assert refused == "connect-src"
    visit.page.evaluate("() => { const s = document.createElement('script'); s.textContent = 'window.bad = 1';"
                        "document.body.append(s); }")  # fmt: skip
    assert visit.page.evaluate("window.bad") is None
    assert [trouble for trouble in visit.troubles if trouble.startswith("console error")]
    visit.context.close()
