"""Speed of the gallery encoder: packed against padded galleries, and photos per second at every step of the work.

    python benchmarks/galleries.py [--data runs/galleries/benchmark] [--weights SQUEEZENET.pt] [--out results.json]

The padded loop is how variable galleries are usually batched: every gallery is filled up with blank photos to the
longest of its batch, all of them pass through the network, and a masked mean drops the blanks. Gallery sizes are drawn
like the marketplace's, 5 + min(39, negative binomial), here with a mean of 20. Both take the same galleries, already
gathered into a batch, in alternation. Their vectors and gradients are compared with BatchNorm in evaluation mode: in
training mode the blanks would also enter the padded loop's statistics. Exit code 1 if they differ by more than 1e-5.

On a CPU all figures are processor time on one thread (times by wall clock are marked so); with a GPU the first table
is measured there too, by wall clock. JSON goes to --out, tables to stdout.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from features import GalleryEncoder, InputError, make_world
from features.gallery import (
    EncoderConfig,
    GalleryData,
    GalleryNetwork,
    GalleryTasks,
    PackedGalleries,
    fit_network,
    make_backbone,
)
from features.gallery.batches import GalleryBatches
from features.gallery.cached_batches import CachedBatches
from features.gallery.prefix_cache import PrefixCache
from features.gallery.source import DecodedPhotos
from features.world import World
from features.world.photo_files import photo_tables
from features.world.photographs import Photographs
from multitask import Task, TrainingConfig, make_weighting, masked_losses
from multitask.malloc import keep_freed_memory

LARGEST, FEWEST, MEAN = 44, 5, 20.0
TASKS = (
    [Task(f"b{i}") for i in range(17)]
    + [Task(f"c{i}", "multiclass", n_classes=n) for i, n in enumerate((60, 9, 24, 12, 9, 6, 6))]
    + [Task(f"r{i}", "regression") for i in range(7)]
)
TOLERANCE = 1e-5


# ------------------------------------------------------------------------------------------------ galleries
def sizes(galleries: int, seed: int = 0) -> np.ndarray:
    """Photos (B,) of galleries: 5 + min(39, NegBin(r = 2)), whose mean of 15.45 the cap makes 15."""
    return FEWEST + np.minimum(LARGEST - FEWEST, np.random.default_rng(seed).negative_binomial(2, 2 / 17.45, galleries))


def batches(photos: int, size: int, count: int, device: torch.device) -> list[PackedGalleries]:
    """`count` batches of whole galleries, each of `photos` photos at most, of random pixels."""
    random = torch.Generator().manual_seed(0)
    found, drawn = [], iter(sizes(100_000).tolist())
    waiting = next(drawn)
    for _ in range(count):
        counts = []
        while sum(counts) + waiting <= photos:
            counts.append(waiting)
            waiting = next(drawn)
        offsets = torch.tensor([0, *counts]).cumsum(0)
        pixels = torch.randint(0, 256, (int(offsets[-1]), 3, size, size), dtype=torch.uint8, generator=random)
        found.append(PackedGalleries(pixels, offsets).to(device))
    return found


def padded(galleries: PackedGalleries) -> tuple[Tensor, Tensor]:
    """Pixels (B, Nmax, 3, S, S), blank where a gallery has ended, and the mask (B, Nmax) of photos."""
    counts = galleries.counts
    mask = torch.arange(int(counts.max()), device=counts.device) < counts[:, None]
    pixels = galleries.pixels.new_zeros(*mask.shape, *galleries.pixels.shape[1:])
    pixels[mask] = galleries.pixels
    return pixels, mask


def embed_padded(network: GalleryNetwork, pixels: Tensor, mask: Tensor) -> Tensor:
    """The masked mean (B, D) of all photos' features, blanks included in the work."""
    features = network.backbone(pixels.flatten(0, 1)).unflatten(0, mask.shape)  # (B, Nmax, D)
    return (features.float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


# ------------------------------------------------------------------------------------------------ packed, padded
def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def labels_of(galleries: int, device: torch.device) -> Tensor:
    """Labels (B, T) of random galleries."""
    random = np.random.default_rng(1)
    columns = [random.integers(0, task.n_classes if task.kind == "multiclass" else 2, galleries) for task in TASKS]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32)).to(device)


def step(network: GalleryNetwork, embed: Callable[[], Tensor], labels: Tensor) -> Tensor:
    """The summed loss of all tasks, with its gradients."""
    network.zero_grad(set_to_none=True)
    weighting = make_weighting("inverse_variance", network.tasks).to(labels.device)
    loss = weighting(*masked_losses(network.tasks, network.predict(embed()), labels))
    loss.backward()
    return loss.detach()


def difference(network: GalleryNetwork, galleries: PackedGalleries) -> dict[str, float]:
    """Largest difference of vectors, and of gradients, relative to the largest value; BatchNorm in evaluation mode."""
    network.eval()
    blank, labels = padded(galleries), labels_of(len(galleries), galleries.offsets.device)
    with torch.no_grad():
        ours, theirs = network.embed(galleries), embed_padded(network, *blank)
    out = {"vectors": float((ours - theirs).abs().max() / theirs.abs().max())}
    gradients = []
    for embed in (lambda: network.embed(galleries), lambda: embed_padded(network, *blank)):
        step(network, embed, labels)
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    out["gradients"] = float((gradients[0] - gradients[1]).abs().max() / gradients[1].abs().max())
    return out


