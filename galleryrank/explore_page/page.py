"""The page itself: data, scripts and styles in one HTML file that may load nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np

from evaluation.html_page import render_html
from evaluation.metrics_json import jsonable
from galleryrank.explore_page.choices import Choices
from galleryrank.explore_page.packing import packed, packed_bits, packed_weights
from galleryrank.explore_page.photos import Thumbnails
from galleryrank.explore_page.roles import role_words
from galleryrank.explore_page.rows import PageRows
from galleryrank.explore_page.shown import ShownRequest
from optimization.verdict import TUNED

PACKAGE = "galleryrank.explore_page"
ALIKE = 1e-9  # weights that differ by less are the same: one of them was rounded
# In this order they are one script: what is read, what is computed from it, what is shown of that, and the beginning.
SCRIPTS = (
    "data.js",
    "ranking.js",
    "words.js",
    "state.js",
    "weights.js",
    "heads.js",
    "cloud.js",
    "request.js",
    "main.js",
)


def page_html(
    rows: PageRows, choices: Choices, shown: Sequence[ShownRequest], thumbnails: Thumbnails | None = None
) -> str:
    """The page as one HTML document.

    The utility on it is that of `Utility.score`: float64, w_t p_t added head by head in the order of their names, of
    probabilities in float32. PR-AUC is `average_precision` of it. So its numbers are those of Python to rounding.

    Args:
        rows: What is ranked.
        choices: Weights, guardrails and the cloud.
        shown: The requests whose candidates are looked at, at least one.
        thumbnails: Their photos; None = tiles.
    """
    from markupsafe import Markup  # comes with jinja2, and like it is loaded where a page is made

    photos = thumbnails or Thumbnails({})
    notes = [*choices.notes, *([photos.note] if photos.note else [])]
    page = render_html(
        PACKAGE,
        "explore.html.j2",
        styles=("explore.css",),
        script=Markup(_script()),
        data=Markup(json_text(page_data(rows, choices, shown, photos))),
        title=f"Try utility weights: {rows.name}, {rows.role} rows",
        rows=rows,
        role_words=role_words(rows.role, TUNED in choices.named),
        unwanted=[head for head, sign in rows.signs.items() if sign < 0],
        guarded=_guarded(rows, choices),
        choices=choices,
        notes=notes,
    )
    # Only this very style and this very script may run, and only images inside the page be shown.
    for kind in ("style", "script"):
        page = page.replace(f"{{{kind}-hash}}", _hash(page, kind), 1)
    return page


def page_data(
    rows: PageRows, choices: Choices, shown: Sequence[ShownRequest], thumbnails: Thumbnails
) -> dict[str, Any]:
    """What the scripts read; `packing` says how arrays are written."""
    sampled = rows.all_rows > len(rows.probabilities)
    return {
        "heads": [_head(rows, choices, number) for number in range(len(rows.heads))],
        "order": [rows.heads.index(head) for head in sorted(rows.heads)],  # in which Utility.score adds
        "rows": len(rows.probabilities),
        "sampled": {"rows": rows.all_rows, "requests": rows.all_requests} if sampled else None,
        "sizes": packed(rows.sizes, "<u4"),
        "weights": packed_weights(rows.weights),
        "named": _named(choices),
        "begin": list(choices.named.get(TUNED, next(iter(choices.named.values()))).values()),
        "cloud": [
            {"weights": weights, "values": values}
            for weights, values in zip(choices.cloud.tolist(), jsonable(choices.cloud_values(rows)))
        ],
        "requests": [
            {
                "request": request.request,
                "start": request.start,
                "items": request.items,
                "positions": request.positions,
                "facts": list(request.facts.items()),
            }
            for request in shown
        ],
        "photos": thumbnails.images,
    }


def _head(rows: PageRows, choices: Choices, number: int) -> dict[str, Any]:
    head, labels = rows.heads[number], rows.labels[:, number]
    missing = np.isnan(labels)
    return {
        "name": head,
        "sign": rows.signs[head],
        "floor": choices.floors.get(head),
        "probabilities": packed(rows.probabilities[:, number], "<f4"),
        "labels": packed_bits(labels == 1.0),
        "missing": packed_bits(missing) if missing.any() else None,
    }


def _guarded(rows: PageRows, choices: Choices) -> str:
    """What the guardrails ask for, of wanted and of unwanted heads; empty where there are none."""
    signs = {rows.signs[head] for head in choices.floors}
    wanted = ["at least so much of the reference's PR-AUC must remain"] if 1 in signs else []
    unwanted = ["of an unwanted engagement there may be at most so much"] if -1 in signs else []
    return "; ".join([*wanted, *unwanted])


def _named(choices: Choices) -> list[dict[str, Any]]:
    """Weights with a name; where two names have the same weights the first stands for both, and `label` says so."""
    found: list[dict[str, Any]] = []
    for name, weights in choices.named.items():
        own = list(weights.values())
        same = next((each for each in found if np.allclose(each["weights"], own, rtol=0.0, atol=ALIKE)), None)
        if same is None:
            found.append({"name": name, "label": name, "weights": own})
        else:
            same["label"] += f" = {name}"
    return found


def _script() -> str:
    """All scripts in one scope of their own."""
    folder = resources.files(PACKAGE) / "templates"
    parts = "".join((folder / name).read_text(encoding="utf-8") + "\n" for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();\n'


def json_text(data: Any) -> str:
    """JSON that may stand between script tags: no `<` ends them early."""
    return json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _hash(page: str, kind: str) -> str:
    """The sha256 of the page's one style or (without attributes) script, as a Content-Security-Policy names it."""
    text = re.search(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
    if text is None:
        raise ValueError(f"the template must have one <{kind}> without attributes")
    return "sha256-" + base64.b64encode(hashlib.sha256(text[1].encode()).digest()).decode("ascii")
