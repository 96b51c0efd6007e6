"""The parts of dataset.toml that a gallery encoder reads: items, photos, the [gallery] table, the held-out columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from features.errors import Fault, InputError
from features.gallery.schema_faults import TASK_KINDS, TaskColumnKind, gallery_findings, table_of
from features.schema_file import read_toml

TO_ADD = (
    "is missing: galleries need it. Add [gallery] with `image` (the photos' binary column) or `path` (their file "
    "names), and [gallery.tasks] with the columns to learn from"
)


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GalleryFiles(_Part):
    """Where the tables lie, relative to dataset.toml: each a file, a list of files, a glob or a folder of Parquet."""

    items: Names
    photos: Names  # one row per photo
    vectors: Name | None = None  # what `galleryrank embed` makes


class GalleryColumns(_Part):
    """The id that joins items and photos, and what no trainer may see."""

    item: Name
    holdout: Names = ()


class GalleryTasks(_Part):
    """[gallery.tasks]: columns of the items table to learn, by kind; `log` regresses on the natural logarithm."""

    binary: Names = ()
    multiclass: Names = ()
    regression: Names = ()
    log: Names = ()


class GalleryTable(_Part):
    """[gallery]: where photos are found, how many are used, and what is done about those that cannot be.

    `image` is a binary column of the photos table, `path` a text column of file names relative to dataset.toml; one
    of the two. The photo with the smallest `order` is the cover (without it the row order counts; text sorts as text).
    Items of one `group` stay on one side of every split.
    """

    image: Name | None = None
    path: Name | None = None
    order: Name | None = None
    group: Name | None = None
    empty: Literal["skip", "error"] = "skip"  # an item without a single sound photo
    corrupt: Literal["mask", "error"] = "mask"  # a photo that cannot be used
    duplicates: Literal["drop", "error"] = "drop"  # repeated (item, order), or the same bytes twice within an item
    max_photos: Annotated[int, Field(ge=1)] = 44  # of one gallery, in order [Booking]
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000  # a photo with more is not decoded
    tasks: GalleryTasks = GalleryTasks()


class GallerySchema(_Part):
    """Galleries described by a dataset.toml, which may describe an impression log as well.

    Examples
    --------
    >>> schema = GallerySchema.from_dict({
    ...     "files": {"items": "items.parquet", "photos": "photos.parquet"},
    ...     "columns": {"item": "item_id", "holdout": ["star_rating"]},
    ...     "gallery": {"image": "jpeg", "tasks": {"binary": ["pool"], "log": ["price"]}},
    ... })
    >>> schema.item, schema.holdout, schema.task_columns, schema.table.max_photos
    ('item_id', ('star_rating',), {'pool': 'binary', 'price': 'log'}, 44)
    """

    name: str = "dataset"
    files: GalleryFiles
    columns: GalleryColumns
    gallery: GalleryTable
    _folder: Path = PrivateAttr(default=Path("."))
    _log_files: dict[str, tuple[str, ...]] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(cls, path: Path | str) -> GallerySchema:
        """Read a dataset.toml, or the one in a folder.

        Raises
        ------
        InputError
            The file is missing, is no TOML, or describes no galleries; every fault at once.
        """
        path = Path(path)
        path = path / "dataset.toml" if path.is_dir() else path
        return cls.from_dict(read_toml(path), file=path, folder=path.parent)

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], file: Path | str | None = None, folder: Path | str = "."
    ) -> GallerySchema:
        """Build a schema from nested dictionaries as TOML or `to_dict` give them; `InputError` lists every fault.

        What only the impression log needs ([heads], [files].impressions, ...) is left to its own schema.
        """
        own = _without_the_log(data)
        faults = [Fault(message, file, key=key) for key, message in gallery_findings(own)]
        try:
            schema = cls.model_validate(own)
        except ValidationError as error:
            faults = [*(_fault(problem, file) for problem in error.errors(include_url=False)), *faults]
        if faults:
            raise InputError(faults)
        schema._folder, files = Path(folder), table_of(data, "files")
        if "impressions" in files:
            schema._log_files = {key: _texts(files[key]) for key in ("impressions", "users") if key in files}
        return schema

    def to_dict(self) -> dict[str, Any]:
        """Nested plain dictionaries (JSON-able); `from_dict` gives the same schema back."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def folder(self) -> Path:
        """What file names are relative to: where dataset.toml lies."""
        return self._folder

    @property
    def vectors(self) -> Path | None:
        """Where the data set says that its vectors lie, made or yet to be made."""
        return None if self.files.vectors is None else self.folder / self.files.vectors

    @property
    def item(self) -> str:
        """The id column of items and photos."""
        return self.columns.item

    @property
    def holdout(self) -> tuple[str, ...]:
        """Columns that no trainer may learn from."""
        return self.columns.holdout

    @property
    def table(self) -> GalleryTable:
        """The [gallery] table."""
        return self.gallery

    @property
    def task_columns(self) -> dict[str, TaskColumnKind]:
        """The columns to learn and their kind: binary ones first, then multiclass, regression and log."""
        tasks = self.gallery.tasks
        return {column: kind for kind in TASK_KINDS for column in getattr(tasks, kind)}

    @property
    def item_columns(self) -> list[str]:
        """Every column that the items table must have, the id first; a log may hold the held-out ones itself."""
        group = [] if self.gallery.group is None else [self.gallery.group]
        held = [] if self._log_files else self.item_holdout
        return list(dict.fromkeys([self.item, *self.task_columns, *group, *held]))

    @property
    def log_files(self) -> dict[str, tuple[str, ...]]:
        """The log's tables that may hold held-out columns, "impressions" and "users"; none without a log."""
        return self._log_files

    @property
    def item_holdout(self) -> list[str]:
        """The held-out columns that can be columns of the items table: "items.star" is, "users.star" is not."""
        bare = [column.removeprefix("items.") for column in self.holdout]
        return [column for column in bare if not column.startswith(("impressions.", "users."))]


