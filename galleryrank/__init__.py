"""The `galleryrank` command: logs, rankers and galleries; `galleryrank --help` lists its verbs with examples."""
