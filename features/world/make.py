"""A generated marketplace as a folder that every command reads like a real log."""

from __future__ import annotations

from pathlib import Path

from features.errors import raise_faults
from features.world.checks import log_faults, world_faults
from features.world.description import describe
from features.world.log import draw_log
from features.world.parquet import write_parquet
from features.world.scale import Scale
from features.world.tables import items_table, users_table, vectors_table
from features.world.world import World


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
) -> Path:
    """Generate a marketplace whose true probabilities are known, and write it as a data set.

    Writes impressions.parquet, items.parquet, users.parquet, vectors.parquet, dataset_oracle.toml (features: the
    sufficient statistics of the truth) and, last of all, dataset.toml: a folder with a dataset.toml is complete. Two
    calls with the same arguments write the same bytes. `World.generate` with the same seed, properties, users, scale
    and days gives the world itself, which can be asked for the probabilities of anything that the log does not show.

    Parameters
    ----------
    folder : path
        Made if missing; files of these names in it are replaced.
    seed : int
        Everything is a function of it, of the sizes and of the rate.
    properties, users, requests, candidates : int
        Sizes; the log has requests x candidates rows before sampling.
    scale : {"small", "paper"}
        Numbers of classes of the attributes.
    negative_rate : float
        alpha in (0, 1]: share of the rows without any engagement that is kept, in the roles train and calibrate. Tune
        and test keep every row, so that what is measured there is measured on what happened.
    days : int
        Length of the log.

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
        world_faults(seed=seed, properties=properties, users=users, scale=scale, days=days)
        + log_faults(requests=requests, candidates=candidates, properties=properties, negative_rate=negative_rate)
    )
    world = World.generate(seed=seed, properties=properties, users=users, scale=scale, days=days)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    description, oracle = target / "dataset.toml", target / "dataset_oracle.toml"
    for older in (description, oracle):  # until this world is complete, the folder is no data set
        older.unlink(missing_ok=True)
    log = draw_log(world, requests=requests, candidates=candidates, negative_rate=negative_rate)
    write_parquet(log, target / "impressions.parquet")
    for name, table in (("items", items_table), ("users", users_table), ("vectors", vectors_table)):
        write_parquet([table(world)], target / f"{name}.parquet")
    oracle.write_text(describe(negative_rate, oracle=True), encoding="utf-8")
    description.write_text(describe(negative_rate, oracle=False), encoding="utf-8")
    return description
