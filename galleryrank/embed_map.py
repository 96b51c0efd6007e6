"""A picture of all galleries' vectors, and the attributes that pictures show."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from evaluation.gallery.embedding_map import embedding_map
from evaluation.gallery.gallery_page import Picture
from evaluation.gallery.map_figure import map_figure
from features.gallery.data import GalleryData
from features.gallery.encoder import GalleryEncoder
from features.gallery.store import Embeddings
from galleryrank.console import Log

MAP, MAP_PANELS = "map.png", 6
MAP_COLUMNS = ("id", "x", "y", "row")  # of a map's own table


def vector_map(
    folder: Path, data: GalleryData, embeddings: Embeddings, encoder: GalleryEncoder, say: Log
) -> Picture | None:
    """map.png in `folder`, coloured by attributes that the data set has; None without them, or with too few vectors."""
    shown = [name for name in shown_tasks(encoder) if name in data.schema.task_columns and name not in MAP_COLUMNS]
    if not shown:
        say("no map of the vectors: the data set has no attribute to colour it by")
        return None
    say("drawing a map of the vectors")
    try:
        points = embedding_map(embeddings.matrix, embeddings.ids, method="tsne" if len(embeddings) > 30 else "pca")
    except ValueError as error:  # fewer than three galleries, or all alike
        say(f"no map of the vectors: {error}")
        return None
    attributes = data.attributes(shown).to_pandas().set_index(pd.Index(data.item_ids.to_numpy(zero_copy_only=False)))
    columns = as_shown(attributes.loc[points["id"]].reset_index(drop=True), data)
    drawn = pd.concat([points.reset_index(drop=True), columns], axis=1)
    image = map_figure(drawn, shown, method=points.attrs["method"])
    (folder / MAP).write_bytes(image)
    caption = "Each dot is a gallery; galleries that the encoder finds alike lie together. Colour: an attribute."
    return Picture.png("map", "Map of the galleries", caption, image)


def shown_tasks(encoder: GalleryEncoder) -> list[str]:
    """Some tasks of every kind, for pictures: numbers first, then few classes, then amenities."""
    tasks = encoder.tasks.tasks
    few = [t.name for t in tasks if t.kind == "multiclass" and t.n_classes <= 12]
    numbers = [t.name for t in tasks if t.kind == "regression"]
    binary = [t.name for t in tasks if t.kind == "binary"]
    chosen = [*numbers[:2], *few[:1], *binary[-3:], *numbers[2:], *few[1:], *binary[:-3]]
    return (chosen or [t.name for t in tasks])[:MAP_PANELS]


def as_shown(columns: pd.DataFrame, data: GalleryData) -> pd.DataFrame:
    """Attributes as people read them: a 0/1 amenity is yes or no."""
    binary = {name for name, kind in data.schema.task_columns.items() if kind == "binary"}
    words = {0: "no", 1: "yes"}  # False and 0.0 are equal to 0
    return columns.assign(**{name: columns[name].map(lambda v: words.get(v, v)) for name in columns if name in binary})
