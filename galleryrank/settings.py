"""The one configuration of a command: a TOML file and `--set a.b=c`, checked as a whole."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

from pydantic import BaseModel, ValidationError

from features import Fault, InputError
from ranking import RankerConfig

Baseline = Literal["lightgbm", "importance", "importance_lightgbm"]


class RunConfig(RankerConfig):
    """A ranker's configuration and the baselines that are fitted beside it, for the report."""

    baselines: tuple[Baseline, ...] = ("lightgbm", "importance")

    def ranker(self) -> RankerConfig:
        """The main model's configuration."""
        return RankerConfig(**self.model_dump(exclude={"baselines"}))

    def baseline(self, name: Baseline) -> RankerConfig:
        """A baseline's configuration: the same data, seed and settings, another model or objective."""
        changes: dict[Baseline, dict[str, Any]] = {
            "lightgbm": {"model": "lightgbm", "objective": "multi_head"},
            "importance": {"model": "network", "objective": "importance", "utility": {}, "refit_by": None},
            "importance_lightgbm": {"model": "lightgbm", "objective": "importance", "utility": {}, "refit_by": None},
        }
        return self.ranker().model_copy(update=changes[name])


Config = TypeVar("Config", bound=BaseModel)


@overload
def load_config(path: Path | None, overrides: Sequence[str]) -> RunConfig: ...
@overload
def load_config(path: Path | None, overrides: Sequence[str], kind: type[Config]) -> Config: ...
def load_config(path: Path | None, overrides: Sequence[str], kind: type[Any] = RunConfig) -> Any:
    """Read a TOML file (or none), apply `a.b=c` overrides, check everything; InputError lists all faults at once.

    `kind` is what the settings describe: a ranker's `RunConfig`, or a gallery encoder's `EncoderConfig`.
    """
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(Fault(f"is not valid TOML: {error}", file=path)) from error
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            faults.append(Fault("must have the form name=value", key="--set", value=override))
            continue
        _set(values, key.strip().split("."), _value(text.strip()), faults)
    config = None
    try:
        config = kind.model_validate(values)
    except ValidationError as error:
        for e in error.errors():
            name = ".".join(str(part) for part in e["loc"])
            known = "" if e["type"] != "extra_forbidden" else " (no such setting)"
            faults.append(Fault(e["msg"] + known, file=path, key=f"`{name}`", value=e.get("input")))
    if faults or config is None:
        raise InputError(faults)
    return config


def filled_in(values: Any, kind: type[BaseModel]) -> Any:
    """Recorded settings as this version writes them: an option that it has added since stands at its default.

    Settings that it refuses stay as they are: they equal no others.
    """
    try:
        return kind.model_validate(values).model_dump(mode="json")
    except ValidationError:
        return values


def _value(text: str) -> Any:
    """What a value on the command line means: TOML where it is TOML, else the text itself (`trunk=mmoe`)."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _set(values: dict[str, Any], keys: list[str], value: Any, faults: list[Fault]) -> None:
    for key in keys[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            faults.append(Fault(f"`{key}` is a value, not a section", key="--set", value=".".join(keys)))
            return
        values = inner
    values[keys[-1]] = value
