"""What must hold between the [gallery] table and the rest of dataset.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from features.schema_rules import same_column

TaskColumnKind = Literal["binary", "multiclass", "regression", "log"]
TASK_KINDS: tuple[TaskColumnKind, ...] = ("binary", "multiclass", "regression", "log")


def gallery_findings(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Contradictions between the [gallery] table and the rest, as (place in dataset.toml, message).

    Works on the raw dictionaries and passes over what has the wrong type, so that these faults are found together
    with those of structure.
    """
    columns, gallery = table_of(data, "columns"), table_of(data, "gallery")
    if "gallery" not in data:
        return
    image, path = gallery.get("image"), gallery.get("path")
    if image is None and path is None:
        yield (
            "[gallery]",
            "give `image` (a binary column of the photos) or `path` (a column of file names), got neither",
        )
    if image is not None and path is not None:
        yield "[gallery]", "give `image` or `path`, got both"
    tasks = table_of(gallery, "tasks")
    learned = [(f"[gallery.tasks].{kind}", name) for kind in TASK_KINDS for name in _names(tasks.get(kind))]
    for key, name in learned:
        if any(same_column(name, held) for held in _names(columns.get("holdout"))):
            yield key, f"`{name}` is a holdout column: no trainer may learn from it"
    of_items = [("[columns].item", name) for name in _names(columns.get("item"))]
    of_photos = list(of_items)
    of_items += [("[gallery].group", name) for name in _names(gallery.get("group"))]
    of_photos += [(f"[gallery].{key}", name) for key in ("image", "path", "order") for name in _names(gallery.get(key))]
    yield from _repeated([*of_items, *learned])
    yield from _repeated(of_photos)


def _repeated(named: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    first: dict[str, str] = {}
    for key, name in named:
        if name in first:
            yield key, f"`{name}` is listed twice" if first[name] == key else f"`{name}` is already {first[name]}"
        first.setdefault(name, key)


def table_of(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _names(value: object) -> list[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [name for name in values if isinstance(name, str)]


__all__ = ["TASK_KINDS", "TaskColumnKind", "gallery_findings", "table_of"]
