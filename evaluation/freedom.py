"""How well a clustered variance is known: its degrees of freedom, and Student's quantile that goes with them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.checks import FloatArray


def variance_freedom(sums: FloatArray) -> float:
    """Degrees of freedom of the variance estimate V = sum of X_r^2 over requests [Satterthwaite 1946].

    nu = 2 V^2 / Var(V), Var(V) estimated by sum of X_r^4 - V^2 / R. A thousand requests of which ten hold the positives
    know their error no better than ten requests do: the count of requests would promise far too much.

    Args:
        sums: `(R,)` each request's sum of influences X_r, of mean 0; a request whose sum is 0 does not count.

    Returns:
        nu, R at most: about R where the sums are normal, 1 or 2 where one of them is nearly everything; infinite where
        nothing varies.

    >>> variance_freedom(np.array([1.0, -1.0, 1.0, -1.0])), round(variance_freedom(np.array([9.0, 1.0, 1.0, 1.0])), 2)
    (4.0, 2.94)
    """
    squares = sums**2
    counted = np.array([np.count_nonzero(squares)])
    return float(satterthwaite(np.array([squares.sum()]), np.array([squares @ squares]), counted)[0])


def satterthwaite(
    squares: FloatArray, fourths: FloatArray, requests: npt.NDArray[np.integer] | FloatArray
) -> FloatArray:
    """`variance_freedom` `(K,)` of K variances at once, from their sums of X_r^2 and of X_r^4 and their R."""
    zeros = np.zeros(len(squares))  # sums over no row at all may come as integers
    spread = fourths - np.divide(squares**2, requests, out=zeros, where=requests > 0)
    freedom = np.divide(2.0 * squares**2, spread, out=np.full(len(squares), np.inf), where=spread > 0.0)
    return np.where(squares > 0.0, np.minimum(freedom, requests), np.inf)


def t_quantile(freedom: float, level: float = 0.975) -> float:
    """Student's quantile: 1.96 of the normal distribution, wider where the variance is poorly known.

    >>> round(t_quantile(float("inf")), 2), round(t_quantile(10.0), 2)
    (1.96, 2.23)
    """
    return float(t_quantiles(np.array(freedom), level))


def t_quantiles(freedom: FloatArray, level: float) -> FloatArray:
    """`t_quantile` for degrees of freedom of any shape."""
    from scipy.special import stdtrit  # not paid by those who import the package

    return np.asarray(stdtrit(freedom, level), dtype=np.float64)


def t_two_sided(difference: FloatArray, error: FloatArray, freedom: FloatArray) -> FloatArray:
    """Two-sided p-values `(K,)` of differences over their standard errors, by Student's distribution.

    An error of 0 leaves no doubt: p is 1 for a difference of 0, else 0.

    >>> t_two_sided(np.array([1.96, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]), np.full(3, np.inf)).round(3).tolist()
    [0.05, 1.0, 0.0]
    """
    from scipy.special import stdtr

    sure = np.where(difference == 0.0, 0.0, np.inf)
    z = np.divide(np.abs(difference), error, out=sure, where=error > 0.0)
    return np.asarray(2.0 * stdtr(freedom, -z))
