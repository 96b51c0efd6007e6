"""The hotel log's preparation: no feature gives a label away, histories end before a session starts."""

from __future__ import annotations

import importlib.util
import shutil
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import Dataset

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "trivago"
REAL = ROOT.parent / "shared" / "data" / "trivago_impressions"
ROLES = ("train", "calibrate", "tune", "test")
HEADS = ["click", "closeup", "detail", "deals", "reclick", "searched"]
MOST = 0.7  # the surest legitimate value (the user clicked this hotel in an earlier session) has a click rate of .52
ENOUGH = 30  # rows below which a rate says nothing: with 30, .7 is five standard errors above the surest honest rate

needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the trivago log is not at ../shared/data")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trivago_prepare", EXAMPLE / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder: Path, **tables: pd.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / f"{name}.parquet")
    return folder


def prepared(example: ModuleType, source: Path, out: Path) -> Dataset:
    table, items = example.prepare(source)
    write(out, impressions=table, items=items)
    shutil.copy(EXAMPLE / "dataset.toml", out)
    return Dataset.open(out)


@pytest.fixture(scope="module")
def real(example: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepared(example, REAL, tmp_path_factory.mktemp("trivago"))


def surest(values: pd.Series, labels: pd.DataFrame) -> float:
    """The highest rate of any label among the rows of one value (of one hundredth, where there are many)."""
    if len(values) and isinstance(values.dropna().iloc[0] if values.notna().any() else None, (list, np.ndarray)):
        values = values.explode().dropna()
        labels = labels.loc[values.index]
    elif pd.api.types.is_float_dtype(values) and values.nunique() > 200:
        values = pd.cut(values.rank(method="first"), 100, labels=False)
    groups = labels.groupby(values.to_numpy(), dropna=False)
    rates = groups.mean()[groups.size() >= ENOUGH]
    return float(rates.to_numpy().max(initial=0.0))


def features_of(dataset: Dataset) -> list[str]:
    schema = dataset.schema
    assert schema.position is not None
    return [*schema.columns.categorical, *schema.columns.numeric, schema.position.column]


# ------------------------------------------------------------------------------------------------- on the real log
@needs_real
def test_no_feature_value_gives_a_label_away(real: Dataset) -> None:
    names = features_of(real)
    log = pd.concat([real.table(role, [*names, *HEADS]).to_pandas() for role in ROLES], ignore_index=True)
    told = {name: surest(log[name], log[HEADS]) for name in names}
    assert max(told.values()) < MOST, told
    missing = {n: surest(log[n].isna().astype(int), log[HEADS]) for n in names}  # missing is a value too
    assert max(missing.values()) < MOST, missing


@needs_real
def test_the_same_check_catches_what_is_forbidden(real: Dataset) -> None:
    """Counts over the whole session, and any action on the hotel in it, are known only with the labels."""
    rows = pd.read_parquet(REAL / "session_items.parquet")
    actions = pd.read_parquet(REAL / "actions.parquet")
    images = actions[actions.action_type == "interaction item image"].groupby(["session_id", "reference"]).size()
    key = pd.MultiIndex.from_arrays([rows.session_id, rows.item_id.astype(str)])
    forbidden = {"n_click": rows.n_click, "images": pd.Series(images.reindex(key).fillna(0).clip(upper=3).to_numpy())}
    for name, values in forbidden.items():
        assert name not in features_of(real)
        assert surest(values, rows[HEADS]) > 0.99, name
    assert not {"times_shown", "n_click", "step"} & set(real.table("test").column_names)


@needs_real
def test_a_list_of_one_hotel_cannot_be_told(example: ModuleType, real: Dataset) -> None:
    """Such a list always has its click, because a click is why a list is in the log."""
    lists = pd.read_parquet(REAL / "lists.parquet")
    rows = pd.read_parquet(REAL / "session_items.parquet").merge(lists[["list_id", "n_items"]], on="list_id")
    assert surest(rows.n_items, rows[HEADS]) == 1.0
    lengths = np.concatenate([real.table(role, ["n_items"])["n_items"].to_numpy() for role in ROLES])
    assert (lengths.min(), lengths.max()) == (example.SHORT_LIST, 25)


@needs_real
def test_histories_are_counts_of_what_came_before_the_session(example: ModuleType, real: Dataset) -> None:
    """Counted again by going through the log, for hotels and users that have a past."""
    _, actions, shown = example.read_log(REAL)
    table = real.table("test").to_pandas()
    some = pd.concat(
        [
            table[table.user_item_click > 0].sample(15, random_state=0),
            table[table.user_closeup > 0].sample(15, random_state=0),
            table[table.item_shown > 1.5].sample(15, random_state=0),
        ]
    )
    for row in some.itertuples():
        before = shown[shown.timestamp < row.timestamp]
        hotel, mine = before[before.item_id == row.item_id], before[before.user_id == row.user_id]
        done = actions[(actions.timestamp < row.timestamp) & (actions.user_id == row.user_id)]
        assert row.session_id not in set(mine.session_id) | set(done.session_id)
        assert np.isclose(row.item_shown, np.log1p(len(hotel)), atol=1e-5)
        if len(hotel):
            assert np.isclose(row.item_mean_position, hotel.position.mean(), atol=1e-4)
        assert np.isclose(row.user_item_shown, np.log1p((mine.item_id == row.item_id).sum()), atol=1e-5)
        assert np.isclose(row.user_closeup, np.log1p((done.kind == "closeup").sum()), atol=1e-5)
        if mine.clickout.any():
            clicked = mine[mine.clickout == 1]
            assert np.isclose(row.user_click_position, clicked.position.mean(), atol=1e-4)
            assert np.isclose(row.user_click_price, row.log_price - np.log(clicked.price).mean(), atol=1e-4)


@needs_real
def test_sessions_are_whole_and_later_roles_start_later(real: Dataset) -> None:
    assert real.validate().ok
    assert real.num_rows == pq.read_metadata(REAL / "session_items.parquet").num_rows
    times, sessions = [], []
    for role in ROLES:
        part = real.table(role, ["session_id", "timestamp"]).to_pandas()
        times.append((part.timestamp.min(), part.timestamp.max()))
        sessions.append(set(part.session_id))
    assert all(earlier[1] < later[0] for earlier, later in pairwise(times))
    assert sum(map(len, sessions)) == len(set().union(*sessions)) == 7215


# -------------------------------------------------------------------------------------------- on a small made-up log
def made_up_log(seed: int = 0, sessions: int = 60) -> dict[str, pd.DataFrame]:
    """A log in the files of the real one: a session of each minute, some running into later ones."""
    rng = np.random.default_rng(seed)
    actions: list[tuple[object, ...]] = []
    lists: list[tuple[object, ...]] = []
    impressions: list[tuple[object, ...]] = []
    for s in range(sessions):
        user, start = f"u{rng.integers(12)}", 1000 + 60 * s
        step, clock, session = 0, start, f"s{s:03d}"
        place = {"platform": "DE", "city": f"City {s % 3}, Land", "device": "mobile", "current_filters": None}
        place["current_filters"] = [None, "Sort by Price", "4 Star|Resort"][s % 3]
        for _ in range(rng.integers(1, 3)):
            hotels = rng.choice(30, size=(1 if s == 5 else rng.integers(3, 9)), replace=False) + 100
            chosen = rng.choice(hotels)
            for kind in ["interaction item image", "search for poi", "clickout item"][rng.integers(3) :]:
                step, clock = step + 1, clock + (int(rng.integers(0, 90)) if step else 0)
                target = "somewhere" if kind == "search for poi" else str(chosen)
                actions.append((user, session, clock, step, kind, target, *place.values()))
            lists.append((len(lists), user, session, step, clock, *place.values(), len(hotels), 80.0))
            for position, hotel in enumerate(hotels, start=1):
                price = int(rng.integers(30, 200))
                impressions.append((len(lists) - 1, session, step, clock, hotel, price, position, int(hotel == chosen)))
    who = ["user_id", "session_id"]
    where = ["platform", "city", "device", "current_filters"]
    a = pd.DataFrame(actions, columns=[*who, "timestamp", "step", "action_type", "reference", *where])
    listed = ["list_id", *who, "step", "timestamp", *where, "n_items", "price_median"]
    i = pd.DataFrame(
        impressions,
        columns=["list_id", "session_id", "step", "timestamp", "item_id", "price", "position", "clickout"],
    )
    columns = ["session_id", "item_id", "list_id", "position", "price"]
    rows = i.drop_duplicates(["session_id", "item_id"])[columns].reset_index(drop=True)
    pairs = pd.MultiIndex.from_frame(rows[["session_id", "item_id"]])
    clicks = i.groupby(["session_id", "item_id"]).clickout.sum().reindex(pairs).to_numpy()
    images = set(
        a[a.action_type == "interaction item image"][["session_id", "reference"]].itertuples(index=False, name=None)
    )
    rows["click"], rows["n_click"], rows["reclick"] = (clicks > 0).astype("int8"), clicks, (clicks > 1).astype("int8")
    rows["closeup"] = [int((s, str(h)) in images) for s, h in zip(rows.session_id, rows.item_id, strict=True)]
    rows[["detail", "deals", "searched"]] = rng.integers(0, 2, (len(rows), 3)).astype("int8")
    known = pd.DataFrame({"item_id": [100, 101], "star": [0, 4], "Pool": [1, 0], "Hotel": [1, 1]})
    tables = {"actions": a, "lists": pd.DataFrame(lists, columns=listed), "impressions": i}
    return {**tables, "session_items": rows, "hotel_properties": known}


def test_made_up_log_is_read_and_valid(example: ModuleType, tmp_path: Path) -> None:
    log = made_up_log()
    dataset = prepared(example, write(tmp_path / "in", **log), tmp_path / "out")
    dataset.validate().raise_if_faulty()
    assert dataset.num_rows == len(log["session_items"])
    table = pd.concat(
        b.table.to_pandas() for b in dataset.scan(["session_id", "item_id", "filters", "star", "properties"])
    )
    starred = table[table.item_id == 101]
    assert set(starred.star) == {4}
    assert list(starred.properties.iloc[0]) == ["Hotel"]
    assert table[table.item_id == 100].star.isna().all()  # star 0 is unknown
    assert {f for row in table.filters for f in row} == {"Sort by Price", "4 Star", "Resort"}


def test_what_happens_after_a_session_starts_changes_none_of_its_features(example: ModuleType, tmp_path: Path) -> None:
    """Outcomes from some moment on are replaced: sessions started by then keep every feature, later ones do not."""
    log = made_up_log()
    before, _ = example.prepare(write(tmp_path / "a", **log))
    moment = int(log["actions"].groupby("session_id").timestamp.min().quantile(0.6))
    rng = np.random.default_rng(1)
    for name, column in (("impressions", "clickout"), ("session_items", "click"), ("session_items", "closeup")):
        table = log[name]
        time = log["actions"].groupby("session_id").timestamp.min()
        late = table.timestamp >= moment if "timestamp" in table else table.session_id.map(time) >= moment
        table.loc[late, column] = rng.permutation(1 - table.loc[late, column].to_numpy())
    acted = (log["actions"].timestamp >= moment) & log["actions"].action_type.str.startswith("interaction")
    log["actions"].loc[acted, "reference"] = "103"
    after, _ = example.prepare(write(tmp_path / "b", **log))
    features = [c for c in before.columns if c not in HEADS]
    known = before.timestamp <= moment
    assert 0.5 < known.mean() < 0.75
    pd.testing.assert_frame_equal(before.loc[known, features], after.loc[known, features])
    changed = [c for c in features if not before.loc[~known, c].equals(after.loc[~known, c])]
    assert {"item_click_lift", "user_click_price"} <= set(changed)


def test_known_before_equals_counting_by_hand(example: ModuleType) -> None:
    rng = np.random.default_rng(0)
    keys, time, values = rng.integers(0, 5, 80), rng.integers(0, 12, 80), rng.normal(size=(80, 2))
    ask, when = rng.integers(0, 6, 50) * 2**40, rng.integers(0, 13, 50)
    found = example.known_before(keys * 2**40, time, values, ask, when)
    hand = [values[(keys * 2**40 == k) & (time < t)].sum(0) for k, t in zip(ask, when, strict=True)]
    np.testing.assert_allclose(found, hand, atol=1e-12)
    assert (found[ask == 5 * 2**40] == 0).all()
    assert (found != 0).any()


def test_command_writes_both_tables(example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "in", **made_up_log(sessions=8))
    monkeypatch.setattr("sys.argv", ["prepare.py", str(source), str(tmp_path / "deep" / "out")])
    example.main()
    assert sorted(p.name for p in (tmp_path / "deep" / "out").iterdir()) == ["impressions.parquet", "items.parquet"]