def _texts(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(name for name in values if isinstance(name, str))


def _without_the_log(data: Mapping[str, Any]) -> dict[str, Any]:
    """`data` without the keys that only the log's schema reads; keys that nobody knows stay, to be refused."""
    from features.schema import Columns, Files, Schema  # here: the log's schema holds a GalleryTable itself

    own: dict[str, Any] = {key: value for key, value in data.items() if key not in _foreign(Schema, GallerySchema)}
    for key, theirs, ours in (("files", Files, GalleryFiles), ("columns", Columns, GalleryColumns)):
        if isinstance(own.get(key), Mapping):
            foreign = _foreign(theirs, ours)
            own[key] = {name: value for name, value in own[key].items() if name not in foreign}
    return own


def _foreign(theirs: type[BaseModel], ours: type[BaseModel]) -> set[str]:
    return set(theirs.model_fields) - set(ours.model_fields)


def _fault(problem: Any, file: Path | str | None) -> Fault:
    """What pydantic found, in the words of dataset.toml."""
    from features.schema_build import KNOWN

    loc = [part for part in problem["loc"] if isinstance(part, str)]
    depth = 2 if loc[:2] == ["gallery", "tasks"] else 1
    table, rest = ".".join(loc[:depth]), ".".join(loc[depth:])
    key = "name" if loc == ["name"] else f"[{table}].{rest}" if rest else f"[{table}]"
    kind = problem["type"]
    if kind == "missing":
        message = {"[gallery]": TO_ADD, "[files].photos": "is missing: the table with one row per photo"}.get(key)
        return Fault(message or KNOWN["missing"], file, key=key)
    message = KNOWN.get(kind) or str(problem["msg"]).replace("Input should be", "must be")
    return Fault(message if kind == "extra_forbidden" else f"{message}, got {problem['input']!r}", file, key=key)


__all__ = ["GallerySchema", "GalleryTable", "TaskColumnKind", "gallery_findings"]
