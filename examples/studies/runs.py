"""Runs of a study: one JSON per (arm, seed), shared by as many processes as are started, found again by the next."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evaluation.metrics_json import jsonable, write_metrics_json

Result = dict[str, Any]
Results = dict[tuple[str, int], Result]  # by arm and seed


@contextmanager
def claimed(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process may do the work behind the file `path`; with `wait` it may, once no other does it.

    The lock belongs to the process and ends with it, however it ends: a killed run never blocks the next one.
    """
    import fcntl  # loaded here: it exists on POSIX only, and the tables can be read anywhere

    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def run_all(
    out: Path,
    arms: Sequence[str],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    run: Callable[[str, int, Path], Result],
) -> Results:
    """Does every (arm, seed) that has no result in `out` yet and that no other process is doing.

    Seed after seed, so that what a stopped study has finished can be compared.

    Args:
        out: the study's folder; `runs/ARM-SEED.json` are its results.
        arms, seeds: what to run.
        settings: what distinguishes this study from another one (images, epochs, ...).
        run: `(arm, seed, folder)` to a result; the folder is for a checkpoint.

    Returns:
        The results that exist when this process has nothing more to do.

    Raises:
        ValueError: if `out` holds the runs of other settings.
    """
    folder = out / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    check_settings(out, settings)
    began = time.perf_counter()
    for seed in seeds:
        for arm in arms:
            name = f"{arm}-{seed}"
            with claimed(folder / f"{name}.lock") as mine:
                if not mine or (folder / f"{name}.json").exists():
                    continue
                _say(began, f"{arm}, seed {seed}")
                cpu = time.process_time()
                result = run(arm, seed, folder / name)
                write_metrics_json(
                    folder / f"{name}.json",
                    jsonable({"arm": arm, "seed": seed, **result, "cpu_seconds": time.process_time() - cpu}),
                )
    results = read_results(out, arms, seeds)
    _say(began, f"{len(results)} of {len(arms) * len(seeds)} runs finished")
    return results


def read_results(out: Path, arms: Sequence[str], seeds: Sequence[int]) -> Results:
    """Those of the runs that exist."""
    found: Results = {}
    for seed in seeds:
        for arm in arms:
            path = out / "runs" / f"{arm}-{seed}.json"
            if path.exists():
                found[arm, seed] = json.loads(path.read_text(encoding="utf-8"))
    return found


def read_settings(out: Path) -> dict[str, Any]:
    """What the runs in `out` are; empty if there are none."""
    path = out / "settings.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def check_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Notes in `out` what its runs are, or compares.

    Raises:
        ValueError: if `out` holds the runs of other settings.
    """
    asked, there = jsonable(dict(settings)), read_settings(out)
    if not there:
        write_metrics_json(out / "settings.json", asked)
        return
    differing = [
        f"{name} {there.get(name)!r} there, {asked.get(name)!r} here"
        for name in {**there, **asked}
        if there.get(name) != asked.get(name)
    ]
    if differing:
        raise ValueError(f"`out` must hold runs of the same settings, got {out} ({'; '.join(differing)})")


def _say(began: float, text: str) -> None:
    print(f"[{(time.perf_counter() - began) / 60:6.1f} min] {text} (process {os.getpid()})", flush=True)
