"""What a run of `galleryrank embed` left: an encoder and its vectors, or vectors of an encoder that lies elsewhere."""

from __future__ import annotations

from pathlib import Path

from features import Fault, InputError
from features.artifact import read_json
from features.gallery.encoder import GalleryEncoder
from features.gallery.store import Embeddings
from features.gallery.view import View
from galleryrank.gallery_run import RECORD

ENCODER, VECTORS = "encoder", "vectors.parquet"


def open_run(path: Path) -> tuple[GalleryEncoder, Embeddings]:
    """What an earlier `galleryrank embed` left: the encoder, which `--encoder` may have named, and its vectors.

    Raises
    ------
    InputError
        The folder is no finished run of `embed`; the encoder is not the one that made the vectors, or is gone.
    """
    if not (path / VECTORS).is_file():
        message = f"holds no {VECTORS}: make it by `galleryrank embed DATASET --out {path}`"
        raise InputError(Fault(message, path))
    encoder, vectors = find_encoder(_encoder_folder(path)), Embeddings.open(path / VECTORS)
    known = View.of(encoder, vectors.task).fingerprint
    if vectors.encoder != known:
        message = (
            f"holds vectors of encoder {vectors.encoder[:12]}, the encoder beside it is {known[:12]}: "
            "embed again by `galleryrank embed DATASET --encoder ENCODER_DIR --out DIR`"
        )
        raise InputError(Fault(message, path / VECTORS))
    return encoder, vectors


def _encoder_folder(path: Path) -> Path:
    """The run's own encoder, or the one that it was given."""
    record = read_json(path / RECORD) if (path / RECORD).is_file() else None
    given = record.get("encoder_path") if isinstance(record, dict) else None
    if (path / ENCODER).is_dir() or not isinstance(given, str):
        return path
    if not Path(given).is_dir():
        raise InputError(Fault(f"the encoder that made the vectors of {path} is no longer there", Path(given)))
    return Path(given)


def find_encoder(path: Path) -> GalleryEncoder:
    """The encoder in a run of `embed`, or in a folder of its own."""
    return GalleryEncoder.load(path / ENCODER if (path / ENCODER).is_dir() else path)
