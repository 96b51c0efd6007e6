"""Which part each column of an undescribed log most likely plays, and why: guessed from names, types and values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow.types as pt

from features.draft_profile import MOSTLY, Column, gives_away, repeats
from features.errors import Fault, InputError
from features.lists import is_list
from features.schema import ROLES
from features.validation_columns import is_categorical, is_numeric_feature

THINGS = (
    "item|hotel|product|property|listing|candidate|accommodation|asset|article|pin|home|house|ad|doc|document|movie|"
    "video|song|track|book|recipe|offer|room"
)
REQUEST = (r"request|query|search|serp|impression|ranking|qid", r"list|session|page|page_?view|visit|slate|feed")
ENGAGEMENT = (
    r"\w*click|close_?up|detail|save|like|book(ed|ing)?|purchas|order|buy|bought|cart|hide|hidden|share|comment|dwell|"
    r"conver|engag|label|target|outcome|deal|searched|skip|contact|install|play|watch|repl|follow|tap|repin|wish|"
    r"favou?rite|zoom|report|block"
)
NEGATIVE = r"hide|hidden|dislike|report|skip|block|unsub|bounce|refund|cancel|complain"
EARLIER = r"before|prior|prev|previous|past|hist|history|last|earlier|avg|mean|rate|ctr"
LATER = r"after|future|next|later"
COUNT = r"^(n|num|cnt|count|times|total)_|_(n|num|cnt|counts?|times)$"
TRUTH = r"^(true|latent|oracle|conditional|ground)_"
SPLITS = ("role", "split", "fold", "set", "subset")
FEATURE_FLAG = r"^(is|has|was|same|first|new|free|seen)_"
CATEGORY = r"type|kind|category|class|code|country|city|platform|device|language|locale|market|zip|region|month|weekday"


def named(name: str, words: str) -> bool:
    """Whether one of `words` (a pattern) stands in `name` as a word between underscores, with or without an ending.

    Examples
    --------
    >>> named("long_click", "click"), named("clickout", "click"), named("avg_price", "avg|mean"), named("saver", "ave")
    (True, True, True, False)
    """
    return re.search(rf"(^|_)({words})", name.lower()) is not None


@dataclass
class Guess:
    """The parts of a log's columns, each with a reason: `lines` holds single parts, "request" -> (column, why)."""

    lines: dict[str, tuple[str, str]] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)  # column -> why
    categorical: dict[str, str] = field(default_factory=dict)
    numeric: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def column(self, part: str) -> str | None:
        """The column of a single part."""
        return self.lines[part][0] if part in self.lines else None

    def disambiguate(self, others: Sequence[str]) -> None:
        """Write features of the log that another table has too with their table."""
        for features in (self.categorical, self.numeric):
            for name in [name for name in features if name in others]:
                features[f"impressions.{name}"] = features.pop(name)

    @property
    def taken(self) -> set[str]:
        """Columns that have a part already."""
        return {column for column, _ in self.lines.values()} | set(self.heads) | set(self.left_out)


def guess_log(columns: Mapping[str, Column], file: object, *, vectors: bool) -> Guess:
    """The parts of an impression log's columns.

    Raises
    ------
    InputError
        No column can be the item, the request or a head: there is no ranking log without them.
    """
    guess = Guess()
    usable = {}
    for name, column in columns.items():
        if column.is_constant:
            guess.left_out[name] = "the same value in every row looked at"
        else:
            usable[name] = column
    faults = []
    item = _item(columns)
    if item is None:
        faults.append(Fault("no column looks like an item id (item_id, hotel_id, product_id, ...)", str(file)))
    else:
        guess.lines["item"] = item
        _weights_and_time(usable, guess)
        request = _request(columns, guess, columns[item[0]])
        if request is None:
            message = "no column looks like a request id (request_id, search_id, list_id, session_id, ...)"
            faults.append(Fault(message, str(file)))
        else:
            guess.lines["request"] = request
            _ids(usable, guess, vectors=vectors)
            _heads(usable, guess, columns[request[0]], columns[item[0]])
            if not guess.heads:
                faults.append(Fault("no 0/1 column looks like an engagement (click, save, book, ...)", str(file)))
    if faults:
        raise InputError(faults)
    heads = [columns[name] for name in guess.heads]
    for name, column in usable.items():
        if name not in guess.taken:
            _feature(column, guess, heads, columns)
    return guess


