"""Nested dictionaries -> schema, with every fault of structure *and* of sense in one error.

pydantic checks the sense of a model only when its structure is sound. So the unsound places are reported, taken out
(or filled with a stand-in where something is required) and the rest is checked again, until only the sense is left.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from features.errors import Fault, InputError

if TYPE_CHECKING:
    from features.schema import Schema

STAND_IN = "\0"  # no TOML key or column has this name, so a stand-in meets no other name
KNOWN = {  # what pydantic says -> what a reader of dataset.toml needs
    "missing": "is missing",
    "extra_forbidden": "is not a key that is known here",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "string_type": "must be a string",
    "tuple_type": "must be a string or a list of strings",
    "string_too_short": "must not be empty",
}


def build(cls: type[Schema], data: Mapping[str, Any], file: Path | str | None) -> Schema:
    """Validate `data` as a schema; raise `InputError` with all faults, each with its place such as "[columns].item"."""
    rest = copy.deepcopy(dict(data))
    faults: dict[str | None, Fault] = {}
    while True:
        try:
            schema = cls.model_validate(rest)
            if not faults:
                return schema
            break
        except ValidationError as error:
            problems = error.errors(include_url=False)
        contradictions = [fault for problem in problems for fault in _inner(problem)]
        if contradictions:
            structural = [key for key in faults if key is not None]
            for fault in contradictions:
                caused = any(key.startswith(str(fault.key)) for key in structural)  # by what was taken out
                if STAND_IN not in fault.message and not caused:
                    faults[f"{fault.key} {fault.message}"] = Fault(fault.message, file, key=fault.key)
            break
        for problem in problems:
            loc = tuple(part for part in problem["loc"] if part != "[key]")
            fault = _fault(problem, loc, file)
            faults.setdefault(fault.key, fault)
            _take_out(rest, loc, missing=problem["type"] in ("missing", "too_short"))
    raise InputError(faults.values())


def _inner(problem: Any) -> tuple[Fault, ...]:
    cause = problem.get("ctx", {}).get("error")
    return cause.faults if isinstance(cause, InputError) else ()


def _fault(problem: Any, loc: tuple[str | int, ...], file: Path | str | None) -> Fault:
    kind, message, found = problem["type"], str(problem["msg"]), problem["input"]
    expectation = KNOWN.get(kind) or message.removeprefix("Value error, ").replace("Input should be", "must be")
    if kind == "too_short":
        expectation = "must hold at least one entry, got none"
    elif kind not in ("missing", "extra_forbidden", "value_error"):
        expectation += f", got {found!r}"
    return Fault(expectation, file, key=_key(loc))


def _key(loc: tuple[str | int, ...]) -> str:
    """("heads", "click", "sign") -> "[heads.click].sign"; entries of a list are not told apart."""
    names = [part for part in loc if isinstance(part, str)]
    if len(names) == 1:
        return names[0] if names[0] == "name" else f"[{names[0]}]"
    depth = 2 if names[0] == "heads" else 1
    table, rest = ".".join(names[:depth]), ".".join(names[depth:])
    return f"[{table}].{rest}" if rest else f"[{table}]"


def _take_out(data: dict[str, Any], loc: tuple[str | int, ...], *, missing: bool) -> None:
    """Remove what stands at `loc`, or fill in what is required there, so that the rest can be checked."""
    node = data
    for part in loc[:-1]:
        child = node.setdefault(part, {}) if missing else node.get(part)  # type: ignore[arg-type]
        if not isinstance(child, dict):  # an entry of a list: the list goes, once
            node.pop(part, None)  # type: ignore[arg-type]
            return
        node = child
    name = str(loc[-1])
    if missing or (loc in REQUIRED and not isinstance(node.get(name), (dict, type(None)))):
        node[name] = _stand_in(loc)
    elif loc in (("files",), ("columns",)):
        node[name] = {}
    else:
        node.pop(name, None)


REQUIRED = {("files", "impressions"), ("columns", "request"), ("columns", "item"), ("position", "column")}


def _stand_in(loc: tuple[str | int, ...]) -> Any:
    if loc in (("files",), ("columns",)):
        return {}
    if loc == ("heads",):
        return {f"{STAND_IN}head": {}}
    return STAND_IN + ".".join(map(str, loc))
