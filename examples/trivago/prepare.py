"""Join the trivago hotel log into one impression table that galleryrank can read.

    python examples/trivago/prepare.py SHARED_DATA_DIR OUT_DIR

One output row is one hotel shown in one session (`session_items.parquet`); its time is the start of the session, and so
is the moment of every feature: counts of the hotel, the city, the platform and the user take in only actions and lists
logged strictly *before* that start, whichever session they belong to. Nothing the session itself did is a feature:
neither actions on the hotel (the labels count them) nor `times_shown` and `n_click`, and not the step of the list either
(it counts the actions that came before, photo views above all). Of the list that showed the hotel first, only what the page
displays is used: position, prices, length, filters.

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


def earlier_sums(
    event_keys: Keys, event_time: Keys, event_values: Floats, keys: Keys, time: Keys
) -> Floats:
    """Sum, for each query row, the values of the events with the same key and a strictly earlier time.

    Args:
        event_keys: (E,) non-negative integers.
        event_time: (E,) seconds.
        event_values: (E, K).
        keys: (N,) the keys asked for.
        time: (N,) an event at exactly this time does not count: its outcome was not known before it.

    Returns:
        (N, K) sums.

    >>> earlier_sums(np.array([1, 1]), np.array([5, 7]), np.array([[1.0], [2.0]]), np.array([1, 1, 2]), np.array([7, 8, 9]))
    array([[1.],
           [3.],
           [0.]])
    """
    # Small codes keep the sortable number below inside 64 bits, whatever the keys are.
    distinct = np.unique(np.concatenate([event_keys, keys]))
    event_keys, keys = np.searchsorted(distinct, event_keys), np.searchsorted(distinct, keys)
    order = np.lexsort((event_time, event_keys))
    sorted_keys, sorted_time = event_keys[order], event_time[order]
    start = min(event_time.min(initial=0), time.min(initial=0))
    span = max(event_time.max(initial=0), time.max(initial=0)) - start + 1
    # One sortable number per (key, time): a binary search then finds the end of "same key, earlier time".
    sortable = sorted_keys * span + (sorted_time - start)
    total = np.concatenate([np.zeros((1, event_values.shape[1])), np.cumsum(event_values[order], axis=0)])
    first = np.searchsorted(sortable, keys * span, side="left")
    last = np.searchsorted(sortable, keys * span + (time - start), side="left")
    return np.asarray(total[last] - total[first])


def _codes(*columns: pd.Series) -> list[Keys]:
    """Number the distinct values of several columns of one kind with one common set of codes."""
    codes, _ = pd.factorize(pd.concat(columns, ignore_index=True))
    return [np.asarray(part, dtype=np.int64) for part in np.split(codes, np.cumsum([len(c) for c in columns])[:-1])]


def _pairs(left: Keys, right: Keys) -> Keys:
    """One code for each pair of codes."""
    return left * np.int64(1 << 31) + right


def _smoothed(part: Floats, whole: Floats, prior: Floats | float, strength: float) -> Floats:
    """Rate of `part` in `whole`, drawn to `prior` as if `strength` further cases had been seen."""
    return np.asarray((part + strength * prior) / (whole + strength))


def list_context(impressions: pd.DataFrame) -> pd.DataFrame:
    """What the page shows about a hotel's price beside the others of its list: one row per (list, hotel)."""
    shown = impressions.sort_values(["list_id", "position"], kind="stable")[["list_id", "item_id", "position", "price"]]
    price = shown.groupby("list_id").price
    log_price = np.log(shown.price.clip(lower=1))
    by_list = log_price.groupby(shown.list_id)
    shown["log_price"] = log_price
    shown["price_to_median"] = log_price - by_list.transform("median")
    shown["price_rank"] = (price.rank(method="average") - 0.5) / price.transform("size")
    shown["cheaper_above"] = log_price - by_list.cummin().groupby(shown.list_id).shift()
    shown["price_to_previous"] = log_price - by_list.shift(1)
    shown["price_to_next"] = log_price - by_list.shift(-1)
    shown["price_spread"] = by_list.transform("std")
    return shown.drop(columns=["position", "price"])


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
        lists[["list_id", "user_id", "session_id", "timestamp", "platform", "city", "price_median"]], on="list_id"
    )
    return rows, on_items, shown.astype({"timestamp": "int64", "item_id": "int64"})


