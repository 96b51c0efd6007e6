"""What can be read from the photos of a listing: the held-out category, the price; and what cannot.

    python examples/airbnb/compare.py runs/airbnb/data runs/airbnb/frozen --weights FILE [--out runs/airbnb/compare]

Prints Markdown and writes compare.json. Exit code 0 when four claims hold: the category is read by more than .70
without and .74 with the cover photo, R2 of the logarithm of the price is above .132, and probes of shuffled labels are
at chance.

Five folds over groups of listings that share a photo, redrawn for every seed; a linear probe whose strength is chosen
on inner folds of the training part; 95 % intervals over the listings, clustered by group. `category` and `rating_mean`
are held out: no encoder learns from them. An encoder that learns from prices is trained anew for every fold, on its
training part alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from measures import (
    COVER,
    MEAN,
    ORDER_FREE,
    Study,
    measure_category,
    measure_neighbours,
    measure_numbers,
    measure_trained,
    say,
)

from evaluation.gallery.probe_result import MAJORITY
from evaluation.metrics_json import jsonable, write_metrics_json
from galleryrank.exits import REGRESSION, run

ASKED = {ORDER_FREE: 0.70, COVER: 0.74}  # of the category's accuracy
ASKED_R2 = 0.132  # of the log-price, from the mean


def table(header: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def shown(row: Any, value: str, prefix: str = "", sign: str = "") -> str:
    """A number with its interval."""
    return f"{row[value]:{sign}.3f} [{row[f'{prefix}low']:{sign}.3f}, {row[f'{prefix}high']:{sign}.3f}]"


def print_category(accuracy: pd.DataFrame, control: pd.DataFrame) -> bool:
    """Table 1; whether its claims hold."""
    print("## The held-out category, five classes, from frozen vectors\n")
    rows, holds = [], True
    for row in accuracy.to_dict("records"):
        asked, deviation = ASKED.get(row["arm"]), "" if row["arm"] == MAJORITY else f"{row['seed_sd']:.3f}"
        holds &= asked is None or row["accuracy"] > asked
        rows.append([row["arm"], shown(row, "accuracy"), deviation, "" if asked is None else f"{asked:.2f}"])
    table(["vector", "accuracy", "deviation over seeds", "asked for: above"], rows)
    chance = control.to_dict("records")
    print(
        "Labels shuffled before training: "
        + "; ".join(f"{row['arm']} {row['accuracy']:.3f} (majority {row['majority']:.3f})" for row in chance)
        + f". {'At chance' if all(row['at_chance'] for row in chance) else 'NOT AT CHANCE: the folds leak'}.\n"
    )
    return holds and all(row["at_chance"] for row in chance)


def print_numbers(prices: pd.DataFrame, others: pd.DataFrame, rated: pd.DataFrame) -> bool:
    """Table 2; whether its claim holds."""
    print("## Numbers, from frozen vectors: R2 of a ridge regression\n")
    price_rows = [[f"log of the price, from {row['arm']}", row] for row in prices.to_dict("records")]
    other_rows = [[f"{row['arm']}, from {MEAN}", row] for row in others.to_dict("records")]
    table(
        ["", "listings", "R2"],
        [[words, str(row["items"]), shown(row, "r2")] for words, row in [*price_rows, *other_rows]],
    )
    row = rated.iloc[0]
    print(
        f"Whether the mean rating is above its median, from {MEAN}: accuracy {row['accuracy']:.3f}, less that of the "
        f"more frequent side {shown(row, 'difference', sign='+')}.\n"
    )
    price = float(prices.set_index("arm").loc[MEAN, "r2"])
    return price > ASKED_R2


def print_neighbours(rows: pd.DataFrame) -> None:
    """Table 3."""
    print("## Other settings\n")
    yes = {True: "yes", False: "no"}
    header = [f"category, {ORDER_FREE}", f"category, {COVER}", f"R2 of the log-price, {MEAN} (one seed)"]
    cells = [
        [str(row["photo_size"]), yes[row["root"]], yes[row["mirror"]]]
        + [f"{row[name]:.3f}" for name in (ORDER_FREE, COVER, "r2")]
        for row in rows.to_dict("records")
    ]
    table(["pixels", "root", "mirror", *header], cells)


def print_trained(rows: pd.DataFrame) -> None:
    """Table 4."""
    print("## Encoders trained on price, guests, bedrooms, amenities and country, anew for every fold\n")
    table(
        ["encoder", "seeds", "category", "less the frozen one", "R2 of the log-price", "less the frozen one"],
        [
            [f"{r['arm']}, {r['photo_size']} px", str(r["seeds"]), shown(r, "accuracy"),
             shown(r, "gain_difference", "gain_", "+"), shown(r, "r2_value", "r2_"),
             shown(r, "r2_difference", "r2_difference_", "+")]
            for r in rows.to_dict("records")
        ],
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write compare.json; 1 where a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="what prepare.py wrote")
    parser.add_argument("frozen", type=Path, help="a run of `galleryrank embed --untrained` by frozen.toml")
    parser.add_argument("--weights", type=Path, required=True, help="of SqueezeNet 1.1")
    parser.add_argument("--out", type=Path, default=Path("runs/airbnb/compare"))
    parser.add_argument("--seeds", type=int, default=3, help="divisions into folds")
    parser.add_argument("--jobs", type=int, default=2, help="threads, and probes at a time")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.jobs)
    given.out.mkdir(parents=True, exist_ok=True)
    study = Study(given.data, given.frozen, given.out, given.seeds, given.jobs)
    labels = study.category()
    say(f"{len(labels)} listings in {len(set(study.data.groups))} groups, {len(study.data.photos):,} photos")
    accuracy, control = measure_category(study)
    holds = print_category(accuracy, control)
    prices, others, rated = measure_numbers(study)
    holds &= print_numbers(prices, others, rated)
    neighbours = measure_neighbours(study)
    print_neighbours(neighbours)
    trained = measure_trained(study, given.weights)
    print_trained(trained)
    found = {
        "category": accuracy, "control": control, "price": prices, "others": others, "rating": rated,
        "neighbours": neighbours, "trained": trained, "holds": holds,
    }  # fmt: skip
    write_metrics_json(given.out / "compare.json", jsonable(found))
    print("All four claims hold." if holds else "A CLAIM DOES NOT HOLD.")
    say(f"-> {given.out / 'compare.json'}")
    return 0 if holds else REGRESSION


if __name__ == "__main__":
    sys.exit(run(main))
