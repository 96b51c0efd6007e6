"""`galleryrank simulate`: the synthetic marketplace answers a policy, and the truth says how right the answer is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.gallery.threads import one_thread
from evaluation.marketplace.page import write_simulation
from evaluation.marketplace.requests import CANDIDATES, SHOWN
from evaluation.metrics_json import jsonable, write_metrics_json
from features import Fault, raise_faults
from galleryrank.console import Log
from galleryrank.gallery_run import GalleryRun, check_format, versions
from galleryrank.simulate_arms import compare_arms
from galleryrank.simulate_photos import PhotoSizes, PhotoWorld
from galleryrank.simulate_words import lift_summary, round_summary, show_lifts, show_policies, weights_text
from galleryrank.simulate_worlds import (
    FLOOR,
    HAND_PICKED,
    OBJECTIVE,
    POPULATION,
    REQUESTS_PER_GROUP,
    VALUES,
    FittedWorld,
    Sizes,
    play_world,
)
from galleryrank.streams import print_json
from optimization.online.store import LETTERS

REQUESTS = 2_000_000
LEAST = 1000  # requests: with fewer users, normal intervals hold the truth less often than they say
REACTED = (
    "Users react by the world's own probabilities; a candidate that is not shown cannot be engaged with. Requests are "
    "fresh: from after the log's end."
)
PER_LINE = "Intervals are clustered by user, and of each line alone: of forty lines two would miss the truth."


def simulate_ab(
    out: Path,
    seed: int = 0,
    requests: int = REQUESTS,
    quiet: bool = False,
    format: str = "text",
    sizes: Sizes | None = None,
) -> None:
    """The multi-head ranker against the importance-weighted single head, [Pinterest 2020] table 1.

    Args:
        out: A new folder; that of a run that was killed goes on.
        seed: Of the world, the rankers and the experiment.
        requests: Of the experiment, both arms together.
        quiet: Say nothing.
        format: "text", or "json": metrics.json on stdout too.
        sizes: Of the world and its log.

    Raises:
        InputError: options out of range; a folder that holds something else.
    """
    sizes = sizes or Sizes()
    run, say = _begin(out, "ab", seed, {"requests": requests}, asdict(sizes), quiet, format)
    with one_thread():
        fitted = FittedWorld(out, seed, sizes, say)
        arms = {"multi-head": fitted.table().policy(HAND_PICKED), "single head": fitted.table("importance").policy()}
        say(f"an A/B of {requests:,} requests")
        block = compare_arms(fitted.world, arms, "All properties", requests, seed)
    metrics = {
        "title": "A/B in the synthetic marketplace: multi-head against single head",
        "lead": "The multi-head ranker with a utility on top against the importance-weighted binary model that it "
        "replaced [Pinterest 2020, table 1], in a marketplace whose true probabilities are known.",
        "summary": lift_summary(block),
        "meta": _meta(seed, requests, sizes.requests),
        "notes": [
            REACTED,
            PER_LINE,
            "Both rankers are the same network on the same rows. The single head is trained with importance weights in "
            "the proportions of the utility weights (a row with several engagements has the largest of theirs).",
        ],
        "experiments": [block],
    }
    _finish(run, metrics, say, format)


def simulate_galleries(
    out: Path,
    seed: int = 0,
    requests: int = REQUESTS,
    quiet: bool = False,
    format: str = "text",
    sizes: PhotoSizes | None = None,
) -> None:
    """The ranker with gallery vectors against the same ranker without, on properties that are new to both.

    Args:
        out, seed, quiet, format: As in `simulate_ab`.
        requests: Of each of two experiments: on new properties, and on those of the log.
        sizes: Of the world, its photos and its log.

    Raises:
        InputError: options out of range; a folder that holds something else.
    """
    sizes = sizes or PhotoSizes()
    run, say = _begin(out, "galleries", seed, {"requests": requests}, asdict(sizes), quiet, format)
    with one_thread():
        photos = PhotoWorld(out, seed, sizes, say)
        arms = {
            "with galleries": photos.table(galleries=True).policy(HAND_PICKED),
            "without galleries": photos.table(galleries=False).policy(HAND_PICKED),
        }
        say(f"two A/Bs of {requests:,} requests each")
        new = photos.new_items
        old = np.setdiff1d(np.arange(sizes.properties), new)
        blocks = [
            compare_arms(photos.world, arms, title, requests, seed, items)
            for title, items in (("New properties", new), ("Properties of the log", old))
        ]
    metrics = {
        "title": "A/B in the synthetic marketplace: with and without galleries",
        "lead": "The same ranking network with and without vectors of the properties' photos, in a marketplace whose "
        "true probabilities are known.",
        "summary": [f"{block['title']}: {sentence}" for block in blocks for sentence in lift_summary(block)],
        "meta": _meta(seed, requests, sizes.requests) | {"new properties": len(new), "properties of the log": len(old)},
        "notes": [
            REACTED,
            PER_LINE,
            "Neither ranker nor encoder met the new properties. Beside the vectors both rankers know the user's "
            "segment, the price and the position; the encoder learned 31 attributes of the known properties from "
            "their photos.",
        ],
        "experiments": blocks,
    }
    _finish(run, metrics, say, format)


def simulate_rounds_run(
    out: Path,
    seed: int = 0,
    rounds: int = 5,
    groups: int = 4,
    requests_per_group: int = REQUESTS_PER_GROUP,
    quiet: bool = False,
    format: str = "text",
    sizes: Sizes | None = None,
    days_per_round: int = 1,
) -> None:
    """The full loop of online rounds in one world: hand-picked, offline-tuned and online-tuned weights by the truth.

    Args:
        out, seed, quiet, format, sizes: As in `simulate_ab`.
        rounds, groups: Rounds, and treatment groups of each beside the control.
        requests_per_group: That each group answers in a round.
        days_per_round: Tastes drift: in a world of four weeks' log, rounds of a week chase a moving target.

    Raises:
        InputError: options out of range; a folder that holds something else.
    """
    sizes = sizes or Sizes()
    counts = {"rounds": rounds, "groups": groups, "requests_per_group": requests_per_group}
    counts |= {"days_per_round": days_per_round}
    run, say = _begin(out, "rounds", seed, counts, asdict(sizes), quiet, format)
    with one_thread():
        found = play_world(FittedWorld(out, seed, sizes, say), **counts)
    metrics = {
        "title": "Online rounds in the synthetic marketplace",
        "lead": "Utility weights as somebody picked them, tuned on the log, and tuned by rounds of experiments, judged "
        "by their true expected utility in a marketplace whose probabilities are known.",
        "summary": round_summary(found.policies, found.gains),
        "meta": {"seed": seed, **{name.replace("_", " "): count for name, count in counts.items()}}
        | {"users": POPULATION, "candidates of a request": CANDIDATES, "shown": SHOWN, "log, requests": sizes.requests}
        | {"value of an engagement": weights_text(VALUES)},
        "notes": [
            REACTED + " Each round has days of its own, and so has the judge.",
            f"Offline-tuned: the highest PR-AUC of {OBJECTIVE} on the tune rows that leaves every other head "
            f"{FLOOR:.0%} of its own, with the default margin. Offline by value: the highest expected utility on the "
            "same rows. Online-tuned: what the rounds hold for best, by the posterior mean of their model. Oracle: the "
            "best weights for this ranker by dense search on the truth, on other requests than those that judge.",
            "One world is an example and no proof: examples/rounds/worlds.py plays many.",
        ],
        "heads": list(HAND_PICKED),
        "policies": found.policies,
        "gains": found.gains,
        "groups": found.groups,
    }
    _finish(run, metrics, say, format)


def _begin(
    out: Path, kind: str, seed: int, counts: Mapping[str, int], sizes: Mapping[str, int], quiet: bool, format: str
) -> tuple[GalleryRun, Log]:
    """The folder claimed, once the options are sound."""
    check_format(format)
    faults = [] if seed >= 0 else [Fault("must be at least 0", key="--seed", value=seed)]
    for name, count in counts.items():
        least = LEAST if name.startswith("requests") else 1
        if count < least:
            faults.append(Fault(f"must be at least {least}", key=f"--{name.replace('_', '-')}", value=count))
    if counts.get("groups", 0) > len(LETTERS):  # what `Rounds` would refuse once everything is fitted
        faults.append(Fault(f"must be at most {len(LETTERS)}", key="--groups", value=counts["groups"]))
    raise_faults(faults)
    record = {"command": f"simulate {kind}", "seed": seed, **counts, "sizes": dict(sizes)}
    return GalleryRun.claim(out, record), Log(quiet)


def _meta(seed: int, requests: int, log_requests: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "requests of an experiment": requests,
        "users": POPULATION,
        "candidates of a request": CANDIDATES,
        "shown": SHOWN,
        "log, requests": log_requests,
        "utility weights": weights_text(HAND_PICKED),
    }


def _finish(run: GalleryRun, metrics: Mapping[str, Any], say: Log, format: str) -> None:
    """Write metrics.json and, last, report.html; show the tables."""
    plain = jsonable(metrics)
    write_metrics_json(run.path / "run.json", {**run.record, "versions": versions()})
    write_metrics_json(run.path / "metrics.json", plain)
    write_simulation(run.path / "report.html", plain)
    for block in plain.get("experiments", []):
        show_lifts(block, say)
    if "policies" in plain:
        show_policies(plain, say)
    for sentence in plain["summary"]:
        say(sentence)
    say(f"-> {run.path / 'report.html'}, {run.path / 'metrics.json'}")
    if format == "json":
        print_json(plain)