def guess_side(columns: Mapping[str, Column], key: str, taken: Sequence[str], table: str) -> Guess:
    """The features in a side table; a name that another table has too is written with its table."""
    guess = Guess()
    for name, column in columns.items():
        if name == key:
            continue
        if column.is_constant:
            guess.left_out[f"{table}.{name}"] = "the same value in every row"
            continue
        _typed(column, f"{table}.{name}" if name in taken or "." in name else name, guess)
    return guess


def _item(columns: Mapping[str, Column]) -> tuple[str, str] | None:
    """The id that repeats over requests under a thing's name; `item_id` before `item`, `item` before `room`."""
    ids = [name for name, column in columns.items() if column.is_id and not column.is_flag]
    for ending in (r"_?(id|key|uid)", ""):
        for thing in THINGS.split("|"):
            for name in ids:
                if re.fullmatch(thing + ending, name.lower()):
                    return name, "an id with the name of a thing that is shown"
    return None


def _request(columns: Mapping[str, Column], guess: Guess, item: Column) -> tuple[str, str] | None:
    """By name; between equals the coarsest in which no item is shown twice, else the one with the fewest repeats."""
    ids = [c for n, c in columns.items() if c.is_id and n not in guess.taken and not c.is_flag]
    for words in REQUEST:
        found = [c for c in ids if re.fullmatch(rf"({words})(_?(id|key|uid))?", c.name.lower())]
        if not found:
            continue
        twice = {c.name: repeats(c, item) for c in found}
        best = min(found, key=lambda c: (twice[c.name], c.distinct))
        why = "no item is shown twice in it" if not twice[best.name] else "the fewest items are shown twice in it"
        others = [f"`{c.name}`" for c in found if c is not best]
        rather = f", unlike or less coarse than {', '.join(others)}" if others else ""
        return best.name, f"groups the rows that were shown together: {why}{rather}"
    return None


def _weights_and_time(columns: Mapping[str, Column], guess: Guess) -> None:
    for name, column in columns.items():
        lower, known = name.lower(), column.known
        share = float(((known > 0) & (known <= 1)).mean()) if len(known) else 0.0
        if re.search(r"(keep|sampl\w*)_?(prob|rate)", lower) and share >= MOSTLY:
            guess.lines.setdefault("keep_prob", (name, "the probability that sampling kept the row"))
        elif "propensity" in lower and share >= MOSTLY:
            guess.lines.setdefault("propensity", (name, "named so, within (0, 1]"))
        elif pt.is_timestamp(column.type):
            guess.lines.setdefault("time", (name, "a timestamp"))
        elif re.search(r"(^|_)(time|timestamp|ts|datetime|date|created_at)$", lower) and pt.is_integer(column.type):
            if len(known) and 1e8 < np.median(known) < 1e11:
                guess.lines.setdefault("time", (name, "whole seconds since 1970"))
            else:
                guess.left_out[name] = "a time in no unit that is known here: write seconds or a timestamp"
        elif re.fullmatch(r"(position|rank|pos|slot|display_?position|index)", lower) and column.is_integer:
            if (known >= 1).mean() >= MOSTLY:
                guess.lines.setdefault("position", (name, "the place in the list, from 1"))
            else:
                guess.left_out[name] = "a position that starts at 0: add 1, then name it under [position]"
        elif column.is_text and lower in SPLITS and set(column.values.unique().to_pylist()) <= set(ROLES):
            guess.lines.setdefault("split", (name, "its values are the names of roles"))


