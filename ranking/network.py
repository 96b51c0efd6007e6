"""The multi-head network: embeddings, numbers and item vectors into a shared trunk, one logit per node.

The architecture of [Pinterest 2020], figure 2: shared feature and fully connected layers, one output per engagement.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features import Encoders, Inputs
from multitask import make_trunk
from multitask.heads import make_heads
from ranking.config import NetworkConfig

ALIGNMENT = 64  # bytes; torch allocates on such boundaries


def item_vectors(encoders: Encoders) -> Tensor | None:
    """The item vectors (V + 1, D) of the encoders, without a copy where their memory is aligned as torch's is."""
    return None if encoders.vectors is None else aligned(torch.from_numpy(encoders.vectors.matrix))


def query_cosine(items: Tensor, queries: Tensor) -> Tensor:
    """Cosine (B,) of the vectors (B, D) of candidates and of what the user is looking at; 0 where one is zero.

    >>> query_cosine(torch.tensor([[3.0, 4.0], [3.0, 4.0]]), torch.tensor([[4.0, -3.0], [0.0, 0.0]])).tolist()
    [0.0, 0.0]
    """
    return F.cosine_similarity(items, queries, dim=1)


def aligned(tensor: Tensor) -> Tensor:
    """The tensor, copied if its memory is not aligned: a matrix product depends on that in its last bits, and a loaded
    model shall score bit for bit like the saved one (tensors read from a file lie wherever they lay in it)."""
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


