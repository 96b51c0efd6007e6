"""Make a data set that galleryrank can read of the Airbnb galleries.

    python examples/airbnb/prepare.py SHARED_DATA_DIR OUT_DIR

Writes items.parquet, one row per listing, and dataset.toml. The photos are used where they lie: dataset.toml names
SHARED_DATA_DIR/photos.parquet by its path from OUT_DIR. The country is read from the end of the listing's place, which
is text without commas ("Boone North Carolina United States").
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features import Fault, InputError
from features.reading import open_parquet
from galleryrank.exits import run

TEMPLATE = Path(__file__).with_name("dataset.toml")
PHOTOS_LINE = 'photos = "photos.parquet"'
TASKS = ("price_night", "guests", "bedrooms", "amenities_count")
HELD_OUT = ("category", "rating_mean")
NEEDED = {
    "listings.parquet": ("listing_id", "location", *TASKS, *HELD_OUT, "group"),
    "photos.parquet": ("listing_id", "photo", "jpeg"),
}
# Countries and territories of more than one word; any other one is the last word of the place.
LONG_NAMES = (
    "Antigua & Barbuda", "Bosnia & Herzegovina", "Bosnia and Herzegovina", "British Virgin Islands", "Burkina Faso",
    "Cape Verde", "Cayman Islands", "Central African Republic", "Cook Islands", "Costa Rica", "Czech Republic",
    "Dominican Republic", "El Salvador", "Equatorial Guinea", "Falkland Islands", "Faroe Islands", "French Guiana",
    "French Polynesia", "Hong Kong", "Isle of Man", "Ivory Coast", "Marshall Islands", "New Caledonia", "New Zealand",
    "North Korea", "North Macedonia", "Papua New Guinea", "Puerto Rico", "San Marino", "Saudi Arabia", "Sierra Leone",
    "Sint Maarten", "Solomon Islands", "South Africa", "South Korea", "South Sudan", "Sri Lanka", "St Kitts & Nevis",
    "St Lucia", "St Martin", "St Vincent & the Grenadines", "The Bahamas", "The Gambia", "Trinidad & Tobago",
    "Turks & Caicos Islands", "US Virgin Islands", "United Arab Emirates", "United Kingdom", "United States",
    "Vatican City",
)  # fmt: skip


def country_of(location: pd.Series) -> pd.Series:
    """The country at the end of each place; missing where the text ends in anything but letters.

    >>> country_of(pd.Series(["Boone North Carolina United States", "Krems-Land Austria", "['Hair dryer']"])).tolist()
    ['United States', 'Austria', nan]
    """
    names = "|".join(re.escape(name) for name in LONG_NAMES)
    # The leftmost match wins, so a long name comes before its own last word.
    return location.str.extract(rf"(?:^|\s)({names}|[^\W\d_]+)\s*$", expand=False)


def prepare(folder: Path) -> pd.DataFrame:
    """The listings `(V, ...)`: id, tasks, held-out columns, group.

    Raises:
        InputError: the folder, one of its files or a column is missing; every fault at once.
    """
    if not folder.is_dir():
        raise InputError(Fault("does not exist, or is no folder: the data are not part of this project", folder))
    faults: list[Fault] = []
    for name, columns in NEEDED.items():
        try:
            with open_parquet(folder / name) as file:
                found = set(file.schema_arrow.names)
        except InputError as error:
            faults += error.faults
        else:
            faults += [Fault("is missing", folder / name, column) for column in columns if column not in found]
    if faults:
        raise InputError(faults)
    items = pq.read_table(folder / "listings.parquet", columns=list(NEEDED["listings.parquet"])).to_pandas()
    country = country_of(items.pop("location"))
    return items.assign(country=country)[["listing_id", *TASKS, "country", *HELD_OUT, "group"]]


def dataset_toml(folder: Path, out: Path) -> str:
    """The text of dataset.toml, with the photos of `folder` by their path from `out`."""
    place = Path(os.path.relpath(folder.resolve() / "photos.parquet", out.resolve())).as_posix()
    return TEMPLATE.read_text(encoding="utf-8").replace(PHOTOS_LINE, f"photos = {json.dumps(place)}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "data", type=Path, metavar="SHARED_DATA_DIR", help="folder with listings.parquet, photos.parquet"
    )
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="where to write items.parquet and dataset.toml")
    given = parser.parse_args(arguments)
    items = prepare(given.data)
    given.out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(items, preserve_index=False), given.out / "items.parquet")
    (given.out / "dataset.toml").write_text(dataset_toml(given.data, given.out), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run(main))
