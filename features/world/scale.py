"""How many classes each multi-class attribute of a world has: a small world, or the table of the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scale = Literal["small", "paper"]


@dataclass(frozen=True)
class Cardinalities:
    """Numbers of classes of the attributes C1..C7 of [Booking], table 1."""

    city: int
    region: int
    country: int
    type: int
    size: int
    hotel_segment: int
    rental_type: int


CARDINALITIES: dict[Scale, Cardinalities] = {
    "small": Cardinalities(60, 9, 24, 12, 9, 6, 6),
    "paper": Cardinalities(1981, 9, 107, 28, 9, 6, 6),
}
