"""A first dataset.toml for a log that nobody has described yet: every line a guess, with its reason as a comment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from features.draft_guess import NEGATIVE, Guess, guess_log, guess_side, named
from features.draft_profile import MOSTLY, Column, pair_counts, profile
from features.errors import Fault, InputError
from features.reading import resolve_files, schema_of
from features.schema import ROLES
from features.schema_rules import head_name_problems

CHANCE = 1e-6  # a head is said to imply another when rows would agree by chance less often than this
TABLE_PARTS = ("request", "item", "user", "position")  # their columns stand beside the heads in a scored table


def draft_schema(path: Path | str) -> str:
    """Guess a dataset.toml from names, types and values; its author reads it, line by line.

    Parameters
    ----------
    path : Path or str
        One Parquet file of impressions, or a folder that holds impressions.parquet and, if it has them, items.parquet,
        users.parquet and vectors.parquet. The text belongs beside them: it names files relative to that folder.

    Returns
    -------
    str
        TOML that `Schema.load` reads; columns that look like outcomes, counts of outcomes or nothing at all are listed
        as comments under "left out".

    Raises
    ------
    InputError
        A file cannot be read, or nothing in it looks like a request, an item or an engagement.

    Examples
    --------
    >>> import tempfile
    >>> import pyarrow as pa, pyarrow.parquet as pq
    >>> log = {"request_id": [1, 1, 2, 2], "item_id": [7, 8, 7, 8], "price": [90, 80, 95, 85], "click": [0, 1, 1, 0]}
    >>> file = Path(tempfile.mkdtemp()) / "log.parquet"
    >>> pq.write_table(pa.table(log), file)
    >>> print(draft_schema(file).split("[columns]")[1].split("[split]")[0].strip())
    request = "request_id"  # groups the rows that were shown together: no item is shown twice in it
    item = "item_id"  # an id with the name of a thing that is shown
    categorical = [
        "item_id",  # the item itself: its own effect; rare items share one
    ]
    numeric = [
        "price",  # numbers
    ]
    <BLANKLINE>
    [heads.click]  # 0/1, named like an engagement
    """
    path = Path(path)
    main = path / "impressions.parquet" if path.is_dir() else path
    files = resolve_files(main.parent, [main.name])
    columns = profile(files)
    if not columns or not len(next(iter(columns.values())).values):
        raise InputError(Fault("holds no rows", main))
    side = {name: main.parent / f"{name}.parquet" for name in ("items", "users", "vectors") if path.is_dir()}
    side = {name: file for name, file in side.items() if file.is_file()}
    guess = guess_log(columns, main, vectors="vectors" in side)
    keys = {"items": guess.column("item"), "users": guess.column("user"), "vectors": guess.column("item")}
    joined = {name: file for name, file in side.items() if keys[name] in schema_of(file).names}
    sides = {
        name: guess_side(profile([file]), str(keys[name]), list(columns), name)
        for name, file in joined.items()
        if name != "vectors"
    }
    for name in [name for name in joined if name != "vectors"]:
        guess.disambiguate(schema_of(joined[name]).names)
    lines = [f"# A draft from {main.name}: every line is a guess; read each one.", ""]
    lines += [f"name = {quoted(main.parent.resolve().name if path.is_dir() else main.stem)}", "", "[files]"]
    lines += [f"impressions = {quoted(main.name)}"]
    lines += [f"{name} = {quoted(file.name)}  # joined by `{keys[name]}`" for name, file in joined.items()]
    lines += [f"# {file.name} is left out: it has no key column" for name, file in side.items() if name not in joined]
    lines += ["", "[columns]", *_columns(guess, sides)]
    if guess.column("position"):
        lines += ["", "[position]", f"column = {quoted(str(guess.column('position')))}  # {guess.lines['position'][1]}"]
        lines += ["serving_value = 1  # every row is scored as if it stood first"]
    lines += _heads(files, guess)
    lines += _sampling(columns, guess)
    lines += _split_and_policy(columns, guess)
    return "\n".join(re.sub(r"[\x00-\x08\x0a-\x1f\x7f]", " ", line) for line in lines) + "\n"  # names may hold anything


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _columns(guess: Guess, sides: Mapping[str, Guess]) -> list[str]:
    parts = ("request", "item", "user", "time", "query_item", "keep_prob", "propensity")
    lines = [
        f"{part} = {quoted(guess.lines[part][0])}  # {guess.lines[part][1]}" for part in parts if part in guess.lines
    ]
    categorical = {guess.lines["item"][0]: "the item itself: its own effect; rare items share one", **guess.categorical}
    numeric = dict(guess.numeric)
    left_out = dict(guess.left_out)
    for side in sides.values():
        categorical |= side.categorical
        numeric |= side.numeric
        left_out |= side.left_out
    for kind, features in (("categorical", categorical), ("numeric", numeric)):
        if features:
            lines += [f"{kind} = [", *(f"    {quoted(name)},  # {why}" for name, why in features.items()), "]"]
    if left_out:
        lines += ["# left out:", *(f"#     {quoted(name)}: {why}" for name, why in left_out.items())]
    return lines


def _heads(files: Sequence[Path], guess: Guess) -> list[str]:
    names = list(guess.heads)
    implied = implications(names, *pair_counts(files, names))
    lines: list[str] = []
    heads = head_names(names, [guess.lines[part][0] for part in TABLE_PARTS if part in guess.lines])
    for column, why in guess.heads.items():
        lines += ["", f"[heads.{heads[column]}]  # {why}"]
        if heads[column] != column:
            lines += [f"column = {quoted(column)}"]
        if column in implied:
            lines += [f"implies = {quoted(heads[implied[column].parent])}  # {implied[column].why}"]
        if named(column, NEGATIVE):
            lines += ["sign = -1  # named like something unwanted"]
    return lines


def head_names(columns: Sequence[str], beside: Sequence[str]) -> dict[str, str]:
    """A head's name for each label column: its own where that may name a head (see `head_name_problems`).

    Parameters
    ----------
    columns : sequence of str
        Label columns.
    beside : sequence of str
        Columns that stand beside the heads in a scored table.

    Examples
    --------
    >>> head_names(["click", "add-to-cart", "any"], ["item_id"])
    {'click': 'click', 'add-to-cart': 'add_to_cart', 'any': 'head_any_label'}
    """
    taken = [*beside, *(column for column in columns if not head_name_problems(column, beside))]
    names: dict[str, str] = {}
    for column in columns:
        name = plain = column if column in taken else re.sub(r"[^A-Za-z0-9_]", "_", column)
        if column not in taken and head_name_problems(name, taken):
            name = plain = f"head_{plain}_label"
        number = 1
        while column not in taken and name in names.values():
            number += 1
            name = f"{plain}_{number}"
        names[column] = name
    return names


@dataclass(frozen=True)
class Implication:
    """A head that another one implies, and the evidence."""

    parent: str
    why: str


def implications(names: Sequence[str], counts: np.ndarray, zeros: np.ndarray) -> dict[str, Implication]:
    """The nearest head that each head implies, from how often they were seen together.

    Head a implies head b when b is 1 on all n rows where a is 1 and that would happen by chance (rate_b^n) less than
    once in a million; a few exceptions count as faults of the log when b's name is part of a's (long_click, click).

    Parameters
    ----------
    names : list of H column names
    counts : ndarray (H, H)
        Off the diagonal the rows with a = 1 and b = 0, on it the rows with a = 1 (see `pair_counts`).
    zeros : ndarray (H,)
        The rows with a = 0.

    Examples
    --------
    >>> found = implications(["click", "long_click"], np.array([[90, 50], [0, 40]]), np.array([900, 950]))
    >>> found["long_click"].parent, "click" in found
    ('click', False)
    """
    found: dict[str, Implication] = {}
    ones = np.diag(counts)
    for a, name in enumerate(names):
        parents = []
        for b, other in enumerate(names):
            if a == b or not ones[a] < ones[b]:
                continue
            exceptions = counts[a, b]
            nested = other.lower() in name.lower()
            rate = ones[b] / (ones[b] + zeros[b])
            if (exceptions == 0 and rate ** ones[a] < CHANCE) or (nested and exceptions <= (1 - MOSTLY) * ones[a]):
                parents.append(b)
        if parents:
            nearest = min(parents, key=lambda b: ones[b])
            why = f"{names[nearest]} is 1 on {ones[a] - counts[a, nearest]} of the {ones[a]} rows where {name} is 1"
            found[name] = Implication(names[nearest], why)
    return found


def _sampling(columns: Mapping[str, Column], guess: Guess) -> list[str]:
    """The negative rate and its unit, when keep_prob tells one: one value below 1, on what no head protects."""
    if guess.column("keep_prob") is None:
        return []
    keep = columns[str(guess.column("keep_prob"))].numbers
    if keep is None:
        return []
    reduced = keep[(keep > 0) & (keep < 1)]
    if not len(reduced):
        return []
    values, times = np.unique(reduced, return_counts=True)
    rate = values[times.argmax()]
    engaged = np.any([columns[name].numbers == 1 for name in guess.heads], axis=0)
    codes = columns[str(guess.column("request"))].codes
    role = columns[str(guess.column("split"))].values if guess.column("split") else None
    sampled = np.ones(len(keep), bool)  # rows of roles in which something was dropped
    if role is not None:
        dropped = role.filter(pa.array(keep < 1)).unique()
        sampled = pc.is_in(role, dropped).to_numpy(zero_copy_only=False)
    groups = np.zeros(codes.max() + 2, bool)
    np.logical_or.at(groups, codes + 1, engaged)
    for unit, protected in (("row", engaged), ("request", groups[codes + 1])):
        if (np.abs(keep - np.where(protected | ~sampled, 1.0, rate)) < 1e-6).mean() >= MOSTLY:
            why = f"keep_prob of every {unit} without an engagement"
            lines = ["", "[sampling]", f"negative_rate = {float(f'{rate:.7g}')}  # {why}", f"unit = {quoted(unit)}"]
            if role is not None and not sampled.all():
                names = ", ".join(quoted(name) for name in ROLES if name in dropped.to_pylist())
                lines += [f"roles = [{names}]  # keep_prob is 1 on every row of the others"]
            return lines
    return ["", "# keep_prob is below 1 on some rows, but follows no single rate: rows are weighted by 1 / keep_prob"]


def _split_and_policy(columns: Mapping[str, Column], guess: Guess) -> list[str]:
    lines = ["", "[split]"]
    if guess.column("split"):
        lines += ['by = "column"', f"column = {quoted(str(guess.column('split')))}  # {guess.lines['split'][1]}"]
    elif guess.column("time"):
        lines += ['by = "time"  # requests whole, the earliest are trained on, the latest tested on']
    else:
        lines += ['by = "request"  # requests whole; no column is a time']
    heads = [columns[name] for name in guess.heads]
    if any(_nan_share(head) > 1 - MOSTLY for head in heads):
        lines += ["", "[policy]", 'missing = "nan"  # labels hold NaN on many rows: read as missing']
    return lines


def _nan_share(head: Column) -> float:
    if head.numbers is None or not pt.is_floating(head.type):
        return 0.0
    return float((np.isnan(head.numbers) & head.values.is_valid().to_numpy(zero_copy_only=False)).mean())
