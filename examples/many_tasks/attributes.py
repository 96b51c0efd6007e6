"""31 attributes of generated photos: the encoder with plain, modulated and shared heads, and trunks on frozen vectors.

    python -m examples.many_tasks attributes [--seeds 0,1,2] [--properties 3000] [--epochs 12]

Each seed is a world of its own. End to end, `small` encoders learn the attributes of seven tenths of the properties.
On frozen vectors (of the encoder with plain heads) the ranker's trunks learn the same attributes. Everything is
measured on the other properties. One arm and seed is one JSON under --out: a killed run goes on, and several processes
share the work. About 18 minutes of one core for three seeds.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from evaluation.gallery.task_scores import base_predictions, predictions_of, task_rows
from evaluation.metrics_json import jsonable, write_metrics_json
from examples.studies.runs import Result, Results, claimed
from examples.studies.seeds import differences, markdown, over_seeds
from features import GalleryEncoder, make_world
from features.gallery import EncoderConfig, GalleryData, open_photos
from features.gallery.source import PhotoSource

from .runs import chosen, count, numbers, run_missing
from .trunks import TRUNKS, TrunkStudy
from .vectors import precisions, vector_table

BASE_END, BASE_FROZEN = "heads", "frozen, shared bottom"
END: dict[str, dict[str, Any]] = {
    BASE_END: {},
    "modulation": {"modulation": True},
    "sharing, similarity": {"sharing": "similarity"},
}
ARMS = [*END, *TRUNKS]
KINDS = {"binary": "binary, accuracy", "multiclass": "multiclass, accuracy", "regression": "regression, R2"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the command line."""
    parser.add_argument("--seeds", type=numbers, default="0,1,2", help="of worlds, encoders and trunks")
    parser.add_argument("--arms", default=None, help=f"some of: {'; '.join(ARMS)} (separated by semicolons)")
    parser.add_argument("--properties", type=int, default=3000, help="of a world")
    parser.add_argument("--photos", type=int, default=4, help="of a property")
    parser.add_argument("--epochs", type=int, default=12, help="of an encoder")
    parser.add_argument("--trunk-epochs", type=int, default=80, help="of a trunk, at most")
    parser.add_argument("--out", type=Path, default=Path("runs/many_tasks/attributes"))


def main(arguments: argparse.Namespace) -> int:
    """Trains what is missing, then writes table.md and results.json of all that is there."""
    torch.set_num_threads(1)
    arms = chosen(arguments.arms, dict.fromkeys(ARMS))
    names = ("properties", "photos", "epochs", "trunk_epochs")
    worlds: dict[int, World] = {}

    def run(arm: str, seed: int, folder: Path) -> Result:
        if seed not in worlds:
            worlds[seed] = World(arguments.out, seed, arguments)
        world = worlds[seed]
        result = world.end_to_end(arm, folder) if arm in END else world.on_vectors(arm, folder)
        shutil.rmtree(folder)  # the checkpoint
        return result

    settings = {name: getattr(arguments, name) for name in names}
    results = run_missing(arguments.out, ARMS, arms, arguments.seeds, settings, run)
    text = report(results)
    (arguments.out / "table.md").write_text(text, encoding="utf-8")
    write_metrics_json(arguments.out / "results.json", jsonable({f"{a}, seed {s}": r for (a, s), r in results.items()}))
    print(text)
    return 0


class World:
    """One marketplace with photos, split by property, and what its encoders gave."""

    def __init__(self, out: Path, seed: int, settings: argparse.Namespace) -> None:
        self.out, self.seed, self.settings = out, seed, settings
        path = out / f"world-{seed}" / "dataset.toml"
        with claimed(out / f"world-{seed}.lock", wait=True):
            if not path.exists():  # written last: a folder with it is complete
                sizes = {"properties": settings.properties, "photos": settings.photos, "users": 100, "requests": 100}
                make_world(path.parent, seed=seed, **sizes)
        self.data = GalleryData.open(path)
        self.photos: PhotoSource = open_photos(self.data, 64)
        part = np.random.default_rng(seed).random(len(self.data))
        sound = np.diff(self.data.photos.galleries(self.photos.sound)[1]) > 0
        self.learned, self.unseen = np.flatnonzero((part < 0.7) & sound), np.flatnonzero((part >= 0.7) & sound)

    def end_to_end(self, arm: str, checkpoint: Path) -> Result:
        """An encoder trained with an arm's heads."""
        config = EncoderConfig.model_validate({
            "photo_budget": 128, "seed": self.seed, "training": {"epochs": self.settings.epochs}, **END[arm]
        })  # fmt: skip
        start = time.process_time()
        encoder = GalleryEncoder.fit(
            self.data, config, rows=self.learned, photos=self.photos, checkpoint=checkpoint, progress=False, log=print
        )
        seconds = time.process_time() - start
        _, outputs = encoder.outputs(self.data, self.unseen, photos=self.photos)
        if arm == BASE_END:
            encoder.save(self._encoder)
        history, shared = encoder.history, encoder.report.get("sharing")
        return {
            "tasks": self.scores(encoder, outputs.numpy()),
            "vectors": precisions(encoder, self.data, self.unseen, self.photos),
            "parameters": count(encoder.network),
            "seconds": seconds,
            "epochs": len(history.epochs),
            "best_epoch": None if history.best_epoch is None else history.best_epoch + 1,
            "groups": None if shared is None else shared["groups"],
            "last_groups": None if shared is None else shared["epochs"][-1]["members"],
        }

    def on_vectors(self, arm: str, checkpoint: Path) -> Result:
        """A trunk and its heads trained on the frozen vectors of the encoder with plain heads."""
        if not (self._encoder / "manifest.json").exists():
            raise SystemExit(f"{arm!r} reads the vectors of the arm {BASE_END!r}, seed {self.seed}: run that first")
        encoder = GalleryEncoder.load(self._encoder)
        vectors = encoder.embed(self.data, photos=self.photos).item_vectors()
        x = torch.from_numpy(vectors.matrix)[torch.from_numpy(vectors.rows(np.asarray(self.data.item_ids)))]
        study = TrunkStudy(encoder.tasks, x, encoder.tasks.labels(self.data), self.learned, self.seed)
        start = time.process_time()
        result, outputs = study.fit(arm, self.unseen, self.settings.trunk_epochs, checkpoint)
        seconds = time.process_time() - start
        return {"tasks": self.scores(encoder, outputs), "seconds": seconds, **result}

    @property
    def _encoder(self) -> Path:
        return self.out / f"encoder-{self.seed}"

    def scores(self, encoder: GalleryEncoder, outputs: npt.NDArray[Any]) -> list[dict[str, Any]]:
        """Of every task on the unseen properties: accuracy or R2, and the loss as a share of the base rates' loss."""
        tasks, labels = encoder.tasks.tasks, encoder.tasks.labels(self.data).double().numpy()
        own = task_rows(tasks, predictions_of(tasks, outputs), labels[self.unseen])
        guess = base_predictions(tasks, labels[self.learned], len(self.unseen))
        base = task_rows(tasks, guess, labels[self.unseen])
        found = []
        for task in tasks:
            ours, theirs = own[task.name], base[task.name]
            error, base_error = ours.error.mean(), theirs.error.mean()
            score = 1 - error / base_error if task.kind == "regression" else 1 - error
            base_score = 0.0 if task.kind == "regression" else 1 - base_error
            relative = ours.log_loss.mean() / theirs.log_loss.mean()
            found.append({"task": task.name, "kind": task.kind, "score": score, "base": base_score, "loss": relative})
        return found


