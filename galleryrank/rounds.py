"""`galleryrank rounds propose | ingest | status`: weights as A/B groups, their numbers back, the next groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.formatting import format_interval, format_number
from evaluation.metrics_json import jsonable, write_whole
from features import Fault, InputError
from features.errors import raise_faults
from galleryrank.console import Log
from galleryrank.gallery_run import check_format
from galleryrank.head_options import head_bounds, head_numbers
from galleryrank.run_directory import load_model
from galleryrank.streams import print_json
from optimization.online.page import write_rounds
from optimization.online.rounds import JOURNAL, Rounds
from optimization.online.store import CONTROL, FRAME_COLUMNS, REPEAT, RoundDesign
from optimization.online.words import RoundsStatus, ingested_words
from ranking import Utility

GROUPS_FILE, WEIGHTS_FOLDER, REPORT = "groups.csv", "weights", "report.html"


def propose_run(
    folder: Path,
    run: Path | None,
    heads: str | None,
    baseline: str | None,
    metric: str | None,
    minimise: bool,
    constraints: Sequence[str],
    record: Sequence[str],
    groups: int | None,
    bounds: Sequence[str],
    seed: int | None,
    without: Sequence[str],
    confirm: bool,
    format: str,
    quiet: bool,
) -> None:
    """Begin an experiment in FOLDER, or go on with the one in it, and write the groups of the round to run.

    The groups go to groups.csv and, one `[utility]` table each, to weights/GROUP.toml.
    """
    check_format(format)
    say = Log(quiet)
    given = {
        "metric": metric, "maximise": False if minimise else None, "constraints": tuple(constraints) or None,
        "record": tuple(record) or None, "groups": groups, "seed": seed,
    }  # fmt: skip
    options = {k: v for k, v in given.items() if v is not None}
    rounds = _experiment(folder, run, heads, baseline, bounds, options, say, bool(without) or confirm)
    before = rounds.state().rounds
    if before and not (set(rounds.waiting()) - set(without)):
        say(f"round {before} is complete: proposing the next one")
    table = rounds.propose(without=without, confirm=confirm)
    _write_groups(rounds, table)
    state = rounds.state()
    waiting = state.waiting()
    if state.rounds == before:
        say(f"round {before} is open, so these are its groups again: numbers are missing of {', '.join(waiting)}")
    elif confirm and REPEAT not in set(table["kind"]):
        say("no measured weights are expected to beat the control: there are none to confirm, and all groups are new")
    names = list(rounds.design.heads)
    rows = [[row["group"], row["kind"], *(f"{row[name]:.6g}" for name in names)] for row in table.to_dict("records")]
    say.table(f"round {state.rounds}: weights by group", ("group", "kind", *names), rows)
    say(f"-> {folder / GROUPS_FILE}, {folder / WEIGHTS_FOLDER}")
    wanted = ", ".join(rounds.design.metrics)
    say(f"then: galleryrank rounds ingest {folder} FILE with columns group, metric, value, standard_error ({wanted})")
    if format == "json":
        print_json(jsonable({"round": state.rounds, "groups": table, "waiting": waiting}))


def ingest_run(folder: Path, numbers: Path, correct: bool, format: str, quiet: bool) -> None:
    """Take the numbers of groups from a CSV or Parquet file; the same numbers again change nothing."""
    check_format(format)
    say = Log(quiet)
    rounds = Rounds.open(folder)
    table = rounds.ingest(numbers, correct=correct)
    sentences = ingested_words(table, rounds.state())
    for sentence in sentences:
        say(sentence)
    if format == "json":
        print_json(jsonable({"numbers": table, "waiting": rounds.waiting(), "sentences": sentences}))


def status_run(folder: Path, out: Path | None, format: str, quiet: bool) -> None:
    """Show the groups, their lifts against the control and the best weights; write these to OUT as TOML.

    The same as a page goes to report.html in FOLDER.
    """
    check_format(format)
    say = Log(quiet)
    rounds = Rounds.open(folder)
    status = rounds.status()
    if out is not None and not status.best:
        raise InputError(Fault(f"there are no best weights to write: {' '.join(status.sentences)}", key="--out"))
    content = status.to_dict()
    page = write_rounds(folder / REPORT, content, rounds.design.to_dict(), title=f"Online rounds: {_name(folder)}")
    _print_status(rounds.design, status, say)
    if out is not None and status.best:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, Utility.from_mapping(status.best["weights"]).to_toml())
        say(f"-> {out}")
    say(f"-> {page}")
    if format == "json":
        print_json(content)


def _name(folder: Path) -> str:
    """What the folder is called, also where it was given as `.`."""
    return folder.resolve().name


def _experiment(
    folder: Path,
    run: Path | None,
    heads: str | None,
    baseline: str | None,
    bounds: Sequence[str],
    given: Mapping[str, Any],
    say: Log,
    asked_of_groups: bool = False,
) -> Rounds:
    """The experiment in a folder, which must be as the options say; or a new one made from them.

    `asked_of_groups` says that something is asked of its groups, which a new one has none of: it is not begun then.
    """
    exists = (folder / JOURNAL).is_file()
    known: dict[str, Any] = {}
    if exists:
        design = Rounds.open(folder).design
        known = {name: getattr(design, name) for name in RoundDesign.__dataclass_fields__}
    if run is not None and (heads or baseline):
        raise InputError("--run takes heads and weights from a model: give it, or --heads and --baseline, not both")
    if run is not None:
        known |= _from_model(run, say)
    if baseline is not None:
        weights = head_numbers(baseline, "--baseline")
        signs = {name: -1 if value < 0 else 1 for name, value in weights.items()}
        known |= {"heads": signs, "baseline": weights}
    if heads is not None:
        known["heads"] = _signs(heads)
    if bounds:
        faults: list[Fault] = []
        known["bounds"] = head_bounds(bounds, faults)
        raise_faults(faults)
    if not exists and asked_of_groups:
        raise InputError(
            Fault("holds no rounds yet: --without and --confirm are for groups that were proposed", folder)
        )
    if not exists and "baseline" not in known:
        raise InputError(
            Fault(
                "holds no rounds yet: the first proposal needs the weights in production, by --baseline "
                "click=0.3,save=0.7 or by --run RUN, a model that has them",
                folder,
            )
        )
    known |= given
    return Rounds.create(folder, known.pop("heads"), known.pop("baseline"), **known)


def _from_model(run: Path, say: Log) -> dict[str, Any]:
    """Heads, signs and utility of a model, scaled to sum |w| = 1."""
    ranker = load_model(run)
    if ranker.tree is None or ranker.utility is None:
        raise InputError(Fault("this model has no utility weights: name heads and weights by --baseline", run))
    signs = {name: head.sign for name, head in ranker.schema.heads.items()}
    scaled = ranker.utility.scaled().weights
    weights = {name: scaled.get(name, 0.0) for name in signs}
    say(f"baseline of {run}, scaled to 1: " + ", ".join(f"{name}={value:.6g}" for name, value in weights.items()))
    return {"heads": signs, "baseline": weights}


def _signs(text: str) -> dict[str, int]:
    """`click,save,hide=-1` as signs by head."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    signs = head_numbers(",".join(part if "=" in part else f"{part}=1" for part in parts), "--heads")
    raise_faults(
        Fault(f"sign of `{name}` must be 1 or -1", key="--heads", value=value)
        for name, value in signs.items()
        if value not in (1.0, -1.0)
    )
    return {name: int(value) for name, value in signs.items()}


