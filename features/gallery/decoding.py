"""One photo's bytes to pixels, or the reason why not. Nothing that a file can hold escapes as an exception."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose
    from PIL.ImageFile import ImageFile

Resize = Literal["stretch", "crop"]

# Reasons: the photo cannot be used.
EMPTY_FILE = "empty file"
TRUNCATED = "truncated"
NOT_AN_IMAGE = "not an image"  # neither JPEG, PNG, WebP, GIF nor BMP
TOO_MANY_PIXELS = "too many pixels"
UNREADABLE = "unreadable"
NO_IMAGE = "no image"  # null instead of bytes or a file name
FILE_NOT_FOUND = "file not found"
REASONS = (EMPTY_FILE, TRUNCATED, NOT_AN_IMAGE, TOO_MANY_PIXELS, UNREADABLE, NO_IMAGE, FILE_NOT_FOUND)

# Remarks: the photo is used, and something was done to it that its owner may not expect.
ANIMATED = "animated, first frame used"
TURNED = "turned as its EXIF orientation says"
CONVERTED = {
    "1": "converted from black and white",
    "L": "converted from gray",
    "P": "converted from a palette",
    "CMYK": "converted from CMYK",
    "16": "converted from 16 bits",
    "A": "transparency laid on white",
    "": "converted from another colour model",
}
REMARKS = (ANIMATED, TURNED, *CONVERTED.values())

MAX_PIXELS = 50_000_000
HEADER_CUT = (EOFError, struct.error, IndexError)  # what reading past the end of a header raises


class DecodedPhoto(NamedTuple):
    """What `read_photo` found: `pixels` (3, S, S) uint8, or the `reason` why there are none; and `remarks`."""

    pixels: np.ndarray | None
    reason: str | None = None
    remarks: tuple[str, ...] = ()


def decode_photo(
    data: bytes, size: int, *, resize: Resize = "stretch", max_pixels: int = MAX_PIXELS
) -> np.ndarray | str:
    """The pixels `(3, size, size)` uint8 of a photo, or the reason (one of `REASONS`) why it cannot be used.

    Examples
    --------
    >>> decode_photo(b"", 64), decode_photo(b"%PDF-1.7", 64)
    ('empty file', 'not an image')
    """
    pixels, reason, _ = read_photo(data, size, resize=resize, max_pixels=max_pixels)
    return reason if pixels is None else pixels  # type: ignore[return-value]


def read_photo(
    data: bytes | None, size: int, *, resize: Resize = "stretch", max_pixels: int = MAX_PIXELS
) -> DecodedPhoto:
    """Decode a photo as RGB, upright, bilinearly resized to a square [Booking, section 3.2].

    Parameters
    ----------
    data : bytes or None
        The file: JPEG, PNG, WebP, GIF or BMP; recognised by its first bytes, whatever its name says.
    size : int
        S, pixels of a side.
    resize : "stretch" or "crop"
        Change the aspect ratio, or cut the largest square out of the middle.
    max_pixels : int
        A photo whose header announces more is refused before anything is decoded.

    Notes
    -----
    Pillow warns of and refuses large images by limits that hold for the whole process, and silencing a warning is not
    possible in one thread alone; so its format classes are called directly, and the limit is ours.
    """
    if size < 1 or max_pixels < 1 or resize not in ("stretch", "crop"):
        raise ValueError(
            f"`size` and `max_pixels` must be at least 1 and `resize` be stretch or crop, got {size}, {max_pixels}, "
            f"{resize!r}"
        )
    if data is None:
        return DecodedPhoto(None, NO_IMAGE)
    if not data:
        return DecodedPhoto(None, EMPTY_FILE)
    try:
        image = _open(data)
        if image is None:
            return DecodedPhoto(None, NOT_AN_IMAGE)
        if image.width * image.height > max_pixels:
            return DecodedPhoto(None, TOO_MANY_PIXELS)
        pixels, remarks = _pixels(image, size, resize)
    except HEADER_CUT:
        return DecodedPhoto(None, TRUNCATED)
    except Exception as error:  # Pillow's decoders raise nearly every kind for a damaged file
        return DecodedPhoto(None, _reason(data, error))
    return DecodedPhoto(pixels, None, remarks)


def _open(data: bytes) -> ImageFile | None:
    """Reads the header; None when the first bytes are those of no format we know."""
    file = BytesIO(data)
    if data.startswith(b"\xff\xd8"):
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile(file)
    if data.startswith(b"\x89PNG"):
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(file)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        from PIL.WebPImagePlugin import WebPImageFile

        return WebPImageFile(file)
    if data.startswith((b"GIF87a", b"GIF89a")):
        from PIL.GifImagePlugin import GifImageFile

        _refuse_wide_frame(data)
        return GifImageFile(file)
    if data.startswith(b"BM"):
        from PIL.BmpImagePlugin import BmpImageFile

        return BmpImageFile(file)
    return None


def _refuse_wide_frame(gif: bytes) -> None:
    """Refuses a GIF whose first frame reaches beyond its canvas, which no program writes.

    Pillow enlarges the canvas, and warns of the process's limit on the way: the one warning that opening could give.
    """
    at = 13 + (3 << (gif[10] & 7) + 1 if gif[10] & 128 else 0)  # header, screen, colour table
    while gif[at] == 0x21:  # extensions: a label and blocks, each with its length, up to an empty one
        at += 2
        while gif[at]:
            at += gif[at] + 1
        at += 1
    if gif[at] == 0x2C:
        canvas = struct.unpack_from("<HH", gif, 6)
        left, top, width, height = struct.unpack_from("<HHHH", gif, at + 1)
        if left + width > canvas[0] or top + height > canvas[1]:
            raise ValueError("the first frame reaches beyond the canvas")


def _pixels(image: ImageFile, size: int, resize: Resize) -> tuple[np.ndarray, tuple[str, ...]]:
    """The pixels `(3, size, size)` of an opened image and what was done to it."""
    from PIL.Image import Resampling

    turn = _orientation(image.info.get("exif"))
    if image.format == "JPEG":  # decoded at 1/2, 1/4 or 1/8 where that leaves twice the size asked for
        image.draft(image.mode, (2 * size, 2 * size))
    image.load()
    remarks = [ANIMATED] if getattr(image, "is_animated", False) else []
    flat, converted = _rgb_or_gray(image)
    remarks += [converted] if converted else []
    box = (0.0, 0.0, float(flat.width), float(flat.height))
    if resize == "crop":
        side = min(flat.size)
        left, top = (flat.width - side) / 2, (flat.height - side) / 2
        box = (left, top, left + side, top + side)
    # A gap of 2: shrink by whole numbers down to twice the size first; bilinear beyond that, at a fraction of the cost.
    small = flat.resize((size, size), Resampling.BILINEAR, box, reducing_gap=2.0).convert("RGB")
    if turn is not None:  # a square is turned as well after as before, and it is smaller now
        small = small.transpose(turn)
        remarks.append(TURNED)
    pixels = np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))  # (S, S, 3) -> (3, S, S)
    return pixels, tuple(remarks)


def _rgb_or_gray(image: Image) -> tuple[Image, str | None]:
    """The image in mode RGB or L, and the remark if it was no RGB image."""
    from PIL import Image as images

    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image, None
    if mode == "L" and "transparency" not in image.info:
        return image, CONVERTED["L"]
    if mode.startswith("I"):  # gray of 16 bits; Pillow's own conversion to 8 would clip instead of scale
        high = np.asarray(image).astype(np.int64) // 257
        return images.fromarray(high.clip(0, 255).astype(np.uint8)), CONVERTED["16"]
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        alpha = layer.getchannel("A")
        if alpha.getextrema()[0] == 255:  # opaque everywhere
            return layer.convert("RGB"), CONVERTED.get(mode.removesuffix("A"))
        white = images.new("RGB", image.size, "white")
        white.paste(layer, mask=alpha)
        return white, CONVERTED["A"]
    return image.convert("RGB"), CONVERTED.get(mode, CONVERTED[""])


def _orientation(exif: bytes | None) -> Transpose | None:
    """The transposition that EXIF asks for, as Pillow's constant; None for an upright photo or damaged EXIF.

    Read here because Pillow's own reader warns of damaged EXIF, which is common and does not matter.
    """
    from PIL.Image import Transpose as Turn

    data = (exif or b"").removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 10:
        return None
    (start,) = struct.unpack_from(order + "I", data, 4)
    if start + 2 > len(data):
        return None
    (entries,) = struct.unpack_from(order + "H", data, start)
    for at in range(start + 2, min(start + 2 + 12 * entries, len(data) - 11), 12):
        tag, kind, _, value = struct.unpack_from(order + "HHIH", data, at)
        if (tag, kind) == (0x0112, 3):
            names = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE",
                     "ROTATE_90")  # fmt: skip
            return Turn[names[value - 2]] if 2 <= value <= 8 else None
    return None


def _reason(data: bytes, error: Exception) -> str:
    """Why decoding failed: the file stops before its end, announces too many pixels, or is damaged inside."""
    if type(error).__name__ == "DecompressionBombError":
        return TOO_MANY_PIXELS
    text = str(error).lower()
    if "truncated" in text or _stops_early(data):
        return TRUNCATED
    return UNREADABLE


def _stops_early(data: bytes) -> bool:
    """Whether the mark that ends a file of its format is missing."""
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-64:]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:]
    if data.startswith(b"RIFF"):
        return len(data) < 12 or len(data) < 8 + int.from_bytes(data[4:8], "little")
    if data.startswith(b"BM"):
        return len(data) < int.from_bytes(data[2:6], "little")
    return data.startswith(b"GIF8") and b"\x3b" not in data[-8:]


__all__ = ["REASONS", "REMARKS", "DecodedPhoto", "Resize", "decode_photo", "read_photo"]
