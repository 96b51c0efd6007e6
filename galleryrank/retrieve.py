"""`galleryrank retrieve`: galleries like some photos, as a sheet; and how good and how fast such searches are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluation.formatting import format_number
from evaluation.gallery.co_engaged import co_engaged
from evaluation.gallery.gallery_metrics import retrieve_metrics
from evaluation.gallery.gallery_page import Picture
from evaluation.gallery.index_comparison import INDEXES, compare_indexes
from evaluation.gallery.photo_sheet import COVER, FoundGallery, photo_sheet
from evaluation.gallery.pictures import png_bytes
from evaluation.gallery.retrieval import Index
from evaluation.gallery.same_attribute import same_attribute
from evaluation.gallery.same_item import same_item
from features import Fault
from features.errors import raise_faults
from features.gallery import GalleryData, GalleryEncoder
from galleryrank.console import Log
from galleryrank.embed_map import as_shown, shown_tasks
from galleryrank.embedded import VECTORS, open_run
from galleryrank.engagement import Engagement, has_log, read_engagement
from galleryrank.fit import check_device
from galleryrank.gallery_run import GalleryRun, check_format
from galleryrank.review_photos import ReadReviews, read_reviews
from galleryrank.seeds import Collection, Seeds, seeds_from_item, seeds_from_photos
from galleryrank.shown_photos import shown_photos
from galleryrank.streams import print_json

SHEET = "sheet.png"
SHOWN_RESULTS = 30  # on the sheet; the table has them all
SHOWN_PHOTOS = 4  # of a result: the cover and three more
SHOWN_ATTRIBUTES = 4  # under each, unless --show names them
NAMES = {"exact": "exact", "projections": "random projections", "hnsw": "hnsw"}  # --index -> `INDEXES`
NEIGHBOURS, QUERIES = 10, 500  # of same-attribute retrieval: places, and queries per attribute


def retrieve_run(
    dataset: Path,
    embedded: Path,
    out: Path,
    photos: Sequence[Path],
    item: str | None,
    k: int,
    index: str,
    reviews: Path | None,
    show: Sequence[str],
    device: str | None,
    format: str,
    quiet: bool,
) -> None:
    """Search the vectors of the run `embedded` for galleries like the photos or the item; write sheet and report."""
    check_format(format)
    check_device(device)
    raise_faults(_option_faults(photos, item, k, index))
    say = Log(quiet)
    encoder, vectors = open_run(embedded)
    data = GalleryData.open(dataset)
    collection = Collection.of(data, vectors, embedded / VECTORS)
    attributes = _attributes(data, encoder, show)
    if item is not None:
        seeds = seeds_from_item(collection, str(item))
    else:
        seeds = seeds_from_photos(encoder, photos, device, vectors.task)
    review = read_reviews(reviews, data) if reviews is not None else None
    engagement = read_engagement(dataset, collection.ids) if has_log(dataset) else None
    searched = INDEXES[NAMES[index]](collection.matrix)
    record = {
        "command": "retrieve", "dataset": str(Path(dataset).resolve()), "encoder": vectors.encoder,
        "photos": vectors.photos, "seeds": seeds.record, "k": k, "index": index,
        "reviews": str(reviews.resolve()) if reviews else None, "show": list(show),
    }  # fmt: skip
    run = GalleryRun.claim(out, record)
    results, picture = _search(run, collection, searched, seeds, attributes, k, say)
    measures = _measures(collection, encoder, vectors.task, review, engagement, k, device, say)
    unseen = "same_attribute" in measures and len(judged(collection, encoder)) < len(collection)
    metrics = retrieve_metrics(
        results=results,
        **measures,
        summary=_summary(results, seeds),
        meta={
            "data set": data.schema.name,
            "galleries that can be found": len(collection),
            "searched with": seeds.words,
            "index": NAMES[index],
            **({} if vectors.task is None else {"task": vectors.task}),
            "fingerprint": vectors.encoder[:12],
        },
        notes=[*seeds.notes, *collection.notes, *_notes(unseen, review, engagement)],
    )
    for note in seeds.notes:
        say(note)
    run.finish(metrics, [picture], say, title=f"galleryrank: galleries like {seeds.words}")
    _print(results, say)
    if format == "json":
        print_json(metrics)


def _option_faults(photos: Sequence[Path], item: str | None, k: int, index: str) -> list[Fault]:
    faults = []
    if bool(photos) == (item is not None):
        faults.append(Fault("give seed photos by --photo, or an item by --item: one of the two"))
    if k < 1:
        faults.append(Fault("must be at least 1", key="--k", value=k))
    if index not in NAMES:
        faults.append(Fault(f"must be one of {', '.join(NAMES)}", key="--index", value=index))
    return faults


def _attributes(data: GalleryData, encoder: GalleryEncoder, show: Sequence[str]) -> pd.DataFrame:
    """What stands under a result, `(items, attributes)`; held-out columns too, for nothing learns from this."""
    names = list(dict.fromkeys(show)) or [t for t in shown_tasks(encoder) if t in data.schema.task_columns]
    names = names if show else names[:SHOWN_ATTRIBUTES]
    held = [name for name in names if name in data.schema.item_holdout]
    columns = data.attributes([name for name in names if name not in held]).to_pandas()
    for name in held:
        columns[name] = data.holdout(name).to_pandas()
    return as_shown(columns[names], data).map(_plain)


def _plain(value: object) -> object:
    """Numbers and words as they are; a date, say, as JSON can hold it."""
    known = value is None or isinstance(value, str | bool | int | float | np.number | np.bool_)
    return value if known else None if value is pd.NaT else str(value)


def _search(
    run: GalleryRun,
    collection: Collection,
    index: Index,
    seeds: Seeds,
    attributes: pd.DataFrame,
    k: int,
    say: Log,
) -> tuple[pd.DataFrame, Picture]:
    """The k nearest galleries as a table, and as a sheet of their photos."""
    most = min(k, len(collection) - (seeds.exclude >= 0))
    places, similarity = np.empty((1, 0), np.int64), np.empty((1, 0), np.float32)
    if most:
        exclude = np.array([seeds.exclude]) if seeds.exclude >= 0 else None
        places, similarity = index.search(seeds.vector, most, exclude=exclude)
    say(f"the {most:,} nearest of {len(collection):,} galleries")
    items = collection.items[places[0]]
    ids = collection.data.item_ids.take(items).to_pylist()
    own = attributes.iloc[items].reset_index(drop=True)
    galleries = shown_photos(collection.data, items[:SHOWN_RESULTS].tolist(), COVER, most=SHOWN_PHOTOS)
    records = own.astype(object).to_dict("records") if len(own.columns) else [{} for _ in ids]
    found = [
        FoundGallery(name, float(cosine), gallery, {str(key): value for key, value in shown.items()})
        for name, cosine, gallery, shown in zip(ids, similarity[0], galleries, records)
    ]
    title = f"Galleries like {seeds.words}" + (f": the first {len(found)} of {most:,}" if len(found) < most else "")
    image = png_bytes(photo_sheet(seeds.photos, found, title=title, seed_caption=seeds.caption))
    (run.path / SHEET).write_bytes(image)
    table = pd.DataFrame({"rank": range(1, most + 1), "item": ids, "similarity": similarity[0].astype(float)})
    taken = own.rename(columns={name: f"{name} (attribute)" for name in own if name in table.columns})
    caption = "The photos searched with, and the galleries found: the cover and three more photos of each."
    return pd.concat([table, taken], axis=1), Picture.png("sheet", "What was found", caption, image)


def _measures(
    collection: Collection,
    encoder: GalleryEncoder,
    task: str | None,
    review: ReadReviews | None,
    engagement: Engagement | None,
    k: int,
    device: str | None,
    say: Log,
) -> dict[str, pd.DataFrame | None]:
    """The tables of the report beside the results; None for what cannot be measured on this data set."""
    matrix, tables = collection.matrix, dict[str, pd.DataFrame | None]()
    if len(collection) > 1:
        say("comparing the indexes")
        tables["indexes"] = compare_indexes(matrix, k=min(k, len(collection) - 1))
    kinds = {name: kind for name, kind in collection.data.schema.task_columns.items() if name != "mean"}
    rows = judged(collection, encoder)
    if kinds and len(rows) > 1:
        say(f"same-attribute retrieval among {len(rows):,} galleries")
        columns = collection.data.attributes(list(kinds)).to_pandas().iloc[collection.items[rows]]
        tables["same_attribute"] = same_attribute(
            matrix[rows],
            {name: columns[name].reset_index(drop=True) for name in kinds},
            k=max(1, min(NEIGHBOURS, len(rows) // 5)),  # among few galleries ten are nearly all of them
            numeric=[name for name, kind in kinds.items() if kind in ("regression", "log")],
            queries=QUERIES,
        )
    if review is not None:
        photos = review.photos
        say(f"same-item retrieval by {len(photos.photos):,} review photos")
        queries = encoder.embed([[photo] for photo in photos.photos], task=task, device=device, log=say)
        owners = collection.places(photos.item_rows[queries.ids.astype(np.intp)])
        tables["same_item"] = same_item(queries.matrix, owners, matrix)
    if engagement is not None and len(engagement.pairs):
        say(f"co-engaged retrieval over {len(engagement.pairs):,} pairs of items")
        popularity = engagement.popularity if engagement.popularity.any() else None
        tables["co_engaged"] = co_engaged(matrix, engagement.pairs, popularity=popularity)
    return tables


def judged(collection: Collection, encoder: GalleryEncoder) -> np.ndarray:
    """Rows of the collection that same-attribute retrieval looks at: those whose labels training did not see."""
    if not encoder.history.epochs:
        return np.arange(len(collection))
    try:
        _, held = collection.data.split(encoder.config.validation, encoder.config.seed)
    except ValueError:  # one group: another data set than the one trained on, as that was split
        return np.arange(len(collection))
    places = collection.places(held)
    return np.sort(places[places >= 0])


def _notes(unseen: bool, review: ReadReviews | None, engagement: Engagement | None) -> list[str]:
    notes = list(review.notes) if review is not None else []
    if unseen:
        notes.append(
            "Same-attribute retrieval looks at galleries that the encoder's training did not learn from: those seen "
            "would flatter it."
        )
    if engagement is not None:
        notes.append(
            f"Engaged with together: any of {', '.join(engagement.heads)} in one request of the tune and test rows"
            + ("." if len(engagement.pairs) else ": no request has two such items with a vector.")
            + " Popularity is counted on the train rows."
        )
    return notes


def _summary(results: pd.DataFrame, seeds: Seeds) -> list[str]:
    if results.empty:
        return ["There is no other gallery to be found."]
    item, similarity = results["item"].iloc[0], results["similarity"].iloc[0]
    return [f"Nearest to {seeds.words}: item {item}, similarity {format_number(float(similarity))}."]


def _print(results: pd.DataFrame, say: Log) -> None:
    def cell(value: Any, name: str) -> str:
        if not isinstance(value, float) or (name != "similarity" and value.is_integer()):
            return str(int(value) if isinstance(value, float) else value)
        return format_number(value)

    names = [str(name) for name in results.columns]
    rows = [[*map(cell, row, names)] for row in results.astype(object).itertuples(index=False)]
    say.table("Nearest galleries", names, rows)
