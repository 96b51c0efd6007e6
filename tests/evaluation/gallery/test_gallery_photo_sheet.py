from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from evaluation.gallery import photo_sheet as sheets
from evaluation.gallery.photo_sheet import COVER, FoundGallery, photo_sheet
from evaluation.gallery.pictures import data_uri, png_bytes

RED, GREEN, BLUE = (200, 30, 30), (30, 160, 60), (40, 60, 200)


def pixels(colour: tuple[int, int, int], height: int = 40, width: int = 40) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def file(colour: tuple[int, int, int], kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(colour, 30, 60)).save(buffer, kind)
    return buffer.getvalue()


def area(image: Image.Image, colour: tuple[int, int, int], tolerance: int = 12) -> int:
    """How many pixels are of this colour."""
    return int((np.abs(np.asarray(image).astype(int) - colour).max(axis=2) <= tolerance).sum())


def test_photos_stand_in_their_tiles() -> None:
    result = FoundGallery(
        "h1", 0.9, [file(GREEN), pixels(BLUE).transpose(2, 0, 1), file(BLUE), pixels(BLUE), pixels(RED)]
    )
    sheet = photo_sheet([pixels(RED)], [result])
    assert area(sheet, GREEN) == COVER**2
    assert area(sheet, BLUE) == 3 * sheets.SMALL**2
    assert area(sheet, RED) == sheets.SEED**2  # the fifth photo of the result is not shown


def test_both_orders_of_axes_and_jpeg_files_look_the_same() -> None:
    for photo in (
        pixels(GREEN),
        pixels(GREEN).transpose(2, 0, 1),
        file(GREEN),
        file(GREEN, "JPEG"),
        pixels(GREEN, 90, 40),
    ):
        assert area(photo_sheet([pixels(RED)], [FoundGallery(1, 0.5, [photo])]), GREEN) == COVER**2


def test_the_middle_of_a_wide_photo_is_kept() -> None:
    wide = np.concatenate([pixels(RED), pixels(GREEN), pixels(RED)], axis=1)
    sheet = photo_sheet([pixels(BLUE)], [FoundGallery(1, 0.5, [wide])])
    assert area(sheet, GREEN) > 0.98 * COVER**2


def test_a_photo_that_cannot_be_used_is_grey_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    wrapped = sheets._wrapped
    monkeypatch.setattr(sheets, "_wrapped", lambda text, *rest: written.append(text) or wrapped(text, *rest))
    results = [
        FoundGallery("h1", 0.9, [file(RED)[:40], b""]),
        FoundGallery("h2", 0.8, []),
        FoundGallery("h3", 0.7, ["masked"]),
    ]
    sheet = photo_sheet([b"no picture"], results, title="t")
    assert written == ["t", "not an image", "truncated", "empty file", "no photos", "masked"]
    grey = tuple(int(sheets.GREY[at : at + 2], 16) for at in (1, 3, 5))
    assert 0.8 < area(sheet, grey, 1) / (3 * COVER**2 + sheets.SMALL**2 + sheets.SEED**2) <= 1.05


def test_captions_say_rank_item_similarity_and_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageDraw

    written: list[str] = []
    draw_text = ImageDraw.ImageDraw.text

    def watch(self: ImageDraw.ImageDraw, place: tuple[float, float], text: str, *rest: object, **more: object) -> None:
        written.append(text)
        draw_text(self, place, text, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", watch)
    uuid = "ca9cbfd4-7798-4e8d-8c17-d5a64fba0abc"
    attributes = {"pool": True, "price": 120.0, "stars": float("nan"), "place": "a very long name " * 9, "score": 7.25}
    results = [FoundGallery(41, 0.876, [pixels(RED)], attributes), FoundGallery(uuid, 0.5, [pixels(RED)])]
    photo_sheet([pixels(RED)] * 16, results, title="Like this", seed_caption="photos of item 7")
    text = "\n".join(written)
    for words in ("Like this", "Seed photos", "photos of item 7; and 2 more", "1\nsimilarity 0.88\nitem 41\npool: yes",
                  "price: 120", "stars: not known", "score: 7.250", f"2\nsimilarity 0.50\n{uuid}"):  # fmt: skip
        assert words in text, words
    assert [line for line in written if line.startswith("place: a very long name") and line.endswith("…")]


def test_letters_beyond_ascii_are_drawn() -> None:
    """The font has them: none is the box of an unknown letter."""
    font = sheets._font(sheets.TEXT)
    unknown = bytes(font.getmask("\uffff"))
    assert not [letter for letter in "éłñßÅΩЖ€–…" if bytes(font.getmask(letter)) == unknown]


def test_rows_grow_with_results() -> None:
    def height(count: int, **more: object) -> int:
        gallery = FoundGallery("h", 0.5, [pixels(RED)], {"a": 1} if more else {})
        return photo_sheet([pixels(RED)], [gallery] * count, columns=3).height

    assert height(1) == height(3) < height(4) == height(6) < height(7)
    assert height(4) - height(1) == height(7) - height(4)
    assert height(3, attributes=1) > height(3)
    assert photo_sheet([pixels(RED)], []).height > 0


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="`seeds` must hold at least one photo, got none"):
        photo_sheet([], [])
    with pytest.raises(ValueError, match="`columns` must be at least 1, got 0"):
        photo_sheet([b""], [], columns=0)
    with pytest.raises(ValueError, match=r"photos must be \(3, H, W\) or \(H, W, 3\) uint8, got float64 \(3, 4, 4\)"):
        photo_sheet([np.zeros((3, 4, 4))], [])


def test_a_data_uri_is_the_picture() -> None:
    sheet = photo_sheet([pixels(RED)], [])
    for kind in ("jpeg", "png"):
        uri = data_uri(sheet, kind)  # type: ignore[arg-type]
        start = f"data:image/{kind};base64,"
        assert uri.startswith(start)
        back = Image.open(io.BytesIO(base64.b64decode(uri[len(start) :])))
        assert (back.format, back.size) == (kind.upper(), sheet.size)
        assert area(back.convert("RGB"), RED) > 0.95 * sheets.SEED**2
    data = png_bytes(sheet)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(sheet))
    assert base64.b64decode(data_uri(data, "jpeg").removeprefix("data:image/png;base64,")) == data
    assert len(data_uri(sheet, quality=30)) < len(data_uri(sheet, quality=95))
    with pytest.raises(ValueError, match="`image` must be a JPEG or PNG file, got bytes that start with b'GIF8'"):
        data_uri(b"GIF89a")
    with pytest.raises(ValueError, match="`kind` must be 'jpeg' or 'png', got 'webp'"):
        data_uri(sheet, "webp")  # type: ignore[arg-type]
