"""A run directory: what a fit leaves for a colleague to open, and how the other verbs find their way in it.

run.json      the command's resolved settings, versions, hashes of the data, times
model/        the ranker
baselines/    the rankers it is compared with
checkpoint/   only while a fit is under way or was killed
metrics.json, report.html    after `galleryrank evaluate`
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from features import Dataset, Fault, InputError, Schema
from features.duplicates import pair_hashes
from galleryrank.head_options import head_numbers
from ranking import Ranker, Utility

RECORD = {
    "command": str, "dataset": str, "settings": dict, "schema": dict, "data_sha256": dict, "training_sample": list
}  # fmt: skip
SAMPLE_ROWS, SEEN_SHARE = 2000, 0.05


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
        fields = record if isinstance(record, dict) else {}
        missing = [key for key, kind in RECORD.items() if not isinstance(fields.get(key), kind)]
        if not (fields.get("vectors") in (None, False) or isinstance(fields["vectors"], str)):
            missing.append("vectors")
        texts = [*fields.get("data_sha256", {}).values(), *fields.get("training_sample", [])] if not missing else []
        if missing or not all(isinstance(text, str) for text in texts):
            raise InputError(
                Fault(
                    "is not the record of a fit: " + (f"it lacks {missing}" if missing else "its hashes are no text"),
                    file=self.record_file,
                )
            )
        return dict(record)

    def write(self, record: dict[str, Any]) -> None:
        """Replace the record as a whole."""
        from evaluation import write_metrics_json

        self.path.mkdir(parents=True, exist_ok=True)
        write_metrics_json(self.record_file, record)

    def dataset(self, vectors: Path | None = None) -> Dataset:
        """The data set that the run was fitted on; it may have moved since.

        Its item vectors are `vectors`, else those that the fit was told to take instead of the data set's own.
        """
        record = self.read()
        path = Path(record["dataset"])
        if not path.exists():
            raise InputError(Fault("the run's data set is no longer there: name it by --data", path))
        return Dataset.open(path, vectors=record.get("vectors") if vectors is None else vectors)

    def refuse_seen_rows(self, dataset: Dataset, role: str, *, baseline: bool = False) -> None:
        """InputError if rows of `role` may have trained the model.

        A file that was there at the fit keeps its roles under the same description; by time its roles also depend on
        the other files. The rows themselves are looked at too, as a file may have been written anew: a sample of the
        training rows is in the record, and more than a twentieth of it among the role's rows is no coincidence.

        A `baseline` may well have been fitted on less of the log, or with fewer of its columns, than the model that is
        to replace it. Where its description differs, the sample alone decides, and one row of it is too many.
        """
        record = self.read()
        hashes = dataset.data_hash(dataset.impression_files)
        then = record["data_sha256"]
        described, before = (_role_part(schema) for schema in (dataset.schema.to_dict(), record["schema"]))
        changed = described != before
        changed |= dataset.schema.split.by == "time" and not set(hashes.values()) <= set(then.values())
        seen = bool(set(hashes.values()) & set(then.values())) or str(dataset.path.resolve()) == record["dataset"]
        known = np.array([int(h, 16) for h in record["training_sample"]], dtype=np.uint64)
        share = float(np.isin(known, row_hashes(dataset, role)).mean()) if len(known) else 0.0
        if share > SEEN_SHARE or (seen and changed and (share > 0.0 or not baseline)):
            whose = f"the baseline {self.path}" if baseline else "the model"
            raise InputError(
                Fault(
                    f"is not described or split as when {whose} was fitted: its {role} rows may have been trained on "
                    f"({share:.0%} of a sample of the training rows are among them). Restore it, or fit again",
                    file=dataset.path,
                )
            )


def log_part(schema: dict[str, Any]) -> dict[str, Any]:
    """`Schema.log_dict` of a recorded description; one that this version refuses stays as it is: it equals no other."""
    try:
        return Schema.from_dict(schema).log_dict()
    except InputError:
        return schema


def _role_part(schema: dict[str, Any]) -> dict[str, Any]:
    """What of a description decides which row plays which role; the query item is in it or not as vectors are."""
    columns = {name: value for name, value in schema.get("columns", {}).items() if name != "query_item"}
    return {"split": schema.get("split"), "columns": columns, "policy": schema.get("policy")}


def replaced_vectors(dataset: Dataset) -> str | Literal[False] | None:
    """What a record says of the vectors that a data set was opened with: a file, false (none) or null (its own)."""
    replaced = dataset.replaced_vectors
    return str(replaced.resolve()) if isinstance(replaced, Path) else replaced


def row_hashes(dataset: Dataset, role: str) -> np.ndarray:
    """One 64-bit hash (N,) of request and item per row of a role."""
    columns = dataset.schema.columns
    parts = [
        pair_hashes(batch.table[columns.request], batch.table[columns.item])
        for batch in dataset.scan([columns.request, columns.item], role)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def training_sample(dataset: Dataset) -> list[str]:
    """The smallest hashes of the training rows: a sample that depends on the rows alone."""
    return [f"{h:016x}" for h in np.unique(row_hashes(dataset, "train"))[:SAMPLE_ROWS].tolist()]


def load_model(path: Path) -> Ranker:
    """The ranker of a run directory, or of a model directory."""
    return Ranker.load(path / "model" if (path / "model").is_dir() else path)


def parse_utility(text: str, key: str = "--utility") -> Utility:
    """`click=1,long_click=2` as a utility."""
    weights = head_numbers(text, key)
    try:
        return Utility.from_mapping(weights)
    except ValueError as error:
        raise InputError(f"{key}: {error}") from error


def with_utility(ranker: Ranker, text: str | None) -> Ranker:
    """The ranker with the weights given on the command line, if any."""
    if text is None:
        return ranker
    return ranker.with_utility(parse_utility(text))
