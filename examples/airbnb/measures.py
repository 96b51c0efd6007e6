"""What compare.py measures: accuracies and R2 of linear probes, as tables."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from galleries import Linear, Matrix, Refitted, Rows, photo_features, pooled
from joblib import Parallel, delayed
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from evaluation.clusters import Clusters, clustered_standard_error
from evaluation.estimate import Estimate
from evaluation.gallery.ablation_measures import vectors_by_row
from evaluation.gallery.probe import HoldoutProbe
from evaluation.gallery.probe_design import ALL_LABELS, ProbeDesign
from evaluation.gallery.probe_result import ProbeResult
from evaluation.gallery.threads import one_thread
from evaluation.gallery.value_probe import ALPHAS, probe_values
from evaluation.proper_scores import ratio_of_sums
from features.gallery import EncoderConfig, GalleryData, GalleryEncoder, open_photos
from features.gallery.building import photo_size
from features.gallery.source import PhotoSource
from features.gallery.store import Embeddings
from galleryrank.settings import load_config

Floats = npt.NDArray[np.float64]
VectorsOf = Callable[[Rows, int], Matrix]  # training rows, seed -> vectors (V, D)

HERE = Path(__file__).parent
PRICE = "price_night"
ELSE = ("guests", "bedrooms", "amenities_count", "rating_mean")
ORDER_FREE, MEAN = "mean, max and deviation", "mean"
COVER, ALONE = "mean, and the cover photo", "cover photo alone"
CONTROLLED = (ORDER_FREE, COVER)  # arms that are also fitted on shuffled labels
# photo size, root, mirror: the settings used (192, True, True), and what differs from them in one or two
NEIGHBOURS = (
    (128, True, True),
    (160, True, True),
    (192, True, True),
    (192, False, True),
    (192, True, False),
    (192, False, False),
    (227, True, True),
)
TRAINED = {  # settings -> the arm's name, how many seeds of folds
    "multitask.toml": ("multi-task, a linear layer", 3),
    "triplet.toml": ("triplets, a linear layer", 3),
    "last_block.toml": ("multi-task, last block", 1),
}
FROZEN = "the same, frozen"


class Study:
    """The galleries, the frozen encoder and what is measured with them.

    Args:
        dataset: What prepare.py wrote.
        frozen: A run of `galleryrank embed --untrained`.
        out: Where outputs of the frozen part are kept.
        seeds: How many divisions into folds.
        jobs: Probes at a time.
    """

    def __init__(self, dataset: Path, frozen: Path, out: Path, seeds: int, jobs: int) -> None:
        self.data, self.out, self.seeds, self.jobs = GalleryData.open(dataset), out, range(seeds), jobs
        self.encoder = GalleryEncoder.load(frozen / "encoder")
        self.vectors = vectors_by_row(Embeddings.open(frozen / "vectors.parquet"), self.data)
        self.sources: dict[int, PhotoSource] = {}
        self.features: dict[int, tuple[Tensor, Tensor]] = {}

    def photos(self, size: int) -> PhotoSource:
        """Photos of `size` pixels, decoded once."""
        if size not in self.sources:
            self.sources[size] = open_photos(self.data, size)
        return self.sources[size]

    def pooled(self, size: int, pooling: str, *, mirror: bool = True, root: bool = True, cover: bool = False) -> Matrix:
        """Vectors `(V, D)` of the frozen backbone under any settings."""
        photos = self.photos(size)
        if size not in self.features:
            say(f"features of the photos at {size} pixels")
            self.features[size] = photo_features(self.encoder.network, photos)
        plain, mirrored = self.features[size]
        _, offsets = self.data.photos.galleries(photos.sound)
        features = (plain + mirrored) / 2 if mirror else plain
        return pooled(self.encoder.network, features, offsets, pooling, cover=cover, root=root)

    def arms(self) -> dict[str, Matrix]:
        """The frozen encoder's vectors, and what other ways to pool make of the same features."""
        joined = self.pooled(192, "mean", cover=True)
        half = joined.shape[1] // 2
        return {ORDER_FREE: self.vectors, MEAN: joined[:, :half], COVER: joined, ALONE: joined[:, half:]}

    def values(self, name: str) -> Floats:
        """A column of numbers `(V,)`, a price as its logarithm; NaN where missing."""
        held = name in self.data.schema.holdout
        column = self.data.holdout(name) if held else self.data.attributes([name]).column(0)
        numbers = column.to_pandas().to_numpy(np.float64)
        return np.log(numbers) if name == PRICE else numbers

    def category(self) -> npt.NDArray[np.str_]:
        """The held-out category `(V,)`."""
        return self.data.holdout("category").to_pandas().to_numpy(str)

    def together(self, calls: Sequence[Any]) -> list[Any]:
        """The results of joblib calls, `jobs` of them at a time."""
        return list(Parallel(n_jobs=self.jobs)(calls))


