"""`galleryrank weights`: the utility of a model or a file, its history, and two of them side by side."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.formatting import format_number
from evaluation.metrics_json import jsonable
from features import Fault, InputError
from features.artifact import read_json
from galleryrank.console import Log
from galleryrank.gallery_run import check_format
from galleryrank.run_directory import load_model, parse_utility
from galleryrank.streams import print_json
from ranking import Utility
from ranking.ranker import UTILITY_HISTORY

TUNED_FILE = "tuned.toml"  # of a tuning's directory


def weights_run(first: str, second: str | None, format: str, quiet: bool) -> None:
    """Show one set of weights with its history, or the difference of two."""
    check_format(format)
    say = Log(quiet)
    ours, history = read_weights(first)
    if second is None:
        if format == "json":
            print_json(jsonable({"weights": ours.to_dict(), "history": history}))
        _show(ours, history, say)
        return
    theirs, _ = read_weights(second)
    _check_signs({first: ours, second: theirs})
    _show_difference(ours, theirs, (first, second), format, say)


def _check_signs(weights: Mapping[str, Utility]) -> None:
    """Refuse weights beside those of a model that do not fit it: unknown heads, or weights against their signs."""
    models = [source for source in weights if _is_model(source)]
    if len(models) != 1:  # two models may differ in their heads
        return
    signs = {name: head.sign for name, head in load_model(Path(models[0])).schema.heads.items()}
    for source, utility in weights.items():
        try:
            utility.check(signs)
        except ValueError as error:
            raise InputError(Fault(str(error), source)) from error


def _is_model(source: str) -> bool:
    return Path(source).is_dir() and not (Path(source) / TUNED_FILE).is_file()


def read_weights(source: str) -> tuple[Utility, list[dict[str, Any]]]:
    """The weights that `source` names, and the ones that they replaced.

    `source` is a run or model directory, a TOML file with a `[utility]` table (as `galleryrank tune` writes it), a
    tuning's directory, or the weights themselves: `click=1,save=2`.

    Raises:
        InputError: it is none of these, or holds no weights.
    """
    path = Path(source)
    if (path / TUNED_FILE).is_file():
        path = path / TUNED_FILE
    if path.is_dir():
        ranker = load_model(path)
        if ranker.utility is None:
            raise InputError(Fault("holds no utility: it is an importance-weighted single head", path))
        return ranker.utility, list(ranker.info.get(UTILITY_HISTORY, []))
    if path.is_file():
        return _from_toml(path), []
    if "=" not in source:
        message = "is no run, model, tuning or TOML file, and no weights of the form click=1,save=2 either"
        raise InputError(Fault(message, path))
    return parse_utility(source), []


def _from_toml(path: Path) -> Utility:
    if path.suffix == ".json":  # utility.json of a model
        table = read_json(path)
    else:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8")).get("utility")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(Fault(f"is not valid TOML: {error}", file=path)) from error
    if not isinstance(table, dict):
        raise InputError(Fault("has no [utility] table of head = weight", file=path))
    try:
        return Utility.from_mapping(table)
    except ValueError as error:
        raise InputError(Fault(str(error), file=path)) from error


def _show(utility: Utility, history: list[dict[str, Any]], say: Log) -> None:
    shares = utility.scaled().weights
    rows = [(head, format_number(w), format_number(shares[head])) for head, w in utility.weights.items()]
    say.table("Utility", ("head", "weight", "with sum |w| = 1"), rows)
    if history:
        past = [(entry["replaced"], _in_a_line(entry["weights"]), entry["note"]) for entry in reversed(history)]
        say.table("What it replaced, latest first", ("replaced", "weights", "note"), past)


def _in_a_line(weights: Mapping[str, float] | None) -> str:
    """Weights of the history, which has None where there were none."""
    return ", ".join(f"{head} {format_number(weight)}" for head, weight in (weights or {}).items()) or "none"


def _show_difference(ours: Utility, theirs: Utility, names: tuple[str, str], format: str, say: Log) -> None:
    from optimization.weight_diff import cosine, diff_weights

    columns = ("first", "second")
    table = diff_weights(ours, theirs, columns)
    angle = math.degrees(math.acos(cosine(ours, theirs)))
    if format == "json":
        print_json(jsonable({"names": dict(zip(columns, names)), "heads": table, "degrees": angle}))
    rows = [
        (r["head"], *(format_number(r[c]) for c in columns), format_number(r["difference"], signed=True),
         format_number(r["ratio"]))
        for r in table.to_dict("records")
    ]  # fmt: skip
    say.table(
        f"Weights with sum |w| = 1: first = {names[0]}, second = {names[1]}",
        ("head", *columns, "difference", "ratio"),
        rows,
    )
    say(f"the angle between them is {angle:.1f} degrees (0: the same ranking whatever the probabilities are)")
