"""metrics.json of the gallery commands: tables in, plain JSON out, with the sentences that sum it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evaluation.gallery.class_balance import ClassBalance
from evaluation.gallery.gallery_words import (
    CHANCE,
    ablation_sentences,
    base_rate_sentence,
    probe_sentences,
    seed_notes,
)
from evaluation.gallery.probe_result import MAJORITY, ProbeResult
from evaluation.gallery.task_optima import KENDALL, PSEUDO, pseudo_against_kendall
from evaluation.metrics_json import jsonable

VERSION = 1  # of the layouts


def probe_metrics(
    result: ProbeResult,
    *,
    attribute: str,
    reference: str | None = None,
    times: pd.DataFrame | None = None,
    values: Mapping[str, pd.DataFrame] | None = None,
    optima: pd.DataFrame | None = None,
    balance: ClassBalance | None = None,
    meta: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What `galleryrank probe` found.

    Args:
        result: Of `HoldoutProbe.run`.
        attribute: The held-out attribute's name.
        reference: The arm that the others are compared with; None = the first.
        times: Of `training_step_times`.
        values: Held-out number -> the table of `probe_values`.
        optima: Of `task_optima_table`: figure 5.
        balance: Of `class_balance`: figure 6.
        meta: Facts for the head of the report, any names and values.
        notes: Sentences for its end.
    """
    accuracy = _whole_numbers(jsonable(result.accuracy()), ("labels",))
    chosen = reference or result.scores[0].arm
    labels = max(row["labels"] for row in accuracy if row["arm"] != MAJORITY)
    folds = {"split": "one train / validation / test division", "folds": "folds over the groups"}
    timed = None if times is None else times.assign(total_seconds=times["ms"] * 4 * labels / 1000)
    both = optima is not None and {f"e_mtl_{PSEUDO}", f"e_mtl_{KENDALL}"} <= set(optima.columns)
    metrics: dict[str, Any] = {
        "version": VERSION,
        "report": "probe",
        "meta": dict(meta or {}),
        "attribute": attribute,
        "classes": list(result.classes),
        "labelled": result.items,
        "tested": len(result.groups.codes),
        "groups": result.groups.count,
        "division": folds[result.design],
        "seeds": sorted({score.seed for score in result.scores if not score.shuffled}),
        "reference": chosen,
        "heads": list(dict.fromkeys(row["head"] for row in accuracy if row["head"])),
        "majority": next(row for row in accuracy if row["arm"] == MAJORITY),
        "accuracy": [row for row in accuracy if row["arm"] != MAJORITY],
        "differences": result.differences(chosen),
        "control": result.control(),
        "times": [] if timed is None else timed,
        "values": dict(values or {}),
        "optima": [] if optima is None else optima,
        "against_kendall": pseudo_against_kendall(optima) if optima is not None and both else None,
        "balance": None if balance is None else {"points": balance.points, "correlations": balance.correlations},
        "notes": [*notes, *seed_notes(accuracy)],
    }
    return _summed_up(metrics, probe_sentences)


