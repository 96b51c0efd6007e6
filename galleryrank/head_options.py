"""Options that say something of heads: `--bound save=0:0.5` and `--keep save=0.9`, repeated; `--utility a=1,b=2`."""

from __future__ import annotations

from collections.abc import Sequence

from features import Fault, raise_faults

__all__ = ["head_bounds", "head_numbers", "head_shares"]


def head_bounds(texts: Sequence[str], faults: list[Fault]) -> dict[str, tuple[float, float]]:
    """`--bound` of each head; what cannot be read, or is there twice, is added to `faults`.

    >>> head_bounds(["save=0:0.5", "click=0.1:1"], [])
    {'save': (0.0, 0.5), 'click': (0.1, 1.0)}
    """
    found: dict[str, tuple[float, float]] = {}
    written: dict[str, str] = {}
    for text in texts:
        head, _, pair = (part.strip() for part in text.partition("="))
        low, _, high = pair.partition(":")
        try:
            bounds = float(low), float(high)
        except ValueError:
            faults.append(Fault("must have the form head=low:high", key="--bound", value=text))
            continue
        if head in written:
            faults.append(_twice("--bound", f"bounds `{head}`", written[head], text))
        found[head], written[head] = bounds, text
    return found


def head_shares(texts: Sequence[str], faults: list[Fault]) -> tuple[dict[str, float], float | None]:
    """`--keep` of each head, and for every other one (None without); `faults` as in `head_bounds`.

    >>> head_shares(["0.95", "save=0.9"], [])
    ({'save': 0.9}, 0.95)
    """
    found: dict[str, float] = {}
    written: dict[str, str] = {}
    for text in texts:
        head, _, number = (part.strip() for part in text.rpartition("="))  # no head: every other one
        try:
            share = float(number)
        except ValueError:
            message = "must have the form head=share, or be a share for every other head"
            faults.append(Fault(message, key="--keep", value=text))
            continue
        if head in written:
            what = f"says what is kept of {f'`{head}`' if head else 'every other head'}"
            faults.append(_twice("--keep", what, written[head], text))
        found[head], written[head] = share, text
    default = found.pop("", None)
    return found, default


def head_numbers(text: str, option: str) -> dict[str, float]:
    """`click=0.3,save=0.7` as numbers by name.

    Raises:
        InputError: parts of another form, a name that is there twice, no name at all; all at once.

    >>> head_numbers("click=0.3, save=0.7", "--utility")
    {'click': 0.3, 'save': 0.7}
    """
    found: dict[str, float] = {}
    faults = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = (p.strip() for p in part.partition("="))
        try:
            number = float(value)
        except ValueError:
            faults.append(Fault("must have the form head=number, separated by commas", key=option, value=part))
            continue
        if name in found:
            faults.append(Fault(f"names `{name}` twice", key=option))
        found[name] = number
    if not found and not faults:
        faults.append(Fault("names no head", key=option))
    raise_faults(faults)
    return found


def _twice(option: str, what: str, first: str, second: str) -> Fault:
    return Fault(f"{what} twice: {first} and {second}", key=option)
