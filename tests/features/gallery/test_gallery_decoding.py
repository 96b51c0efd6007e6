"""Photos as files hold them: every sound kind becomes RGB, everything else a reason, and nothing escapes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFile

from features.gallery.decoding import (
    ANIMATED,
    CONVERTED,
    EMPTY_FILE,
    NO_IMAGE,
    NOT_AN_IMAGE,
    REASONS,
    TOO_MANY_PIXELS,
    TRUNCATED,
    TURNED,
    UNREADABLE,
    decode_photo,
    read_photo,
)


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)  # type: ignore[arg-type]
    return file.getvalue()


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """A photo-like gradient: red grows to the right, green downwards, blue is noise."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    noise = np.random.default_rng(0).integers(0, 256, x.shape)
    return Image.fromarray(np.stack([x, y, noise], -1).astype(np.uint8))


def expected(image: Image.Image, size: int) -> np.ndarray:
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


@pytest.mark.parametrize("form", ["PNG", "BMP", "WEBP"])
def test_lossless_formats_give_pillows_bilinear_pixels(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    found = read_photo(saved(scene(), form, **options), 24)
    assert found.pixels is not None
    assert (found.pixels.shape, found.pixels.dtype, found.reason, found.remarks) == ((3, 24, 24), np.uint8, None, ())
    assert found.pixels.flags["C_CONTIGUOUS"]
    assert np.abs(found.pixels.astype(int) - expected(scene(), 24)).max() <= 2


def test_a_photo_of_the_size_asked_for_is_left_as_it_is() -> None:
    image = scene(32, 32)
    assert np.array_equal(decode_photo(saved(image), 32), np.asarray(image).transpose(2, 0, 1))


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_large_photos_shrink_like_small_ones(form: str) -> None:
    """JPEG is decoded at a fraction of its size, PNG reduced before it is resized: both stay near the exact filter."""
    image = scene(64, 48).resize((1280, 960), Image.Resampling.BICUBIC)
    found = decode_photo(saved(image, form), 32)
    assert isinstance(found, np.ndarray)
    assert np.abs(found.astype(float) - expected(image, 32)).mean() < 3.0


def test_stretching_shows_all_of_a_photo_and_cropping_its_middle() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    data = saved(Image.fromarray(wide))
    assert (decode_photo(data, 10, resize="crop") == 200).all()
    stretched = decode_photo(data, 30)
    assert isinstance(stretched, np.ndarray)
    assert np.array_equal(stretched[:, :, 0], np.zeros((3, 30)))
    assert (stretched[:, :, 12:18] == 200).all()


def test_gray_palette_cmyk_and_sixteen_bits_become_rgb() -> None:
    color = Image.new("RGB", (8, 8), (255, 0, 0))
    gray16 = Image.fromarray(np.full((8, 8), 0x8080, np.uint16))
    cases = {
        "L": (saved(Image.new("L", (8, 8), 77)), (77, 77, 77)),
        "1": (saved(Image.new("1", (8, 8), 1)), (255, 255, 255)),
        "P": (saved(color.convert("P")), (255, 0, 0)),
        "CMYK": (saved(color.convert("CMYK"), "JPEG", quality=95), (255, 0, 0)),
        "16": (saved(gray16), (128, 128, 128)),  # 0x8080 / 257
    }
    for mode, (data, rgb) in cases.items():
        found = read_photo(data, 4)
        assert found.remarks == (CONVERTED[mode],), mode
        assert found.pixels is not None
        assert np.abs(found.pixels.reshape(3, -1).T.astype(int) - rgb).max() <= 3, mode


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_on_white_and_opaque_alpha_changes_nothing(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (9, 9, 9, 255))
    opaque = read_photo(saved(image.convert(mode) if mode != "PA" else image.quantize(4)), 8)
    assert opaque.pixels is not None
    assert (opaque.pixels == 9).all()
    assert CONVERTED["A"] not in opaque.remarks
    image.paste((9, 9, 9, 0), (0, 0, 4, 8))
    laid = read_photo(saved(image.convert(mode) if mode != "PA" else image.quantize(4)), 8)
    assert laid.pixels is not None
    assert (laid.pixels[:, :, :4] == 255).all()
    assert (laid.pixels[:, :, 4:] == 9).all()
    assert laid.remarks == (CONVERTED["A"],)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation_is_used(form: str) -> None:
    first, second = Image.new("RGB", (8, 8), (250, 0, 0)), Image.new("RGB", (8, 8), (0, 250, 0))
    options = {"lossless": True} if form == "WEBP" else {}
    found = read_photo(saved(first, form, save_all=True, append_images=[second], duration=50, **options), 4)
    assert found.pixels is not None
    assert ANIMATED in found.remarks
    assert (found.pixels[0] > 240).all()
    assert (found.pixels[1] < 10).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_turns_the_photo_as_pillow_would(orientation: int, order: str) -> None:
    from PIL import ImageOps

    image = scene(16, 16)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 1) + entry + b"\0\0\0\0"
    data = saved(image, "PNG", exif=exif)
    found = read_photo(data, 16)
    with Image.open(BytesIO(data)) as opened:
        turned = ImageOps.exif_transpose(opened)
    assert found.pixels is not None
    assert np.array_equal(found.pixels, np.asarray(turned).transpose(2, 0, 1))
    assert found.remarks == (() if orientation == 1 else (TURNED,))


