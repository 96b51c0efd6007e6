"""A data set of galleries: items with attributes, which photos are theirs, and who is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.errors import Fault, InputError, raise_faults
from features.gallery.cutting import cut_evenly
from features.gallery.photos import PhotoIndex, index_photos
from features.gallery.report import PhotoReport
from features.gallery.schema import GallerySchema
from features.gallery.tables import attempt, column_types, holdout_faults, read_items, read_table, type_faults
from features.ids import hash_ids, mix
from features.reading import resolve_files, rows_of
from features.schema_rules import same_column


class GalleryData:
    """Items, their attributes and the index of their photos; the photos themselves are read by a `PhotoSource`.

    Attributes
    ----------
    schema : GallerySchema
    items : pa.Table
        `(V, ...)`: the id, the task columns, the group and the held-out columns. Trainers read `attributes`.
    item_ids : Arrow array `(V,)`
    photos : PhotoIndex
    groups : array `(V,)` int64
        Items with the same number stay on one side of every split; every item has its own without a group column.
    report : PhotoReport
        What became of the photos; filled once the tables are read, and again when the photos are decoded.
    """

    def __init__(
        self,
        schema: GallerySchema,
        items: pa.Table,
        items_at: Sequence[tuple[Path, int]],
        photos: PhotoIndex,
        report: PhotoReport,
    ) -> None:
        self.schema, self.items, self.items_at = schema, items, tuple(items_at)
        self.photos, self.report = photos, report
        self.item_ids: pa.Array = items.column(schema.item).combine_chunks()
        self.groups, self._hashes = _groups(self.item_ids, schema.table.group and items.column(schema.table.group))

    @classmethod
    def open(cls, path: Path | str) -> GalleryData:
        """Read items and photo index as a dataset.toml (or the folder that holds one) describes them.

        Raises
        ------
        InputError
            A file is missing or no sound Parquet; a column is missing or of the wrong type; an item id is null or
            repeated; no photo belongs to any item; the schema calls an error what the photos table shows (repeated
            orders, items without photos). Every fault that can be told at this point, at once.
        """
        schema = GallerySchema.load(path)
        table, faults = schema.table, list[Fault]()
        item_files = attempt(faults, resolve_files, schema.folder, schema.files.items) or []
        photo_files = attempt(faults, resolve_files, schema.folder, schema.files.photos) or []
        photo_columns = [name for name in (schema.item, table.image, table.path, table.order) if name is not None]
        item_types = column_types(faults, item_files, schema.item_columns, schema.item_holdout)
        photo_types = column_types(faults, photo_files, photo_columns)
        faults += type_faults(schema, item_files, item_types, photo_files, photo_types)
        faults += [] if faults else holdout_faults(schema, item_files, item_types)
        items_at = [] if faults else [(file, rows_of(file)) for file in item_files]
        items = None if faults else read_items(faults, item_files, item_types, schema)
        if items is None:
            raise InputError(faults)
        ids = items.column(schema.item).combine_chunks()
        photos, report = index_photos(photo_files, photo_types, schema, ids, items_at)
        raise_faults(report.faults(schema))
        if not len(photos):
            raise InputError(Fault(f"holds no photo of any item ({'; '.join(report.lines())})", photo_files[0]))
        return cls(schema, items, items_at, photos, report)

    def __len__(self) -> int:
        """How many items, V."""
        return len(self.item_ids)

    def attributes(self, names: Sequence[str] | None = None) -> pa.Table:
        """Columns `(V,)` of the items table that may be learned from; None: every task column.

        Raises
        ------
        InputError
            A column is held out, or is not there.
        """
        names = list(self.schema.task_columns) if names is None else list(names)
        held = [name for name in names if any(same_column(name, column) for column in self.schema.holdout)]
        raise_faults(Fault("is a holdout column: no trainer may learn from it", column=name) for name in held)
        return self._columns(names)

    def holdout(self, name: str) -> pa.Array:
        """A held-out column `(V,)`, for probes of a finished encoder only.

        Raises
        ------
        InputError
            The column is not held out.
        """
        if not any(same_column(name, column) for column in self.schema.holdout):
            found = ", ".join(f"`{column}`" for column in self.schema.holdout) or "none"
            raise InputError(Fault(f"must be one of [columns].holdout, got {name!r}; held out are {found}"))
        return self._columns([name.removeprefix("items.")]).column(0).combine_chunks()

    def _columns(self, names: list[str]) -> pa.Table:
        missing = [name for name in names if name not in self.items.column_names]
        if missing:
            files = [file for file, _ in self.items_at]
            types = column_types(faults := list[Fault](), files, missing)
            raise_faults(faults)
            extra = read_table(files, {name: types[name] for name in missing})
            for name in missing:
                self.items = self.items.append_column(name, extra.column(name))
        return self.items.select(names)

    def split(self, fraction: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Rows `(n,)` int64 of the items to train on and to validate on, 9:1 by default [Booking].

        A group is validated on when the hash of its value falls below `fraction` of the range: which side it is on does
        not change when items are added. Where that leaves one side empty, the nearest group changes sides.

        Raises
        ------
        ValueError
            `fraction` is not inside (0, 1), or all items are of one group.
        """
        if not 0.0 < fraction < 1.0:
            raise ValueError(f"`fraction` must satisfy 0 < fraction < 1, got {fraction}")
        uniform = self._uniform(seed)
        if uniform.min() == uniform.max():
            raise ValueError("items must be of at least two groups to be split, got one")
        fraction = min(max(fraction, float(np.nextafter(uniform.min(), 1.0))), float(uniform.max()))
        held = uniform < fraction
        return np.flatnonzero(~held), np.flatnonzero(held)

    def folds(self, k: int, seed: int = 0) -> np.ndarray:
        """The fold `(V,)` int64 of every item, 0 to k - 1: equally many items each, as far as groups allow.

        Not independent of a `split` of the same seed: both go by the same hashes, so that what the split validates on
        are the first items of fold 0. Take another seed to combine the two.

        Raises
        ------
        ValueError
            `k` is below 2 or above the number of groups.
        """
        groups = len(np.unique(self.groups))
        if not 2 <= k <= groups:
            raise ValueError(f"`k` must satisfy 2 <= k <= {groups} (the groups), got {k}")
        uniform = self._uniform(seed)
        _, first, sizes = np.unique(self.groups, return_index=True, return_counts=True)
        order = np.argsort(uniform[first], kind="stable")
        fold = np.repeat(np.arange(k), np.diff(cut_evenly(sizes[order], k)))
        of_group = np.empty(groups, np.int64)
        of_group[order] = fold
        return of_group[np.searchsorted(self.groups[first], self.groups)]

    def _uniform(self, seed: int) -> np.ndarray:
        """A number (V,) in [0, 1) per item, the same within a group."""
        salt = mix(np.array([seed], np.int64))[0]
        return (mix(self._hashes ^ salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _groups(ids: pa.Array, group: pa.ChunkedArray | None) -> tuple[np.ndarray, np.ndarray]:
    """Group numbers (V,) and hashes (V,); an item without a group is one of its own."""
    own = hash_ids(ids)
    if group is None:
        return np.arange(len(ids)), own
    group = group.combine_chunks()
    null = group.is_null().to_numpy(zero_copy_only=False)
    codes = group.dictionary_encode().indices.fill_null(0).to_numpy().astype(np.int64)
    codes[null] = len(ids) + np.flatnonzero(null)
    return codes, np.where(null, own, hash_ids(group))


__all__ = ["GalleryData"]
