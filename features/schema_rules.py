"""What must hold between the parts of a schema: every contradiction is found, each with its place in dataset.toml."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from features.errors import Fault

if TYPE_CHECKING:
    from features.schema import Schema


RESERVED = ("any", "utility", "score", "rank")  # columns of a scored table, and the event of any engagement
RESERVED_ENDINGS = ("_sampled", "_naive", "_corrected")  # <head>_naive and the like: one head's probability, in stages


def schema_faults(schema: Schema) -> list[Fault]:
    """All contradictions in `schema`, none for a sound one."""
    rules = (_head_names, _heads, _features, _parts, _position_and_files, _sampling, _split)
    return [Fault(message, key=key) for rule in rules for key, message in rule(schema)]


def same_column(a: str, b: str) -> bool:
    """Whether two names may mean one column: "star" and "items.star" do, "items.star" and "users.star" do not.

    Examples
    --------
    >>> same_column("star", "items.star"), same_column("items.star", "users.star")
    (True, False)
    """
    (table_a, name_a), (table_b, name_b) = _split_name(a), _split_name(b)
    return name_a == name_b and (table_a == table_b or not table_a or not table_b)


def _split_name(name: str) -> tuple[str, str]:
    table, dot, column = name.partition(".")
    return (table, column) if dot and table in ("impressions", "items", "users") else ("", name)


Finding = tuple[str, str]  # place in dataset.toml, message


def head_name_problems(name: str, columns: Iterable[str]) -> list[str]:
    """What is wrong with `name` as a head's, given the `columns` that stand beside it in a scored table.

    Examples
    --------
    >>> head_name_problems("click", ["item_id"]), head_name_problems("item_id", ["item_id"])
    ([], ['it is the name of a column that stands beside it in every scored table'])
    """
    problems = []
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        problems.append("it must hold letters, digits and underscores only and start with no digit")
    if name in RESERVED or name.startswith("utility_"):
        problems.append('"any", "utility", "score", "rank" and names that start with "utility_" have another meaning')
    if name.endswith(RESERVED_ENDINGS):
        problems.append(f"the endings {', '.join(RESERVED_ENDINGS)} name stages of another head's probability")
    if name in columns:
        problems.append("it is the name of a column that stands beside it in every scored table")
    return problems


def _head_names(schema: Schema) -> Iterator[Finding]:
    """Probabilities are columns named like their head, in tables and formulas: nothing else may have such a name."""
    c, position = schema.columns, schema.position
    parts = (c.request, c.item, c.user, position.column if position else None)
    for name in schema.heads:
        for problem in head_name_problems(name, [column for column in parts if column is not None]):
            yield "[heads]", f"{name!r} cannot name a head (give another name and set `column`): {problem}"


def _heads(schema: Schema) -> Iterator[Finding]:
    heads = schema.heads
    for name, head in heads.items():
        for implied in head.implies:
            if implied not in heads:
                yield f"[heads.{name}].implies", f"names the unknown head `{implied}`; the heads are {_list(heads)}"
        if head.maturity is not None and schema.columns.time is None:
            yield f"[heads.{name}].maturity", "needs [columns].time: without a time no row has an age"
    for cycle in _cycles({name: [p for p in head.implies if p in heads] for name, head in heads.items()}):
        yield f"[heads.{cycle[0]}].implies", f"goes in a circle: {' -> '.join([*cycle, cycle[0]])}"


def _cycles(implies: dict[str, list[str]]) -> list[list[str]]:
    """One list of heads per circle, starting at its first head in the order of the file."""
    found: dict[frozenset[str], list[str]] = {}
    for start in implies:
        paths = [[start]]
        seen = {start}
        while paths:
            path = paths.pop()
            for implied in implies[path[-1]]:
                if implied == start:
                    found.setdefault(frozenset(path), path)
                elif implied not in seen:
                    seen.add(implied)
                    paths.append([*path, implied])
    return list(found.values())


def _features(schema: Schema) -> Iterator[Finding]:
    """No feature may be an outcome, a weight, or held out; each is listed once."""
    columns = schema.columns
    forbidden = [(column, f"the label of head `{name}`") for name, column in _labels(schema)]
    forbidden += [(column, "an outcome that protects rows from sampling") for column in schema.protected_by]
    forbidden += [(column, "a hold-out column") for column in columns.holdout]
    if columns.keep_prob:
        forbidden.append((columns.keep_prob, "the keep probability, which is 1 on every engaged row"))
    if columns.propensity:
        forbidden.append((columns.propensity, "the propensity"))
    if schema.position:
        forbidden.append((schema.position.column, "the position, which [position] already makes a feature"))
    if schema.split.column:
        forbidden.append((schema.split.column, "the role of the row"))
    seen: list[str] = []
    for kind in ("categorical", "numeric"):
        for name in getattr(columns, kind):
            reason = next((why for column, why in forbidden if same_column(name, column)), None)
            if reason:
                yield f"[columns].{kind}", f"`{name}` cannot be a feature: it is {reason}"
            if any(same_column(name, other) for other in seen):
                yield f"[columns].{kind}", f"`{name}` is listed twice"
            seen.append(name)


def _labels(schema: Schema) -> list[tuple[str, str]]:
    return [(name, head.column) for name, head in schema.heads.items()]


def _parts(schema: Schema) -> Iterator[Finding]:
    """One column plays one part, except that a user may be the request."""
    c = schema.columns
    parts = [(f"[columns].{part}", getattr(c, part)) for part in ("request", "item", "user", "time", "query_item")]
    parts += [("[columns].keep_prob", c.keep_prob), ("[columns].propensity", c.propensity)]
    parts += [("[position].column", schema.position.column if schema.position else None)]
    parts += [(f"[heads.{name}].column", column) for name, column in _labels(schema)]
    parts += [("[columns].holdout", name) for name in c.holdout]
    named = [(key, column) for key, column in parts if column is not None]
    for i, (key, column) in enumerate(named):
        for earlier, other in named[:i]:
            if same_column(column, other) and (earlier, key) != ("[columns].request", "[columns].user"):
                yield key, f"`{column}` is already {earlier}"
                break


def _position_and_files(schema: Schema) -> Iterator[Finding]:
    if schema.files.users is not None and schema.columns.user is None:
        yield "[files].users", "needs [columns].user: the users table is joined by it"
    if schema.columns.query_item is not None and schema.files.vectors is None:
        yield "[columns].query_item", "needs [files].vectors (or --vectors): the query item's vector is what it is for"


def _sampling(schema: Schema) -> Iterator[Finding]:
    sampling = schema.sampling
    if sampling is None:
        return
    scalar, column = sampling.negative_rate, sampling.negative_rate_column
    if scalar is not None and column is not None:
        yield "[sampling]", "give negative_rate or negative_rate_column, got both"
    if scalar is None and column is None:
        yield "[sampling]", "give negative_rate or negative_rate_column, got neither"
    if column is not None and any(same_column(column, label) for label in schema.protected_by):
        yield "[sampling].negative_rate_column", f"`{column}` is an outcome; the rate must be known before the outcome"
    if column is not None and schema.columns.keep_prob is not None and same_column(column, schema.columns.keep_prob):
        message = f"`{column}` is the keep probability, which is 1 on every engaged row; the rate is not"
        yield "[sampling].negative_rate_column", message
    if schema.columns.keep_prob is None and (column is not None or (scalar or 1.0) < 1.0):
        message = "negatives were dropped, so rows need weights: write each row's keep probability (1 where protected)"
        yield "[columns].keep_prob", f"{message} into a column and name it here"
    if sampling.protected_by is not None and not sampling.protected_by:
        yield "[sampling].protected_by", "must name at least one 0/1 column, got none; leave it out for all heads"
    if not sampling.roles:
        yield "[sampling].roles", "must name at least one role, got none; leave it out for all roles"


def _split(schema: Schema) -> Iterator[Finding]:
    split = schema.split
    if split.by == "time" and schema.columns.time is None:
        yield "[split].by", '"time" needs [columns].time; split by "request" or "item" instead'
    if split.by == "column" and split.column is None:
        yield "[split].column", 'must name the column of roles when by = "column", got none'
    if split.by != "column" and split.column is not None:
        yield "[split].column", f'is read only when by = "column", got by = "{split.by}"'
    if split.by == "column" and split.fractions is not None:
        yield "[split].fractions", 'are not read when by = "column": leave them out'
    if split.by != "column":
        total = math.fsum(split.shares)
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            yield "[split].fractions", f"must sum to 1, got {total:g}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
