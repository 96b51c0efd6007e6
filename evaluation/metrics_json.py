"""`metrics.json`: strict JSON (no NaN), written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def write_metrics_json(path: str | Path, metrics: Mapping[str, Any]) -> Path:
    """Write `metrics` to `path` as JSON: into a temporary sibling first, which then takes the name.

    Args:
        path: The file; an older one is replaced in one step.
        metrics: JSON-able; a NaN in it is an error, never a token that other readers refuse.

    Raises:
        ValueError: NaN or an infinity among the values.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_metrics_json(Path(folder) / "metrics.json", {"ap": 0.5}).read_text()
    '{\\n  "ap": 0.5\\n}\\n'
    """
    return write_whole(path, json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_whole(path: str | Path, text: str) -> Path:
    """Write `text` (UTF-8) to `path` in one step: whoever looks finds the old file or the whole new one."""
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only the owner reads
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    return target


def jsonable(value: Any) -> Any:
    """`value` in plain Python: NumPy scalars and arrays unpacked, tables as lists of records, NaN and infinities None.

    >>> jsonable({"a": np.float64("nan"), "b": pd.DataFrame({"x": [1, 2]})})
    {'a': None, 'b': [{'x': 1}, {'x': 2}]}
    """
    if isinstance(value, pd.DataFrame):
        return [jsonable(record) for record in value.to_dict(orient="records")]
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def records_table(records: Sequence[Mapping[str, Any]], words: Sequence[str]) -> pd.DataFrame:
    """JSON records as the table they were: None in a column of numbers is NaN again; `words` are the other columns.

    >>> records_table([{"head": "click", "ap": None}, {"head": "save", "ap": 0.5}], words=["head"])["ap"].tolist()
    [nan, 0.5]
    """
    table = pd.DataFrame(list(records))
    return table.assign(**{name: table[name].astype(float) for name in table.columns if name not in words})
