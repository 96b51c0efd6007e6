"""What the sizes of a world and of its log must satisfy; all faults are found, none is raised here."""

from __future__ import annotations

from features.errors import Fault
from features.world.scale import CARDINALITIES


def world_faults(*, seed: int, properties: int, users: int, scale: str, days: int, query: float = 0.0) -> list[Fault]:
    """One message per argument of a world that is out of range.

    A world needs two properties, since the price is standardised over them.

    Examples
    --------
    >>> for fault in world_faults(seed=0, properties=1, users=5, scale="small", days=0):
    ...     print(fault)
    `properties` must satisfy properties >= 2, got 1
    `days` must satisfy days >= 1, got 0
    """
    bounds = (("seed", seed, 0), ("properties", properties, 2), ("users", users, 1), ("days", days, 1))
    faults = [
        Fault(f"`{name}` must satisfy {name} >= {low}", value=value) for name, value, low in bounds if value < low
    ]
    if scale not in CARDINALITIES:
        faults.append(Fault(f"`scale` must be one of {', '.join(CARDINALITIES)}", value=scale))
    if not 0 <= query < float("inf"):
        faults.append(Fault("`query` must be a finite number >= 0", value=query))
    return faults


def photo_faults(*, photos: int, photo_size: int) -> list[Fault]:
    """One message per argument of the photos that is out of range.

    Examples
    --------
    >>> for fault in photo_faults(photos=-1, photo_size=8):
    ...     print(fault)
    `photos` must satisfy photos >= 0, got -1
    `photo_size` must satisfy 32 <= photo_size <= 512 pixels, got 8
    """
    faults = []
    if photos < 0:
        faults.append(Fault("`photos` must satisfy photos >= 0", value=photos))
    if not 32 <= photo_size <= 512:
        faults.append(Fault("`photo_size` must satisfy 32 <= photo_size <= 512 pixels", value=photo_size))
    return faults


def log_faults(
    *, requests: int, candidates: int, properties: int, negative_rate: float, query: float = 0.0
) -> list[Fault]:
    """One message per argument of a log that is out of range; `properties` is how many there are to choose from.

    Examples
    --------
    >>> for fault in log_faults(requests=1, candidates=5, properties=4, negative_rate=1.0):
    ...     print(fault)
    `candidates` must satisfy 1 <= candidates <= properties = 4, got 5
    """
    faults = []
    if requests < 1:
        faults.append(Fault("`requests` must satisfy requests >= 1", value=requests))
    if query > 0 and candidates == properties:
        message = f"`candidates` must leave a property to look at: 1 <= candidates < properties = {properties}"
        faults.append(Fault(message, value=candidates))
    if not 1 <= candidates <= properties:
        message = f"`candidates` must satisfy 1 <= candidates <= properties = {properties}"
        faults.append(Fault(message, value=candidates))
    if not 0 < negative_rate <= 1:
        faults.append(Fault("`negative_rate` must satisfy 0 < negative_rate <= 1", value=negative_rate))
    return faults
