"""The page in a real browser: a phone's width, the dark scheme, print, and no request but for itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.report import write_report
from evaluation.slicing.slices import Slices
from evaluation.summary.evaluating import evaluate_predictions

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is in the test extra")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    rows = 1_500
    p = rng.beta(1.0, 5.0, size=(rows, 3))
    found = evaluate_predictions(
        (rng.random(p.shape) < p).astype(float), p, rng.integers(0, 150, rows),
        names=["closeup", "long_click", "a_head_with_a_very_long_name_indeed"], p_any=p.max(axis=1),
        stages={"naive": p / 2}, utility={"closeup": 1.0}, comparisons={"trees": p**2}, baseline=("production", p**1.2),
        slices=[Slices.of("platform", rng.choice(["web", "a platform of a long name that does not end soon"], rows))],
        fingerprints={"data": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
        times=np.arange(rows),
    )  # fmt: skip
    return write_report(tmp_path_factory.mktemp("report") / "report.html", found.metrics)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        own = next((path for path in map(shutil.which, NAMES) if path), None)
        try:
            started = driver.chromium.launch(executable_path=own, args=["--no-sandbox", "--disable-gpu"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium to start: {str(error).splitlines()[0]}")
        yield started
        started.close()


def opened(browser: Any, report: Path, **how: Any) -> tuple[Any, list[str]]:
    """The page, and every address it asked for with every error it had."""
    page = browser.new_page(**how)
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.on("console", lambda message: seen.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.goto(report.as_uri())
    return page, seen


def test_nothing_is_fetched_and_the_contents_lead_to_the_sections(browser: Any, report: Path) -> None:
    page, seen = opened(browser, report, viewport={"width": 1240, "height": 900})
    links = page.query_selector_all("nav a")
    assert len(links) > 5
    for link in links:
        link.click()
        section = page.query_selector(link.get_attribute("href"))
        assert -5 < section.bounding_box()["y"] < 900
    assert {url.partition("#")[0] for url in seen} == {report.as_uri()}
    page.close()


def test_on_a_phone_only_tables_and_pictures_scroll_sideways(browser: Any, report: Path) -> None:
    page, _ = opened(browser, report, viewport={"width": 390, "height": 844})
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    wide = page.evaluate(
        """() => [...document.querySelectorAll('main *')]
            .filter(part => !part.closest('.scroll') && part.getBoundingClientRect().right > 390.5)
            .map(part => part.tagName + '.' + part.className)"""
    )
    assert wide == []
    boxes = page.evaluate("[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > 391).length")
    assert boxes > 5  # the positive control: there is something that is wider than the screen
    page.close()


def test_what_is_wider_than_a_phone_says_so(browser: Any, report: Path) -> None:
    hints = """() => [...document.querySelectorAll('.scroll')].map(box => [
        !!box.closest('figure'), getComputedStyle(box).backgroundImage.split('gradient(').length - 1,
        getComputedStyle(box, '::before').content])"""
    for width, shadows in ((390, 4), (1240, 0)):
        page, _ = opened(browser, report, viewport={"width": width, "height": 844})
        found = page.evaluate(hints)
        pictures = [content for picture, _, content in found if picture]
        assert pictures
        assert all(("scroll sideways" in content) == (width == 390) for content in pictures)
        assert {count for picture, count, _ in found if not picture} == {shadows}
        widths = page.evaluate("[...document.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect().width)")
        assert len(widths) == len(pictures)
        assert width == 1240 or min(widths) < 800 <= max(widths)  # a small picture is not blown up
        page.close()


def contrast(one: list[float], other: list[float]) -> float:
    """WCAG 2's contrast of two sRGB colours."""

    def luminance(colour: list[float]) -> float:
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_pictures_are_legible_in_both_schemes(browser: Any, report: Path, scheme: str) -> None:
    page, _ = opened(browser, report, viewport={"width": 1240, "height": 900}, color_scheme=scheme)
    colours = page.evaluate(
        """() => {
            const rgb = text => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
            const style = (part, name) => getComputedStyle(part)[name];
            const paper = rgb(style(document.body, 'backgroundColor'));
            const seen = [];
            for (const part of document.querySelectorAll('p, td, th, li, a, h1, h2, h3, summary'))
                if (part.textContent.trim()) seen.push([part.tagName, rgb(style(part, 'color')), paper]);
            for (const part of document.querySelectorAll('figure svg text'))
                seen.push(['picture', rgb(style(part, 'fill')), paper]);
            const chip = document.querySelector('.chip');
            seen.push(['chip', rgb(style(chip, 'color')), rgb(style(chip, 'backgroundColor'))]);
            return seen;
        }"""
    )
    assert {name for name, _, _ in colours} >= {"P", "TD", "picture", "chip"}
    assert min(contrast(ink, paper) for _, ink, paper in colours) >= 4.5
    dark = sum(colours[0][2]) < 200
    assert dark == (scheme == "dark")
    page.close()


def test_print_opens_what_is_folded_and_cuts_nothing(browser: Any, report: Path) -> None:
    page, _ = opened(browser, report, viewport={"width": 1000, "height": 900}, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    heights = page.evaluate(
        "[...document.querySelectorAll('details table')].map(table => table.getBoundingClientRect().height)"
    )
    assert min(heights) > 20
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"  # paper is white
    page.close()
