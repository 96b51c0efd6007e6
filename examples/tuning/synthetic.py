"""Score tables whose landscape is known: four correlated engagements, each predicted with an error of its own."""

from __future__ import annotations

import numpy as np

from optimization.score_table import ScoreTable

HEADS = ("closeup", "save", "click", "long_click")
BASELINE = {"closeup": 0.2, "save": 0.2, "click": 0.3, "long_click": 0.3}
FLOORS = {"closeup": 0.95, "save": 0.9, "click": 1.0}
BASE_LOGITS = np.array([-2.4, -4.0, -3.3, -4.4])  # rates of about .115, .029, .052, .020
CANDIDATES = 20

# rows: what drives each engagement; a save has little to do with the rest, a long click is a click and more
LOADINGS = np.array([
    [1.0, 0.0, 0.0, 0.0],
    [0.2, 1.0, 0.0, 0.0],
    [0.3, 0.1, 0.9, 0.0],
    [0.1, -0.3, 0.6, 0.8],
])  # fmt: skip


def synthetic_table(seed: int, rows: int) -> ScoreTable:
    """A table of `rows` rows in requests of 20; the same population for every seed.

    The true logit of head t is b_t + .6 z + .8 (L e)_t with z and e standard normal. What is predicted sees three
    quarters of the drivers under noise; of the long click it sees a third, under more: an honest picture of a rare
    event, and the reason why a mix ranks long clicks better than their own probability does.
    """
    random = np.random.default_rng(seed)
    shared = random.standard_normal((rows, 1))
    drivers = 0.6 * shared + 0.8 * random.standard_normal((rows, 4)) @ LOADINGS.T
    labels = (random.random((rows, 4)) < _sigmoid(BASE_LOGITS + drivers)).astype(np.int8)
    noise = random.standard_normal((rows, 4))
    seen = 0.75 * drivers + 0.5 * noise
    seen[:, 3] = 0.3 * drivers[:, 3] + 0.9 * noise[:, 3]
    return ScoreTable.of(
        _sigmoid(BASE_LOGITS + seen).astype(np.float32),
        labels,
        np.arange(rows) // CANDIDATES,
        HEADS,
        name=f"synthetic rows, seed {seed}",
    )


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))
