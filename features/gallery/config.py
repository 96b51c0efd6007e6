"""Everything that can be chosen about a gallery encoder, with defaults that follow [Booking]."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from features.gallery.triplets import Mining
from multitask import TrainingConfig

PAPER = {"learning_rate": 1e-4, "ema_decay": 0.0, "epochs": 100, "patience": 3}
# Random weights have further to go than the paper's pretrained ones: at 1e-4 they stop an epoch's gain too early.
FROM_SCRATCH = {"learning_rate": 1e-3, "schedule": "cosine", "ema_decay": 0.0, "epochs": 12, "patience": 4}


HEADS_ONLY = ("head_hidden", "modulation", "modulation_tasks", "sharing")  # not read with loss = "triplet"
TRIPLET_ONLY = ("mining", "margin")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AugmentationConfig(_Section):
    """Random changes of the training photos (`Augmentation`); all off by default."""

    flip: bool = Field(False, description="mirror half of the photos left to right")
    crop: float = Field(0.0, ge=0.0, lt=1.0, description="largest share of the area that is cut away")
    rotate: float = Field(0.0, ge=0.0, le=180.0, description="largest turn to either side, degrees")
    jitter: float = Field(0.0, ge=0.0, lt=1.0, description="largest change of brightness, contrast and saturation")

    @property
    def any(self) -> bool:
        """Whether anything is changed."""
        return self.flip or max(self.crop, self.rotate, self.jitter) > 0


class EncoderConfig(_Section):
    """A gallery encoder: which network, which loss, how photos are batched.

    Batches are cut by `photo_budget`, so `training.batch_size` stays as it is. The defaults of `training` are, for
    pretrained weights, the paper's: Adam with 1e-4, no averaged weights, until the validation loss has not fallen for 3
    epochs. Random weights start at 1e-3 and fall to 0 by a cosine over 12 epochs.

    Examples
    --------
    >>> config = EncoderConfig(seed=7, training={"epochs": 5})
    >>> config.training.epochs, config.training.learning_rate, config.training.seed
    (5, 0.001, 7)
    >>> EncoderConfig(backbone="vgg16", pretrained=True).training.learning_rate
    0.0001
    """

    backbone: str = Field("small", min_length=1, description='"small", "squeezenet1_1" or a name that timm knows')
    weights: Path | None = Field(None, description="local file of pretrained weights")
    pretrained: bool = Field(False, description="let timm fetch its pretrained weights")
    train: Literal["all", "last_block", "none"] = Field("all", description="which part of the backbone learns")
    photo_size: int | None = Field(None, ge=32, description="side of a photo, pixels; None: the backbone's")
    embed_dim: PositiveInt | None = Field(None, description="width of a photo's vector; None: the backbone's own")
    pooling: Literal["mean", "max", "mean_max_std", "gem", "attention", "pma"] = "mean"
    cover: bool = Field(False, description="join the first photo's vector to the gallery's")
    root: bool = Field(False, description="signed square root of a photo's features: evens out a few large ones")
    mirror: bool = Field(False, description="embed the mean of each photo and its mirror image")
    head_hidden: int = Field(320, ge=0, description="hidden units of each task's head, 0: a linear head")
    modulation: bool = Field(False, description="each task scales the channels before the last stage, and the vector")
    modulation_tasks: PositiveInt = Field(8, description="tasks of a training step with modulation, drawn at random")
    sharing: Literal["none", "similarity", "dissimilarity", "variance", "random"] = Field(
        "none", description="tasks found to belong together while training share their head's hidden layer"
    )
    loss: Literal["pseudo_uniform", "kendall", "triplet"] = "pseudo_uniform"
    mining: Mining = Field("random", description='which triplets loss = "triplet" learns from')
    margin: float = Field(0.2, gt=0.0, le=2.0, description="of the triplet loss")
    photo_budget: PositiveInt = Field(256, description="photos of a batch, at most, over all processes")
    sample_photos: PositiveInt | None = Field(None, description="photos of a gallery seen per epoch; None: all")
    augmentation: AugmentationConfig = AugmentationConfig()
    cache: Literal["none", "prefix"] = Field("none", description="run the frozen part once per photo, keep its output")
    cache_augmentations: int = Field(0, ge=0, description="fixed augmented versions of each photo in the cache")
    cache_precision: Literal["float32", "float16"] = "float32"
    validation: float = Field(0.1, gt=0.0, lt=1.0, description="share of the groups that training stops on")
    training: TrainingConfig = TrainingConfig(**FROM_SCRATCH)
    seed: int = Field(0, ge=0, description="of everything random; `training.seed` follows it unless it is given")

    @model_validator(mode="before")
    @classmethod
    def _training_defaults(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("training", {}), dict):
            own = values.get("training", {})
            start = PAPER if values.get("pretrained") or values.get("weights") is not None else FROM_SCRATCH
            seed = {"seed": values["seed"]} if "seed" in values else {}
            return values | {"training": {**start, **seed, **own}}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> EncoderConfig:
        faults = []
        if self.cache == "prefix" and self.train == "all":
            faults.append('cache = "prefix" needs a frozen part: train = "last_block" or "none"')
        if self.cache == "none" and self.cache_augmentations:
            faults.append('cache_augmentations are read with cache = "prefix" only')
        if self.cache == "prefix" and self.augmentation.any != (self.cache_augmentations > 0):
            faults.append("augmentation of cached photos needs cache_augmentations above 0, and the reverse")
        if self.cache == "prefix" and self.mirror:
            faults.append('mirror needs the photos themselves: cache = "none"')
        if self.training.batch_size != TrainingConfig().batch_size:
            faults.append("training.batch_size is not read: batches are cut by photo_budget")
        if (self.training.monitor, self.training.direction) != ("validation_loss", "min"):
            faults.append(
                'training.monitor and training.direction must be "validation_loss" and "min": an encoder has no other, '
                f'got "{self.training.monitor}" and "{self.training.direction}"'
            )
        for name, needs in self._unread():
            if getattr(self, name) != type(self).model_fields[name].default:
                faults.append(f"{name} is read with {needs} only: leave it out")
        fixed = self.train == "none" and self.embed_dim is None and self.pooling in ("mean", "max", "mean_max_std")
        if self.loss == "triplet" and fixed:
            faults.append('loss = "triplet" has nothing to train: train = "none" without embed_dim or learned pooling')
        faults += self._many_tasks()
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _many_tasks(self) -> list[str]:
        """What is wrong with modulation and sharing."""
        faults = []
        if self.modulation and self.train == "none":
            faults.append('modulation needs a last stage that trains behind it: train = "all" or "last_block"')
        if self.sharing != "none" and self.loss != "triplet" and not self.head_hidden:
            faults.append("sharing is of the heads' hidden layers: give head_hidden a width above 0")
        if self.sharing != "none" and self.modulation:
            faults.append(
                "sharing compares what all tasks do to the same galleries, and with modulation a step evaluates "
                "modulation_tasks of them only: leave one of the two out"
            )
        return faults

    def with_loss(self, loss: str) -> EncoderConfig:
        """The same with another loss, without the options that only the present one reads."""
        values = self.model_dump()
        if "triplet" in (loss, self.loss) and loss != self.loss:
            for name in (*TRIPLET_ONLY, *HEADS_ONLY):
                del values[name]
        return type(self).model_validate(values | {"loss": loss})

    def _unread(self) -> list[tuple[str, str]]:
        """The options that nothing reads beside the others, and with what they would be."""
        unread = [("cache_precision", 'cache = "prefix"')] if self.cache == "none" else []
        if self.loss == "triplet":
            return unread + [(name, "the heads of another loss than triplets") for name in HEADS_ONLY]
        unread += [] if self.modulation else [("modulation_tasks", "modulation = true")]
        return unread + [(name, 'loss = "triplet"') for name in TRIPLET_ONLY]
