"""A generated marketplace as a folder that every command reads like a real log."""

from __future__ import annotations

from pathlib import Path

from features.errors import raise_faults
from features.world.checks import log_faults, photo_faults, world_faults
from features.world.description import describe
from features.world.log import draw_log
from features.world.parquet import write_parquet
from features.world.photo_files import photo_tables
from features.world.photographs import Photographs
from features.world.scale import Scale
from features.world.tables import items_table, users_table, vectors_table
from features.world.world import World

PHOTO_ROW_GROUP = 1024  # 3 MB at 64 pixels: what a reader must have in memory to decode one photo


def make_world(
    folder: Path | str,
    *,
    seed: int = 0,
    properties: int = 2000,
    users: int = 20000,
    requests: int = 50000,
    candidates: int = 20,
    scale: Scale = "small",
    negative_rate: float = 1.0,
    days: int = 28,
    photos: int = 0,
    photo_size: int = 64,
    query: float = 0.0,
) -> Path:
    """Generate a marketplace whose true probabilities are known, and write it as a data set.

    Writes impressions.parquet, items.parquet, users.parquet, vectors.parquet, dataset_oracle.toml (features: the
    sufficient statistics of the truth) and, last of all, dataset.toml: a folder with a dataset.toml is complete. Two
    calls with the same arguments write the same bytes. `World.generate` with the same seed, properties, users, scale,
    days and query gives the world itself, which can be asked for the probabilities of anything that the log does not
    show.

    With `photos`, it writes photos.parquet (item_id, order, jpeg, true_scene) and review_photos.parquet (item_id,
    order, jpeg: one photo of each property by a guest) and no vectors.parquet: dataset.toml names that file for
    `galleryrank embed` to make, and has the 31 attributes as the tasks of [gallery]. `Photographs.of_galleries` and
    `.of_guests` give the truth about these photos.

    Parameters
    ----------
    folder : path
        Made if missing; files of these names in it are replaced.
    seed : int
        Everything is a function of it and of the other arguments.
    properties, users, requests, candidates : int
        Sizes; the log has requests x candidates rows before sampling.
    scale : {"small", "paper"}
        Numbers of classes of the attributes.
    negative_rate : float
        alpha in (0, 1]: share of the rows without any engagement that is kept, in the roles train and calibrate. Tune
        and test keep every row, so that what is measured there is measured on what happened.
    days : int
        Length of the log.
    photos : int
        So many photos of each property are taken at most (galleries have 5 to 44). 0: none, and vectors.parquet is
        a noisy map of the latents.
    photo_size : int
        Pixels of a side, 32 to 512.
    query : float
        Above 0 every request looks at a property, query_item_id, and the affinity of a candidate has `query` times its
        likeness to that property added (`World.likeness`).

    Returns
    -------
    Path
        Of dataset.toml.

    Raises
    ------
    InputError
        Every argument out of range at once; nothing is written then.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = make_world(folder, properties=50, users=20, requests=10, candidates=5)
    ...     print(path.name, sorted(p.name for p in path.parent.glob("*.parquet")))
    dataset.toml ['impressions.parquet', 'items.parquet', 'users.parquet', 'vectors.parquet']
    """
    raise_faults(
        world_faults(seed=seed, properties=properties, users=users, scale=scale, days=days, query=query)
        + log_faults(
            requests=requests, candidates=candidates, properties=properties, negative_rate=negative_rate, query=query
        )
        + photo_faults(photos=photos, photo_size=photo_size)
    )
    world = World.generate(seed=seed, properties=properties, users=users, scale=scale, days=days, query=query)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    description, oracle = target / "dataset.toml", target / "dataset_oracle.toml"
    for older in (description, oracle):  # until this world is complete, the folder is no data set
        older.unlink(missing_ok=True)
    log = draw_log(world, requests=requests, candidates=candidates, negative_rate=negative_rate)
    write_parquet(log, target / "impressions.parquet")
    for name, table in (("items", items_table), ("users", users_table)):
        write_parquet([table(world)], target / f"{name}.parquet")
    # what an earlier world of this folder had, embeddings of its photos included, must not be taken for this one's
    for name in ("vectors.parquet", "vectors.npy", "photos.parquet", "review_photos.parquet"):
        (target / name).unlink(missing_ok=True)
    if photos:
        galleries = photo_tables(world, Photographs.of_galleries(world, photos), photo_size)
        write_parquet(galleries, target / "photos.parquet", PHOTO_ROW_GROUP)
        guests = photo_tables(world, Photographs.of_guests(world), photo_size)
        reviews = (table.drop_columns("true_scene") for table in guests)
        write_parquet(reviews, target / "review_photos.parquet", PHOTO_ROW_GROUP)
    else:
        write_parquet([vectors_table(world)], target / "vectors.parquet")
    oracle.write_text(describe(negative_rate, oracle=True), encoding="utf-8")
    text = describe(negative_rate, oracle=False, photos=photos > 0, query=query > 0)
    description.write_text(text, encoding="utf-8")
    return description
