"""The heads of a probe on frozen vectors: two layers as in [Booking] section 4.1, linear, and ridge for a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from evaluation.checks import FloatArray, IntArray
from evaluation.gallery.threads import one_thread
from multitask import ShuffledBatches, TrainingConfig, fit

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C of the linear probe: 1 / L2


class HeadConfig(BaseModel):
    """Settings of the two-layer head Linear(D, hidden) + ReLU + dropout + Linear(hidden, classes), trained by Adam.

    >>> HeadConfig(hidden=64).patience
    10
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hidden: int = Field(default=256, ge=1, description="units of the first layer")
    dropout: float = Field(default=0.3, ge=0, lt=1, description="share of the hidden units dropped in training")
    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    weight_decay: float = Field(default=1e-4, ge=0, description="of the two matrices")
    batch_size: int = Field(default=32, ge=1, description="items per step")
    epochs: int = Field(default=200, ge=1, description="passes at most, where the validation loss decides")
    patience: int = Field(default=10, ge=1, description="passes without a better validation loss before it stops")


@dataclass(frozen=True)
class Fitted:
    """A fitted head's answer for the test rows.

    Attributes:
        probabilities: `(n, K)`.
        details: What was chosen: epochs and passes, or the strength C.
    """

    probabilities: FloatArray
    details: dict[str, Any]


@one_thread()
def fit_two_layer(
    train: tuple[FloatArray, IntArray],
    validation: tuple[FloatArray, IntArray],
    test: FloatArray,
    classes: int,
    config: HeadConfig | None = None,
    *,
    epochs: int | None = None,
    seed: int = 0,
) -> Fitted:
    """The two-layer head, trained on cross entropy in float32.

    Args:
        train: `(n, D)` vectors and `(n,)` class numbers; the inputs are standardised by these rows.
        validation: `(m, D)` and `(m,)`: the epoch with the smallest cross entropy here is kept.
        test: `(k, D)`.
        classes: K.
        config: Settings; None = the defaults.
        epochs: Exactly so many passes over all training rows, validation unused; None = until validation says stop.
        seed: Of the first weights, the dropout and the order.

    >>> x, y = np.repeat(np.eye(2), 20, axis=0), np.repeat([0, 1], 20)
    >>> fitted = fit_two_layer((x, y), (x, y), np.eye(2), 2, HeadConfig(learning_rate=0.01, epochs=10))
    >>> fitted.probabilities.argmax(1).tolist()
    [0, 1]
    """
    config = config or HeadConfig()
    mean, scale = _standardisation(train[0])
    inputs = [torch.from_numpy(((x - mean) / scale).astype(np.float32)) for x in (train[0], validation[0], test)]
    targets = [torch.from_numpy(y.astype(np.int64)) for y in (train[1], validation[1])]
    model = two_layer_head(train[0].shape[1], classes, config, class_log_frequencies(train[1], classes), seed)
    training = TrainingConfig(
        epochs=epochs or config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        patience=config.patience,
        ema_decay=0.0,
        precision="float32",
        seed=seed,
    )

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    def validate(model: nn.Module) -> dict[str, float]:
        return {"validation_loss": F.cross_entropy(model(inputs[1]), targets[1]).item()}

    rows = _Rows(inputs[0], targets[0])
    history = fit(
        model,
        loss,
        # The last short batch is trained on too: a pass is a pass over all labels.
        ShuffledBatches(rows, training.batch_size, seed=seed, drop_last=False),
        training,
        validate=validate if epochs is None else None,
        progress=False,
        device="cpu",
    )
    with torch.no_grad():
        answer = torch.softmax(model(inputs[2]).double(), dim=1).numpy()
    kept = history.best_epoch if history.best_epoch is not None else len(history.epochs) - 1
    return Fitted(answer, {"passes": len(history.epochs), "kept": kept + 1})


