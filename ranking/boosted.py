"""LightGBM behind the ranker's interface: one booster per node, the honest tabular baseline of every report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from features import Encoders, Inputs
from ranking.config import RankerConfig, TreesConfig
from ranking.network import query_cosine
from ranking.training_rows import TrainingRows

MATRIX_ROWS = 65536  # rows turned into a matrix at once when scoring


class BoostedScorer:
    """One booster per node, on the same encoded inputs as the network.

    Columns: scalar categoricals as LightGBM categories, list-valued ones as one 0/1 column per value, the scaled
    numbers (trees do not see the scaling), and the item vectors: the candidate's, and with a query the query item's and
    their cosine (a tree cannot form it from single numbers).
    """

    kind = "lightgbm"

    def __init__(self, boosters: Sequence[Any], encoders: Encoders) -> None:
        self.boosters, self.encoders = list(boosters), encoders

    def with_encoders(self, encoders: Encoders) -> BoostedScorer:
        """The same boosters over the item vectors of `encoders`."""
        return BoostedScorer(self.boosters, encoders)

    def logits(self, inputs: Inputs) -> np.ndarray:
        """Raw scores (N, K) float64."""
        out = np.empty((len(inputs), len(self.boosters)))
        for start in range(0, len(inputs), MATRIX_ROWS):
            stop = min(start + MATRIX_ROWS, len(inputs))
            x = tree_matrix(inputs.slice(start, stop), self.encoders)
            for j, booster in enumerate(self.boosters):
                out[start:stop, j] = booster.predict(x, raw_score=True)
        return out


def tree_matrix(inputs: Inputs, encoders: Encoders) -> np.ndarray:
    """Inputs as one (N, C) float32 matrix; the scalar categoricals come first, counted from 0 within their field."""
    parts = [inputs.ids.numpy() - np.asarray(encoders.offsets, dtype=np.int32)]
    for j, bag in enumerate(inputs.lists):
        offset, size = encoders.list_offsets[j], encoders.list_sizes[j]
        hot = torch.zeros((len(inputs), size + 1))
        # Padding (0) lands in column 0, which is cut off; a value at `offset + i` lands in column i + 1.
        hot.scatter_(1, (bag - (offset - 1)).clamp(min=0).long(), 1.0)
        parts.append(hot[:, 1:].numpy())
    parts.append(inputs.numeric.numpy())
    width = sum(part.shape[1] for part in parts)
    out = np.empty((len(inputs), width + _vector_columns(inputs, encoders)), np.float32)
    np.concatenate(parts, axis=1, out=out[:, :width], casting="same_kind")
    if encoders.vectors is not None and inputs.item_row is not None:
        _fill_vectors(out[:, width:], encoders.vectors.matrix, inputs.item_row, inputs.query_row)
    return out


def _vector_columns(inputs: Inputs, encoders: Encoders) -> int:
    if encoders.vectors is None or inputs.item_row is None:
        return 0
    return encoders.vectors.dim if inputs.query_row is None else 2 * encoders.vectors.dim + 1


def _fill_vectors(out: np.ndarray, matrix: np.ndarray, item_row: Tensor, query_row: Tensor | None) -> None:
    """Write vectors and cosine block by block: they are most of the matrix, and no second one shall be held of it."""
    d = matrix.shape[1]
    for start in range(0, len(out), MATRIX_ROWS):
        block = slice(start, start + MATRIX_ROWS)
        out[block, :d] = item = matrix[item_row[block].numpy()]
        if query_row is not None:
            out[block, d : 2 * d] = query = matrix[query_row[block].numpy()]
            out[block, 2 * d] = query_cosine(torch.from_numpy(item), torch.from_numpy(query)).numpy()


def fit_boosters(
    encoders: Encoders,
    rows: TrainingRows,
    validation: TrainingRows,
    nodes: Sequence[str],
    config: RankerConfig,
    log: Any,
) -> tuple[BoostedScorer, dict[str, Any]]:
    """Fit one booster per node on the rows where its label is known, stopping on the validation rows' log loss."""
    import lightgbm

    x, xv = tree_matrix(rows.inputs, encoders), tree_matrix(validation.inputs, encoders)
    categorical = list(range(len(encoders.fields)))
    boosters, trees = [], []
    for node, name in enumerate(nodes):
        train, held_out = (_node_data(m, r, node, categorical, config.trees) for m, r in ((x, rows), (xv, validation)))
        if train is None:
            log(f"{name}: no labelled row to train on, it predicts one half")
            boosters.append(_constant_booster(x, config))
            trees.append({"node": name, "rounds": 0, "validation_loss": None})
            continue
        callbacks: list[Any] = []
        if held_out is None:
            log(f"{name}: no labelled row to stop on, all {config.trees.rounds} rounds are used")
        elif config.trees.early_stopping:
            callbacks.append(lightgbm.early_stopping(config.trees.early_stopping, verbose=False))
        booster = lightgbm.train(
            _parameters(config),
            train,
            config.trees.rounds,
            valid_sets=[held_out] if held_out else [],
            callbacks=callbacks,
        )
        best = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
        loss = booster.best_score["valid_0"]["binary_logloss"] if held_out else None
        trees.append({"node": name, "rounds": best, "validation_loss": loss})
        log(f"{name}: {best} trees")
        # A round trip through the text format: what is in memory then scores bit for bit like what is loaded later.
        boosters.append(lightgbm.Booster(model_str=booster.model_to_string(num_iteration=best)))
    return BoostedScorer(boosters, encoders), {"boosters": trees}


def _node_data(x: np.ndarray, rows: TrainingRows, node: int, categorical: list[int], trees: TreesConfig) -> Any:
    import lightgbm

    y = rows.labels[:, node].numpy()
    known = np.flatnonzero(~np.isnan(y))
    if not len(known):
        return None
    weight = None if rows.weights is None else rows.weights[:, node].numpy()[known]
    return lightgbm.Dataset(
        x if len(known) == len(y) else x[known],
        label=y[known],
        weight=weight,
        categorical_feature=categorical,
        params={"max_bin": trees.max_bin, "verbose": -1},
    )


def _constant_booster(x: np.ndarray, config: RankerConfig) -> Any:
    """A booster that says one half everywhere: labels 0, 1, 0, 1, ... and leaves too large to split."""
    import lightgbm

    rows = np.zeros((2, x.shape[1]), dtype=np.float32)
    data = lightgbm.Dataset(rows, label=[0.0, 1.0], params={"verbose": -1, "min_data_in_leaf": 2, "min_data_in_bin": 1})
    return lightgbm.train(_parameters(config) | {"min_data_in_leaf": 2}, data, 1)


def _parameters(config: RankerConfig) -> dict[str, Any]:
    trees = config.trees
    return {
        "objective": "binary",
        "learning_rate": trees.learning_rate,
        "num_leaves": trees.leaves,
        "min_data_in_leaf": trees.min_leaf_rows,
        "max_bin": trees.max_bin,
        "lambda_l2": trees.l2,
        "cat_l2": trees.categorical_l2,
        "cat_smooth": trees.categorical_smooth,
        "num_threads": trees.threads,
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
