"""What a training run is made of: one frozen table of numbers, every one of them read by the loop."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TrainingConfig(BaseModel):
    """Settings of `multitask.training.fit`; unknown names and values out of range are refused, all at once.

    Defaults are the habits that mattered more than the architecture on a real log: averaged weights, and stopping on
    a validation loss.

    >>> TrainingConfig(epochs=5, learning_rate=3e-4).monitor
    'validation_loss'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(default=20, ge=1, description="passes over the data at most")
    batch_size: int = Field(default=4096, ge=1, description="rows of a global batch, over all processes")
    learning_rate: float = Field(default=1e-3, gt=0, description="step size after the warm-up")
    optimizer: Literal["adam", "adamw", "sgd", "adagrad"] = Field(
        default="adam", description="adamw decouples the weight decay from the moments"
    )
    momentum: float = Field(default=0.0, ge=0, lt=1, description="share of the last step kept in the next; sgd only")
    accumulator: float | None = Field(
        default=None, ge=0, description="what adagrad's sums of squared gradients start from; None = 0.1; adagrad only"
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="of matrices; biases and single scales are never decayed"
    )
    embedding_weight_decay: float | None = Field(
        default=None, ge=0, description="of embedding tables; None = weight_decay"
    )
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="cosine falls to 0 over all the epochs"
    )
    warmup_steps: int = Field(default=0, ge=0, description="steps over which the learning rate rises linearly from 0")
    clip_norm: float | None = Field(default=None, gt=0, description="bound of the gradients' joint 2-norm; None = none")
    ema_decay: float = Field(
        default=0.999, ge=0, lt=1, description="decay per step of the averaged weights; 0 = no averaging"
    )
    ema_every: int = Field(
        default=10, ge=1, description="steps between two updates of the average: cheaper, same horizon"
    )
    monitor: str = Field(default="validation_loss", min_length=1, description="metric that picks the best epoch")
    direction: Literal["min", "max"] = Field(default="min", description="whether less or more of `monitor` is better")
    patience: int = Field(default=3, ge=1, description="epochs without a better `monitor` after which training stops")
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        default="auto", description="of the matrix products; auto = bfloat16 where the processor multiplies it natively"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the batches' order and of dropout")
    checkpoint_steps: int | None = Field(
        default=None,
        ge=1,
        description="steps between checkpoints inside an epoch; None = at the end of each epoch only",
    )

    @model_validator(mode="after")
    def _read_by_the_optimizer(self) -> TrainingConfig:
        faults = []
        if self.momentum and self.optimizer != "sgd":
            faults.append(f'momentum is read with optimizer = "sgd" only: leave it out, got {self.momentum}')
        if self.accumulator is not None and self.optimizer != "adagrad":
            faults.append(f'accumulator is read with optimizer = "adagrad" only: leave it out, got {self.accumulator}')
        if faults:
            raise ValueError("; ".join(faults))
        return self
