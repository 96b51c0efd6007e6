"""The lines of a journal: JSON objects, each with a checksum of itself and of the line before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.metrics_json import jsonable
from features import Fault, InputError

MAGIC = "galleryrank"
VERSION = 1
DIGITS = 16  # of SHA-256 in hexadecimal: against accidents and careless edits, not against forgers


@dataclass(frozen=True)
class Lines:
    """What was read.

    Attributes:
        records: Oldest first, as JSON gives them back.
        last: The checksum of the last whole line.
        end: The byte after it; what follows is a line that was cut short.
    """

    records: tuple[dict[str, Any], ...]
    last: str
    end: int


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` as JSON gives it back: lists for tuples and arrays, None for NaN and infinities."""
    return dict(json.loads(json.dumps(jsonable(value), allow_nan=False)))


def sealed(payload: Mapping[str, Any], before: str) -> tuple[bytes, str]:
    """The line of `payload` after the line with checksum `before`, and its own checksum.

    >>> line, checksum = sealed({"number": 1}, "")
    >>> json.loads(line) == {"number": 1, "checksum": checksum}
    True
    """
    checksum = _checksum(payload, before)
    return (_text({**payload, "checksum": checksum}) + "\n").encode(), checksum


def header_line(kind: str, settings: Mapping[str, Any]) -> tuple[bytes, str]:
    """The first line and its checksum."""
    return sealed({"journal": MAGIC, "version": VERSION, "kind": kind, "settings": settings}, "")


def begins_a_journal(head: bytes) -> bool:
    """Whether a first line may be a journal's, whole or cut short (empty, usually).

    A file of a user's that was named by mistake must not be emptied.
    """
    magic = _text({"journal": MAGIC})[:-1].encode()
    return head.startswith(magic) or magic.startswith(head)


def read_header(path: Path, line: bytes, kind: str) -> dict[str, Any]:
    """The header, checked.

    Raises:
        InputError: no journal, a damaged header, another version or kind.
    """
    if not begins_a_journal(line):
        raise InputError(Fault("this is not a journal", path))
    header = _parsed(line, "")
    if header is None:
        raise InputError(Fault("line 1: the journal's header is damaged", path))
    if header["version"] != VERSION:
        raise InputError(Fault(f"line 1: the journal's version must be {VERSION}, got {header['version']}", path))
    if header["kind"] != kind:
        raise InputError(Fault(f"line 1: this must be a journal of kind `{kind}`, got `{header['kind']}`", path))
    return header


def read_records(path: Path, content: bytes, last: str, end: int) -> Lines:
    """The records that follow the header.

    Args:
        content: The whole file.
        last: The header's checksum.
        end: The byte after the header.

    Raises:
        InputError: a whole line that is not what was written there.
    """
    *whole, _torn = content[end:].split(b"\n")
    records = []
    for number, line in enumerate(whole, start=1):
        parsed = _parsed(line, last)
        if parsed is None or parsed.get("number") != number:
            what = "the journal is damaged: this line was changed, or one before it was taken out"
            raise InputError(Fault(f"line {number + 1}: {what}", path))
        records.append(dict(parsed["record"]))
        last = str(parsed["checksum"])
        end += len(line) + 1
    return Lines(tuple(records), last, end)


def check_settings(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse other settings than the header's, each difference by its dotted name (`guardrails.floors.save`)."""
    before, now = _leaves(old), _leaves(new)
    differences = [
        f"`{name}` was {before.get(name, 'absent')}, is now {now.get(name, 'absent')}"
        for name in before | now
        if name not in before or name not in now or before[name] != now[name]
    ]
    if differences:
        what = f"line 1: the journal was begun with other settings: {'; '.join(differences)}"
        raise InputError(Fault(f"{what}. Go on with the old settings, or begin another journal.", path))


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= _leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _text(payload: Mapping[str, Any]) -> str:
    return json.dumps(payload, allow_nan=False)


def _checksum(payload: Mapping[str, Any], before: str) -> str:
    return hashlib.sha256((before + _text(payload)).encode()).hexdigest()[:DIGITS]


def _parsed(line: bytes, before: str) -> dict[str, Any] | None:
    """The line's object; None if it is not what was written."""
    try:
        content = json.loads(line)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    payload = {key: value for key, value in content.items() if key != "checksum"}
    return content if content.get("checksum") == _checksum(payload, before) else None
