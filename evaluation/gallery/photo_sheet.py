"""A retrieval result as people look at it: the seed photos, and the galleries that were found [Booking, figure 1]."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.formatting import format_number
from evaluation.svg import INK, MUTED
from features.gallery.decoding import decode_photo

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Photo = bytes | np.ndarray | str  # a file; pixels (3, H, W) or (H, W, 3) uint8; or the reason why there are none

COVER, GAP, MARGIN, CARD_GAP = 234, 6, 28, 22
SMALL = (COVER - 2 * GAP) // 3  # three further photos under the cover, as wide as it
SEED, MOST_SEEDS = 132, 14
TEXT, HEADING, TITLE = 14, 18, 24
LINE = 20
GREY = "#E4E7EB"


@dataclass(frozen=True)
class FoundGallery:
    """One result.

    Attributes:
        item: Its id.
        similarity: Its cosine with the query.
        photos: Its photos in order, the cover first; four are shown.
        attributes: What stands under it: name -> value.
    """

    item: object
    similarity: float
    photos: Sequence[Photo]
    attributes: Mapping[str, object] = field(default_factory=dict)


def photo_sheet(
    seeds: Sequence[Photo],
    results: Sequence[FoundGallery],
    *,
    title: str = "Galleries like the seed photos",
    seed_caption: str = "",
    columns: int = 5,
) -> Image:
    """The seed photos in the first rows, then the galleries found, best first.

    Every photo is cut to a square. One that cannot be used is a grey tile with the reason, so that a broken file is
    seen and not mistaken for a short gallery.

    Args:
        seeds: The photos searched with; the first 14 are shown, the rest is counted.
        results: The galleries found, best first.
        title: What stands above.
        seed_caption: A line under the seed photos, such as the item they are of.
        columns: Results per row.

    Returns:
        An RGB image; `evaluation.gallery.pictures` makes a file or a data URI of it.

    Raises:
        ValueError: no seed photo; `columns` below 1; pixels of another shape or type.

    >>> grey = np.full((3, 8, 8), 128, np.uint8)
    >>> sheet = photo_sheet([grey], [FoundGallery("h7", 0.93, [grey, b"", grey], {"pool": True})], columns=2)
    >>> sheet.mode, sheet.width
    ('RGB', 546)
    """
    from PIL import Image, ImageDraw

    if not seeds:
        raise ValueError("`seeds` must hold at least one photo, got none")
    if columns < 1:
        raise ValueError(f"`columns` must be at least 1, got {columns}")
    width = 2 * MARGIN + max(columns, 2) * COVER + (max(columns, 2) - 1) * CARD_GAP
    per_row = (width - 2 * MARGIN + GAP) // (SEED + GAP)
    shown = list(seeds[:MOST_SEEDS])
    seed_rows = math.ceil(len(shown) / per_row)
    caption = "; ".join(part for part in (seed_caption, _more(len(seeds) - len(shown))) if part)
    lines = max((len(result.attributes) for result in results), default=0)
    card = COVER + GAP + SMALL + 10 + (2 + lines) * LINE + CARD_GAP
    title_lines = _wrapped(title, _font(TITLE, bold=True), width - 2 * MARGIN)
    top = MARGIN + len(title_lines) * (TITLE + 8) + 8
    results_top = top + LINE + 10 + seed_rows * (SEED + GAP) + (LINE + 6 if caption else 0) + 20
    height = results_top + LINE + 10 + max(1, math.ceil(len(results) / columns)) * card + MARGIN - CARD_GAP
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(title_lines):
        draw.text((MARGIN, MARGIN + number * (TITLE + 8)), line, fill=INK, font=_font(TITLE, bold=True))
    draw.text((MARGIN, top), "Seed photos", fill=INK, font=_font(HEADING, bold=True))
    at = top + LINE + 10
    for number, photo in enumerate(shown):
        row, column = divmod(number, per_row)
        sheet.paste(_tile(photo, SEED), (MARGIN + column * (SEED + GAP), at + row * (SEED + GAP)))
    if caption:
        line = _fitting(caption, _font(TEXT), width - 2 * MARGIN)
        draw.text((MARGIN, at + seed_rows * (SEED + GAP) + 2), line, fill=MUTED, font=_font(TEXT))
    draw.line([(MARGIN, results_top - 12), (width - MARGIN, results_top - 12)], fill=GREY, width=2)
    heading = (
        "Nearest galleries, most similar first (similarity: cosine, at most 1)" if results else "No gallery was found"
    )
    heading = _fitting(heading, _font(HEADING, bold=True), width - 2 * MARGIN)
    draw.text((MARGIN, results_top), heading, fill=INK, font=_font(HEADING, bold=True))
    for number, result in enumerate(results):
        row, column = divmod(number, columns)
        place = (MARGIN + column * (COVER + CARD_GAP), results_top + LINE + 10 + row * card)
        _card(sheet, draw, place, number + 1, result)
    return sheet


def _card(sheet: Image, draw: ImageDraw, place: tuple[int, int], rank: int, result: FoundGallery) -> None:
    left, top = place
    photos: list[Photo] = list(result.photos[:4]) or ["no photos"]
    sheet.paste(_tile(photos[0], COVER), place)
    for number, photo in enumerate(photos[1:]):
        sheet.paste(_tile(photo, SMALL), (left + number * (SMALL + GAP), top + COVER + GAP))
    top += COVER + GAP + SMALL + 10
    draw.text((left, top - 2), f"{rank}", fill=INK, font=_font(HEADING, bold=True))
    similarity = f"similarity {result.similarity:.2f}"
    draw.text((left + COVER, top), similarity, fill=INK, font=_font(TEXT), anchor="ra")
    name, font = f"item {result.item}", _font(TEXT)
    if font.getlength(name) > COVER:  # an id is there to be looked up: smaller rather than cut
        name = str(result.item)
        font = next((_font(size) for size in range(TEXT, 9, -1) if _font(size).getlength(name) <= COVER), _font(9))
    draw.text((left, top + LINE), _fitting(name, font, COVER), fill=MUTED, font=font)
    for line, (name, value) in enumerate(result.attributes.items()):
        text = _fitting(f"{name}: {_word(value)}", _font(TEXT), COVER)
        draw.text((left, top + (2 + line) * LINE), text, fill=INK, font=_font(TEXT))


def _tile(photo: Photo, size: int) -> Image:
    """A square of `size` pixels, or a grey one with the reason."""
    from PIL import Image, ImageDraw

    pixels = decode_photo(photo, size, resize="crop") if isinstance(photo, bytes) else photo
    if not isinstance(pixels, str):
        array = _height_width_colour(pixels)
        side = min(array.shape[:2])
        up, left = (array.shape[0] - side) // 2, (array.shape[1] - side) // 2
        square = Image.fromarray(np.ascontiguousarray(array[up : up + side, left : left + side]), "RGB")
        return square if side == size else square.resize((size, size), Image.Resampling.BICUBIC)
    tile = Image.new("RGB", (size, size), GREY)
    font = _font(TEXT if size > 100 else 11)
    text = "\n".join(_wrapped(pixels, font, size - 8))
    ImageDraw.Draw(tile).multiline_text((size / 2, size / 2), text, fill=MUTED, font=font, anchor="mm", align="center")
    return tile


def _height_width_colour(pixels: Any) -> np.ndarray:
    array = np.asarray(pixels)
    if array.ndim == 3 and array.dtype == np.uint8 and array.size and 3 in (array.shape[0], array.shape[2]):
        return array.transpose(1, 2, 0) if array.shape[0] == 3 else array
    raise ValueError(f"photos must be (3, H, W) or (H, W, 3) uint8, got {array.dtype} {array.shape}")


@lru_cache
def _font(size: int, bold: bool = False) -> FreeTypeFont:
    """DejaVu Sans, which the figures use too: the font inside Pillow has no accented, Greek or Cyrillic letters."""
    from pathlib import Path

    from matplotlib import get_data_path
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / name, size)


def _fitting(text: str, font: FreeTypeFont, width: float) -> str:
    """As much of `text` as fits into `width` pixels of one line."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _wrapped(text: str, font: FreeTypeFont, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_fitting(line, font, width) for line in lines]


def _word(value: object) -> str:
    if value is None or (isinstance(value, (float, np.floating)) and math.isnan(value)):
        return "not known"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() else format_number(float(value))
    return str(value)


def _more(count: int) -> str:
    return f"and {format_number(count)} more" if count > 0 else ""
