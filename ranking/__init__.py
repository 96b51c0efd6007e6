"""The ranker and the scoring library: heads, network, sampling correction, utility, boosted trees.

    from ranking import Ranker, Utility

    ranker = Ranker.load("runs/demo/model")
    probabilities = ranker.predict(candidates)         # one calibrated column per head
    ranked = ranker.rank(candidates, k=20)             # per request, highest utility first, ties by item id
    ranker = ranker.with_utility(Utility(save=0.2, click=0.2, long_click=0.5, closeup=0.1))

>>> import numpy as np
>>> from ranking import correct_row_sampling
>>> log_p = correct_row_sampling(np.array([[0.0, -1.0]]), np.array([0.5]), negative_rate=0.1)
>>> np.exp(log_p).round(4).tolist()
[[0.1137, 0.0612]]
"""

from _galleryrank_siblings import require_siblings

require_siblings(__file__)

from ranking.calibration import Calibration  # noqa: E402
from ranking.config import EncodingConfig, NetworkConfig, RankerConfig, TreesConfig  # noqa: E402
from ranking.correction import (  # noqa: E402
    correct_factored,
    correct_row_sampling,
    correct_single_head,
    headwise_weights,
    inverse_propensity_weights,
    sample_row,
)
from ranking.fitting import Prepared, fit_prepared, prepare  # noqa: E402
from ranking.heads import ANY, HeadTree  # noqa: E402
from ranking.importance import importance_rows  # noqa: E402
from ranking.ranker import SCORE, UTILITY, Ranker  # noqa: E402
from ranking.refit import AffineRefit  # noqa: E402
from ranking.scoring import score_parquet  # noqa: E402
from ranking.utility import Utility  # noqa: E402

__all__ = [
    "ANY",
    "SCORE",
    "UTILITY",
    "AffineRefit",
    "Calibration",
    "EncodingConfig",
    "HeadTree",
    "NetworkConfig",
    "Prepared",
    "Ranker",
    "RankerConfig",
    "TreesConfig",
    "Utility",
    "correct_factored",
    "correct_row_sampling",
    "correct_single_head",
    "fit_prepared",
    "headwise_weights",
    "importance_rows",
    "inverse_propensity_weights",
    "prepare",
    "sample_row",
    "score_parquet",
]