def item_history(rows: pd.DataFrame, actions: pd.DataFrame, shown: pd.DataFrame) -> dict[str, Floats]:
    """What the log knew about the hotel when the session began."""
    item, acted, listed = _codes(rows.item_id, actions.item_id, shown.item_id)
    time = rows.timestamp.to_numpy()
    event_time = shown.timestamp.to_numpy()
    place = shown.position.to_numpy(dtype=np.int64)
    click = shown.clickout.to_numpy(dtype=np.float64)
    once = np.ones(len(shown))
    at_place = earlier_sums(place, event_time, np.stack([click, once], 1), place, event_time)
    expected = _smoothed(at_place[:, 0], at_place[:, 1], 0.04, 25.0)
    log_price = np.log(shown.price.clip(lower=1)).to_numpy()
    values = np.stack([once, click, expected, place.astype(np.float64), log_price], axis=1)
    count, clicks, expected, places, prices = earlier_sums(listed, event_time, values, item, time).T
    kinds = np.stack([(actions.kind == kind).to_numpy(dtype=np.float64) for kind in KINDS], axis=1)
    done = earlier_sums(acted, actions.timestamp.to_numpy(), kinds, item, time)
    seen = np.where(count > 0, count, np.nan)
    return {
        "item_shown": np.log1p(count),
        "item_click_lift": np.log((clicks + 1.0) / (expected + 1.0)),
        "item_mean_position": places / seen,
        "item_price_change": rows.log_price.to_numpy() - prices / seen,
        **{f"item_{kind}": np.log1p(done[:, k]) for k, kind in enumerate(KINDS)},
    }


def place_history(rows: pd.DataFrame, actions: pd.DataFrame, shown: pd.DataFrame, column: str) -> dict[str, Floats]:
    """Earlier habits of a city or a platform: how often each action happens there, and at what price people click."""
    key, acted, listed = _codes(rows[column], actions[column], shown[column])
    time = rows.timestamp.to_numpy()
    log_price = np.log(shown.price.clip(lower=1)).to_numpy()
    click = shown.clickout.to_numpy(dtype=np.float64)
    to_median = log_price - np.log(np.maximum(shown.price_median.to_numpy(dtype=np.float64), 1.0))
    place = shown.position.to_numpy(dtype=np.float64)
    values = np.stack([np.ones(len(shown)), log_price, click, click * log_price, click * to_median, click * place], 1)
    count, price, clicks, paid, relative, where = earlier_sums(listed, shown.timestamp.to_numpy(), values, key, time).T
    kinds = np.stack([(actions.kind == kind).to_numpy(dtype=np.float64) for kind in KINDS], axis=1)
    done = earlier_sums(acted, actions.timestamp.to_numpy(), kinds, key, time)
    seen, clicked = np.where(count > 0, count, np.nan), np.where(clicks > 0, clicks, np.nan)
    return {
        f"{column}_shown": np.log1p(count),
        f"{column}_price": rows.log_price.to_numpy() - price / seen,
        f"{column}_click_price": rows.log_price.to_numpy() - paid / clicked,
        f"{column}_click_to_median": relative / clicked,
        f"{column}_click_position": where / clicked,
        **{
            f"{column}_{kind}": np.log(_smoothed(done[:, k], count, 0.01, 100.0))
            for k, kind in enumerate(KINDS)
        },
    }


