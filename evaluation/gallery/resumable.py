"""Results that took long to compute, one JSON file each: a run that was killed goes on where it stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evaluation.metrics_json import jsonable, write_metrics_json


class KeptResults:
    """A folder of results; each is computed once, and again only if its settings have changed.

    Args:
        folder: Where the files lie, made when the first result is written; None = keep nothing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = KeptResults(folder)
    ...     first = kept.of("sea view", {"seed": 0}, lambda: {"error": 0.25})
    ...     again = kept.of("sea view", {"seed": 0}, lambda: {"error": "not computed again"})
    >>> first, again
    ({'error': 0.25}, {'error': 0.25})
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)

    def of(self, name: str, settings: Mapping[str, Any], compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The result called `name`.

        Args:
            name: Becomes the file's name, `<name>.json`, with anything but letters, digits, ".", "_" and "-" replaced.
            settings: Everything that the result depends on, JSON-able; kept in the file and compared with it.
            compute: Called if there is no such file, if it is damaged, or if it was made under other settings.

        Returns:
            The result as JSON gives it back: lists for arrays, None for NaN.
        """
        wanted = json.loads(json.dumps(jsonable(settings)))
        path = None if self.folder is None else self.folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}.json"
        if path is not None and path.is_file():
            found = _read(path)
            if found is not None and found.get("name") == name and found.get("settings") == wanted:
                return dict(found["result"])
        result = json.loads(json.dumps(jsonable(compute()), allow_nan=False))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_metrics_json(path, {"name": name, "settings": wanted, "result": result})
        return dict(result)


def _read(path: Path) -> dict[str, Any] | None:
    """The file's content; None if it is no JSON object with a result (it is then made again)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return content if isinstance(content, dict) and isinstance(content.get("result"), dict) else None
