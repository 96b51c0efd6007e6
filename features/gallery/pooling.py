"""From the photos of a gallery to one vector, whatever their number and order."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd, sqrt

import torch
from torch import Tensor, nn

from features.gallery.segments import Segments


class GalleryPooling(nn.Module):
    """Base: embeddings `(N, width)` with offsets `(B + 1,)` to `(B, out_features)`, in float32 or better.

    Parameters
    ----------
    width : int
        Numbers per photo.
    out_features : int
        Numbers per gallery.
    """

    def __init__(self, width: int, out_features: int) -> None:
        super().__init__()
        self.width, self.out_features = width, out_features

    def forward(self, embeddings: Tensor, offsets: Tensor) -> Tensor:
        """`(N, width)` and `(B + 1,)` to `(B, out_features)`; an empty gallery gives zeros.

        Raises
        ------
        ValueError
            A shape does not fit.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.width:
            raise ValueError(f"`embeddings` must have shape (N, {self.width}), got {tuple(embeddings.shape)}")
        with torch.autocast(embeddings.device.type, enabled=False):
            x = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
            return self.pool(x, Segments(offsets, len(x)))

    def pool(self, x: Tensor, segments: Segments) -> Tensor:
        """The pooling itself, on `(N, width)`."""
        raise NotImplementedError


class MeanPooling(GalleryPooling):
    """v = sum_i x_i / N [Booking, section 3.2].

    Examples
    --------
    >>> MeanPooling(2)(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([0, 2]))
    tensor([[2., 2.]])
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, width)

    def pool(self, x: Tensor, segments: Segments) -> Tensor:
        """Mean of each gallery."""
        return segments.mean(x)


class MaxPooling(GalleryPooling):
    """The largest value of each number: says that something is there, once.

    Examples
    --------
    >>> MaxPooling(2)(torch.tensor([[1.0, 5.0], [3.0, 4.0]]), torch.tensor([0, 2]))
    tensor([[3., 5.]])
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, width)

    def pool(self, x: Tensor, segments: Segments) -> Tensor:
        """Maximum of each gallery."""
        return segments.max(x)


