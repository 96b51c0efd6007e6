"""The command line of galleries: embed, probe, retrieve, ablate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galleryrank.cli_options import Device, Format, Out, Quiet

app = typer.Typer()


@app.command(epilog="Example: galleryrank embed dataset.toml --out runs/embed --set training.epochs=5")
def embed(
    dataset: Annotated[Path, typer.Argument(help="a dataset.toml with [gallery], or its folder")],
    out: Out,
    encoder: Annotated[
        Path | None, typer.Option("--encoder", help="a run of embed or an encoder's folder: embed by it, train nothing")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of the encoder's settings")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="one setting, a.b=c; may be repeated")] = None,
    untrained: Annotated[bool, typer.Option("--untrained", help="random, or given, weights as they are")] = False,
    task: Annotated[
        str | None, typer.Option("--task", help="with --encoder, one with modulation: vectors for this attribute")
    ] = None,
    device: Device = None,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Train a gallery encoder on the items' attributes and write a vector per item. A killed run goes on where it was.

    OUT gets encoder/, vectors.parquet (with the encoder's fingerprint), map.png, metrics.json and report.html.
    """
    from galleryrank.embed import embed_run

    embed_run(dataset, out, encoder, config, set_ or [], untrained, task, device, format, quiet)


@app.command(epilog="Example: galleryrank probe dataset.toml --encoder runs/embed --out runs/probe")
def probe(
    dataset: Annotated[Path, typer.Argument(help="a dataset.toml with [gallery], or its folder")],
    encoder: Annotated[Path, typer.Option("--encoder", help="a run of embed, or an encoder's folder")],
    out: Out,
    holdout: Annotated[
        str | None, typer.Option("--holdout", help="the held-out column; default: the only one of dataset.toml")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="SqueezeNet 1.1 weights: adds the arm of a pretrained network")
    ] = None,
    truth: Annotated[
        list[str] | None,
        typer.Option("--truth", help='columns known to decide it, e.g. "latent_*": adds a ceiling; may be repeated'),
    ] = None,
    end_to_end: Annotated[
        bool, typer.Option("--end-to-end/--no-end-to-end", help="train the network on the held-out attribute itself")
    ] = True,
    epochs: Annotated[int, typer.Option("--epochs", help="of the end-to-end arm and of --optima, at most")] = 30,
    optima: Annotated[
        bool, typer.Option("--optima", help="figures 5 and 6: both losses against a network per task; slow")
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", help="repeats of each probe")] = 3,
    device: Device = None,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """How much of a held-out attribute is in the vectors: accuracy by number of labels, beside every way to do without.

    Arms: the encoder, a random one, a pretrained one, the same network trained end to end; majority and a
    shuffled-labels control. A killed run goes on where it was.
    """
    from galleryrank.probe import probe_run

    probe_run(
        dataset, encoder, out, holdout, weights, truth or [], end_to_end, epochs, optima, seeds, device, format, quiet
    )


@app.command(
    epilog="Examples: galleryrank retrieve dataset.toml --embedded runs/embed --out runs/found --photo a.jpg "
    "--photo b.jpg; with --item 17 in place of photos, galleries like those of an item"
)
def retrieve(
    dataset: Annotated[Path, typer.Argument(help="a dataset.toml with [gallery], or its folder")],
    embedded: Annotated[Path, typer.Option("--embedded", help="a run of embed: its encoder and its vectors")],
    out: Out,
    photo: Annotated[
        list[Path] | None, typer.Option("--photo", help="a seed photo; several together are one query")
    ] = None,
    item: Annotated[str | None, typer.Option("--item", help="id of an item to search with, instead of photos")] = None,
    k: Annotated[int, typer.Option("--k", help="galleries to find")] = 10,
    index: Annotated[
        str, typer.Option("--index", help="exact; projections: random projections; hnsw: FAISS's, the extra [ann]")
    ] = "exact",
    reviews: Annotated[
        Path | None,
        typer.Option("--reviews", help="photos of the items by another camera, laid out as the data set's own"),
    ] = None,
    show: Annotated[
        list[str] | None, typer.Option("--show", help="column of the items to write under a result; may be repeated")
    ] = None,
    device: Device = None,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Find galleries by seed photos: sheet.png to look at, and how good and how fast each index is.

    The report also measures same-attribute retrieval, same-item retrieval (with --reviews) and, where the data set
    has a log, how near items lie that one request engaged with together.
    """
    from galleryrank.retrieve import retrieve_run

    retrieve_run(dataset, embedded, out, photo or [], item, k, index, reviews, show or [], device, format, quiet)


@app.command(
    epilog="Example: galleryrank ablate dataset.toml --out runs/ablation --backbone small "
    "--backbone squeezenet1_1=weights.pt --width native --paradigm multitask --paradigm frozen"
)
def ablate(
    dataset: Annotated[Path, typer.Argument(help="a dataset.toml with [gallery], or its folder")],
    out: Out,
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", help="NAME, or NAME=FILE with pretrained weights; may be repeated. Default: small"),
    ] = None,
    width: Annotated[
        list[str] | None,
        typer.Option("--width", help="of a photo's vector: native, or a number; may be repeated. Default: native, 64"),
    ] = None,
    paradigm: Annotated[
        list[str] | None,
        typer.Option(
            "--paradigm",
            help="multitask, kendall, triplet-random, triplet-semihard, triplet-hard, frozen (pretrained weights as "
            "they are) or random; may be repeated. Default: multitask, kendall, triplet-semihard, random",
        ),
    ] = None,
    holdout: Annotated[
        str | None, typer.Option("--holdout", help="the held-out column to probe; default: the only one")
    ] = None,
    reviews: Annotated[
        Path | None,
        typer.Option("--reviews", help="photos of the items by another camera, laid out as the data set's own"),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file of the other settings")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="one setting, a.b=c; may be repeated")] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="repeats of each probe")] = 1,
    device: Device = None,
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Backbones x widths x ways of training in one table: probe, same item, same attribute, parameters, latency.

    A combination that cannot be is a row with the reason. A killed run keeps the rows it has.
    """
    from galleryrank.ablate import BACKBONES, DEFAULT_PARADIGMS, WIDTHS, ablate_run

    ablate_run(
        dataset, out, backbone or BACKBONES, width or WIDTHS, paradigm or DEFAULT_PARADIGMS, holdout, reviews, config,
        set_ or [], seeds, device, format, quiet,
    )  # fmt: skip
