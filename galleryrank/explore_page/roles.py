"""Which rows the page ranks, and what may be concluded from weights that were chosen on them."""

from __future__ import annotations

from features import Dataset, Fault, InputError

CHOOSING = ("tune", "calibrate")  # the roles on which weights may be chosen, the better one first

ROLE_WORDS = {
    "tune": "These are the tune rows: choose weights on them, and judge your choice on the test rows.",
    "calibrate": (
        "These are the calibrate rows, to which the probabilities were fitted too: choose weights on them, and judge "
        "your choice on the test rows."
    ),
    "test": (
        "These are the test rows: weights chosen here can no longer be judged on them, neither by galleryrank tune nor "
        "by evaluate. To choose weights, make this page with --role tune."
    ),
}
TUNED_HERE = "The tuned weights were chosen on the tune rows, so they look better here than elsewhere."


def default_role(dataset: Dataset) -> str:
    """The tune rows; the calibrate rows where there are none. Test rows are for judging, and must be asked for.

    Raises:
        InputError: the data set has neither.
    """
    for role in CHOOSING:
        if dataset.count(role):
            return role
    message = "there are neither tune nor calibrate rows: change [split] in dataset.toml, or ask for --role test"
    raise InputError(Fault(message, dataset.path))


def role_words(role: str, tuned: bool) -> str:
    """What the page says of its rows; `tuned`: whether it also has the weights of a tuning.

    >>> role_words("test", tuned=False).split(":")[0]
    'These are the test rows'
    """
    return f"{ROLE_WORDS[role]} {TUNED_HERE}" if tuned and role == "tune" else ROLE_WORDS[role]
