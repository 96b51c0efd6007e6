"""Join the trivago hotel log into one impression table that galleryrank can read.

    python examples/trivago/prepare.py SHARED_DATA_DIR OUT_DIR

One output row is one hotel shown in one session (`session_items.parquet`); its time is the start of the session, and
so is the moment of every feature: the histories of the hotel and of the user take in only actions and lists logged
strictly *before* that start, whichever session they belong to. Nothing the session itself did is a feature: neither
actions on the hotel (the labels count them) nor `times_shown` and `n_click`, and not the step of the list either (it
counts the actions that came before, photo views above all). Of the list that showed the hotel first, only what the
page displays is used: position, prices, length, filters.

A list is in the log because a click happened in it, so a list of one hotel always has its click: lengths below
`SHORT_LIST` count as `SHORT_LIST`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.statistics import earlier_statistics

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.int64]

HEADS = ("click", "closeup", "detail", "deals", "reclick", "searched")
SHORT_LIST = 5
ACTIONS = {
    "clickout item": "click",
    "interaction item image": "closeup",
    "interaction item info": "detail",
    "interaction item rating": "detail",
    "interaction item deals": "deals",
    "search for item": "searched",
}
KINDS = tuple(dict.fromkeys(ACTIONS.values()))
KEYS = ("session_id", "item_id", "user_id", "timestamp")
PRICES = ("log_price", "price_to_median", "price_rank", "price_spread")
NEIGHBOURS = ("cheaper_above", "price_to_previous", "price_to_next")
PAGE = ("position", "n_items", "platform", "city", "device", "filters", *PRICES, *NEIGHBOURS)


def known_before(event_keys: Keys, event_time: Keys, values: Floats, keys: Keys, time: Keys) -> Floats:
    """Sum, for each row asked for, the events with the same key and a strictly earlier time.

    Args:
        event_keys: (E,) integers.
        event_time: (E,) seconds.
        values: (E, K) of the events.
        keys: (N,) the keys asked for.
        time: (N,) an event at exactly this time does not count: its outcome was not known before it.

    Returns:
        (N, K) sums.

    >>> event_keys, event_time, values = np.array([1, 1]), np.array([5, 7]), np.array([[1.0], [2.0]])
    >>> known_before(event_keys, event_time, values, np.array([1, 1, 2]), np.array([7, 8, 9]))
    array([[1.],
           [3.],
           [0.]])
    """
    nothing = np.zeros((len(keys), values.shape[1]))  # a row that asks adds nothing to what others see
    _, sums = earlier_statistics(
        np.concatenate([event_keys, keys]), np.concatenate([event_time, time]), np.concatenate([values, nothing])
    )
    return np.asarray(sums[len(event_keys) :])


def _codes(*columns: pd.Series) -> list[Keys]:
    """Number the distinct values of several columns of one kind with one common set of codes."""
    codes, _ = pd.factorize(pd.concat(columns, ignore_index=True))
    return [np.asarray(part, dtype=np.int64) for part in np.split(codes, np.cumsum([len(c) for c in columns])[:-1])]


def _pairs(left: Keys, right: Keys) -> Keys:
    """One code for each pair of codes."""
    return left * np.int64(1 << 31) + right


def _mean(total: Floats, count: Floats) -> Floats:
    """Mean of what was seen, NaN (missing) where nothing was."""
    return np.asarray(total / np.where(count > 0, count, np.nan))


def list_context(impressions: pd.DataFrame) -> pd.DataFrame:
    """What the page shows about a hotel's price beside the others of its list: one row per (list, hotel).

    Differences of log prices. A hotel without a neighbour differs by 0 from it, and the spread of a short list is
    missing, so that no value of its own marks the lists of one hotel.
    """
    shown = impressions.sort_values(["list_id", "position"], kind="stable")[["list_id", "item_id", "price"]]
    price, length = shown.groupby("list_id").price, shown.groupby("list_id").price.transform("size")
    log_price = np.log(shown.price.clip(lower=1))
    by_list = log_price.groupby(shown.list_id)
    shown["log_price"] = log_price
    shown["price_to_median"] = log_price - by_list.transform("median")
    shown["price_rank"] = (price.rank(method="average") - 0.5) / length
    shown["price_spread"] = by_list.transform("std").where(length >= SHORT_LIST)
    shown["cheaper_above"] = (log_price - by_list.cummin().groupby(shown.list_id).shift()).fillna(0.0)
    shown["price_to_previous"] = (log_price - by_list.shift(1)).fillna(0.0)
    shown["price_to_next"] = (log_price - by_list.shift(-1)).fillna(0.0)
    return shown.drop(columns="price")


def read_log(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Read rows (one hotel in one session), the log's actions on hotels, and every shown hotel with its list."""
    actions = pd.read_parquet(folder / "actions.parquet")
    lists = pd.read_parquet(folder / "lists.parquet")
    impressions = pd.read_parquet(folder / "impressions.parquet")
    rows = pd.read_parquet(folder / "session_items.parquet")
    place = ["list_id", "user_id", "n_items", "platform", "city", "device", "current_filters"]
    rows = rows.merge(lists[place], on="list_id", how="left", validate="many_to_one")
    rows = rows.merge(list_context(impressions), on=["list_id", "item_id"], how="left", validate="one_to_one")
    rows["timestamp"] = rows.session_id.map(actions.groupby("session_id").timestamp.min()).astype("int64")
    actions["kind"] = actions.action_type.map(ACTIONS)
    actions["item_id"] = pd.to_numeric(actions.reference, errors="coerce")
    on_items = actions.dropna(subset=["kind", "item_id"]).astype({"item_id": "int64", "timestamp": "int64"})
    shown = impressions[["list_id", "item_id", "position", "price", "clickout"]].merge(
        lists[["list_id", "user_id", "session_id", "timestamp"]], on="list_id"
    )
    return rows, on_items, shown.astype({"timestamp": "int64", "item_id": "int64"})


