"""The tasks of a gallery encoder, fitted on the training items: what the heads predict and how labels are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from features.errors import Fault, InputError, raise_faults
from features.gallery.attributes import Attribute, check_column
from features.schema_rules import same_column
from features.tables import one_chunk
from multitask import Task
from multitask.tasks import TaskKind, output_slices

if TYPE_CHECKING:
    from features.gallery.data import GalleryData

ItemsAt = Sequence[tuple[Path, int]]  # the items' files and their rows, one after the other


@dataclass(frozen=True)
class GalleryTasks:
    """Attributes fitted on the training items, in the order of the schema.

    Parameters
    ----------
    attributes : tuple of Attribute
        What the heads predict.
    dropped : mapping of str to str
        Columns that nothing can be learned from, and why: one class only, or never observed in the training items.

    Examples
    --------
    >>> items = pa.table({"pool": [True, False, None], "city": ["Rome", "Oslo", "Rome"], "bar": [1, 1, 1]})
    >>> kinds = {"pool": "binary", "city": "multiclass", "bar": "binary"}
    >>> tasks = GalleryTasks.fit_table(items, kinds, np.array([0, 1, 2]))
    >>> [task.name for task in tasks.tasks], tasks.dropped
    (['pool', 'city'], {'bar': 'has one class only in the training items'})
    >>> tasks.labels_of(items, np.array([1, 2])).tolist()
    [[0.0, 0.0], [nan, 1.0]]
    """

    attributes: tuple[Attribute, ...]
    dropped: Mapping[str, str]

    @classmethod
    def fit(cls, data: GalleryData, train_rows: np.ndarray) -> Self:
        """The tasks that `data.schema` names, fitted on the items `train_rows` `(n,)`.

        Raises
        ------
        InputError
            A task is a holdout column; a column cannot be what the schema says (infinite numbers, values without a
            logarithm, a binary attribute with three values, a wrong type); nothing can be learned from any column.
        """
        schema = data.schema
        held = [
            Fault("is a holdout column: no trainer may learn from it", data.items_at[0][0], name)
            for name in schema.task_columns
            if any(same_column(name, column) for column in schema.holdout)
        ]
        raise_faults(held)
        kinds = schema.task_columns
        return cls.fit_table(data.attributes(list(kinds)), kinds, train_rows, data.items_at)

    @classmethod
    def fit_table(
        cls, items: pa.Table, kinds: Mapping[str, str], train_rows: np.ndarray, items_at: ItemsAt = ()
    ) -> Self:
        """As `fit`, of a table of items, the kind of each column (a task's kind, or "log") and its files."""
        columns = {name: _column(items, name) for name in kinds}
        faults: list[Fault] = []
        for name, column in columns.items():
            faults += check_column(column, name, _kind(kinds[name]), log=kinds[name] == "log")
        raise_faults(_placed(fault, items_at) for fault in faults)
        attributes: list[Attribute] = []
        dropped: dict[str, str] = {}
        rows = pa.array(np.asarray(train_rows, np.int64))
        for name, column in columns.items():
            kind = _kind(kinds[name])
            attribute, reason = Attribute.fit(name, kind, column.take(rows), log=kinds[name] == "log")
            if attribute is None:
                dropped[name] = str(reason)
            else:
                attributes.append(attribute)
        if not attributes:
            message = "must name at least one column that training can learn from"
            nothing = [_placed(Fault(reason, column=name), items_at) for name, reason in dropped.items()]
            raise InputError([Fault(message, key="[gallery.tasks]"), *nothing])
        return cls(tuple(attributes), dropped)

    @property
    def tasks(self) -> list[Task]:
        """The tasks as the losses know them."""
        return [attribute.task for attribute in self.attributes]

    @property
    def names(self) -> list[str]:
        """The columns that are learned."""
        return [attribute.name for attribute in self.attributes]

    def base_bias(self) -> Tensor:
        """Logits of the training rates `(sum of widths,)`: the heads' first biases."""
        return torch.tensor([bias for attribute in self.attributes for bias in attribute.base_bias])

    def labels(self, data: GalleryData, rows: np.ndarray | None = None) -> Tensor:
        """Labels `(n, T)` float32 of the items `rows` (all, where None): class numbers and standardised values.

        NaN where a label is missing, or of a class that training did not see (`counts` says how many).

        Raises
        ------
        InputError
            A column is missing, of another type than in training, or holds numbers that cannot be labels.
        """
        return self.labels_of(data.attributes(self.names), rows, data.items_at)

    def labels_of(self, items: pa.Table, rows: np.ndarray | None = None, items_at: ItemsAt = ()) -> Tensor:
        """As `labels`, of a table of items and its files."""
        columns = self._columns(items, rows, items_at)
        labels = [attribute.encode(column) for attribute, column in zip(self.attributes, columns)]
        return torch.from_numpy(np.stack(labels, axis=1).astype(np.float32))

    def counts(self, data: GalleryData, rows: np.ndarray | None = None) -> pd.DataFrame:
        """What labels the items `rows` carry: one row per task with the columns task, kind, labelled, missing, unseen.

        `missing` holds null and NaN, `unseen` classes that training did not see; neither reaches the loss.
        """
        columns = self._columns(data.attributes(self.names), rows, data.items_at)
        labelled = [int(np.isfinite(a.encode(column)).sum()) for a, column in zip(self.attributes, columns)]
        unseen = [a.unseen(column) for a, column in zip(self.attributes, columns)]
        return pd.DataFrame({
            "task": self.names,
            "kind": [attribute.kind for attribute in self.attributes],
            "labelled": labelled,
            "missing": [len(column) - n - u for column, n, u in zip(columns, labelled, unseen)],
            "unseen": unseen,
        })  # fmt: skip

    def values(self, outputs: Tensor) -> pd.DataFrame:
        """The heads' outputs `(n, sum of widths)` in the attributes' own terms.

        One column per binary attribute (its probability) and regression (in the column's unit), and one per class of
        a multiclass attribute, "city=Rome" (its probability).
        """
        z = outputs.detach().cpu().numpy()
        columns: dict[str, np.ndarray] = {}
        for attribute, part in zip(self.attributes, output_slices(self.tasks)):
            values = attribute.values(z[:, part])
            if attribute.kind == "multiclass":
                columns |= {f"{attribute.name}={c}": values[:, k] for k, c in enumerate(attribute.classes)}
            else:
                columns[attribute.name] = values
        return pd.DataFrame(columns)

    def lines(self) -> list[str]:
        """What was fitted and what was left out, for people."""
        kinds = [attribute.kind for attribute in self.attributes]
        counts = [f"{kinds.count(kind)} {kind}" for kind in ("binary", "multiclass", "regression") if kind in kinds]
        return [f"{len(kinds)} tasks: {', '.join(counts)}"] + [
            f"left out: `{name}` {reason}" for name, reason in self.dropped.items()
        ]

    def to_state(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {"attributes": [attribute.to_state() for attribute in self.attributes], "dropped": dict(self.dropped)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `to_state`."""
        return cls(tuple(Attribute.from_state(a) for a in state["attributes"]), dict(state["dropped"]))

    def _columns(self, items: pa.Table, rows: np.ndarray | None, items_at: ItemsAt) -> list[pa.Array]:
        columns = [_column(items, attribute.name) for attribute in self.attributes]
        faults: list[Fault] = []
        for attribute, column in zip(self.attributes, columns):
            if attribute.kind == "regression":
                faults += check_column(column, attribute.name, "regression", log=attribute.log)
        raise_faults(_placed(fault, items_at) for fault in faults)
        if rows is None:
            return columns
        index = pa.array(np.asarray(rows, np.int64))
        return [column.take(index) for column in columns]


def _kind(kind: str) -> TaskKind:
    return "regression" if kind == "log" else kind  # type: ignore[return-value]


def _column(items: pa.Table, name: str) -> pa.Array:
    if name not in items.schema.names:
        raise InputError(Fault("is missing", column=name))
    return one_chunk(items.column(name))


def _placed(fault: Fault, items_at: ItemsAt) -> Fault:
    """The fault with the file that its row is in, and the row within that file."""
    if not items_at or fault.row is None:
        return replace(fault, file=items_at[0][0] if len(items_at) == 1 else None)
    ends = np.cumsum([rows for _, rows in items_at])
    file = int(np.searchsorted(ends, fault.row, side="right"))
    start = int(ends[file]) - items_at[file][1]
    more = tuple((row - start, value) for row, value in fault.more if row < ends[file])
    return replace(fault, file=items_at[file][0], row=fault.row - start, more=more)


__all__ = ["GalleryTasks"]
