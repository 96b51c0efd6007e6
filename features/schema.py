"""dataset.toml as an object: which columns of a log play which part, how it was sampled and how it is split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from features.errors import InputError, raise_faults
from features.schema_build import build
from features.schema_file import gallery_faults, read_toml, replace_vectors
from features.schema_rules import schema_faults

ROLES: tuple[str, ...] = ("train", "calibrate", "tune", "test")
TABLES: tuple[str, ...] = ("impressions", "items", "users")
DEFAULT_FRACTIONS = {"train": 0.7, "calibrate": 0.1, "tune": 0.1, "test": 0.1}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple)]
Rate = Annotated[float, Field(gt=0.0, le=1.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
RoleName = Literal["train", "calibrate", "tune", "test"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Files(_Part):
    """Where the tables lie, relative to dataset.toml: each a file, a list of files, a glob or a folder of Parquet."""

    impressions: Names
    items: Names | None = None
    users: Names | None = None
    photos: Names | None = None  # one row per photo; read by the gallery encoder alone, see [gallery]
    vectors: Name | None = None  # one file: item column + one fixed_size_list<float> column


class Columns(_Part):
    """The columns that play a part. `categorical` and `numeric` may name side-table columns, also as "items.device"."""

    request: Name
    item: Name
    user: Name | None = None
    time: Name | None = None  # integer seconds or an Arrow timestamp
    query_item: Name | None = None  # a second id looked up in the vectors
    keep_prob: Name | None = None  # probability that sampling kept this row; weights rows, never a feature
    propensity: Name | None = None
    categorical: Names = ()
    numeric: Names = ()
    holdout: Names = ()  # refused by every trainer


class Position(_Part):
    """The position column, and the position every row is scored at (otherwise the log's own order is replayed)."""

    column: Name
    serving_value: Annotated[int, Field(ge=1)] = 1


class Head(_Part):
    """One engagement to predict: a 0/1 column (null = not labelled), the heads it implies, its sign, its maturity."""

    column: Name
    implies: Names = ()
    sign: Literal[1, -1] = 1
    maturity: str | None = None  # "24h": rows younger than this at the log's end are refused for training

    @field_validator("maturity")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            parse_duration(value)
        return value

    @property
    def maturity_seconds(self) -> int | None:
        """The maturity in seconds; None when every row counts at once."""
        return None if self.maturity is None else parse_duration(self.maturity)


class Sampling(_Part):
    """How negatives were dropped before the log was written.

    `negative_rate` (or one rate per row, known before the outcome, in `negative_rate_column`) is the share of
    unprotected units that was kept; a unit is protected when one of `protected_by` is 1. Only `roles` were sampled.
    """

    negative_rate: Rate | None = None
    negative_rate_column: Name | None = None
    unit: Literal["row", "request"] = "row"
    protected_by: Names | None = None  # None: the column of every head
    roles: Annotated[tuple[RoleName, ...], BeforeValidator(_as_tuple)] = ROLES  # type: ignore[assignment]


class Split(_Part):
    """How rows become train / calibrate / tune / test. Without `by`: by time where there is a time, else by request."""

    by: Literal["time", "request", "item", "column"]
    fractions: dict[RoleName, Fraction] | None = None
    column: Name | None = None  # for by = "column": its values are the role names

    @field_validator("fractions")
    @classmethod
    def _in_order(cls, value: dict[RoleName, float] | None) -> dict[RoleName, float] | None:
        return None if value is None else {role: value[role] for role in ROLES if role in value}

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each of `ROLES`, in that order."""
        fractions: Mapping[Any, float] = DEFAULT_FRACTIONS if self.fractions is None else self.fractions
        return tuple(fractions.get(role, 0.0) for role in ROLES)


class Policy(_Part):
    """What is done about duplicates (same request and item) and about NaN labels."""

    duplicates: Literal["error", "drop", "keep"] = "error"
    missing: Literal["null", "nan"] = "null"  # "nan": a float NaN label is a missing label


class Schema(_Part):
    """A log described by one dataset.toml; no code is written to bring a new log.

    Examples
    --------
    >>> schema = Schema.from_dict({
    ...     "files": {"impressions": "log.parquet"},
    ...     "columns": {"request": "request_id", "item": "item_id", "numeric": ["price"]},
    ...     "heads": {"click": {}, "long_click": {"implies": "click"}},
    ... })
    >>> schema.head_names, schema.parent("long_click"), schema.split.by
    (['click', 'long_click'], 'click', 'request')
    >>> Schema.from_dict(schema.to_dict()) == schema
    True
    """

    name: str = "dataset"
    files: Files
    columns: Columns
    position: Position | None = None
    heads: Annotated[dict[str, Head], Field(min_length=1)]
    sampling: Sampling | None = None
    split: Split
    policy: Policy = Policy()
    gallery: dict[str, Any] | None = None  # how the photos are read; a `GallerySchema` says what it may hold

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """A head's column defaults to its name; the split to time where there is a time column, else to requests."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if isinstance(data.get("heads"), dict):
            data["heads"] = {
                name: {"column": name, **head} if isinstance(head, dict) else head
                for name, head in data["heads"].items()
            }
        split = data.get("split", {})
        if isinstance(split, dict) and "by" not in split:
            columns = data.get("columns")
            has_time = isinstance(columns, dict) and columns.get("time") is not None
            data["split"] = {"by": "time" if has_time else "request", **split}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        raise_faults(schema_faults(self))
        return self

    @classmethod
    def load(cls, path: Path | str, *, vectors: str | Literal[False] | None = None) -> Schema:
        """Read a dataset.toml.

        Parameters
        ----------
        path : Path
        vectors : str or False, optional
            A file to stand in [files].vectors; False for none, and then no query item either, as its vector is what it
            is for.

        Raises
        ------
        InputError
            The file is missing, is no TOML (with its line), or describes no log, or its [gallery] is unsound; every
            fault at once.
        """
        path = Path(path)
        data = read_toml(path)
        if vectors is not None:
            replace_vectors(data, vectors)
        photos = gallery_faults(path, data)
        try:
            schema = cls.from_dict(data, file=path)
        except InputError as error:
            said = {fault.key for fault in error.faults}  # both schemas read [files] and [columns]
            raise InputError([*error.faults, *(fault for fault in photos if fault.key not in said)]) from error
        raise_faults(photos)
        return schema

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], file: Path | str | None = None) -> Schema:
        """Build a schema from nested dictionaries as TOML or `to_dict` give them; `InputError` lists every fault.

        What [gallery] holds is kept as it is: the photos it speaks of lie beside the file that `load` reads.
        """
        return build(cls, data, file)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain dictionaries for config.json; `from_dict` gives the same schema back.

        Strings, numbers, lists and dictionaries only, so that JSON gives equal dictionaries back. Defaults are written
        out, keys stand in one order: two files that mean the same give the same JSON text, whatever their layout. Only
        the order of the heads is the file's own, and dictionaries are equal in any order: to notice that too, compare
        the text (`json.dumps`, keys unsorted).
        """
        return self.model_dump(mode="json", exclude_none=True)

    def log_dict(self) -> dict[str, Any]:
        """`to_dict` without the photos and [gallery]: what a ranker fitted on this log depends on.

        Photos reach a ranker as vectors only, so that whoever edits how they are read has not changed the log.
        """
        described = self.to_dict()
        described.pop("gallery", None)
        described["files"].pop("photos", None)
        return described

    @property
    def head_names(self) -> list[str]:
        """The heads in the order of the file."""
        return list(self.heads)

    @property
    def label_columns(self) -> list[str]:
        """The label column of every head, in the order of the heads."""
        return [head.column for head in self.heads.values()]

    @property
    def protected_by(self) -> list[str]:
        """Columns of which one 1 makes a row (or its request) engaged: declared by [sampling], else every head's."""
        if self.sampling is not None and self.sampling.protected_by is not None:
            return list(self.sampling.protected_by)
        return self.label_columns

    @property
    def feature_columns(self) -> list[str]:
        """Every categorical and numeric column, as written."""
        return [*self.columns.categorical, *self.columns.numeric]

    @property
    def own_columns(self) -> list[str]:
        """Columns that stand in the impressions themselves: ids, time, position, weights, labels."""
        c = self.columns
        parts = [c.request, c.item, c.user, c.time, c.query_item, c.keep_prob, c.propensity]
        parts += [self.position.column if self.position else None, *self.label_columns, *self.protected_by]
        return list(dict.fromkeys(name for name in parts if name is not None))

    @property
    def named_columns(self) -> list[str]:
        """Every column that the schema names, once each."""
        rate = self.sampling.negative_rate_column if self.sampling else None
        named = [*self.own_columns, rate, self.split.column, *self.feature_columns, *self.columns.holdout]
        return list(dict.fromkeys(name for name in named if name is not None))

    def parent(self, head: str) -> str | None:
        """The first head that `head` implies: p(head) = p(parent) p(head | parent); None for a root."""
        implies = self.heads[head].implies
        return implies[0] if implies else None


def parse_duration(text: str) -> int:
    """Seconds in "90s", "30m", "24h", "2d" or "1w".

    Examples
    --------
    >>> parse_duration("24h"), parse_duration("30m")
    (86400, 1800)
    """
    match = re.fullmatch(r"\s*(\d+)\s*([smhdw])\s*", text)
    if match is None:
        raise ValueError(f'must be a whole number with a unit s, m, h, d or w such as "24h", got {text!r}')
    return int(match[1]) * SECONDS[match[2]]


__all__ = ["ROLES", "Columns", "Files", "Head", "Policy", "Position", "Sampling", "Schema", "Split", "parse_duration"]
