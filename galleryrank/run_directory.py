"""A run directory: what a fit leaves for a colleague to open, and how the other verbs find their way in it.

run.json      the command's resolved settings, versions, hashes of the data, times
model/        the ranker
baselines/    the rankers it is compared with
checkpoint/   only while a fit is under way or was killed
metrics.json, report.html    after `galleryrank evaluate`
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features import Dataset, Fault, InputError
from ranking import Ranker, Utility

RECORD = ("command", "dataset", "settings", "schema", "data_sha256")


@dataclass(frozen=True)
class RunDirectory:
    """Paths in a run, and its record."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """A finished run; InputError where there is none."""
        run = cls(path)
        if not run.record_file.is_file():
            raise InputError(Fault("is not a run directory: it has no run.json (make one by `galleryrank fit`)", path))
        if not run.model.is_dir():
            raise InputError(Fault("holds an unfinished fit: run the same `galleryrank fit` again to finish it", path))
        return run

    @property
    def record_file(self) -> Path:
        """run.json."""
        return self.path / "run.json"

    @property
    def model(self) -> Path:
        """The ranker."""
        return self.path / "model"

    @property
    def checkpoint(self) -> Path:
        """Where training can be resumed."""
        return self.path / "checkpoint"

    def baseline(self, name: str) -> Path:
        """A baseline's model directory."""
        return self.path / "baselines" / name

    def baselines(self) -> dict[str, Ranker]:
        """All baselines of the run, by name."""
        folder = self.path / "baselines"
        found = sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".") if folder.is_dir() else []
        return {p.name: Ranker.load(p) for p in found}

    def read(self) -> dict[str, Any]:
        """The record."""
        try:
            record = json.loads(self.record_file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(Fault(f"cannot be read: {error}", file=self.record_file)) from error
        missing = [key for key in RECORD if not isinstance(record, dict) or key not in record]
        if missing:
            raise InputError(Fault(f"is not the record of a fit: it lacks {missing}", file=self.record_file))
        return dict(record)

    def write(self, record: dict[str, Any]) -> None:
        """Replace the record as a whole."""
        from evaluation import write_metrics_json

        self.path.mkdir(parents=True, exist_ok=True)
        write_metrics_json(self.record_file, record)

    def dataset(self) -> Dataset:
        """The data set that the run was fitted on; it may have moved since."""
        path = Path(self.read()["dataset"])
        if not path.exists():
            raise InputError(Fault("the run's data set is no longer there: name it by --data", path))
        dataset = Dataset.open(path)
        self.refuse_seen_rows(dataset)
        return dataset

    def refuse_seen_rows(self, dataset: Dataset) -> None:
        """InputError if a row of `dataset` may play another role than when the model was fitted.

        A file that was there at the fit keeps its roles under the same description; by time its roles also depend on
        the other files.
        """
        record, hashes = self.read(), dataset.data_hash()
        names = {os.path.relpath(file, dataset.folder) for file in dataset.impression_files}
        seen = {h for name, h in hashes.items() if name in names} & set(record["data_sha256"].values())
        now, then = dataset.schema.to_dict(), record["schema"]
        changed = any(now.get(part) != then.get(part) for part in ("split", "columns", "policy"))
        if seen and (changed or (dataset.schema.split.by == "time" and hashes != record["data_sha256"])):
            raise InputError(
                Fault(
                    "describes rows that were there when the model was fitted, under another split, other columns or "
                    "beside other files: rows that it calls test may have been trained on. Restore it, or fit again",
                    file=dataset.path,
                )
            )


def load_model(path: Path) -> Ranker:
    """The ranker of a run directory, or of a model directory."""
    return Ranker.load(path / "model" if (path / "model").is_dir() else path)


def parse_utility(text: str) -> Utility:
    """`click=1,long_click=2` as a utility."""
    weights, faults = {}, []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = part.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            faults.append(Fault("must have the form head=weight, separated by commas", key="--utility", value=part))
    if faults or not weights:
        raise InputError(faults or "--utility is empty: give head=weight, separated by commas")
    try:
        return Utility.from_mapping(weights)
    except ValueError as error:
        raise InputError(f"--utility: {error}") from error


def with_utility(ranker: Ranker, text: str | None) -> Ranker:
    """The ranker with the weights given on the command line, if any."""
    if text is None:
        return ranker
    return ranker.with_utility(parse_utility(text))