def packed_against_padded(
    backbone: str, size: int, photos: int, count: int, device: torch.device, train: str = "all"
) -> dict[str, object]:
    """Seconds of forward passes and of training steps on the same galleries, packed and padded in alternation."""
    torch.manual_seed(0)
    network = GalleryNetwork(make_backbone(backbone, size=size, train=train), tasks=TASKS).to(device)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 1e-4)
    drawn = batches(photos, size, count, device)
    found = difference(network, drawn[0])
    seconds: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[], object]) -> None:
        start = now(device)
        call()
        seconds.setdefault(name, []).append(now(device) - start)

    def train_step(embed: Callable[[], Tensor], labels: Tensor) -> None:
        step(network, embed, labels)
        optimizer.step()

    for number, galleries in enumerate([drawn[0], *drawn]):  # the first does not count: it warms up
        blank, labels = padded(galleries), labels_of(len(galleries), device)
        for name, embed in (
            ("packed", lambda galleries=galleries: network.embed(galleries)),
            ("padded", lambda blank=blank: embed_padded(network, *blank)),
        ):
            network.eval()
            with torch.no_grad():
                timed(f"{name} forward", embed)
            network.train()
            timed(f"{name} step", lambda embed=embed, labels=labels: train_step(embed, labels))
        if number == 0:
            seconds.clear()
    n = sum(len(galleries.pixels) for galleries in drawn)
    blanks = sum(len(galleries) * int(galleries.counts.max()) for galleries in drawn)
    row: dict[str, object] = {
        "backbone": backbone, "train": train, "size": size, "device": device.type, "batches": count,
        "galleries": sum(map(len, drawn)), "photos": n, "photos_and_blanks": blanks,
        "mean_photos": n / sum(map(len, drawn)), "difference": found,
    }  # fmt: skip
    for what in ("forward", "step"):
        ours, theirs = (np.array(seconds[f"{name} {what}"]) for name in ("packed", "padded"))
        row[what] = {
            "packed_ms_per_photo": 1e3 * ours.sum() / n, "padded_ms_per_photo": 1e3 * theirs.sum() / n,
            "ratio": ours.sum() / theirs.sum(), "ratio_median": statistics.median(ours / theirs),
        }  # fmt: skip
    return row


# ------------------------------------------------------------------------------------------------ rates
def rate(call: Callable[[], object], photos: int) -> dict[str, float]:
    """Photos per second of processor time and of wall time."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"photos": photos, "photos_per_cpu_s": photos / cpu, "photos_per_wall_s": photos / wall, "wall_s": wall}


def trained(
    network: GalleryNetwork, source: DecodedPhotos | PrefixCache, data: GalleryData, tasks: GalleryTasks,
    precision: str, device: torch.device, budget: int = 256,
) -> Callable[[], object]:  # fmt: skip
    """One epoch over all galleries."""
    made = CachedBatches if isinstance(source, PrefixCache) else GalleryBatches
    rows, labels = np.arange(len(data)), tasks.labels(data)
    epoch = made(source, data.photos, rows, labels, photo_budget=budget, device=device)
    config = TrainingConfig(epochs=1, ema_decay=0.0, precision=precision)
    stored = isinstance(source, PrefixCache)
    return lambda: fit_network(
        network, epoch, None, "pseudo_uniform", config, stored=stored, progress=False, device=device
    )


def rates(folder: Path, properties: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Photos per second of rendering, decoding, training and embedding, with the built-in network at 64 pixels."""
    out = {}
    world = World.generate(seed=0, properties=properties, users=1)
    galleries = Photographs.of_galleries(world, 8)
    out["render"] = rate(lambda: [len(t) for t in photo_tables(world, galleries, 64)], len(galleries))
    if not (folder / "dataset.toml").exists():
        make_world(folder, properties=properties, photos=8, users=10, requests=10, candidates=5)
    data = GalleryData.open(folder)
    photos: list[DecodedPhotos] = []
    out["decode"] = rate(lambda: photos.append(DecodedPhotos.decode(data, 64)), len(data.photos))
    source, tasks, n = photos[0], GalleryTasks.fit(data, np.arange(len(data))), int(photos[0].sound.sum())
    for precision in ("float32", "bfloat16", "float32", "bfloat16"):  # the second round counts
        network = GalleryNetwork(make_backbone("small"), tasks=tasks.tasks, bias=tasks.base_bias())
        out[f"train {precision}"] = rate(trained(network, source, data, tasks, precision, device), n)
    encoder = GalleryEncoder.untrained(data, EncoderConfig(), photos=source, progress=False, device=device)
    out["embed"] = rate(lambda: encoder.embed(data, photos=source, device=device), n)
    return out