def test_exif_turns_a_jpeg_that_is_not_square() -> None:
    image = Image.new("RGB", (40, 20), (0, 0, 250))
    image.paste((250, 0, 0), (0, 0, 20, 20))  # left half red; 6 turns it clockwise: red on top
    exif = Image.Exif()
    exif[0x0112] = 6
    found = decode_photo(saved(image, "JPEG", quality=95, exif=exif), 16)
    assert isinstance(found, np.ndarray)
    assert (found[0, :6] > 200).all()
    assert (found[2, 10:] > 200).all()


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", b"x"])
def test_damaged_exif_does_not_matter(exif: bytes) -> None:
    assert read_photo(saved(scene(), "PNG", exif=exif), 8).reason is None


def test_what_is_no_photo_says_why() -> None:
    assert decode_photo(b"", 8) == EMPTY_FILE
    assert read_photo(None, 8).reason == NO_IMAGE
    for data in (b"%PDF-1.7 ...", b"<html></html>", b"\0" * 5000, b"x", bytes(range(256))):
        assert decode_photo(data, 8) == NOT_AN_IMAGE


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_file_cut_anywhere_is_truncated(form: str) -> None:
    data = saved(scene(), form)
    for share in (0.03, 0.1, 0.3, 0.6, 0.9):
        cut = data[: max(13, int(share * len(data)))]
        assert decode_photo(cut, 8) == TRUNCATED, f"{form} cut to {len(cut)} of {len(data)} bytes"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_damage_anywhere_gives_pixels_or_a_reason_and_never_an_exception(form: str) -> None:
    data = saved(scene(), form)
    random = np.random.default_rng(3)
    outcomes = set()
    for _ in range(150):
        broken = bytearray(data)
        for place in random.integers(2, len(data), 1 + random.integers(8)):
            broken[place] = random.integers(256)
        found = decode_photo(bytes(broken), 8, max_pixels=10**6)
        assert isinstance(found, np.ndarray) or found in REASONS
        outcomes.add("pixels" if isinstance(found, np.ndarray) else found)
    assert outcomes & set(REASONS) or form == "BMP"  # every byte of a bitmap's picture is a legal one


def test_damage_inside_a_whole_file_is_unreadable() -> None:
    data = bytearray(saved(scene()))
    data[60:90] = bytes(30)  # inside the compressed stream; the end is there
    assert decode_photo(bytes(data), 8) == UNREADABLE


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bombs() -> Iterator[tuple[str, bytes]]:
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 1, 0, 0, 0, 0)  # 100 megapixels of one bit
    body = zlib.compress(bytes(1251 * 10_000), 9)
    yield "PNG", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    small = bytearray(saved(scene(), "JPEG"))
    at = small.index(b"\xff\xc0")
    small[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    yield "JPEG", bytes(small)
    gif = bytearray(saved(scene(), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_000, 65_000)
    yield "GIF", bytes(gif)
    bmp = bytearray(saved(scene(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    yield "BMP", bytes(bmp)


@pytest.mark.parametrize(("form", "data"), list(bombs()))
def test_too_many_pixels_are_refused_from_the_header(form: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are errors here: Pillow's own, which would say so of all of these, must not come up."""

    def decoded(image: ImageFile.ImageFile) -> None:
        raise AssertionError(f"{form} was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded)
    assert len(data) < 20_000
    assert decode_photo(data, 64) == TOO_MANY_PIXELS


def test_a_gif_frame_beyond_its_canvas_is_refused_without_a_warning() -> None:
    data = bytearray(saved(scene(), "GIF"))
    at = data.index(b"\x2c\0\0\0\0")
    data[at + 5 : at + 9] = struct.pack("<HH", 10_000, 10_000)
    assert decode_photo(bytes(data), 8) == UNREADABLE


def test_the_limit_is_the_callers() -> None:
    data = saved(scene(48, 32))
    assert isinstance(decode_photo(data, 8, max_pixels=48 * 32), np.ndarray)
    assert decode_photo(data, 8, max_pixels=48 * 32 - 1) == TOO_MANY_PIXELS


def test_pillows_own_settings_are_left_alone() -> None:
    before = Image.MAX_IMAGE_PIXELS
    decode_photo(saved(scene()), 8, max_pixels=10)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 8, "max_pixels": 0}, {"size": 8, "resize": "pad"}])
def test_arguments_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="`size` and `max_pixels` must be at least 1"):
        decode_photo(b"x", **options)  # type: ignore[arg-type]
