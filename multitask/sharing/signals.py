"""What tells that two branches answer the same inputs alike: three similarities of one batch's gradients.

Letters: G groups, B rows of the batch, z_g = W_g x + b_g the first layer of branch g, dz = dL/dz.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIGNALS = ("response", "tt_input", "gradient")
DEFAULT_RANK = 4


def response_rows(dz: Tensor) -> Tensor:
    """m_g[n] = |dL / dz_g[n]|, how hard row n pulls at branch g; K_gh = sum_n m_g[n] m_h[n].

    So two branches are alike that are corrected on the same rows. This is the sample mode of the gradient tensor
    (group x row x unit): it has no basis to be rotated, and summed over an epoch it agrees between seeds (rank
    correlation .62 to .90), where the other two signals hardly do.

    Args:
        dz: `(G, B, out)`.

    Returns:
        `(G, B)` in float64.

    >>> response_rows(torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[0.0, -2.0], [1.0, 0.0]]]))
    tensor([[5., 0.],
            [2., 1.]], dtype=torch.float64)
    """
    return torch.linalg.vector_norm(dz.float(), dim=-1).double()


def tt_input_similarity(gradient: Tensor, rank: int = DEFAULT_RANK) -> Tensor:
    """K_gh = |V_g^T V_h|_F^2 / r: how much of the inputs' space two branches' corrections share, 0 to 1.

    V_g holds the r leading right singular vectors of dL/dW_g: the input-side core of its tensor train [Selective] eq.
    4, taken as a subspace. A tensor train is defined up to a rotation between its cores; this number is not changed
    by one.

    Args:
        gradient: `(G, out, in)`.
        rank: r, cut to what the gradient's shape has.

    Returns:
        `(G, G)` in float64; a branch without a gradient has 0 throughout, one of lower rank than r less than 1 with
        itself.

    >>> w = torch.zeros(2, 3, 4)
    >>> w[0, 0, 1], w[1, 2, 1] = 5.0, -0.1  # both correct what input 1 does
    >>> tt_input_similarity(w, rank=1)
    tensor([[1., 1.],
            [1., 1.]], dtype=torch.float64)
    """
    _, values, right = _leading(gradient, rank)
    exists = values > 1e-6 * values[:, :1]  # (G, r); squares are resolved to 1e-15
    v = right * exists[:, None]  # (G, in, r)
    overlaps = torch.einsum("gia,hib->ghab", v, v)
    return overlaps.square().sum((2, 3)) / right.shape[2]


def gradient_cores(gradient: Tensor, rank: int = DEFAULT_RANK) -> Tensor:
    """C_g, the flattened tensor-train cores of dL/dW_g, [Selective] eq. 4 and 5 to the letter; K_gh = <C_g, C_h>.

    For the comparison only. The tensor train of a matrix is a truncated SVD, U and S V^T, and defined up to a
    rotation of its inner index (at least the signs of the singular vectors, here: the largest entry of each left one
    is positive), so distances between the cores of two branches mean little.

    Args:
        gradient: `(G, out, in)`.
        rank: r, cut to what the gradient's shape has.

    Returns:
        `(G, (out + in) * r)` in float64.

    >>> w = torch.zeros(2, 3, 4)
    >>> w[0, 0, 1], w[1, 2, 1] = 5.0, -2.0
    >>> gradient_cores(w, rank=1).tolist()
    [[1.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, -2.0, 0.0, 0.0]]
    """
    left, values, right = _leading(gradient, rank)
    exists = values > 1e-6 * values[:, :1]
    largest = left.gather(1, left.abs().argmax(1, keepdim=True))  # (G, 1, r)
    signs = torch.where(largest < 0, -1.0, 1.0) * exists[:, None]
    return torch.cat([(left * signs).flatten(1), (right * (signs * values[:, None])).flatten(1)], dim=1) + 0.0


def weight_gradient(dz: Tensor, x: Tensor) -> Tensor:
    """dL/dW `(G, out, in)` from dz `(G, B, out)` and the layer's input, `(B, in)` shared or `(G, B, in)`."""
    x = x.to(dz.dtype)
    return dz.transpose(1, 2) @ x


def _leading(gradient: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `rank` leading singular triples of `(G, out, in)`: `(G, out, r)`, `(G, r)` falling, `(G, in, r)`, float64.

    By the eigenvectors of the smaller Gram matrix: a fifth of the time of the whole decomposition. A randomised one
    would draw from the generator of the training run.
    """
    a = gradient.double()
    wide = a.shape[1] <= a.shape[2]
    small = a if wide else a.transpose(1, 2)
    squares, vectors = torch.linalg.eigh(small @ small.transpose(1, 2))  # rising
    r = min(rank, squares.shape[1])
    values = squares[:, -r:].clamp(min=0).sqrt().flip(1)
    near = vectors[:, :, -r:].flip(2)
    far = small.transpose(1, 2) @ near
    far = far / torch.where(values > 0, values, 1)[:, None]
    return (near, values, far) if wide else (far, values, near)