def cached(
    folder: Path, properties: int, weights: Path | None, size: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """SqueezeNet with its last block trained: an epoch from pixels, the cache's making, an epoch from the cache."""
    data = GalleryData.open(folder)
    chosen = np.arange(min(properties, len(data)))
    source, tasks = DecodedPhotos.decode(data, size), GalleryTasks.fit(data, np.arange(len(data)))
    source.sound &= data.photos.item_row < len(chosen)  # the others are left out of every epoch
    n, out = int(source.sound.sum()), {}

    def network() -> GalleryNetwork:
        backbone = make_backbone("squeezenet1_1", weights=weights, size=size, train="last_block")
        return GalleryNetwork(backbone, tasks=tasks.tasks, bias=tasks.base_bias())

    for _ in range(2):  # the second round counts
        learner, caches = network(), []
        out["from pixels"] = rate(trained(learner, source, data, tasks, "float32", device), n)
        build = partial(PrefixCache.build, learner.backbone, source, device=device)
        out["making the cache"] = rate(lambda keep=caches.append, build=build: keep(build()), n)
        out["from the cache"] = rate(trained(learner, caches[0], data, tasks, "float32", device), n)
    return out


# ------------------------------------------------------------------------------------------------ tables
def table(result: dict) -> str:
    """Both tables as text."""
    lines = [f"{'packed over padded':<34}{'galleries':>10}{'photos':>8}{'blanks':>8}{'forward':>9}{'step':>7}"
             f"{'ms/photo forward':>18}{'step':>7}{'differ by':>11}"]  # fmt: skip
    for row in result["packed"]:
        name = f"{row['backbone']}, {row['train']}, {row['size']} px, {row['device']}"
        forward, train = row["forward"], row["step"]
        lines.append(
            f"{name:<34}{row['galleries']:>10}{row['photos']:>8}{row['photos_and_blanks'] - row['photos']:>8}"
            f"{forward['ratio_median']:>9.2f}{train['ratio_median']:>7.2f}{forward['packed_ms_per_photo']:>18.3f}"
            f"{train['packed_ms_per_photo']:>7.3f}{max(row['difference'].values()):>11.1e}"
        )
    for title, part in (("small, 64 px", "rates"), (result["cache_of"], "cache")):
        lines += ["", f"{title:<34}{'photos':>10}{'per CPU second':>16}{'per second':>12}"]
        for name, row in result[part].items():
            per_cpu, per_wall = row["photos_per_cpu_s"], row["photos_per_wall_s"]
            lines.append(f"{name:<34}{row['photos']:>10,}{per_cpu:>16,.0f}{per_wall:>12,.0f}")
    return "\n".join(lines)


def measure(arguments: argparse.Namespace) -> dict:
    """All measurements."""
    device = torch.device("cpu")
    small, count = arguments.photos, arguments.batches
    rows = [packed_against_padded("small", 64, small, count, device)]
    if not arguments.quick:
        rows.append(packed_against_padded("squeezenet1_1", 96, small, max(2, count // 4), device, "last_block"))
        try:
            rows.append(packed_against_padded("vgg16", 32, small, max(2, count // 6), device, "last_block"))
        except InputError as error:
            print(f"vgg16 left out: {error}", file=sys.stderr)
    if torch.cuda.is_available():
        gpu = torch.device("cuda")
        for backbone, size, photos, train in (("small", 64, 8192, "all"), ("squeezenet1_1", 224, 1024, "last_block"),
                                              ("vgg16", 224, 512, "last_block")):  # fmt: skip
            try:
                rows.append(packed_against_padded(backbone, size, photos, count, gpu, train))
            except InputError as error:
                print(f"{backbone} left out: {error}", file=sys.stderr)
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "machine": {"torch": torch.__version__, "processor": platform.processor(), "threads": torch.get_num_threads(),
                    "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None},
        "packed": rows,
        "rates": rates(arguments.data, arguments.properties, where),
        "cache_of": f"squeezenet1_1, last block, {arguments.cache_size} px",
        "cache": cached(arguments.data, arguments.cached, arguments.weights, arguments.cache_size, where),
    }  # fmt: skip


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/galleries/benchmark/world"), help="is made there")
    parser.add_argument("--out", type=Path, default=Path("runs/galleries/benchmark/results.json"))
    parser.add_argument("--weights", type=Path, help="of SqueezeNet 1.1; random ones are as fast")
    parser.add_argument("--properties", type=int, default=2000, help="of the world whose photos are taken")
    parser.add_argument("--photos", type=int, default=256, help="of a batch, packed against padded")
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--cached", type=int, default=100, help="properties for the comparison of the cache")
    parser.add_argument("--cache-size", type=int, default=128, help="pixels, for the comparison of the cache")
    parser.add_argument("--quick", action="store_true", help="the built-in network only, packed against padded")
    return parser.parse_args(words)


def main() -> int:
    arguments = parse()
    torch.set_num_threads(1)
    keep_freed_memory()
    result = measure(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(table(result))
    worst = max(max(row["difference"].values()) for row in result["packed"])
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
