"""The folder that `embed`, `probe`, `retrieve` and `ablate` write into: whose it is, and what it says of itself.

run.json           the command, its data set and its settings
metrics.json       what was found
report.html        the same, to be read
checkpoint/, cache/, fits/   only `embed`, `probe` and `ablate`: what lets a killed run go on
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evaluation.gallery.gallery_page import Picture
from evaluation.gallery.gallery_report import write_gallery_report
from evaluation.metrics_json import jsonable, write_metrics_json
from features import Fault, InputError
from features.artifact import read_json
from features.gallery.config import EncoderConfig
from galleryrank.console import Log
from galleryrank.settings import filled_in

RECORD, DATA = "run.json", "data"
PACKAGES = ("galleryrank", "torch", "numpy", "pyarrow", "pillow")


@dataclass(frozen=True)
class GalleryRun:
    """A folder claimed for one command with one set of settings.

    Parameters
    ----------
    path : Path
    record : dict
        JSON-able: the command and everything that its result depends on.
    """

    path: Path
    record: Mapping[str, Any]

    @classmethod
    def claim(cls, path: Path, record: Mapping[str, Any]) -> GalleryRun:
        """Take an empty folder, or go on in one that the same command with the same settings left unfinished.

        Raises
        ------
        InputError
            The folder holds something else, or this very run, finished.
        """
        run = cls(path, jsonable(dict(record)))
        own = path / RECORD
        if own.is_file():
            before = read_json(own)
            before = before if isinstance(before, dict) else {}
            if "settings" in before:
                before["settings"] = filled_in(before["settings"], EncoderConfig)
            other = [key for key, value in run.record.items() if before.get(key) != value]
            if other:
                raise InputError(
                    Fault(f"holds a run with another {' and another '.join(other)}: choose another --out", path)
                )
            if (path / "report.html").is_file():
                raise InputError(Fault("holds this very run, finished: choose another --out", path))
            if DATA in before:
                run = cls(path, {**run.record, DATA: before[DATA]})
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(Fault("is not empty and holds no such run: choose another --out", path))
        path.mkdir(parents=True, exist_ok=True)
        write_metrics_json(own, run.record)
        return run

    def hold_to(self, data: str) -> None:
        """Record the fingerprint of what is learned from; a run that was killed must not go on with something else.

        Raises
        ------
        InputError
            The run began with other photos or attributes.
        """
        if self.record.get(DATA, data) != data:
            message = "holds an unfinished run whose photos or attributes have changed since: choose another --out"
            raise InputError(Fault(message, self.path))
        write_metrics_json(self.path / RECORD, {**self.record, DATA: data})

    def finish(
        self, metrics: Mapping[str, Any], pictures: Sequence[Picture], say: Log, *, title: str | None = None
    ) -> None:
        """Write metrics.json and, last, report.html; say the summary."""
        before = read_json(self.path / RECORD)
        held = {DATA: before[DATA]} if DATA in before else {}
        write_metrics_json(self.path / RECORD, {**self.record, **held, "versions": versions()})
        write_metrics_json(self.path / "metrics.json", metrics)
        write_gallery_report(self.path / "report.html", metrics, pictures, title=title)
        for sentence in metrics["summary"]:
            say(sentence)
        say(f"-> {self.path / 'report.html'}, {self.path / 'metrics.json'}")


def versions() -> dict[str, str]:
    """Versions of what a vector depends on."""
    return {name: version(name) for name in PACKAGES}


def check_format(format: str) -> None:
    """Refuse any --format but text and json."""
    if format not in ("text", "json"):
        raise InputError(f"--format must be text or json, got {format!r}")
