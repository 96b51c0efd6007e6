"""Numbers on the page, each with its address in metrics.json: what is shown can be traced, and a test traces it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evaluation.formatting import format_number

if TYPE_CHECKING:
    from markupsafe import Markup


class Numbers:
    """Writes the number at an address (a JSON pointer, RFC 6901) of `metrics`, never one that is computed here.

    >>> str(Numbers({"heads": {"click": {"ap": {"value": 0.25}}}})("/heads/click/ap/value"))
    '<span data-key="/heads/click/ap/value">0.2500</span>'
    """

    def __init__(self, metrics: Mapping[str, Any]) -> None:
        self.metrics = metrics

    def __call__(self, *keys: str | int, signed: bool = False) -> Markup:
        """The number at the address that `keys` make together ("/heads/click", "ap/value"), as everywhere else."""
        from markupsafe import Markup

        address = join(*keys)
        text = format_number(self.value(address), signed=signed)
        return Markup('<span data-key="{}">{}</span>').format(address, text)

    def interval(self, low: str, high: str, *, signed: bool = False) -> Markup:
        """ "[low, high]" from two addresses; nothing where it is undefined."""
        from markupsafe import Markup

        if self.value(low) is None or self.value(high) is None:
            return Markup("")
        return Markup("[{}, {}]").format(self(low, signed=signed), self(high, signed=signed))

    def value(self, *keys: str | int) -> Any:
        """What stands at an address.

        Raises:
            KeyError, IndexError: there is nothing.
        """
        return resolve(self.metrics, join(*keys))


def resolve(document: Any, address: str) -> Any:
    """What stands at `address` in a JSON document.

    >>> resolve({"a/b": [1, {"c": 2}]}, "/a~1b/1/c")
    2
    """
    for part in address.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        document = document[int(key)] if isinstance(document, Sequence) else document[key]
    return document


def join(*keys: str | int) -> str:
    """One address of several parts, which are addresses themselves: "/a", "b/c", 1 -> "/a/b/c/1"."""
    return "/".join(str(key).strip("/") if index else str(key) for index, key in enumerate(keys))


def escape(name: str) -> str:
    """A name as one part of an address.

    >>> escape("yes/no")
    'yes~1no'
    """
    return name.replace("~", "~0").replace("/", "~1")


def addressed(records: Sequence[Mapping[str, Any]], address: str) -> list[dict[str, Any]]:
    """Copies of `records`, which stand at `address`, each with its own address as `at`."""
    return [{**record, "at": f"{address}/{index}"} for index, record in enumerate(records)]
