"""Item vectors in a fitted ranker: which tables may stand in for the one trained on, and how many rows they cover.

A vector means something only to a model that was trained on vectors of the same encoder. So a table is taken

1. if it and the table trained on carry the same encoder fingerprint (`galleryrank embed` writes it): new items and
   new photos of old ones are then welcome;
2. if one of the two carries none (vectors from elsewhere), only if it holds every item trained on with the same vector
   bit for bit: it is the same table, or an extension of it. Nothing else can be told from numbers alone.

Width and kind of the ids (integers or strings) must be the same in either case.
"""

from __future__ import annotations

from pathlib import Path

from features import Fault, Inputs, ItemVectors, raise_faults

SHOWN = 12  # hexadecimal digits of a fingerprint in messages
EMBED = "`galleryrank embed DATASET --encoder ENCODER_DIR --out DIR`"


def check_vectors(trained: ItemVectors | None, vectors: ItemVectors, file: Path | None = None) -> None:
    """Refuse item vectors that do not mean what those of the training mean (the rule is at the head of this file).

    Args:
        trained: those that the model holds; None if it was fitted without.
        vectors: those to score with.
        file: where they are from, for messages.

    Raises:
        InputError: all that is wrong at once; both fingerprints and how to embed again.

    >>> import numpy as np
    >>> old, more = (ItemVectors.from_arrays("item", np.arange(n), np.eye(n, 2), encoder="aa") for n in (2, 3))
    >>> check_vectors(old, more)
    >>> check_vectors(old, ItemVectors.from_arrays("item", np.arange(3), np.eye(3, 2), encoder="bb"))
    Traceback (most recent call last):
    features.errors.InputError: item vectors must be those of the encoder aa that the model was trained with, got ...
    """
    if trained is None:
        remedy = "fit again with [files].vectors in dataset.toml or --vectors FILE"
        raise_faults([Fault(f"this model was fitted without item vectors: {remedy}", file)])
        return
    faults = []
    if trained.dim != vectors.dim:
        faults.append(Fault(f"item vectors must hold {trained.dim} numbers as in training", file, value=vectors.dim))
    if trained.key.kind != vectors.key.kind:
        kinds = {"int": "integers", "string": "strings"}
        wanted, found = (kinds[str(v.key.kind)] for v in (trained, vectors))
        faults.append(Fault(f"ids of item vectors must be {wanted} as in training, got {found}", file))
    if trained.encoder is not None and vectors.encoder is not None:
        same = trained.encoder == vectors.encoder
    else:
        same = trained.fingerprint == vectors.fingerprint or vectors.extends(trained)
    if not same:
        remedy = f"re-embed the photos with the model's own encoder by {EMBED}, or fit again on these vectors"
        if trained.encoder is None or vectors.encoder is None:
            remedy = f"without both encoders' fingerprints it must be the same table, or that with more items; {remedy}"
        expectation = f"item vectors must be those of the {_origin(trained)} that the model was trained with"
        faults.append(Fault(f"{expectation}, got those of the {_origin(vectors)}: {remedy}", file))
    raise_faults(faults)


def _origin(vectors: ItemVectors) -> str:
    if vectors.encoder is None:
        return f"table {vectors.fingerprint[:SHOWN]}"
    return f"encoder {vectors.encoder[:SHOWN]}"


def describe_vectors(vectors: ItemVectors | None) -> dict[str, str | int | None] | None:
    """What config.json records of item vectors: fingerprints of encoder and content, items, numbers per item."""
    if vectors is None:
        return None
    content: dict[str, str | int | None] = {"encoder": vectors.encoder, "fingerprint": vectors.fingerprint}
    return content | {"items": len(vectors), "dim": vectors.dim}


def vector_coverage(inputs: Inputs) -> dict[str, float]:
    """The share of rows whose item has a vector, and, where queries are, whose query item has one.

    >>> import torch
    >>> rows = torch.tensor([0, 3, 4, 1])
    >>> vector_coverage(Inputs(torch.empty(4, 0), (), torch.empty(4, 0), rows, query_row=rows * 0))
    {'item': 0.75, 'query': 0.0}
    """
    rows = {"item": inputs.item_row, "query": inputs.query_row}
    return {name: float((row != 0).double().mean()) for name, row in rows.items() if row is not None and len(row)}


def coverage_text(coverage: dict[str, float], rows: str = "rows") -> str:
    """The coverage as a sentence; an item without a vector is scored with zeros, the mean of standardised vectors.

    >>> coverage_text({"item": 0.941, "query": 0.5}, "training rows")
    'vectors cover 94.1 % of the training rows; 50.0 % have the vector of a query item'
    """
    text = f"vectors cover {100 * coverage['item']:.1f} % of the {rows}"
    return text + (f"; {100 * coverage['query']:.1f} % have the vector of a query item" if "query" in coverage else "")
