"""What the encoders' vectors themselves say: are the nearest galleries of the same kind?

The heads' accuracy measures a vector together with the head that learned to read it. Here nothing is fitted: for every
attribute, a gallery's ten nearest by cosine among galleries that training did not see, and the share of them with the
same value (numbers: in the same fifth). With modulation, once under the mean of all masks, which is what `embed` gives
by default, and once under the masks of the very attribute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.gallery.same_attribute import same_attribute
from examples.studies.runs import Results
from examples.studies.seeds import differences, markdown, over_seeds
from features import GalleryEncoder
from features.gallery import GalleryData
from features.gallery.source import PhotoSource

NEIGHBOURS, QUERIES = 10, 500
MEAN, OWN = "mean masks", "own masks"

Precisions = dict[str, list[dict[str, Any]]]  # by the kind of vectors: a record per attribute


def precisions(
    encoder: GalleryEncoder, data: GalleryData, rows: npt.NDArray[np.intp], photos: PhotoSource
) -> Precisions:
    """Precision at `NEIGHBOURS` of every attribute among the galleries `rows`, and what chance gives."""
    names = encoder.tasks.names
    columns = data.attributes(names).to_pandas().iloc[rows].reset_index(drop=True)
    kinds = data.schema.task_columns
    numeric = [name for name in names if kinds[name] in ("regression", "log")]

    def measured(task: str | None, asked: list[str]) -> list[dict[str, Any]]:
        matrix = encoder.embed(data, rows, task=task, photos=photos).matrix
        labels = {name: columns[name] for name in asked}
        own = [name for name in numeric if name in asked]
        table = same_attribute(matrix, labels, k=min(NEIGHBOURS, len(rows) - 1), numeric=own, queries=QUERIES)
        first = table.drop_duplicates("attribute").set_index("attribute")  # precision, then nDCG
        return [{"task": t, "precision": first.at[t, "value"], "chance": first.at[t, "chance"]} for t in asked]

    if not encoder.config.modulation:
        return {"": measured(None, names)}
    return {MEAN: measured(None, names), OWN: [record for name in names for record in measured(name, [name])]}


def vector_table(results: Results, arms: list[str], base: str) -> str:
    """Markdown: the arms' vectors, each against those of the arm `base` of the same world."""
    found: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for (arm, seed), result in results.items():
        for kind, records in result.get("vectors", {}).items() if arm in arms else ():
            found.setdefault(f"{arm}, {kind}" if kind else arm, {})[seed] = records
    rows = []
    for name, worlds in found.items():
        paired = [seed for seed in worlds if name != base and seed in found.get(base, {})]
        cells = [name, f"{np.mean([_mean(records, 'precision') for records in worlds.values()]):.4f}"]
        cells.append(f"{np.mean([_mean(records, 'chance') for records in worlds.values()]):.4f}")
        if not paired:
            rows.append([*cells, "", ""])
            continue
        ours, theirs = ([own[s] for s in paired] for own in (worlds, found[base]))
        mean, low, high = over_seeds(
            differences([_mean(r, "precision") for r in ours], [_mean(r, "precision") for r in theirs])
        )
        better = np.mean([sum(_better(a, b)) for a, b in zip(ours, theirs)])
        interval = "" if np.isnan(low) else f" [{low:+.4f}, {high:+.4f}]"
        rows.append([*cells, f"{mean:+.4f}{interval}", f"{better:.0f}"])
    return markdown(["vectors", f"precision@{NEIGHBOURS}", "by chance", f"less `{base}`", "tasks better"], rows)


def _mean(records: list[dict[str, Any]], what: str) -> float:
    known = [record[what] for record in records if record[what] is not None]
    return float(np.nanmean(known))


def _better(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[bool]:
    return [(a["precision"] or 0.0) > (b["precision"] or 0.0) for a, b in zip(ours, theirs)]
