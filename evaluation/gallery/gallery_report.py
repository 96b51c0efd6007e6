"""report.html of `embed`, `probe`, `retrieve` and `ablate`: one self-contained page each, from metrics.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.gallery.ablation_figure import ablation_figure
from evaluation.gallery.balance_figure import balance_figure
from evaluation.gallery.class_balance import ClassBalance
from evaluation.gallery.gallery_page import Picture, render_page
from evaluation.gallery.gallery_words import CHANCE, best_variant
from evaluation.gallery.probe_figure import probe_figure
from evaluation.gallery.step_time import CACHED
from evaluation.gallery.task_figure import LOSSES, task_figure
from evaluation.metrics_json import write_whole

TITLES = {
    "probe": "Hold-out probe",
    "ablation": "Backbones, widths and ways of training",
    "embed": "Gallery embeddings",
    "retrieve": "Retrieval by photos",
}
PHOTO_WORDS = {
    "null_ids": "photos without an item id, left out",
    "unknown": "photos of items that the items table does not have, left out",
    "repeated": "photos that repeat an order of their item, left out",
    "identical": "photos that repeat another of their item byte for byte, left out",
    "over_cap": "photos beyond the cap of their gallery, left out",
    "no_order": "photos without an order, put last",
    "empty": "items without a usable photo: no vector",
}


def render_gallery_report(
    metrics: Mapping[str, Any], pictures: Sequence[Picture] = (), *, title: str | None = None
) -> str:
    """The page of any gallery report; every number in it stands in `metrics`, the drawings are made from them.

    Args:
        metrics: Of `probe_metrics`, `ablation_metrics`, `embed_metrics` or `retrieve_metrics`, or metrics.json read
            back.
        pictures: Pictures that are no drawings of numbers: section "map" of an embed page, "sheet" of a retrieve page.
        title: The page's title; None = what the page is.

    Returns:
        One HTML document.

    Raises:
        ValueError: metrics of another kind.
    """
    kind = metrics.get("report")
    makers = {"probe": _probe, "ablation": _ablation, "embed": _embed, "retrieve": _retrieve}
    if kind not in makers:
        raise ValueError(f"`metrics` must be of one of the reports {sorted(makers)}, got {kind!r}")
    values = makers[kind](metrics)
    shown = [*pictures, *values.pop("pictures", [])]
    return render_page(
        f"gallery_{kind}.html.j2", title=title or TITLES[kind], metrics=metrics, pictures=shown, **values
    )


def write_gallery_report(
    path: str | Path, metrics: Mapping[str, Any], pictures: Sequence[Picture] = (), *, title: str | None = None
) -> Path:
    """`render_gallery_report` written to `path` in one step."""
    return write_whole(path, render_gallery_report(metrics, pictures, title=title))


def _probe(metrics: Mapping[str, Any]) -> dict[str, Any]:
    accuracy = pd.DataFrame([*metrics["accuracy"], metrics["majority"]])
    pictures = [
        Picture(
            "accuracy",
            "Accuracy against the number of labels",
            "Each line is an arm, each mark a budget with its 95 % interval; the dashed line is what the majority "
            "class earns. A line that starts high needs few labels.",
            probe_figure(accuracy),
        )
    ]
    if metrics["optima"]:
        pictures.append(
            Picture(
                "optima",
                "Relative to the best single-task network",
                "Bars above 0: learning all tasks at once costs this one; below 0: it helps. The grey marks are what "
                "the majority class, the base rate or the mean would cost; where they are far off, the number is "
                "written at the edge.",
                task_figure(_numbers(metrics["optima"], ("task", "kind", "metric"))),
            )
        )
    if metrics["balance"] and metrics["balance"]["points"]:
        points = _numbers(metrics["balance"]["points"], ("task", "loss", "metric"))
        lines = _numbers(metrics["balance"]["correlations"], ("loss", "metric", "reason"))
        pictures.append(
            Picture(
                "balance",
                "Do rare yes / no tasks profit most?",
                "Each point is a task: how rare its rarer answer is (across), and what learning all tasks at once "
                "costs (up). In the article the line rises (r = 0.78 and 0.80): the rarer, the smaller the cost.",
                balance_figure(ClassBalance(points, lines)),
            )
        )
    losses = [
        {"key": key, "words": words}
        for key, (words, _) in LOSSES.items()
        if metrics["optima"] and f"e_mtl_{key}" in metrics["optima"][0]
    ]
    return {
        "pictures": pictures,
        "tables": _table_2(metrics),
        "differences": _by_head(metrics["differences"], "against"),
        "losses": losses,
    }


def _table_2(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Per head the arms as columns and the budgets as rows, with the times underneath."""
    tables = _by_head(metrics["accuracy"], "arm")
    for head, table in tables.items():
        for row in table["rows"]:
            row["labels"] = next(iter(row["cells"].values()))["labels"]
            row["best"] = max(row["cells"], key=lambda arm: row["cells"][arm]["accuracy"])
        table["times"] = _time_rows(metrics["times"], table["arms"]) if head == "two-layer" else []
    return tables


