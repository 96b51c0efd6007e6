"""What both studies have in common: which runs are asked for, which are there already, and how large a network is."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from examples.studies.runs import Result, Results, check_settings, read_results, read_settings, run_all

DATA = "data"  # the setting that says which data were learned from; older studies do not have it


def numbers(text: str) -> list[int]:
    """Seeds of a command line.

    >>> numbers("0, 2")
    [0, 2]
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"must be numbers, separated by commas, got {text!r}")
    return [int(part) for part in parts]


def chosen(text: str | None, known: Mapping[str, Any]) -> list[str]:
    """The arms that were asked for, in the order of `known`.

    >>> chosen("ple; mmoe", {"mmoe": 0, "ple": 0, "other": 0})
    ['mmoe', 'ple']
    """
    if text is None:
        return list(known)
    asked = [arm.strip() for arm in text.split(";")]
    unknown = [arm for arm in asked if arm not in known]
    if unknown:
        raise SystemExit(f"--arms must be some of {'; '.join(known)}, got {'; '.join(unknown)}")
    return [arm for arm in known if arm in asked]


def run_missing(
    out: Path,
    known: Sequence[str],
    arms: Sequence[str],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    run: Callable[[str, int, Path], Result],
) -> Results:
    """Does every (arm, seed) that has no result in `out` yet: see `run_all`.

    A study of before its data were noted is taken to be of these data.

    Returns:
        All results of the `known` arms that `out` holds by then, of whatever seeds.

    Raises:
        SystemExit: if `out` holds the runs of other settings.
    """
    there = read_settings(out)
    asked = {name: value for name, value in settings.items() if name != DATA or not there or DATA in there}
    out.mkdir(parents=True, exist_ok=True)
    try:
        check_settings(out, asked)
    except ValueError as error:
        raise SystemExit(f"{error}: choose another --out") from error
    run_all(out, arms, seeds, asked, run)
    found = {path.stem.rpartition("-")[2] for path in (out / "runs").glob("*-*.json")}
    return read_results(out, known, sorted(int(seed) for seed in found if seed.isdigit()))


def count(module: nn.Module) -> int:
    """Trainable parameters.

    >>> count(nn.Linear(3, 2).requires_grad_(False)), count(nn.Linear(3, 2))
    (0, 8)
    """
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
