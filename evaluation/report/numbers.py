"""Numbers on the page, each with its address in metrics.json: what is shown can be traced, and a test traces it all."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evaluation.comparison.gate_words import percent, signed
from evaluation.formatting import MISSING, format_number, format_p

if TYPE_CHECKING:
    from markupsafe import Markup

FORMS: dict[str, Callable[[Any], str]] = {
    "number": format_number,
    "signed": lambda value: format_number(value, signed=True),
    "p": format_p,
    "share": lambda value: MISSING if value is None else unbroken(percent(value)),
    "change": lambda value: MISSING if value is None else unbroken(signed(value)),
}


class Numbers:
    """Writes the number at an address (a JSON pointer, RFC 6901) of `metrics`, never one that is computed here.

    How it is written is one of `FORMS`: "number" as everywhere else, "signed" with its plus, "p" with two digits,
    "share" and "change" in per cent; the page says which (`data-form`) where it is not "number".

    >>> str(Numbers({"heads": {"click": {"ap": {"value": 0.25}}}})("/heads/click/ap/value"))
    '<span data-key="/heads/click/ap/value">0.2500</span>'
    >>> str(Numbers({"p": 0.0061})("/p", form="p"))
    '<span data-key="/p" data-form="p">0.0061</span>'
    """

    def __init__(self, metrics: Mapping[str, Any]) -> None:
        self.metrics = metrics

    def __call__(self, *keys: str | int, form: str = "number") -> Markup:
        """The number at the address that `keys` make together ("/heads/click", "ap/value"), written in a form."""
        from markupsafe import Markup

        address = join(*keys)
        text = FORMS[form](self.value(address))
        if form == "number":
            return Markup('<span data-key="{}">{}</span>').format(address, text)
        return Markup('<span data-key="{}" data-form="{}">{}</span>').format(address, form, text)

    def interval(self, low: str, high: str, *, form: str = "number") -> Markup:
        """ "[low, high]" from two addresses; nothing where it is undefined."""
        from markupsafe import Markup

        if self.value(low) is None or self.value(high) is None:
            return Markup("")
        return Markup("[{}, {}]").format(self(low, form=form), self(high, form=form))

    def value(self, *keys: str | int) -> Any:
        """What stands at an address.

        Raises:
            KeyError, IndexError: there is nothing.
        """
        return resolve(self.metrics, join(*keys))


def unbroken(text: str) -> str:
    """Text, or a page, in which no line ends between a number and its per cent or within "p = 0.02".

    >>> unbroken("fell by 3 % (p = 0.02)")
    'fell by 3\\xa0% (p\\xa0=\\xa00.02)'
    """
    return re.sub(r"(?<=\d) (?=%)|(?<=\bp) (?=[=<] ?\d)|(?<=\bp [=<]) (?=\d)", "\N{NO-BREAK SPACE}", text)


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