def _by_head(records: Sequence[Mapping[str, Any]], column: str) -> dict[str, dict[str, Any]]:
    """Records as one table per head: a row per budget, a column per value of `column`."""
    tables: dict[str, dict[str, Any]] = {}
    for record in records:
        table = tables.setdefault(record["head"], {"arms": [], "rows": {}})
        if record[column] not in table["arms"]:
            table["arms"].append(record[column])
        row = table["rows"].setdefault(record["budget"], {"budget": record["budget"], "cells": {}})
        row["cells"][record[column]] = record
    return {head: {**table, "rows": list(table["rows"].values())} for head, table in tables.items()}


def _time_rows(times: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> list[dict[str, Any]]:
    cached = {row["arm"]: row["ms"] for row in times if row["step"] == CACHED}
    whole = {row["arm"]: row for row in times if row["step"] != CACHED}
    if not set(whole) & set(arms):
        return []
    return [
        {"words": "mean time per gallery, ms", "cells": {arm: row["ms"] for arm, row in whole.items()}},
        {"words": "with cached vectors, ms", "cells": cached},
        {
            "words": "total time of four epochs, s",
            "cells": {arm: row["total_seconds"] for arm, row in whole.items()},
        },
    ]


def _ablation(metrics: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: best_variant(metrics["rows"], key) for key in CHANCE}
    best = {key: None if row is None else row["variant"] for key, row in found.items()}
    pictures = []
    if metrics["has"]["probe"]:
        words = ("variant", "backbone", "paradigm", "pooling", "reason")
        pictures.append(
            Picture(
                "cost",
                "What a vector is worth, and what it costs",
                "Up is better, left is faster; the dashed line is what the majority class earns.",
                ablation_figure(_numbers(metrics["rows"], words)),
            )
        )
    return {"pictures": pictures, "best": best}


def _embed(metrics: Mapping[str, Any]) -> dict[str, Any]:
    photos = metrics["photos"]
    facts = {
        "items": photos["items"],
        "photos in the table": photos["photos"],
        "photos used": photos["sound"],
        "vectors": metrics["vectors"],
        "numbers per vector": metrics["dim"],
        "share of items with a vector": metrics["coverage"],
    }
    rows = [{"words": "photos in the table", "count": photos["photos"], "examples": ""}]
    kinds = {words: photos[key] for key, words in PHOTO_WORDS.items()}
    kinds |= {f"photos that could not be used: {reason}": tally for reason, tally in photos["masked"].items()}
    kinds |= {f"photos used, {remark}": tally for remark, tally in photos["remarks"].items()}
    rows += [
        {"words": words, "count": tally["count"], "examples": _examples(tally)}
        for words, tally in kinds.items()
        if tally["count"]
    ]
    rows.append({"words": "photos used", "count": photos["sound"], "examples": ""})
    columns = [name for name in (metrics["history"] or [{}])[0] if name != "epoch"]
    return {"facts": {k: v for k, v in facts.items() if v is not None}, "counts": rows, "history_columns": columns}


def _retrieve(metrics: Mapping[str, Any]) -> dict[str, Any]:
    results = metrics["results"]
    columns = list(results[0]) if results else []
    words = {name: any(isinstance(row[name], str) for row in results) for name in columns}
    blocks = [
        {
            "title": "The same item under another camera",
            "text": "Photos by another camera are the queries; each should find the gallery of the item that it shows. "
            "MRR is the mean of 1 / place, recall@k the share found among the first k.",
            "words": ["metric"],
            "records": metrics["same_item"],
            "lift": False,
        },
        {
            "title": "The same attribute",
            "text": "Each gallery is a query; those with its own value of an attribute should be nearest. Numbers are "
            "cut into five equal parts.",
            "words": ["attribute", "metric"],
            "records": metrics["same_attribute"],
            "lift": True,
        },
        {
            "title": "Engaged with together",
            "text": "Galleries that one request or user engaged with together should be neighbours. “popularity” shows "
            "the most engaged items to everyone: what no look at a photo can explain.",
            "words": ["ranking", "metric"],
            "records": metrics["co_engaged"],
            "lift": False,
        },
    ]
    return {
        "result_columns": columns,
        "result_words": words,
        "blocks": [block for block in blocks if block["records"]],
    }


def _examples(tally: Mapping[str, Any]) -> str:
    shown = [
        str(example["item"]) if example["order"] is None else f"{example['item']}, {example['order']}"
        for example in tally["examples"]
    ]
    return "; ".join(shown) + ("; ..." if tally["count"] > len(shown) > 0 else "")


def _numbers(records: Sequence[Mapping[str, Any]], words: Sequence[str]) -> pd.DataFrame:
    """JSON records as a table: None in a column of numbers is NaN again."""
    table = pd.DataFrame(list(records))
    return table.assign(**{name: table[name].astype(float) for name in table.columns if name not in words})