def two_layer_head(width: int, classes: int, config: HeadConfig, bias: Tensor | None, seed: int) -> nn.Sequential:
    """The untrained head; `bias` `(classes,)` are the first logits (the log frequencies)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        last = nn.Linear(config.hidden, classes)
        model = nn.Sequential(nn.Linear(width, config.hidden), nn.ReLU(), nn.Dropout(config.dropout), last)
    if bias is not None:
        with torch.no_grad():
            last.bias.copy_(bias)
    return model


@one_thread()
def fit_linear(
    train: tuple[FloatArray, IntArray],
    validation: tuple[FloatArray, IntArray],
    test: FloatArray,
    classes: int,
    *,
    strengths: tuple[float, ...] = STRENGTHS,
    inner: IntArray | None = None,
) -> Fitted:
    """Multinomial logistic regression (scikit-learn), its strength C chosen by log loss.

    Training labels of one class only are answered by that class.

    Args:
        train, validation, test, classes: As `fit_two_layer`.
        strengths: The values of C tried, ascending.
        inner: None = C is chosen on `validation` and the fit on `train` alone is kept; `(n + m,)` fold numbers of the
            training and then the validation rows = C is chosen over these folds and refitted on both.

    >>> x, y = np.repeat(np.eye(2), 20, axis=0), np.repeat([0, 1], 20)
    >>> fit_linear((x, y), (x, y), np.eye(2), 2).probabilities.argmax(1).tolist()
    [0, 1]
    """
    if inner is None:
        answers = _logistic_path(*train, [validation[0], test], classes, strengths)
        losses = [_log_loss(on_validation, validation[1]) for on_validation, _ in answers]
        chosen = int(np.argmin(losses))
        return Fitted(answers[chosen][1], {"C": strengths[chosen]})
    x, y = np.concatenate([train[0], validation[0]]), np.concatenate([train[1], validation[1]])
    sums = np.zeros(len(strengths))
    for fold in np.unique(inner):
        held = inner == fold
        answers = _logistic_path(x[~held], y[~held], [x[held]], classes, strengths)
        sums += [held.sum() * _log_loss(answer[0], y[held]) for answer in answers]
    chosen = int(np.argmin(sums))
    return Fitted(_logistic_path(x, y, [test], classes, (strengths[chosen],))[0][0], {"C": strengths[chosen]})


def class_log_frequencies(classes: IntArray, count: int) -> Tensor:
    """`(count,)` log of the class frequencies, every class counted once more so that none is minus infinity."""
    frequency = np.bincount(classes, minlength=count) + 1.0
    return torch.from_numpy(np.log(frequency / frequency.sum())).float()


def _logistic_path(
    x: FloatArray, y: IntArray, on: list[FloatArray], classes: int, strengths: tuple[float, ...]
) -> list[list[FloatArray]]:
    """For every C the probabilities `(n, classes)` on each of `on`; each fit starts from the weaker one before.

    Where `y` is of one class, as in a small budget of a rare attribute, the answer is that class.
    """
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(y)
    if len(seen) == 1:
        only = np.eye(classes)[seen]
        return [[np.repeat(only, len(rows), axis=0) for rows in on] for _ in strengths]
    mean, scale = _standardisation(x)
    model = LogisticRegression(max_iter=5000, tol=1e-4, warm_start=True)
    answers = []
    for strength in strengths:
        model.set_params(C=strength).fit((x - mean) / scale, y)
        answer = []
        for rows in on:
            spread = np.zeros((len(rows), classes))
            spread[:, seen] = model.predict_proba((rows - mean) / scale)
            answer.append(spread)
        answers.append(answer)
    return answers


def _log_loss(probabilities: FloatArray, labels: IntArray) -> float:
    # a class unseen in training has probability 0; it must cost much, but the same for every C
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def _standardisation(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation per column; a column that is constant on these rows becomes zeros."""
    spread = x.std(axis=0)
    return x.mean(axis=0), np.where(spread > 1e-8 * (1.0 + np.abs(x).max(initial=0.0)), spread, np.inf)


@dataclass(frozen=True)
class _Rows:
    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def select(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.x.index_select(0, index), self.y.index_select(0, index)
