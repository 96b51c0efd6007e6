"""The `galleryrank` command: check, fit, score, evaluate and demo; `galleryrank --help` lists them with examples."""

from _galleryrank_siblings import require_siblings

require_siblings(__file__)