def ablation_metrics(
    table: pd.DataFrame,
    *,
    attribute: str | None = None,
    meta: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What `galleryrank ablate` found.

    Args:
        table: Of `ablation_table`.
        attribute: The held-out attribute's name.
        meta, notes: As in `probe_metrics`.
    """
    has = {key: bool(table[key].notna().any()) for key in CHANCE}
    # the chance of a same-attribute neighbour differs a little between rows that embed other items: their mean
    chance = {key: float(np.nanmean(table[name])) for key, name in CHANCE.items() if has[key]}
    metrics = {
        "version": VERSION,
        "report": "ablation",
        "meta": dict(meta or {}),
        "attribute": attribute,
        "has": has,
        "chance": chance,
        "rows": _whole_numbers(jsonable(table), ("dim", "embed_dim", "parameters", "trainable", "epochs")),
        "notes": list(notes),
    }
    return _summed_up(metrics, ablation_sentences)


def embed_metrics(
    photos: Mapping[str, Any],
    *,
    lines: Sequence[str] = (),
    vectors: int | None = None,
    dim: int | None = None,
    tasks: pd.DataFrame | None = None,
    left_out: Mapping[str, str] | None = None,
    history: pd.DataFrame | None = None,
    best_epoch: int | None = None,
    meta: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What `galleryrank embed` read, learned and wrote.

    Args:
        photos: `PhotoReport.to_dict()`.
        lines: Sentences for the summary, `PhotoReport.lines()` say.
        vectors, dim: How many vectors were written, and numbers in each.
        tasks: Of `base_rate_table`, over the items that training did not see; None = no training.
        left_out: `GalleryTasks.dropped`.
        history: `History.table()`.
        best_epoch: `History.best_epoch`, from 0.
        meta, notes: As in `probe_metrics`.
    """
    items, covered = photos.get("items"), vectors
    summary = list(lines)
    metrics: dict[str, Any] = {
        "version": VERSION,
        "report": "embed",
        "meta": dict(meta or {}),
        "photos": dict(photos),
        "vectors": vectors,
        "dim": dim,
        "coverage": covered / items if items and covered is not None else None,
        "tasks": [] if tasks is None else tasks,
        "left_out": dict(left_out or {}),
        "history": [] if history is None else history,
        "best_epoch": best_epoch,
        "notes": list(notes),
    }
    return _summed_up(metrics, lambda plain: summary + ([base_rate_sentence(plain["tasks"])] if plain["tasks"] else []))


def retrieve_metrics(
    *,
    results: pd.DataFrame | None = None,
    indexes: pd.DataFrame | None = None,
    same_item: pd.DataFrame | None = None,
    same_attribute: pd.DataFrame | None = None,
    co_engaged: pd.DataFrame | None = None,
    summary: Sequence[str] = (),
    meta: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What `galleryrank retrieve` found.

    Args:
        results: The galleries found for the seed photos, any columns ("rank", "item", "similarity", attributes).
        indexes: Of `compare_indexes`.
        same_item, same_attribute, co_engaged: Of the functions of these names.
        summary: Sentences for the head of the report.
        meta, notes: As in `probe_metrics`.
    """
    recall = [] if indexes is None else [name for name in indexes.columns if str(name).startswith("recall@")]
    metrics: dict[str, Any] = {
        "version": VERSION,
        "report": "retrieve",
        "meta": dict(meta or {}),
        "results": [] if results is None else results,
        "indexes": [] if indexes is None else indexes,
        "recall_name": recall[0] if recall else None,
        "same_item": [] if same_item is None else same_item,
        "same_attribute": [] if same_attribute is None else same_attribute,
        "co_engaged": [] if co_engaged is None else co_engaged,
        "notes": list(notes),
    }
    return _summed_up(metrics, lambda plain: [*summary, *_retrieval_sentences(plain)])


def _retrieval_sentences(metrics: Mapping[str, Any]) -> list[str]:
    from evaluation.formatting import format_interval, format_number

    sentences = []
    for key, words in (("same_item", "A photo by another camera finds its own gallery"), ("co_engaged", "Co-engaged")):
        for row in metrics[key]:
            if row["metric"] == "MRR" and row.get("ranking", "cosine") == "cosine":
                found = f"{format_number(row['value'])} {format_interval(row['low'], row['high'])}"
                sentences.append(f"{words}: MRR {found}, by chance {format_number(row['chance'])}.")
    for row in metrics["same_attribute"]:
        if row["attribute"] == "mean" and str(row["metric"]).startswith("precision"):
            sentences.append(
                f"Neighbours share an attribute {format_number(row['lift'])} times as often as chance "
                f"({row['metric']} {format_number(row['value'])}, mean over the attributes)."
            )
    for row in metrics["indexes"]:
        recall = row[metrics["recall_name"]]
        if row["index"] != "exact" and recall is not None:
            sentences.append(
                f"{str(row['index']).capitalize()}: {metrics['recall_name']} against exact {format_number(recall)} at "
                f"{format_number(row['query_ms'])} ms per query."
            )
    return sentences


def _summed_up(metrics: dict[str, Any], sentences: Any) -> dict[str, Any]:
    """`metrics` as JSON holds them, the summary first after the meta."""
    plain = jsonable(metrics)
    head = {key: plain.pop(key) for key in ("version", "report", "meta")}
    return {**head, "summary": sentences({**head, **plain}), **plain}


def _whole_numbers(records: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Counts that a column with gaps turned into floats are integers again (a mean over folds may be none)."""
    for record in records:
        for name in names:
            if record[name] is not None and float(record[name]).is_integer():
                record[name] = int(record[name])
    return records
