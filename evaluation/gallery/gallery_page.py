"""The frame of every gallery report: one self-contained HTML page in the look of the evaluation report."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.html_page import render_html


@dataclass(frozen=True)
class Picture:
    """A picture of a page.

    Attributes:
        section: Where it stands on its page.
        title: Its heading.
        caption: One or two sentences that say how to read it.
        markup: One `<svg>` or `<img>` element.
    """

    section: str
    title: str
    caption: str
    markup: str

    @classmethod
    def png(cls, section: str, title: str, caption: str, image: bytes | str | Path) -> Picture:
        """A picture from a PNG (its bytes, or a file), which becomes part of the page.

        Raises:
            ValueError: not a PNG.
        """
        content = image if isinstance(image, bytes) else Path(image).read_bytes()
        if not content.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ValueError(f"`image` must be a PNG, got bytes that begin with {content[:8]!r}")
        data = base64.b64encode(content).decode("ascii")
        label = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
        return cls(section, title, caption, f'<img alt="{label}" src="data:image/png;base64,{data}">')


def render_page(template: str, **values: Any) -> str:
    """A page from `templates/<template>` with the shared style and that of galleries."""
    return render_html("evaluation", template, styles=("gallery.css.j2",), **values)