def user_history(rows: pd.DataFrame, actions: pd.DataFrame, shown: pd.DataFrame) -> dict[str, Floats]:
    """The user's own earlier sessions: how much, at what price, and whether this hotel was in them."""
    user, acted, listed = _codes(rows.user_id, actions.user_id, shown.user_id)
    item, acted_item, listed_item = _codes(rows.item_id, actions.item_id, shown.item_id)
    time = rows.timestamp.to_numpy()
    log_price = np.log(shown.price.clip(lower=1)).to_numpy()
    click = shown.clickout.to_numpy(dtype=np.float64)
    to_median = log_price - np.log(np.maximum(shown.price_median.to_numpy(dtype=np.float64), 1.0))
    place = shown.position.to_numpy(dtype=np.float64)
    once = np.ones(len(shown))
    values = np.stack([once, click, click * log_price, click * to_median, click * place], axis=1)
    count, clicks, paid, relative, where = earlier_sums(listed, shown.timestamp.to_numpy(), values, user, time).T
    kinds = np.stack([(actions.kind == kind).to_numpy(dtype=np.float64) for kind in KINDS], axis=1)
    done = earlier_sums(acted, actions.timestamp.to_numpy(), kinds, user, time)
    same = earlier_sums(
        _pairs(acted, acted_item), actions.timestamp.to_numpy(), kinds, _pairs(user, item), time
    ) if len(actions) else np.zeros((len(rows), len(KINDS)))
    again = earlier_sums(
        _pairs(listed, listed_item), shown.timestamp.to_numpy(), once[:, None], _pairs(user, item), time
    )
    starts = rows.drop_duplicates("session_id")
    start_user, row_user = _codes(starts.user_id, rows.user_id)
    sessions = earlier_sums(start_user, starts.timestamp.to_numpy(), np.ones((len(starts), 1)), row_user, time)
    clicked = np.where(clicks > 0, clicks, np.nan)
    return {
        "user_sessions": sessions[:, 0],
        "user_shown": np.log1p(count),
        "user_click_price": rows.log_price.to_numpy() - paid / clicked,
        "user_click_to_median": rows.price_to_median.to_numpy() - relative / clicked,
        "user_click_position": where / clicked,
        **{f"user_{kind}": np.log1p(done[:, k]) for k, kind in enumerate(KINDS)},
        "user_item_shown": np.log1p(again[:, 0]),
        **{f"user_item_{kind}": np.log1p(same[:, k]) for k, kind in enumerate(KINDS)},
    }


def prepare(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the impression table and the table of hotels with known properties."""
    rows, actions, shown = read_log(folder)
    history = {
        **item_history(rows, actions, shown),
        **place_history(rows, actions, shown, "city"),
        **place_history(rows, actions, shown, "platform"),
        **user_history(rows, actions, shown),
    }
    rows["n_items"] = rows.n_items.clip(lower=SHORT_LIST)
    rows["country"] = rows.city.str.rsplit(", ", n=1).str[-1]
    rows["hour"] = (rows.timestamp // 3600 % 24).astype("int8")
    rows["filters"] = rows.current_filters.fillna("").map(lambda text: sorted(set(text.split("|"))) if text else [])
    kept = ["session_id", "item_id", "user_id", "timestamp", *HEADS, "position", "n_items", "platform", "city", "country"]
    kept += ["device", "hour", "filters", "price", "log_price", "price_to_median", "price_rank", "cheaper_above"]
    kept += ["price_to_previous", "price_to_next", "price_spread"]
    table = pd.concat([rows[kept], pd.DataFrame(history, index=rows.index).astype("float32")], axis=1)
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
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="folder to write impressions.parquet and items.parquet to")
    arguments = parser.parse_args()
    table, items = prepare(arguments.data)
    arguments.out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), arguments.out / "impressions.parquet")
    pq.write_table(pa.Table.from_pandas(items, preserve_index=False), arguments.out / "items.parquet")


if __name__ == "__main__":
    main()
