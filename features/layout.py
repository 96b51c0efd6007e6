"""Where each feature stands: columns of the encoded matrices and rows of the fused embedding table."""

from __future__ import annotations

from functools import cached_property

from features.fields import FieldEncoders
from features.positions import PositionEncoder
from features.sidefeatures import SideFeatures
from features.vocabulary import Vocabulary


class FusedLayout:
    """What a network must know of the encoders: names, sizes and offsets of the fields.

    One embedding table serves all fields. Row 0 is padding; every field has its own rows, the first of which is its
    bucket for unseen, rare and missing values. Columns of `Inputs.ids` and `Inputs.numeric` stand in the order of
    `fields` and `numeric_names`: the impressions' own, the position, the items', the users'.
    """

    own: FieldEncoders
    position: PositionEncoder | None
    sides: tuple[SideFeatures, ...]

    @cached_property
    def _scalar_vocabularies(self) -> list[tuple[Vocabulary, int]]:
        parts = [self.own, *(side.fields for side in self.sides)]
        return [pair for part in parts for pair in zip(part.scalars, part.offsets, strict=True)]

    @cached_property
    def _list_vocabularies(self) -> list[tuple[Vocabulary, int]]:
        parts = [self.own, *(side.fields for side in self.sides)]
        return [pair for part in parts for pair in zip(part.lists, part.list_offsets, strict=True)]

    @cached_property
    def _scalar_fields(self) -> list[tuple[str, int, int]]:
        """Name, size and offset of every scalar field in the order of the columns of `ids`."""
        fields = [(v.name, len(v) + 1, offset) for v, offset in self._scalar_vocabularies]
        if self.position is not None:
            at = len(self.own.scalars)
            fields.insert(at, (self.position.column, self.position.buckets + 1, self.position.offset))
        return fields

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of the F scalar categorical fields, one per column of `Inputs.ids`; the position is one of them."""
        return tuple(name for name, _, _ in self._scalar_fields)

    @cached_property
    def field_sizes(self) -> tuple[int, ...]:
        """Rows of each scalar field in the fused table, its bucket included."""
        return tuple(size for _, size, _ in self._scalar_fields)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Each scalar field's first row (its bucket) in the fused table; the smallest is 1."""
        return tuple(offset for _, _, offset in self._scalar_fields)

    @cached_property
    def list_fields(self) -> tuple[str, ...]:
        """Names of the list-valued fields, one per tensor of `Inputs.lists`."""
        return tuple(vocabulary.name for vocabulary, _ in self._list_vocabularies)

    @cached_property
    def list_sizes(self) -> tuple[int, ...]:
        """Rows of each list field in the fused table, its bucket included."""
        return tuple(len(vocabulary) + 1 for vocabulary, _ in self._list_vocabularies)

    @cached_property
    def list_offsets(self) -> tuple[int, ...]:
        """Each list field's first row (its bucket) in the fused table."""
        return tuple(offset for _, offset in self._list_vocabularies)

    @cached_property
    def numeric_names(self) -> tuple[str, ...]:
        """What each of the M columns of `Inputs.numeric` means, indicators included."""
        position = (self.position.numeric_name,) if self.position is not None else ()
        sides = (name for side in self.sides for name in side.numeric_names)
        return (*self.own.numeric_names, *position, *sides)

    @property
    def n_embeddings(self) -> int:
        """Rows of the fused embedding table, padding row 0 included."""
        return 1 + sum(self.field_sizes) + sum(self.list_sizes)


__all__ = ["FusedLayout"]
