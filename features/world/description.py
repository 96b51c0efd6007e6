"""The text of a world's two dataset.toml: one as a real log would be described, one that knows the right features."""

from __future__ import annotations

from features.world.attributes import BINARIES, CLASSES, REGRESSIONS
from features.world.log import SAMPLED_ROLES

CATEGORICAL = ("segment", *CLASSES, *BINARIES)
# The price on the card stands for daily_rate_euro: it is what users see, never missing, and on the scale of its effect
NUMERIC = ("price", *(name for name in REGRESSIONS if name != "daily_rate_euro"))
# Positive and skewed: an encoder learns their logarithm
LOGARITHMIC = ("daily_rate_euro", "distance_km", "booking_window_days", "stay_days")
ORACLE = ("true_affinity", "true_taste_match", "true_mismatch", "true_photo_quality")

_HEADER = """\
# The synthetic marketplace. Its users' tastes and the latents of its properties are not features: a model sees what
# a real one would. Columns of the impressions that this file does not name hold the truth: true_click and the like
# are the probabilities that the outcomes were drawn from.
"""

_ORACLE_HEADER = """\
# The same log with other features: the sufficient statistics of the true probabilities (affinity, taste match,
# mismatch, photo quality, and position), and no ids, attributes or vectors. Any small network can represent the truth
# from these, so what is wrong with predictions here is wrong with the correction or the calibration and not with the
# model's capacity or its knowledge of the users. For tests of those; no real log has such columns.
"""

_GALLERY = """\
[gallery]
image = "jpeg"
order = "order"                  # 0: the cover
empty = "skip"
corrupt = "mask"                 # 1 % of the files are no sound JPEG

"""

_HEADS = """\
[position]
column = "position"
serving_value = 1

[heads.closeup]
[heads.click]
[heads.long_click]
implies = ["click"]
[heads.save]

[split]
by = "column"
column = "role"                  # by the time of the request: 60 % train, then 15 % calibrate, 10 % tune, 15 % test
"""


def describe(negative_rate: float, *, oracle: bool, photos: bool = False, query: bool = False) -> str:
    """The text of `dataset.toml`, or of `dataset_oracle.toml`.

    Parameters
    ----------
    negative_rate : float
        Below 1 it adds [sampling] and the keep_prob column: only rows of train and calibrate were sampled.
    oracle : bool
        Name the sufficient statistics as the only features.
    photos : bool
        There are photos: it adds [gallery] with the 31 attributes as its tasks, and the vectors are still to be made.
    query : bool
        Requests look at a property.

    Examples
    --------
    >>> import tomllib
    >>> log = tomllib.loads(describe(0.1, oracle=False))
    >>> log["sampling"]["negative_rate"], log["columns"]["holdout"], list(log["heads"])
    (0.1, ['star_rating'], ['closeup', 'click', 'long_click', 'save'])
    >>> "sampling" in tomllib.loads(describe(1.0, oracle=True))
    False
    """
    lines = [(_ORACLE_HEADER if oracle else _HEADER)]
    lines += ['name = "marketplace-oracle"' if oracle else 'name = "marketplace"', "", "[files]"]
    lines += ['impressions = "impressions.parquet"']
    if not oracle:
        lines += [f'{table} = "{table}.parquet"' for table in ("items", "users")]
        lines += ['photos = "photos.parquet"'] if photos else []
        made = "         # not there yet: `galleryrank embed` makes it from the photos" if photos else ""
        lines += [f'vectors = "vectors.parquet"{made}']
    lines += ["", "[columns]", 'request = "request_id"', 'item = "item_id"', 'user = "user_id"', 'time = "timestamp"']
    lines += ['propensity = "propensity"     # of the item at its position, under the policy that wrote the log']
    if query and not oracle:
        lines += ['query_item = "query_item_id"  # the property being looked at']
    if negative_rate < 1:
        lines += ['keep_prob = "keep_prob"']
    if oracle:
        lines += [_names("numeric", ORACLE)]
    else:
        lines += [_names("categorical", CATEGORICAL), _names("numeric", NUMERIC)]
        lines += ['holdout = ["star_rating"]']
    lines += [""]
    if photos and not oracle:
        lines += [_GALLERY + "[gallery.tasks]", _names("binary", BINARIES), _names("multiclass", CLASSES)]
        lines += [_names("regression", tuple(name for name in REGRESSIONS if name not in LOGARITHMIC))]
        lines += [_names("log", LOGARITHMIC), ""]
    lines += [_HEADS]
    if negative_rate < 1:
        lines += ["[sampling]", f"negative_rate = {negative_rate!r}", 'unit = "row"']
        lines += ['protected_by = ["closeup", "click", "long_click", "save"]']
        lines += [_names("roles", SAMPLED_ROLES), ""]
    return "\n".join(lines)


def _names(key: str, names: tuple[str, ...]) -> str:
    quoted = [f'"{name}"' for name in names]
    rows = [", ".join(quoted[i : i + 7]) for i in range(0, len(quoted), 7)]
    return f"{key} = [{rows[0]}]" if len(rows) == 1 else f"{key} = [\n    " + ",\n    ".join(rows) + ",\n]"
