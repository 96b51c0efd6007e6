"""What became of every photo: used, left out and why, changed on the way. One report, with counts and examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import Fault

if TYPE_CHECKING:
    from features.gallery.schema import GallerySchema

SHOWN = 3  # examples of a kind: enough to look at


@dataclass(frozen=True)
class Example:
    """One photo (its item, its order, where it is written down), or one item (without an order)."""

    item: object
    order: object
    file: Path
    row: int  # from 0 within `file`

    def __str__(self) -> str:
        return f"{self.item!r}" if self.order is None else f"{self.item!r} photo {self.order!r}"


@dataclass(frozen=True)
class Tally:
    """How many photos (or items) of one kind, and the first few."""

    count: int = 0
    examples: tuple[Example, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(str(example) for example in self.examples)
        return f"{self.count:,}" + (
            f" (item {shown}{', ...' if self.count > len(self.examples) else ''})" if shown else ""
        )


@dataclass
class PhotoReport:
    """Photos and items counted once when the tables are read, and once when the photos are decoded.

    Parameters
    ----------
    items, photos : int
        Rows of the items and of the photos table.
    indexed : int
        Photos that belong to a known item, once each, within the cap.
    null_ids, unknown : Tally
        Photos without an item id; photos of items that the items table does not have.
    repeated, identical : Tally
        Photos that repeat another of the same item: the same order; the same bytes.
    over_cap : Tally
        Photos beyond `max_photos` of their gallery.
    capped_galleries : int
        Galleries that have such photos.
    no_order : Tally
        Photos whose order is null: they come last.
    masked : dict
        Per reason (`decoding.REASONS`), the photos that cannot be used.
    remarks : dict
        Per remark (`decoding.REMARKS`), the photos that were changed on the way.
    empty : Tally
        Items without a single sound photo: before decoding, those without any photo.
    sound : int or None
        Photos that are used; None before decoding.

    Examples
    --------
    >>> report = PhotoReport(items=2, photos=5, indexed=4, unknown=Tally(1, (Example(9, 0, Path("p.parquet"), 4),)))
    >>> print("\\n".join(report.lines()))
    5 photos for 2 items; 2 items have photos
    photos of unknown items: 1 (item 9 photo 0)
    """

    items: int
    photos: int
    indexed: int
    null_ids: Tally = Tally()
    unknown: Tally = Tally()
    repeated: Tally = Tally()
    identical: Tally = Tally()
    over_cap: Tally = Tally()
    capped_galleries: int = 0
    no_order: Tally = Tally()
    masked: dict[str, Tally] = field(default_factory=dict)
    remarks: dict[str, Tally] = field(default_factory=dict)
    empty: Tally = Tally()
    sound: int | None = None

    @property
    def items_with_photos(self) -> int:
        """Items that have a sound photo (before decoding: any photo)."""
        return self.items - self.empty.count

    @property
    def duplicates(self) -> int:
        """Photos dropped because they repeat another one of their item."""
        return self.repeated.count + self.identical.count

    def _left_out(self) -> Iterator[tuple[str, Tally]]:
        yield "photos without an item id", self.null_ids
        yield "photos of unknown items", self.unknown
        yield "photos that repeat an order of their item", self.repeated
        yield "photos that repeat another's bytes within their item", self.identical
        yield f"photos beyond the cap, in {self.capped_galleries:,} galleries", self.over_cap
        for reason, tally in self.masked.items():
            yield f"photos left out: {reason}", tally

    def lines(self) -> list[str]:
        """The report for people: what is 0 is not mentioned."""
        used = "" if self.sound is None else f", {self.sound:,} of them used"
        head = f"{self.photos:,} photos for {self.items:,} items{used}; {self.items_with_photos:,} items have photos"
        rest = [*self._left_out(), ("photos without an order, put last", self.no_order)]
        rest += [(f"photos {remark}", tally) for remark, tally in self.remarks.items()]
        rest += [("items without a sound photo" if self.sound is not None else "items without a photo", self.empty)]
        return [head, *(f"{what}: {tally}" for what, tally in rest if tally.count)]

    def to_dict(self) -> dict[str, Any]:
        """The report for machines (JSON-able)."""
        named = ("null_ids", "unknown", "repeated", "identical", "over_cap", "no_order", "empty")
        return {
            "items": self.items,
            "items_with_photos": self.items_with_photos,
            "photos": self.photos,
            "indexed": self.indexed,
            "sound": self.sound,
            "duplicates": self.duplicates,
            "capped_galleries": self.capped_galleries,
            **{name: _plain(getattr(self, name)) for name in named},
            "masked": {reason: _plain(tally) for reason, tally in self.masked.items()},
            "remarks": {remark: _plain(tally) for remark, tally in self.remarks.items()},
        }

    def faults(self, schema: GallerySchema) -> list[Fault]:
        """What the schema's policies call an error: duplicates, photos that cannot be used, items without any."""
        table = schema.table
        photo = str(table.image or table.path)
        found: list[Fault] = []
        if table.duplicates == "error":
            if self.repeated.count:
                found.append(_fault("photo of item {} must not repeat an order", self.repeated, table.order or photo))
            if self.identical.count:
                found.append(_fault("photo of item {} must not repeat another's bytes", self.identical, photo))
        if table.corrupt == "error":
            found += [
                _fault(f"photo of item {{}} must be sound, found: {why}", t, photo) for why, t in self.masked.items()
            ]
        if table.empty == "error" and self.empty.count:
            what = "a photo" if self.sound is None else "a sound photo"
            found.append(_fault(f"item {{}} must have {what}, got none", self.empty, schema.item))
        return found


def tally(places: Iterable[int], count: int, example: Any) -> Tally:
    """`count` of a kind, the first of which stand at `places`; `example` turns a place into an `Example`."""
    return Tally(count, tuple(example(place) for _, place in zip(range(SHOWN), places, strict=False)))


def _fault(message: str, found: Tally, column: str) -> Fault:
    """One fault for all of a kind: the first by its item, the next ones of the same file by their rows."""
    first, *rest = found.examples
    more = tuple((example.row, None) for example in rest if example.file == first.file)
    return Fault(message.format(repr(first.item)), first.file, column, first.row, None, found.count, more)


def _plain(found: Tally) -> dict[str, Any]:
    examples = [{"item": _json(e.item), "order": _json(e.order), "row": e.row} for e in found.examples]
    return {"count": found.count, "examples": examples}


def _json(value: object) -> object:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


__all__ = ["Example", "PhotoReport", "Tally", "tally"]