def item_history(rows: pd.DataFrame, shown: pd.DataFrame) -> dict[str, Floats]:
    """What the log knew about the hotel when the session began: how often it was shown, how well it did, and where.

    `item_click_lift` is log((clicks + 1) / (expected clicks + 1)); a display's expected click is the rate of its
    position in the lists before it, so a hotel that is always on top gains nothing by that alone.
    """
    item, listed = _codes(rows.item_id, shown.item_id)
    event_time = shown.timestamp.to_numpy()
    place = shown.position.to_numpy(dtype=np.int64)
    click, once = shown.clickout.to_numpy(dtype=np.float64), np.ones(len(shown))
    clicked_there, shown_there = known_before(place, event_time, np.stack([click, once], 1), place, event_time).T
    expected = (clicked_there + 1.0) / (shown_there + 25.0)  # 25 places: starts at 1/25, whatever the place
    values = np.stack([once, click, expected, place.astype(np.float64)], axis=1)
    count, clicks, hoped, places = known_before(listed, event_time, values, item, rows.timestamp.to_numpy()).T
    return {
        "item_shown": np.log1p(count),
        "item_click_lift": np.log((clicks + 1.0) / (hoped + 1.0)),
        "item_mean_position": _mean(places, count),
    }


def user_history(rows: pd.DataFrame, actions: pd.DataFrame, shown: pd.DataFrame) -> dict[str, Floats]:
    """The user's own earlier sessions: how much was done, at what price, and whether this hotel was in them."""
    user, acted, listed = _codes(rows.user_id, actions.user_id, shown.user_id)
    item, acted_item, listed_item = _codes(rows.item_id, actions.item_id, shown.item_id)
    time, list_time, action_time = (frame.timestamp.to_numpy() for frame in (rows, shown, actions))
    click, place = shown.clickout.to_numpy(dtype=np.float64), shown.position.to_numpy(dtype=np.float64)
    values = np.stack([click, click * np.log(shown.price.clip(lower=1)).to_numpy(), click * place], axis=1)
    clicks, paid, places = known_before(listed, list_time, values, user, time).T
    kinds = np.stack([np.asarray(actions.kind == kind, dtype=np.float64) for kind in KINDS], axis=1)
    done = known_before(acted, action_time, kinds, user, time)
    pair, once = _pairs(user, item), np.ones((len(shown), 1))
    is_click = kinds[:, [KINDS.index("click")]]
    start_user, row_user = _codes((starts := rows.drop_duplicates("session_id")).user_id, rows.user_id)
    sessions = known_before(start_user, starts.timestamp.to_numpy(), np.ones((len(starts), 1)), row_user, time)
    return {
        "user_sessions": sessions[:, 0],
        "user_click_price": rows.log_price.to_numpy() - _mean(paid, clicks),
        "user_click_position": _mean(places, clicks),
        **{f"user_{kind}": np.log1p(done[:, k]) for k, kind in enumerate(KINDS)},
        "user_item_shown": np.log1p(known_before(_pairs(listed, listed_item), list_time, once, pair, time)[:, 0]),
        "user_item_click": np.log1p(known_before(_pairs(acted, acted_item), action_time, is_click, pair, time)[:, 0]),
    }


def prepare(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the impressions, in order of time, and the hotels with known properties."""
    rows, actions, shown = read_log(folder)
    history = {**item_history(rows, shown), **user_history(rows, actions, shown)}
    rows["n_items"] = rows.n_items.clip(lower=SHORT_LIST)
    rows["filters"] = rows.current_filters.fillna("").map(lambda text: sorted(set(text.split("|"))) if text else [])
    table = pd.concat([rows[[*KEYS, *HEADS, *PAGE]], pd.DataFrame(history, index=rows.index).astype("float32")], axis=1)
    hotels = pd.read_parquet(folder / "hotel_properties.parquet")
    flags = hotels.drop(columns=["item_id", "star"])
    names = np.asarray(flags.columns, dtype=object)
    properties = [list(names[on]) for on in flags.to_numpy(dtype=bool)]
    star = hotels.star.where(hotels.star > 0)
    items = pd.DataFrame({"item_id": hotels.item_id, "star": star, "properties": properties})
    return table.sort_values(["timestamp", "session_id", "position", "item_id"], kind="stable"), items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="SHARED_DATA_DIR", help="folder with session_items.parquet")
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="where to write impressions.parquet, items.parquet")
    arguments = parser.parse_args()
    table, items = prepare(arguments.data)
    arguments.out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), arguments.out / "impressions.parquet")
    pq.write_table(pa.Table.from_pandas(items, preserve_index=False), arguments.out / "items.parquet")


if __name__ == "__main__":
    main()