class MeanMaxStdPooling(GalleryPooling):
    """Mean, maximum and standard deviation (over N, not N - 1), side by side.

    The deviation of one photo is 0, and so is its gradient there: the square root's own would be infinite.

    Examples
    --------
    >>> MeanMaxStdPooling(1)(torch.tensor([[1.0], [5.0]]), torch.tensor([0, 2]))
    tensor([[3., 5., 2.]])
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, 3 * width)

    def pool(self, x: Tensor, segments: Segments) -> Tensor:
        """Mean, maximum and deviation of each gallery."""
        mean = segments.mean(x)
        # The squares of differences, not the difference of squares: that one loses its digits in float32.
        variance = segments.mean((x - mean[segments.of_photo]).square())
        varies = variance > 1e-12
        std = torch.where(varies, torch.where(varies, variance, 1).sqrt(), 0)
        return torch.cat([mean, segments.max(x), std], dim=1)


class GeMPooling(GalleryPooling):
    """Generalised mean v = (sum_i x_i^p / N)^(1/p) with a learned p [Radenovic 2018, eq. 3]: 1 = mean, large = maximum.

    Embeddings below 1e-6 count as 1e-6. Computed by logarithms relative to each gallery's largest value, so that no
    power over- or underflows, at any p.

    Examples
    --------
    >>> GeMPooling(1)(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 2]))  # ((1 + 8) / 2)^(1/3)
    tensor([[1.6510]], grad_fn=<WhereBackward0>)
    """

    def __init__(self, width: int, p: float = 3.0) -> None:
        super().__init__(width, width)
        if not p > 0:
            raise ValueError(f"`p` must be above 0, got {p}")
        self.log_p = nn.Parameter(torch.tensor(p).log())  # p stays positive

    @property
    def p(self) -> Tensor:
        """The exponent."""
        return self.log_p.exp()

    def pool(self, x: Tensor, segments: Segments) -> Tensor:
        """Generalised mean of each gallery."""
        logs = x.clamp(min=1e-6).log()
        # Only moves the point of reference: the result does not depend on it, and gets no gradient through it.
        top = segments.max(logs.detach())  # (B, D)
        means = segments.mean(torch.exp(self.p * (logs - top[segments.of_photo])))
        filled = torch.where(segments.empty[:, None], 1, means)
        return torch.where(segments.empty[:, None], 0, torch.exp(top + filled.log() / self.p))


class AttentionPooling(GalleryPooling):
    """v = sum_i a_i x_i with a = softmax(w . (tanh(V x_i) * sigmoid(U x_i))) [Ilse 2018, eq. 9].

    Parameters
    ----------
    width : int
        Numbers per photo.
    hidden : int
        Rows of U and V.

    Examples
    --------
    >>> pooled = AttentionPooling(4)(torch.ones(3, 4), torch.tensor([0, 1, 3]))
    >>> bool((pooled - 1).abs().max() < 1e-6)
    True
    """

    def __init__(self, width: int, hidden: int = 128) -> None:
        super().__init__(width, width)
        self.value, self.gate = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, 1)

    def pool(self, x: Tensor, segments: Segments) -> Tensor:
        """Weighted mean of each gallery."""
        scores = self.score(torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x)))  # (N, 1)
        return segments.sum(segments.softmax(scores) * x)


class MultiheadAttentionPooling(GalleryPooling):
    """Pooling by multihead attention: k learned seeds ask the photos [Lee 2019, eq. 8 and 11].

    PMA_k(Z) = MAB(S, rFF(Z)) with MAB(X, Y) = LayerNorm(H + rFF(H)), H = LayerNorm(X + Multihead(X, Y, Y)).
    Softmax and sums run over the packed photos; not even the embeddings are padded.

    Parameters
    ----------
    width : int
        Numbers per photo.
    seeds : int
        k; the gallery gets k * width numbers.
    heads : int
        Attention heads; must divide `width`.

    Raises
    ------
    ValueError
        `heads` does not divide `width`.

    Examples
    --------
    >>> MultiheadAttentionPooling(8, seeds=2)(torch.ones(3, 8), torch.tensor([0, 1, 3])).shape
    torch.Size([2, 16])
    """

    def __init__(self, width: int, seeds: int = 1, heads: int = 4) -> None:
        super().__init__(width, seeds * width)
        if width % heads:
            raise ValueError(f"`heads` must divide `width` {width}, got {heads}")
        self.heads = heads
        self.seeds = nn.Parameter(torch.randn(seeds, width) / sqrt(width))
        self.before, self.after = nn.Linear(width, width), nn.Linear(width, width)
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.norm_attended, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)

    def pool(self, x: Tensor, segments: Segments) -> Tensor:
        """`(N, D)` to `(B, k * D)`."""
        split = (self.heads, self.width // self.heads)
        keys, values = self.key_value(torch.relu(self.before(x))).unflatten(1, (2, *split)).unbind(1)  # (N, h, d)
        queries = self.query(self.seeds).unflatten(1, split)  # (k, h, d)
        scores = torch.einsum("khd,nhd->nkh", queries, keys) / sqrt(split[1])
        weights = segments.softmax(scores)  # (N, k, h)
        attended = segments.sum(weights[..., None] * values[:, None]).flatten(2)  # (B, k, D)
        h = self.norm_attended(self.seeds + self.out(attended))
        pooled = self.norm_out(h + torch.relu(self.after(h))).flatten(1)
        return torch.where(segments.empty[:, None], 0, pooled)


POOLINGS: dict[str, Callable[[int], GalleryPooling]] = {
    "mean": MeanPooling,
    "max": MaxPooling,
    "mean_max_std": MeanMaxStdPooling,
    "gem": GeMPooling,
    "attention": AttentionPooling,
    "pma": lambda width: MultiheadAttentionPooling(width, heads=gcd(4, width)),
}


def make_pooling(name: str, width: int) -> GalleryPooling:
    """The pooling `name` for embeddings of `width` numbers.

    Parameters
    ----------
    name : str
        "mean" [Booking], "max", "mean_max_std", "gem", "attention" or "pma".
    width : int
        Numbers per photo; the result has `out_features` numbers.

    Raises
    ------
    ValueError
        An unknown name.

    Examples
    --------
    >>> make_pooling("mean_max_std", 512).out_features
    1536
    """
    if name not in POOLINGS:
        raise ValueError(f"`name` of a pooling must be one of {', '.join(POOLINGS)}, got {name!r}")
    return POOLINGS[name](width)
