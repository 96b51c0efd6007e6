"""Two sets of tasks that are heterogeneous by nature: shoes in a shop's catalogue, and the generated properties."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from features import make_world
from features.gallery import GalleryData
from features.gallery.tasks import GalleryTasks
from multitask import Task

from .photo_vectors import gallery_means, photo_vectors, standardised
from .task_table import Parts, Rows, split_by

RARE = 40  # products: a class with fewer has no 4 in a tenth of them, so it is no class here
BRANDS = 20  # the most frequent; all other products are "other"
SHOE_TASKS = {
    "type": "article_type",
    "sub-category": "sub_category",
    "gender": "gender",
    "usage": "usage",
    "colour": "base_colour",
    "brand": "brand",
}
NUMBER = "catalogue number"  # in thousands
PROPERTIES, PHOTOS = 4000, 4  # of the generated world, four photos of each property


@dataclass(frozen=True)
class Source:
    """One set of tasks over V items, to be split anew for every seed.

    Attributes:
        vectors: `(V, 512)` frozen features.
        groups: `(V,)` items of one group stay on one side of every split.
        table: the items' attributes.
    """

    vectors: np.ndarray
    groups: np.ndarray
    table: pd.DataFrame | GalleryData

    def parts(self, seed: int) -> tuple[list[Task], Parts, dict[str, float]]:
        """The tasks, their labels in three parts, and of each regression how much a 1 of its labels is."""
        rows = split_by(self.groups, seed)
        encode = properties_labels if isinstance(self.table, GalleryData) else shoe_labels
        tasks, labels, units = encode(self.table, rows[0])  # type: ignore[arg-type]
        return tasks, Parts.cut(standardised(self.vectors, rows[0]), labels, rows), units


def shoes(folder: Path, weights: Path, out: Path) -> Source:
    """`footwear_attributes`: 9,197 catalogue photos, one per product.

    Split by title: colour variants of one shoe share it. The regression is the product's number in the catalogue, the
    only real number that a product has (all photos are equally large, prices there are made up): numbers were given in
    the order of listing, so it stands for the year of creation that the paper's paintings have.
    """
    table = pd.read_parquet(folder / "footwear.parquet")
    vectors = photo_vectors(table.pop("jpeg").tolist(), weights, 128, out / "vectors.npy")
    return Source(vectors, table.title.to_numpy(), table)


def shoe_labels(table: pd.DataFrame, train: Rows) -> tuple[list[Task], Tensor, dict[str, float]]:
    """Six classifications and a regression: tasks, `(V, 7)` labels, units.

    A class of fewer than `RARE` products is a missing label, as is a gender that the title does not tell; a brand
    beyond the `BRANDS` most frequent ones is "other".
    """
    frame = table[list(SHOE_TASKS.values())].astype(object)
    frame["gender"] = frame.gender.replace({"boys": "kids", "girls": "kids"}).where(frame.gender != "unknown")
    frequent = frame.brand.value_counts().index[:BRANDS]
    frame["brand"] = frame.brand.where(frame.brand.isin(frequent), "other")
    tasks, columns = [], []
    for name, column in SHOE_TASKS.items():
        counts = frame[column].value_counts()
        values = frame[column].where(frame[column].isin(counts.index[counts >= RARE]))
        codes, classes = pd.factorize(values, sort=True)
        tasks.append(Task(name, "multiclass", n_classes=len(classes)))
        columns.append(np.where(codes < 0, np.nan, codes))
    number = table.product_id.to_numpy() / 1000
    mean, deviation = number[train].mean(), number[train].std()
    tasks.append(Task(NUMBER, "regression"))
    labels = np.column_stack([*columns, (number - mean) / deviation]).astype(np.float32)
    return tasks, torch.from_numpy(labels), {NUMBER: float(deviation)}


def properties(folder: Path, weights: Path, out: Path) -> Source:
    """The 31 attributes of generated properties: 17 binary, 7 multiclass, 7 regressions; some labels are missing.

    Features are the means over a property's photos; a few of these are broken on purpose and left out. `folder` holds
    a world with photos, or is where to make it.
    """
    path = folder / "dataset.toml"
    if not path.is_file():
        make_world(path.parent, seed=0, properties=PROPERTIES, users=100, requests=100, photos=PHOTOS)
    data = GalleryData.open(path)
    photos = pd.read_parquet(path.parent / "photos.parquet", columns=["item_id", "jpeg"])
    vectors = photo_vectors(photos.jpeg.tolist(), weights, 96, out / "vectors.npy")
    item = pd.Index(data.item_ids.to_pandas()).get_indexer(photos.item_id)
    return Source(gallery_means(vectors, item, len(data)), np.arange(len(data)), data)


def properties_labels(data: GalleryData, train: Rows) -> tuple[list[Task], Tensor, dict[str, float]]:
    """Tasks, `(V, 31)` labels, units: regressions stay in standard deviations, each has a unit of its own."""
    fitted = GalleryTasks.fit(data, train)
    tasks = [Task(task.name, task.kind, n_classes=task.n_classes) for task in fitted.tasks]
    return tasks, fitted.labels(data), {task.name: 1.0 for task in tasks if task.kind == "regression"}


SOURCES = {"shoes": shoes, "properties": properties}
