"""What turns encoded rows into node logits: a network or boosted trees, behind one small interface."""

from __future__ import annotations

import copy
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from features import Encoders, Inputs
from multitask import SharedBottom
from multitask.sharing.branches import Branches
from ranking.network import RankingNetwork, item_vectors

SCORING_ROWS = 2048  # rows per forward pass; measured best of 1,024 to 16,384: the activations stay in the cache
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Precision = Literal["float32", "bfloat16"]


class Scorer(Protocol):
    """Encoded rows -> logits; what a Ranker needs of a model."""

    kind: str

    def logits(self, inputs: Inputs) -> np.ndarray:
        """Node logits, (N, T + 1) float; (N, 1) for a single importance-weighted score."""
        ...

    def with_encoders(self, encoders: Encoders) -> Scorer:
        """The same model over encoders that differ in their item vectors only."""
        ...


class NetworkScorer:
    """A network in evaluation mode.

    Where the first layer of the trunk is linear in the item vectors, their product with its weights is computed once
    per item (V x D x H instead of N x D x H multiply-adds): a row then costs a look-up of H numbers, and where queries
    are another one for the query item. The scores agree with the plain forward pass to rounding (the same products are
    added in another order). With `precision="bfloat16"` matrix products run in bfloat16: about three times the speed on
    processors that have it, at about three significant digits in the logits.

    The projections are computed at the first call, so that a ranker that is only loaded costs nothing.
    """

    kind = "network"

    def __init__(self, network: RankingNetwork, precision: Precision = "float32") -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"`precision` must be one of {list(PRECISIONS)}, got {precision!r}")
        self.network = network.eval()
        self.precision = precision
        self._dense: _DensePart | None = None

    def with_precision(self, precision: Precision) -> NetworkScorer:
        """The same network with matrix products in another precision."""
        return NetworkScorer(self.network, precision)

    def with_encoders(self, encoders: Encoders) -> NetworkScorer:
        """The same network over the item vectors of `encoders`; the projections are computed anew when needed."""
        vectors = item_vectors(encoders)
        if vectors is None:
            raise ValueError("`encoders` must hold item vectors, got none")
        return NetworkScorer(self.network.with_vectors(vectors), self.precision)

    @torch.inference_mode()
    def logits(self, inputs: Inputs) -> np.ndarray:
        """Node logits (N, n_nodes) float32, in blocks of `SCORING_ROWS` rows."""
        # Two threads may both build it at their first calls: the results are equal and the last one stays.
        dense = self._dense = self._dense or _DensePart(self.network, PRECISIONS[self.precision])
        n, device = len(inputs), self.network.embedding.weight.device
        out = torch.empty((n, sum(self.network.towers.widths)), dtype=torch.float32)
        for start in range(0, n, SCORING_ROWS):
            block = inputs.slice(start, min(start + SCORING_ROWS, n)).to(device)
            out[start : start + SCORING_ROWS] = dense(block)
        return out.numpy()


class _DensePart:
    """The network prepared for scoring: item projections, and weights in the precision of the matrix products."""

    def __init__(self, network: RankingNetwork, dtype: torch.dtype) -> None:
        self.network, self.features, self.dtype = network, network.features, dtype
        self.shared: SharedBottom | None = None
        if not isinstance(network.trunk, SharedBottom):
            return  # experts and cross layers mix precisions: they are left to autocast
        self.shared, self.towers = copy.deepcopy(network.trunk).to(dtype), copy.deepcopy(network.towers)
        hidden = self.towers.layers if isinstance(self.towers, Branches) else self.towers.first
        if hidden is not None:
            hidden.to(dtype)  # the last layer of the towers stays in float32
        self.item_table: Tensor | None = None  # (V + 1, H) projections of the item vectors, bias included
        self.query_table: Tensor | None = None  # (V + 1, H) projections of the same vectors as those of a query item
        first = network.trunk.first_linear
        if network.vectors is not None and network.vector_scale is not None and first is not None:
            d = network.vectors.shape[1]
            fixed = 2 * d if network.has_query else d
            w, bias = first.weight.detach(), first.bias.detach().to(dtype)
            at = w.shape[1] - fixed  # the columns: what is learned from, the candidate's vector, the query item's
            scaled = w[:, at:] * network.vector_scale
            self.item_table = self._projected(network.vectors, scaled[:, :d], bias)
            if network.has_query:
                self.query_table = self._projected(network.vectors, scaled[:, d:], None)
            self.rest_weight = w[:, :at].t().to(dtype).contiguous()  # (D_in - fixed, H)

    def _projected(self, vectors: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        weight = weight.to(self.dtype).contiguous()
        return torch.cat([F.linear(block.to(self.dtype), weight, bias) for block in vectors.split(65536)])

    def __call__(self, inputs: Inputs) -> Tensor:
        if self.shared is None:
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
                return self.network(inputs)
        x = self.features(inputs).to(self.dtype)
        if self.item_table is None or inputs.item_row is None:
            return self.towers(self.shared(x, self.network.fixed(inputs, self.dtype)))
        z = self.item_table.index_select(0, inputs.item_row)
        if self.query_table is not None and inputs.query_row is not None:
            z += self.query_table.index_select(0, inputs.query_row)
        return self.towers(self.shared.after_first(torch.addmm(z, x, self.rest_weight)))
