"""Everything that can be chosen about a ranker, with defaults that follow [Pinterest 2020]."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from multitask import TrainingConfig
from ranking.heads import Correction


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EncodingConfig(_Section):
    """How columns become indices and numbers."""

    min_count: PositiveInt = Field(20, description="an id seen fewer times in training goes to the unseen bucket")
    max_list_length: PositiveInt = Field(16, description="entries kept of a list-valued column")


class NetworkConfig(_Section):
    """The shared network under the heads."""

    embedding_dim: PositiveInt = 16
    trunk: Literal["shared_bottom", "mmoe", "ple"] = "shared_bottom"
    hidden: tuple[PositiveInt, ...] = (128, 64)
    tower_hidden: int = Field(0, ge=0, description="width of each head's own hidden layer, 0: none")
    modulation: bool = Field(False, description="each head scales the channels of the shared layers by its own masks")
    sharing: Literal["none", "similarity", "dissimilarity", "variance", "random"] = Field(
        "none", description="heads found to belong together while training share their own hidden layer"
    )
    experts: PositiveInt = Field(4, description="experts of mmoe, shared experts of ple")
    cross_layers: int = Field(0, ge=0, description="DCN-v2 layers in front of the trunk")
    vector_norm: float = Field(
        1.0, gt=0.0, description="length (root mean square over the items) at which item vectors enter the network"
    )
    dropout: float = Field(0.2, ge=0.0, lt=1.0)
    embedding_dropout: float = Field(0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _consistent(self) -> NetworkConfig:
        faults = []
        if self.modulation and self.trunk != "shared_bottom":
            faults.append(
                f'modulation scales layers that all heads share: trunk = "shared_bottom", got "{self.trunk}", whose '
                "gates already give each head features of its own"
            )
        if self.modulation and not self.hidden:
            faults.append("modulation needs a shared layer to scale: give `hidden` at least one width")
        if self.sharing != "none" and not self.tower_hidden:
            faults.append("sharing is of the heads' own hidden layers: give tower_hidden a width above 0")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class TreesConfig(_Section):
    """LightGBM, one booster per head."""

    rounds: PositiveInt = 300
    learning_rate: float = Field(0.05, gt=0.0)
    leaves: PositiveInt = 31
    min_leaf_rows: PositiveInt = 20
    early_stopping: int = Field(20, ge=0, description="rounds without a better validation log loss, 0: off")
    max_bin: PositiveInt = 255
    l2: float = Field(0.0, ge=0.0, description="lambda_l2")
    categorical_l2: float = Field(10.0, ge=0.0, description="cat_l2")
    categorical_smooth: float = Field(10.0, ge=0.0, description="cat_smooth")
    threads: int = Field(0, ge=0, description="0: all cores")


class RankerConfig(_Section):
    """A ranker: which model, which objective, how sampling is corrected.

    >>> RankerConfig(correction="factored").network.hidden
    (128, 64)
    """

    model: Literal["network", "lightgbm"] = "network"
    objective: Literal["multi_head", "importance"] = "multi_head"
    correction: Correction = "any_head"
    negative_rate: float = Field(
        1.0, gt=0.0, le=1.0, description="share of the training rows without engagement that is used (for speed)"
    )
    importance: dict[str, float] = Field(
        default_factory=dict, description="importance weight per head of eq. 1, 1 where a head is not named"
    )
    expand: bool = Field(False, description="eq. 1: repeat a row once per engagement instead of its largest weight")
    task_weighting: Literal["equal", "fixed", "uncertainty"] = "equal"
    task_weights: dict[str, float] = Field(default_factory=dict, description="for fixed; 1 where a head is not named")
    utility: dict[str, float] = Field(default_factory=dict, description="weights of the mix; empty: equal, by sign")
    refit_shrink: bool = Field(
        False, description="shrink what the refit shifts towards 0, most where positives are few"
    )
    refit_by: str | None = Field(
        None, description="a categorical feature whose values get refits of their own, shrunk to that of all rows"
    )
    encoding: EncodingConfig = EncodingConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    trees: TreesConfig = TreesConfig()
    seed: int = Field(0, ge=0, description="of everything random; `training.seed` follows it unless it is given")

    @property
    def unread(self) -> list[str]:
        """The options for several heads of one network that were chosen here and that nothing reads.

        >>> RankerConfig(objective="importance", network=NetworkConfig(modulation=True)).unread
        ['network.modulation']
        """
        if (self.model, self.objective) == ("network", "multi_head"):
            return []
        chosen = {"modulation": self.network.modulation, "sharing": self.network.sharing != "none"}
        return [f"network.{name}" for name, on in chosen.items() if on]

    @model_validator(mode="before")
    @classmethod
    def _one_seed(cls, values: Any) -> Any:
        if isinstance(values, dict) and "seed" in values:
            training = values.get("training", {})
            if isinstance(training, dict) and "seed" not in training:
                return values | {"training": {**training, "seed": values["seed"]}}
        return values
