"""The `galleryrank` command: check, fit, score, evaluate and demo; `galleryrank --help` lists them with examples."""
