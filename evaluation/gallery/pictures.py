"""Pictures as files in memory, and as text inside an HTML page."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image


def png_bytes(image: Image) -> bytes:
    """The image as a PNG file.

    >>> from PIL import Image
    >>> png_bytes(Image.new("RGB", (2, 2)))[:4]
    b'\\x89PNG'
    """
    return _encoded(image, "png", 85)


def data_uri(image: Image | bytes, kind: Literal["jpeg", "png"] = "jpeg", *, quality: int = 85) -> str:
    """A picture as text that an HTML page can hold in `<img src="...">`.

    Args:
        image: An image, or a JPEG or PNG file as it is (a map's, say): then `kind` and `quality` have no say.
        kind: "jpeg" for photos, "png" for drawings.
        quality: Of a JPEG, 1 to 95.

    Raises:
        ValueError: bytes of neither kind; an unknown `kind`.

    >>> data_uri(b"\\x89PNG....")
    'data:image/png;base64,iVBORy4uLi4='
    """
    if kind not in ("jpeg", "png"):
        raise ValueError(f"`kind` must be 'jpeg' or 'png', got {kind!r}")
    if isinstance(image, bytes):
        kinds: dict[bytes, Literal["jpeg", "png"]] = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
        known = [name for start, name in kinds.items() if image.startswith(start)]
        if not known:
            raise ValueError(f"`image` must be a JPEG or PNG file, got bytes that start with {image[:4]!r}")
        data, kind = image, known[0]
    else:
        data = _encoded(image, kind, quality)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _encoded(image: Image, kind: Literal["jpeg", "png"], quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": quality} if kind == "jpeg" else {"optimize": True}))
    return buffer.getvalue()
