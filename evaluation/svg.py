"""Figures as SVG text that stands inside an HTML page: no files, no fonts to load, no global plotting state."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

# Okabe & Ito: told apart under every common colour blindness; order chosen for contrast on white
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9"
PALE_BLUE = "#9CC5E3"
INK, MUTED, GRID = "#222222", "#5F6670", "#E4E7EB"
STAGE_COLOURS = (VERMILION, ORANGE, GREEN, PURPLE, SKY)

STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: searchable, and the page's reader sees the numbers of metrics.json
    "svg.hashsalt": "galleryrank",  # same figure, same bytes
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10.0,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 10.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "text.color": INK,
}


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure, for as long as one is being drawn."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def svg_text(canvas: Canvas, name: str, description: str) -> str:
    """The figure as one `<svg>` element.

    Args:
        canvas: The drawn figure.
        name: Prefix of the element ids, so that several figures can share a page: letters, digits, "-".
        description: What is seen, for readers who hear the page.
    """
    buffer = io.StringIO()
    with style():
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    # the page's column decides the width, up to the size it was drawn for; the viewBox keeps the proportions
    size = re.search(r'<svg [^>]*?width="([0-9.]+)pt"', text)
    text = re.sub(r'(<svg [^>]*?)width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", text, count=1)
    width = size.group(1) if size else "800"
    label = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" style="width:100%;max-width:{width}pt" ', 1)