def _ids(columns: Mapping[str, Column], guess: Guess, *, vectors: bool) -> None:
    request = guess.lines["request"][0]
    for name, column in columns.items():
        if name in guess.taken or not column.is_id:
            continue
        lower = name.lower()
        if re.fullmatch(r"(user|visitor|customer|member|account|guest|client|cookie|person)(_?(id|key|uid))?", lower):
            guess.lines.setdefault("user", (name, "an id with the name of a person"))
        elif re.fullmatch(rf"(query|source|seed|anchor|context)_({THINGS})(_?(id|key))?", lower) and vectors:
            guess.lines.setdefault(
                "query_item", (name, "an id of the same kind as the items, looked up in the vectors")
            )
        elif re.search(r"_?(id|uid|uuid|key)$", lower) and column.distinct >= columns_distinct(columns, request) / 2:
            guess.left_out[name] = "an id with as many values as there are requests: the next request brings a new one"


def columns_distinct(columns: Mapping[str, Column], name: str) -> int:
    """Distinct values of a column; 1 for one that is not looked at (constant)."""
    return columns[name].distinct if name in columns else 1


def _heads(columns: Mapping[str, Column], guess: Guess, request: Column, item: Column) -> None:
    """0/1 columns that differ within a request and within an item, so that they belong to neither: what happened."""
    for name, column in columns.items():
        lower = name.lower()
        if name in guess.taken or not column.is_flag or re.search(COUNT, lower):
            continue
        if named(lower, EARLIER) or named(lower, LATER) or re.search(FEATURE_FLAG, lower) or re.search(TRUTH, lower):
            continue
        if named(lower, ENGAGEMENT):
            guess.heads[name] = "0/1, named like an engagement"
        elif column.varies_within(request) and column.varies_within(item):
            guess.heads[name] = "0/1, differs within requests and within items; a feature if known before it is shown"


def _feature(column: Column, guess: Guess, heads: Sequence[Column], columns: Mapping[str, Column]) -> None:
    """A feature, unless it looks like an outcome: then it is left out and the reason said."""
    name, lower = column.name, column.name.lower()
    told = gives_away(column, heads)
    request, item = columns[guess.lines["request"][0]], columns[guess.lines["item"][0]]
    if told:
        guess.left_out[name] = f"looks like an outcome/count: set only where `{told}` is 1, it gives the label away"
    elif re.search(TRUTH, lower):
        guess.left_out[name] = "looks like a ground truth"
    elif named(lower, LATER):
        guess.left_out[name] = "looks like an outcome/count: its name says it happened afterwards"
    elif re.search(COUNT, lower) and column.varies_within(request) and column.varies_within(item):
        guess.left_out[name] = (
            "looks like an outcome/count: it differs within requests and within items; "
            "numeric if known before the row is shown"
        )
    elif name == guess.column("user"):
        guess.left_out[name] = "the user"
    else:
        _typed(column, name, guess)


def _typed(column: Column, name: str, guess: Guess) -> None:
    """Categorical or numeric by type and number of values."""
    rows, lower = len(column.values), column.name.lower()
    if is_list(column.type):
        if is_categorical(column.type):
            guess.categorical[name] = "a list, pooled"
        else:
            guess.left_out[name] = "a list of numbers: vectors go into a file of their own, one row per item"
    elif column.is_text:
        if rows > 20 and column.distinct > 0.9 * rows:
            guess.left_out[name] = "text that hardly repeats"
        else:
            listed = '; holds "|": write lists, and their parts are pooled' if column.looks_like_lists else ""
            guess.categorical[name] = f"text, {column.distinct} values{listed}"
    elif is_numeric_feature(column.type):
        few = column.distinct <= 1000 and column.is_integer and named(lower, CATEGORY)
        identifier = re.search(r"_(id|uid|key)$", lower) and column.is_id
        if identifier or (few and not column.is_flag):
            guess.categorical[name] = f"numbers that name things, {column.distinct} values"
        else:
            guess.numeric[name] = "0/1" if column.is_flag and column.distinct == 2 else "numbers"
    else:
        guess.left_out[name] = f"{column.type} is no type of a feature"