def probed(
    labels: npt.ArrayLike, groups: npt.ArrayLike, name: str, matrix: Matrix, seeds: Sequence[int], control: bool = False
) -> ProbeResult:
    """The linear probe of one arm."""
    probe = HoldoutProbe(labels, ProbeDesign.by_folds(groups), budgets=[ALL_LABELS], seeds=seeds)
    return probe.run({name: Linear(matrix)}, control=control)


def valued(values: Floats, groups: npt.ArrayLike, name: str, matrix: Matrix, seeds: Sequence[int]) -> dict[str, Any]:
    """R2 of one arm, over the items whose value is known."""
    known = np.isfinite(values)
    design = ProbeDesign.by_folds(np.asarray(groups)[known])
    row = probe_values(values[known], {name: matrix[known]}, design, seeds=seeds).iloc[0]
    return {key: row[key] for key in ("arm", "items", "r2", "low", "high")}


def measure_category(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy of every frozen arm and of the majority; the control with shuffled labels."""
    labels, groups = study.category(), study.data.groups
    results = study.together(
        [delayed(probed)(labels, groups, *arm, study.seeds, arm[0] in CONTROLLED) for arm in study.arms().items()]
    )
    joined = reduce(lambda ours, theirs: ours.joined(theirs), results)
    return joined.accuracy(), joined.control()


def measure_numbers(study: Study) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """R2 of the log-price by arm; of other numbers from the mean; and whether a rating is above the median."""
    groups, arms = study.data.groups, study.arms()
    prices = [delayed(valued)(study.values(PRICE), groups, *arm, study.seeds) for arm in arms.items()]
    others = [delayed(valued)(study.values(name), groups, name, arms[MEAN], study.seeds) for name in ELSE]
    rows = study.together([*prices, *others])
    ratings = study.values("rating_mean")
    known = np.isfinite(ratings)
    above = ratings[known] > np.median(ratings[known])
    rated = probed(above, groups[known], "rating above its median", arms[MEAN][known], study.seeds)
    rating = rated.differences().assign(accuracy=rated.accuracy()["accuracy"].iloc[0])
    return pd.DataFrame(rows[: len(prices)]), pd.DataFrame(rows[len(prices) :]), rating


def measure_neighbours(study: Study) -> pd.DataFrame:
    """The same with other settings (R2 with one seed, for time): what the choice of settings is worth."""
    labels, groups, price, calls = study.category(), study.data.groups, study.values(PRICE), []
    for size, root, mirror in NEIGHBOURS:
        settings = {"root": root, "mirror": mirror}
        for name, pooling, cover in ((ORDER_FREE, "mean_max_std", False), (COVER, "mean", True)):
            calls.append(
                delayed(probed)(labels, groups, name, study.pooled(size, pooling, cover=cover, **settings), study.seeds)
            )
        calls.append(delayed(valued)(price, groups, MEAN, study.pooled(size, "mean", **settings), [0]))
    results, rows = iter(study.together(calls)), []
    for size, root, mirror in NEIGHBOURS:
        accuracies = {}
        for _ in range(2):
            row = next(results).accuracy().iloc[0]
            accuracies[row["arm"]] = row["accuracy"]
        rows.append({"photo_size": size, "root": root, "mirror": mirror, **accuracies, "r2": next(results)["r2"]})
    return pd.DataFrame(rows)


def measure_trained(study: Study, weights: Path) -> pd.DataFrame:
    """Encoders trained anew for every fold, against the frozen one that they start from: category and log-price."""
    rows = []
    for file, (name, seeds) in TRAINED.items():
        say(f"training {name}, {seeds} x 5 folds")
        config = load_config(HERE / file, [f"weights={json.dumps(str(weights))}"], EncoderConfig)
        size = photo_size(config)
        trained = Refitted(study.data, study.photos(size), config, study.out / "stored")
        frozen = study.pooled(size, "mean", mirror=False)
        design = ProbeDesign.by_folds(study.data.groups)
        probe = HoldoutProbe(study.category(), design, budgets=[ALL_LABELS], seeds=range(seeds))
        result = probe.run({name: trained, FROZEN: Linear(frozen)}, control=False)
        accuracy = result.accuracy().set_index("arm").loc[name]
        gain = result.differences(name).set_index("against").loc[FROZEN]
        price = r2_of_folds(study.values(PRICE), {name: trained.vectors, FROZEN: always(frozen)}, design, seeds)
        rows.append(
            {"arm": name, "seeds": seeds, "photo_size": size}
            | {key: accuracy[key] for key in ("accuracy", "low", "high")}
            | {f"gain_{key}": gain[key] for key in ("difference", "low", "high", "verdict")}
            | {f"r2_{key}": value for key, value in price.items()}
        )
    return pd.DataFrame(rows)


def always(matrix: Matrix) -> VectorsOf:
    """The same vectors for every fold."""
    return lambda rows, seed: matrix


@one_thread()
def r2_of_folds(values: Floats, arms: Mapping[str, VectorsOf], design: ProbeDesign, seeds: int) -> dict[str, float]:
    """R2 of a ridge regression on vectors that may differ between folds, and the first arm's advantage over the second.

    As `probe_values`, which takes one matrix per arm: here an arm gives the vectors of the encoder that was trained on
    a fold's training rows.
    """
    known = np.isfinite(values)
    groups, errors = design.groups.codes, {name: np.zeros(len(values)) for name in arms}
    for seed in range(seeds):
        for part in design.parts(seed):
            rows = np.concatenate([part.train, part.validation])
            learned, tested = rows[known[rows]], part.test[known[part.test]]
            for name, vectors_of in arms.items():
                x = vectors_of(rows, seed)
                inner = list(GroupKFold(part.inner_folds).split(learned, groups=groups[learned]))
                model = make_pipeline(StandardScaler(), RidgeCV(ALPHAS, cv=inner)).fit(x[learned], values[learned])
                errors[name][tested] += (model.predict(x[tested]) - values[tested]) ** 2 / seeds
    spread = (values[known] - values[known].mean()) ** 2
    clusters, one = Clusters.of(groups[known]), np.ones(int(known.sum()))
    (ours, our_influence), (theirs, their_influence) = (ratio_of_sums(e[known], spread, one) for e in errors.values())
    r2 = Estimate.linear(1.0 - ours, clustered_standard_error(our_influence, clusters))
    gain = Estimate.linear(theirs - ours, clustered_standard_error(their_influence - our_influence, clusters))
    return {
        "value": r2.value, "low": r2.low, "high": r2.high,
        "difference": gain.value, "difference_low": gain.low, "difference_high": gain.high,
    }  # fmt: skip


def say(text: str) -> None:
    """A line on stderr, with the seconds since the start."""
    print(f"{time.perf_counter() - START:6.1f} s  {text}", file=sys.stderr, flush=True)


START = time.perf_counter()
