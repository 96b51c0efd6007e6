"""One attribute that photos are asked about, fitted: which class has which number, what the mean and the spread are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import log
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from features.errors import Fault, InputError
from features.vocabulary import Vocabulary, as_integers, key_kind
from multitask import Task
from multitask.tasks import TaskKind


@dataclass(frozen=True)
class Attribute:
    """A fitted attribute: a column of the items table as a task.

    Parameters
    ----------
    name : str
        The column.
    kind : "binary", "multiclass" or "regression"
    classes : tuple of int or str
        Its classes in the order of their numbers, as seen in training; a binary attribute's second is the positive one.
    counts : tuple of int
        Training items of each class; of a regression, `(n,)`.
    mean, std : float
        Of a regression's training values (of their logarithm with `log`): its targets are standardised.
    log : bool
        Whether the target is the natural logarithm of the column.

    Examples
    --------
    >>> pool, reason = Attribute.fit("pool", "binary", pa.array([True, False, None, True]))
    >>> pool.classes, pool.counts, pool.encode(pa.array([False, True, None])).tolist()
    ((0, 1), (1, 2), [0.0, 1.0, nan])
    >>> price, _ = Attribute.fit("price", "regression", pa.array([100.0, 200.0, float("nan")]))
    >>> price.encode(pa.array([100.0, 200.0, 250.0])).tolist(), price.values(np.array([[2.0]])).tolist()
    ([-1.0, 1.0, 2.0], [250.0])
    >>> Attribute.fit("pool", "binary", pa.array([True, True]))[1]
    'has one class only in the training items'
    """

    name: str
    kind: TaskKind
    classes: tuple[int | str, ...] = ()
    counts: tuple[int, ...] = ()
    mean: float = 0.0
    std: float = 1.0
    log: bool = False

    @classmethod
    def fit(cls, name: str, kind: TaskKind, column: pa.Array, *, log: bool = False) -> tuple[Self | None, str | None]:
        """The attribute, or the reason why nothing can be learned from the training items' `column` `(n,)`.

        Raises
        ------
        InputError
            The column cannot be such an attribute: see `check_column`.
        """
        if kind == "regression":
            values = _numbers(column)
            values = values[~np.isnan(values)]
            if not len(values):
                return None, "is not observed in the training items"
            values = np.log(values) if log else values
            if not values.std() > 1e-9 * max(1.0, float(np.abs(values).max())):
                return None, "has one value only in the training items"
            return cls(name, kind, (), (len(values),), float(values.mean()), float(values.std()), log), None
        keys = _keys(column, name, None)
        counted = pc.value_counts(keys.drop_null())
        values, counts = counted.field("values"), counted.field("counts").to_numpy()
        if len(values) < 2:
            found = "has one class only" if len(values) else "is not observed"
            return None, f"{found} in the training items"
        order = pc.sort_indices(values)
        classes = values.take(order).cast(pa.int64() if pt.is_boolean(values.type) else values.type).to_pylist()
        return cls(name, kind, tuple(classes), tuple(counts[order.to_numpy()].tolist())), None

    @property
    def task(self) -> Task:
        """The task as the losses know it; a regression's targets are standardised, so their variance is 1."""
        return Task(self.name, self.kind, n_classes=len(self.classes)) if self.classes else Task(self.name, self.kind)

    @property
    def base_bias(self) -> list[float]:
        """Logits of the training rates, one per output: what a head says before it has learned anything."""
        if self.kind == "regression":
            return [0.0]
        logs = [log(count / sum(self.counts)) for count in self.counts]
        return [logs[1] - logs[0]] if self.kind == "binary" else logs

    def encode(self, column: pa.Array) -> np.ndarray:
        """Labels `(n,)` float64: class numbers, or standardised values; NaN where missing or not seen in training."""
        if self.kind == "regression":
            values = _numbers(column)
            return ((np.log(values) if self.log else values) - self.mean) / self.std
        if isinstance(self.classes[0], str):
            vocabulary = Vocabulary(self.name, "string", map(str, self.classes))
        else:
            vocabulary = Vocabulary(self.name, "int", np.array(self.classes, np.int64))
        codes = vocabulary.encode(_keys(column, self.name, vocabulary.kind))
        return np.where(codes > 0, codes - 1.0, np.nan)

    def unseen(self, column: pa.Array) -> int:
        """How many rows hold a class that training did not see."""
        if self.kind == "regression":
            return 0
        return int(np.isnan(self.encode(column)).sum()) - _missing(column)

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """A head's outputs in the attribute's own terms.

        `(n, 1)` logits of a binary attribute to probabilities `(n,)`; `(n, K)` logits to `(n, K)`; `(n, 1)`
        standardised values to `(n,)` values in the column's unit (with `log`: e to the predicted logarithm, a median).
        """
        z = outputs.astype(np.float64)
        if self.kind == "binary":
            return np.exp(-np.logaddexp(0.0, -z[:, 0]))
        if self.kind == "multiclass":
            return np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        own = z[:, 0] * self.std + self.mean
        return np.exp(own) if self.log else own

    def to_state(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `to_state`."""
        return cls(**{**state, "classes": tuple(state["classes"]), "counts": tuple(state["counts"])})


def check_column(column: pa.Array, name: str, kind: TaskKind, *, log: bool) -> list[Fault]:
    """What is wrong with a whole column of the items table for an attribute of this kind.

    Infinite numbers; with `log` also those that are not above 0; more than two values of a binary attribute; a type
    that can be no label. NaN and null are missing labels and no fault.
    """
    try:
        if kind == "regression":
            values = _numbers(column)
            faults = [_rows("must be finite", values, np.isinf(values), name)]
            if log:
                bad = np.isfinite(values) & (values <= 0)
                faults.append(_rows("must be above 0 to have a logarithm", values, bad, name))
            return [fault for fault in faults if fault is not None]
        found = pc.unique(_keys(column, name, None).drop_null())
        if kind == "binary" and len(found) > 2:
            shown = ", ".join(str(value) for value in found.slice(0, 3).to_pylist())
            return [Fault(f"a binary attribute must hold two values, got {len(found)}: {shown}, ...", column=name)]
    except InputError:
        wanted = "numbers" if kind == "regression" else "integers, booleans or strings"
        found = f"{column.type} with fractions" if pt.is_floating(column.type) else column.type
        return [Fault(f"must hold {wanted}, got type {found}", column=name)]
    return []


def _rows(message: str, values: np.ndarray, bad: np.ndarray, name: str) -> Fault | None:
    rows = np.flatnonzero(bad)
    if not len(rows):
        return None
    more = tuple((int(row), float(values[row])) for row in rows[1:3])
    return Fault(message, None, name, int(rows[0]), float(values[rows[0]]), len(rows), more)


def _numbers(column: pa.Array) -> np.ndarray:
    """`(n,)` float64 with NaN where null."""
    if pt.is_dictionary(column.type):
        column = column.dictionary_decode()
    numeric = pt.is_integer(column.type) or pt.is_floating(column.type) or pt.is_decimal(column.type)
    if not (numeric or pt.is_null(column.type)):
        raise InputError(Fault(f"must hold numbers, got type {column.type}"))
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _keys(column: pa.Array, name: str, expected: str | None) -> pa.Array:
    """The classes as booleans, integers or strings; null where missing."""
    if pt.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pt.is_null(column.type):
        return column.cast(pa.int64())
    if key_kind(column.type) == "string":
        return column.cast(pa.string())
    return as_integers(column, name, expected)


def _missing(column: pa.Array) -> int:
    nan = pt.is_floating(column.type)
    return int(pc.sum(pc.is_null(column, nan_is_null=nan)).as_py() or 0)
