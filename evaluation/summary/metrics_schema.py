"""The layout of metrics.json as a JSON Schema, for programs that read it."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def metrics_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the metrics.json that `evaluate` writes, as it lies in this package.

    >>> metrics_schema()["properties"]["version"]
    {'const': 2}
    """
    text = (resources.files("evaluation.summary") / "metrics_schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