class RankingNetwork(nn.Module):
    """Inputs -> node logits (B, n_nodes).

    All scalar and list-valued categoricals share one embedding table (`encoders.n_embeddings` rows; row 0 is padding),
    so that a batch costs one gather. Item vectors are a buffer gathered by row, never copied per impression.

    `n_nodes` outputs; `vectors` (V + 1, D) or None, row 0 for items without a vector.

    Row 0 is the zero vector and nothing else tells that a vector is missing. Vectors of the gallery encoder are
    standardised, so zeros are the mean gallery: the neutral guess, to which the first layer adds nothing. An indicator
    was considered and left out: where training covered every item, its weight would never have been trained, and the
    first new property without photos would be scored by a random number.

    Vectors enter at a length of `config.vector_norm`, whatever their own unit. At unit variance in each of D numbers
    they would be sqrt(D) long: Adam moves each of a unit's D weights by about the learning rate, so the vector's part
    of the unit would change far faster than any single number's, and fit the few items there are rather than what they
    show. Measured on clicks of new items, 1,200 items to train on: a length near 1 gains .004-.007 of AUC against
    sqrt(D) at D = 64 (3 worlds) and .014-.02 at D = 512 (2 worlds), where sqrt(D) is worse than no vectors at all. On
    items known from training it makes no difference.

    With `config.sharing` the heads' hidden layers are branches that training may merge; `group_of` `(n_nodes,)` are the
    groups of a network whose weights will be loaded. With one node neither sharing nor modulation is read.

    With a query, the query item's vector stands behind the candidate's, and their cosine among the numbers; it is 0
    where either is missing, which is what it is on average between unrelated items.
    """

    vectors: Tensor | None
    vector_scale: Tensor | None

    def __init__(
        self,
        encoders: Encoders,
        config: NetworkConfig,
        n_nodes: int,
        vectors: Tensor | None = None,
        group_of: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        d = config.embedding_dim
        self.embedding = nn.Embedding(encoders.n_embeddings, d)
        self.register_buffer("vectors", vectors, persistent=False)
        # of the vectors trained on: new ones enter at the same scale
        self.register_buffer("vector_scale", None if vectors is None else torch.ones(()))
        self.has_query = vectors is not None and encoders.query_item is not None
        width = d * (len(encoders.fields) + len(encoders.list_fields)) + len(encoders.numeric_names)
        if vectors is not None:
            # a query doubles the vectors and adds their cosine
            width += vectors.shape[1] * (2 if self.has_query else 1) + (1 if self.has_query else 0)
        self.trunk = make_trunk(
            config.trunk,
            width,
            n_nodes,
            hidden=config.hidden,
            dropout=config.dropout,
            n_experts=config.experts,
            cross_layers=config.cross_layers,
            modulation=config.modulation and n_nodes > 1,
        )
        self.towers = make_heads(
            self.trunk.out_features,
            config.tower_hidden,
            [1] * n_nodes,
            branches=config.sharing != "none" and n_nodes > 1,
            group_of=group_of,
        )
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        # Small at first: an id says little until it has been seen often.
        nn.init.normal_(self.embedding.weight, std=0.05)

    def set_base_rates(self, rates: Sequence[float] | np.ndarray) -> None:
        """Start every node's bias at its base rate's logit: the first predictions are the base rates [methods 2]."""
        p = torch.as_tensor(np.asarray(rates), dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
        with torch.no_grad():
            self.towers.output_bias.copy_(torch.logit(p))

    def set_vector_scale(self) -> None:
        """Scale the item vectors to a root mean square length of about `config.vector_norm`.

        The factor is rounded to a power of two: multiplying by it is then exact, so that it makes no difference to any
        bit whether vectors or their weights are scaled.
        """
        if self.vectors is None or self.vector_scale is None:
            return
        squares = sum(float(block.double().square().sum()) for block in self.vectors.split(65536))
        length = (squares / max(1, len(self.vectors) - 1)) ** 0.5  # row 0 is no item's
        if length > 0:
            self.vector_scale.fill_(2.0 ** round(math.log2(self.config.vector_norm / length)))

    def features(self, inputs: Inputs) -> Tensor:
        """What is learned from, concatenated, (B, width - fixed width): embeddings, pooled lists, numbers, cosine."""
        parts = [self.embedding(inputs.ids).flatten(1)]  # (B, F * d)
        for bag in inputs.lists:  # (B, L)
            present = (bag != 0).unsqueeze(-1)
            # `where`, not a product: what stands in the padding row must not reach the sum, be it inf or NaN
            pooled = torch.where(present, self.embedding(bag), 0.0).sum(1) / present.sum(1).clamp(min=1)
            parts.append(pooled)
        if self.config.embedding_dropout:
            parts = [self.embedding_dropout(p) for p in parts]
        parts.append(inputs.numeric)
        if self.has_query:
            v, w = self.vectors_of(inputs).chunk(2, dim=1)
            parts.append(query_cosine(v, w).unsqueeze(1))
        return torch.cat(parts, dim=1)

    def vectors_of(self, inputs: Inputs) -> Tensor:
        """The item's vector, and the query item's behind it, (B, D or 2 D)."""
        if self.vectors is None:
            raise RuntimeError("this network has no item vectors")
        rows = [row for row in (inputs.item_row, inputs.query_row) if row is not None]
        return torch.cat([self.vectors.index_select(0, row) for row in rows], dim=1)

    def with_vectors(self, vectors: Tensor) -> RankingNetwork:
        """The same network over other item vectors (V' + 1, D); parameters are shared, this one stays as it was."""
        if self.vectors is None or self.vectors.shape[1] != vectors.shape[1]:
            width = None if self.vectors is None else self.vectors.shape[1]
            raise ValueError(f"`vectors` must be (V + 1, {width}), got {tuple(vectors.shape)}")
        other = copy.copy(self)
        other._buffers = dict(self._buffers)  # a shallow copy shares the table of buffers, in which it is replaced
        other.vectors = vectors.to(self.vectors.device)
        return other

    def fixed(self, inputs: Inputs, dtype: torch.dtype = torch.float32) -> Tensor | None:
        """The vectors as they enter the trunk, (B, D or 2 D), scaled; None without item vectors."""
        if self.vector_scale is None:
            return None
        return (self.vectors_of(inputs) * self.vector_scale).to(dtype)

    def forward(self, inputs: Inputs) -> Tensor:
        """Node logits, (B, n_nodes)."""
        # The vectors come apart: nothing upstream learns from them, so their gradient is never computed.
        logits: Tensor = self.towers(self.trunk(self.features(inputs), self.fixed(inputs)))
        return logits