def _write_groups(rounds: Rounds, table: pd.DataFrame) -> None:
    """groups.csv and weights/GROUP.toml of the round to run."""
    write_whole(rounds.folder / GROUPS_FILE, table.to_csv(index=False))
    folder = rounds.folder / WEIGHTS_FOLDER
    folder.mkdir(exist_ok=True)
    for group in table["group"]:
        write_whole(folder / f"{group}.toml", rounds.export_weights(group).to_toml())


def _print_status(design: RoundDesign, status: RoundsStatus, say: Log) -> None:
    names = [name for name in status.groups.columns if name not in (*FRAME_COLUMNS, "state")]
    rows = [
        [row["group"], row["kind"], row["state"], *(f"{row[name]:.4g}" for name in names)]
        for row in status.groups.to_dict("records")
    ]
    say.table("groups", ("group", "kind", "numbers", *names), rows)
    for metric in design.metrics:
        found = status.readings[status.readings["metric"] == metric]
        if len(found):
            header = ("group", "value", "standard error", "against its control", "95 % interval", "% of control")
            say.table(metric, header, [_reading(row) for row in found.to_dict("records")])
    for sentence in status.sentences:
        say(sentence)
    if status.best is not None:
        toml = Utility.from_mapping(status.best["weights"]).to_toml()
        say(f"weights of {', '.join(status.best['groups']) or 'the ' + CONTROL}:\n{toml}")


def _reading(row: Mapping[Any, Any]) -> list[str]:
    return [
        str(row["group"]), format_number(row["value"]), format_number(row["standard_error"]),
        format_number(row["lift"], signed=True), format_interval(row["low"], row["high"], signed=True),
        format_number(row["percent"], signed=True),
    ]  # fmt: skip