def report(results: Results) -> str:
    """Markdown: the encoders, and the trunks on frozen vectors, each against its own baseline."""
    parts = []
    for title, arms, base in (
        ("End to end, the `small` encoder", list(END), BASE_END),
        ("Trunks on frozen gallery vectors", list(TRUNKS), BASE_FROZEN),
    ):
        rows = [arm_row(arm, base, results) for arm in arms if any(own == arm for own, _ in results)]
        if rows:
            header = ["arm", *KINDS.values(), "loss / base", f"less `{base}`", "tasks better", "parameters",
                      "CPU s", "epochs", "groups"]  # fmt: skip
            parts.append(f"## {title}\n\n{markdown(header, rows)}")
    parts.append(f"## The encoders' vectors\n\n{vector_table(results, list(END), BASE_END)}")
    seeds, tasks = sorted({seed for _, seed in results}), len(next(iter(results.values()))["tasks"])
    about = (
        f"{tasks} attributes of photos, properties that training did not see, worlds {seeds}. Means over tasks and "
        "worlds. `loss / base`: log loss (or squared error) as a share of the base rates' own, below 1 is better; "
        "differences with 95 % intervals by Student's t over the worlds. `tasks better`: of all, mean over the worlds. "
        "`precision@10`: the share of an unseen gallery's ten nearest unseen ones with its value of an attribute."
    )
    return "\n\n".join([about, *parts])


def arm_row(arm: str, base: str, results: Results) -> list[str]:
    """One arm over its seeds."""
    seeds = [seed for own, seed in results if own == arm]
    tables = [pd.DataFrame(results[arm, seed]["tasks"]) for seed in seeds]
    cells = [arm]
    for kind in KINDS:
        scores, floor = zip(*((t[t.kind == kind].score.mean(), t[t.kind == kind].base.mean()) for t in tables))
        cells.append(f"{np.mean(scores):.3f} (base {np.mean(floor):.3f})")
    losses = [float(table.loss.mean()) for table in tables]
    cells.append(f"{np.mean(losses):.4f}")
    paired = [seed for seed in seeds if (base, seed) in results]
    if arm != base and paired:
        theirs = [pd.DataFrame(results[base, seed]["tasks"]) for seed in paired]
        own = [table for table, seed in zip(tables, seeds) if seed in paired]
        gaps = differences([float(t.loss.mean()) for t in own], [float(t.loss.mean()) for t in theirs])
        better = np.mean([int((a.loss.to_numpy() < b.loss.to_numpy()).sum()) for a, b in zip(own, theirs)])
        cells += [_signed(gaps), f"{better:.0f}"]
    else:
        cells += ["", ""]
    runs = [results[arm, seed] for seed in seeds]
    cells.append(f"{np.mean([run['parameters'] for run in runs]):,.0f}")
    cells += [f"{np.mean([run[name] for run in runs]):.0f}" for name in ("seconds", "epochs")]
    groups = [_sizes(run["groups"]) for run in runs if run.get("groups") is not None]
    return [*cells, "; ".join(groups)]


def _signed(values: Sequence[float]) -> str:
    mean, low, high = over_seeds(values)
    return f"{mean:+.4f}" + ("" if np.isnan(low) else f" [{low:+.4f}, {high:+.4f}]")


def _sizes(groups: Sequence[Sequence[str]]) -> str:
    """How many groups there are, and how large those of several tasks.

    >>> _sizes([["a", "b"], ["c"], ["d", "e", "f"]])
    '3 (3 2)'
    """
    several = sorted((len(group) for group in groups if len(group) > 1), reverse=True)
    return f"{len(groups)}" + (f" ({' '.join(map(str, several))})" if several else "")
