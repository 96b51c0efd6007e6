"""The whole of training: validate, encode, thin negatives, train, refit on held-out rows."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from features import (
    Dataset,
    EncodedLog,
    Encoders,
    Fault,
    InputError,
    Schema,
    ValidationReport,
    encode_log,
    negative_sample_mask,
    raise_faults,
)
from features.schema_rules import schema_faults
from ranking.boosted import fit_boosters
from ranking.config import RankerConfig
from ranking.correction import require_any_head
from ranking.heads import HeadTree
from ranking.network_fitting import fit_network
from ranking.ranker import SCORE, Ranker
from ranking.rates import training_rate
from ranking.refitting import fit_calibration
from ranking.scorer import Scorer
from ranking.segments import named_faults, segment_faults
from ranking.training_rows import TrainingRows, importance_training_rows, multi_head_rows
from ranking.utility import Utility
from ranking.vectors import coverage_text, vector_coverage

PACKAGES = ("torch", "numpy", "pandas", "pyarrow", "lightgbm")


@dataclass(frozen=True)
class Prepared:
    """A data set read, checked and encoded once, from which several models can be fitted.

    `held_out` are the calibrate rows at the logged position, `serving` the same rows at the serving position.
    """

    dataset: Dataset
    data_sha256: dict[str, str]
    report: ValidationReport
    encoders: Encoders
    train: EncodedLog
    held_out: EncodedLog
    serving: EncodedLog

    @property
    def schema(self) -> Schema:
        """The schema of the data set."""
        return self.dataset.schema


def prepare(dataset: Dataset, config: RankerConfig, log: Callable[[str], None]) -> Prepared:
    """Validate the log, fit the encoders on the train role, encode what fitting needs.

    Raises InputError with all faults of the data at once.
    """
    check_config(dataset.schema, config)
    report = dataset.validate()
    report.raise_if_faulty()
    check_sampling(dataset.schema, config, report)
    log(f"checked {report.rows:,} rows: no faults")
    for warning in report.warnings:
        log(f"warning: {warning}")
    encoders = Encoders.fit(
        dataset, min_count=config.encoding.min_count, max_list_length=config.encoding.max_list_length
    )
    raise_faults(segment_faults(encoders, config.refit_by))
    train = encode_log(dataset, encoders, "train", serving_position=False, drop_immature=True)
    held_out = encode_log(dataset, encoders, "calibrate", serving_position=False)
    if not len(train) or not len(held_out):
        raise InputError(
            f"training needs rows in the roles train and calibrate, got {len(train):,} and {len(held_out):,}: "
            "change [split] in dataset.toml"
        )
    coverage = vector_coverage(train.inputs)
    if coverage:
        log(coverage_text(coverage, "training rows"))
        query = dataset.schema.columns.query_item
        unmatched = {
            "item": "holds no item of the training rows: are its ids those of the log?",
            "query": f"holds no query item of the training rows: are its ids those of the log's column `{query}`? "
            "Where no row has a query, leave [columns].query_item out",
        }
        raise_faults([Fault(unmatched[part], dataset.vector_file) for part, share in coverage.items() if not share])
    if train.refused or held_out.refused:
        log(
            f"younger than their heads' maturity and left out: {train.refused:,} training rows, "
            f"{held_out.refused:,} calibration rows"
        )
    serving = held_out
    if dataset.schema.position is not None:
        serving = encode_log(dataset, encoders, "calibrate", serving_position=True)
    return Prepared(dataset, dataset.data_hash(), report, encoders, train, held_out, serving)


def fit_prepared(
    data: Prepared,
    config: RankerConfig,
    *,
    checkpoint: Path | None = None,
    progress: bool | None = False,
    device: str | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> Ranker:
    """Fit one model on prepared data; see `Ranker.fit`."""
    schema, held_out = data.schema, data.held_out
    check_config(schema, config)
    check_sampling(schema, config, data.report)
    raise_faults(segment_faults(data.encoders, config.refit_by))
    train = data.train
    if config.negative_rate < 1.0:
        train = thin_negatives(train, config, schema)
        log(f"negatives thinned to {config.negative_rate:g}: {len(data.train):,} -> {len(train):,} training rows")
    if config.unread:
        what = "lightgbm" if config.model == "lightgbm" else "the single score of importance"
        log(f"not read by {what}: {', '.join(config.unread)}")
    log(f"{len(train):,} rows to train on, {len(held_out):,} to stop and calibrate on")
    fit_scorer = partial(
        _fit_scorer, data.encoders, config, checkpoint=checkpoint, progress=progress, device=device, log=log
    )
    if config.objective == "importance":
        rows = _single_rows(held_out, schema, config)
        scorer, history = fit_scorer((SCORE,), _single_rows(train, schema, config), rows, _single_loss(rows))
        info = _info(data, train, history)
        return Ranker(schema, config, data.encoders, scorer, None, None, None, info)

    # The model sees the log as it was sampled for training; the correction undoes that on any row.
    rate = training_rate(schema, config, held_out)
    parents = {h: schema.parent(h) for h in schema.head_names}
    tree = HeadTree.build(schema.head_names, parents, config.correction)
    scorer, history = fit_scorer(
        tree.nodes,
        multi_head_rows(train, tree, training_rate(schema, config, train)),
        _as_sampled(multi_head_rows(held_out, tree, rate), held_out, tree, rate),
        _joint_loss(tree, held_out, rate),
    )
    calibration = fit_calibration(
        tree,
        scorer,
        data.encoders,
        data.serving,
        held_out,
        rate,
        shrink=config.refit_shrink,
        by=config.refit_by,
        log=log,
    )
    signs = {name: head.sign for name, head in schema.heads.items()}
    utility = Utility.from_mapping(config.utility) if config.utility else Utility.equal(signs)
    info = _info(data, train, history)
    return Ranker(schema, config, data.encoders, scorer, tree, calibration, utility, info)


def check_config(schema: Schema, config: RankerConfig) -> None:
    """Refuse what cannot be right before any row is read, all of it at once.

    A schema is checked when it is built, but pydantic's `model_copy` and `model_construct` check nothing: every trainer
    passes here, so that none learns from a held-out column or a label however its schema was made.
    """
    faults: list[str] = []
    heads = schema.head_names
    single = config.objective == "importance"
    if not single and (config.negative_rate < 1.0 or schema.sampling is not None):
        faults += _reason(lambda: require_any_head(heads, mode=config.correction, any_head=True))
    for name, mapping in (("importance", config.importance), ("task_weights", config.task_weights)):
        unknown = sorted(set(mapping) - set(heads))
        if unknown:
            faults.append(f"`{name}` names unknown heads {unknown}; the heads are {heads}")
        faults += [f"`{name}.{h}` must be at least 0, got {v}" for h, v in mapping.items() if not v >= 0]
    if single:
        wanted = [h for h, head in schema.heads.items() if head.sign > 0]
        if not any(config.importance.get(h, 1.0) > 0 for h in wanted):
            faults.append(f"`importance` must leave a wanted head with a weight above 0; the wanted heads are {wanted}")
        if config.utility:
            faults.append('`utility` mixes probabilities: objective = "importance" has none')
        if config.refit_by is not None:
            faults.append('`refit_by` calibrates probabilities: objective = "importance" has none')
    elif config.utility:
        signs = {name: head.sign for name, head in schema.heads.items()}
        faults += [f"`utility`: {r}" for r in _reason(lambda: Utility.from_mapping(config.utility).check(signs))]
    if config.task_weights and config.task_weighting != "fixed":
        faults.append(f'`task_weights` are read with task_weighting = "fixed" only, got "{config.task_weighting}"')
    named = [] if single else named_faults(schema, config.refit_by)
    raise_faults([*schema_faults(schema), *(Fault(message) for message in faults), *named])


def check_sampling(schema: Schema, config: RankerConfig, report: ValidationReport) -> None:
    """Refuse a correction that this log does not permit: the refit would hide that it is wrong."""
    if config.objective == "importance" or config.correction == "inverse_propensity":
        return
    faults = []
    if report.sampled_without_rate:
        faults.append(
            "rows were dropped (keep_prob is below 1) but no [sampling] says how: declare the negative rate and what "
            'protects a row, or train with correction = "inverse_propensity"'
        )
    if report.missing_before_sampling and config.correction != "headwise":
        faults.append(
            f'correction = "{config.correction}" needs the labels that decided which rows were kept, but they were '
            "null before rows were dropped (no row with a null label was protected): use "
            '"headwise" or "inverse_propensity"'
        )
    if report.unprotected_heads and (schema.sampling is not None or config.negative_rate < 1.0):
        faults.append(
            f"heads {list(report.unprotected_heads)} happen on rows that no `sampling.protected_by` column protects: "
            'name their columns there, or train with correction = "inverse_propensity"'
        )
    raise_faults([Fault(message) for message in faults])


def _reason(check: Callable[[], None]) -> list[str]:
    """What `check` has against it, as a list of none or one."""
    try:
        check()
    except ValueError as error:
        return [str(error)]
    return []


def thin_negatives(log: EncodedLog, config: RankerConfig, schema: Schema) -> EncodedLog:
    """Keep a share of the unprotected rows (or requests); the declared rate and `keep_prob` are multiplied by it."""
    if bool(torch.isnan(log.protected).any()):
        raise InputError(
            "negative_rate below 1 needs every label that protects a row: where one is missing it is unknown which "
            "rows may be dropped. Set negative_rate = 1"
        )
    by_request = schema.sampling is not None and schema.sampling.unit == "request"
    kept = negative_sample_mask(
        log.protected, config.negative_rate, config.seed, requests=log.requests if by_request else None
    )
    thinned = log.select(torch.from_numpy(np.flatnonzero(np.asarray(kept))))
    factor = torch.where(thinned.protected > 0, 1.0, config.negative_rate)
    return replace(thinned, keep_prob=thinned.keep_prob * factor)


def _fit_scorer(
    encoders: Encoders,
    config: RankerConfig,
    nodes: tuple[str, ...],
    rows: TrainingRows,
    held_out: TrainingRows,
    loss: Callable[[np.ndarray], float],
    *,
    checkpoint: Path | None,
    progress: bool | None,
    device: str | None,
    log: Callable[[str], None],
) -> tuple[Scorer, dict[str, Any]]:
    if config.model == "lightgbm":
        return fit_boosters(encoders, rows, held_out, nodes, config, log)
    return fit_network(
        encoders,
        rows,
        nodes,
        config,
        held_out.inputs,
        loss,
        checkpoint=checkpoint,
        progress=progress,
        device=device,
        log=log,
    )


def _as_sampled(rows: TrainingRows, log: EncodedLog, tree: HeadTree, rate: float | np.ndarray) -> TrainingRows:
    """Held-out rows weighted to look like the sampled training rows, on which boosted trees decide when to stop."""
    weight = np.where(log.protected.numpy() == 0, rate, 1.0) / log.keep_prob.numpy()  # (N,)
    own = np.ones((len(log), len(tree.nodes))) if rows.weights is None else rows.weights.numpy()
    if tree.correction == "inverse_propensity":  # its own weights 1 / pi make training look like the full log
        weight = np.ones(len(log))
    return replace(rows, weights=torch.from_numpy((own * weight[:, None]).astype(np.float32)))


def _joint_loss(tree: HeadTree, log: EncodedLog, rate: float | np.ndarray) -> Callable[[np.ndarray], float]:
    """Mean over the heads of the log loss of corrected probabilities, weighted by 1 / pi: the full log's own loss."""
    y = log.labels.numpy().astype(np.float64)  # (N, T)
    w = np.where(np.isnan(y), 0.0, 1.0 / log.keep_prob.numpy().astype(np.float64)[:, None])
    y = np.nan_to_num(y)

    def loss(z: np.ndarray) -> float:
        log_p = np.minimum(tree.log_probabilities(z, rate, "corrected")[:, :-1], -1e-12)
        rows = -(y * log_p + (1.0 - y) * np.log(-np.expm1(log_p)))
        return float(np.mean((w * rows).sum(0) / np.maximum(w.sum(0), 1e-12)))

    return loss


def _single_rows(log: EncodedLog, schema: Schema, config: RankerConfig) -> TrainingRows:
    """Rows of eq. 1; a negative head (hide) is no engagement."""
    positive = [j for j, head in enumerate(schema.heads.values()) if head.sign > 0]
    importance = np.array([config.importance.get(schema.head_names[j], 1.0) for j in positive])
    return importance_training_rows(log, positive, importance, config.expand)


def _single_loss(rows: TrainingRows) -> Callable[[np.ndarray], float]:
    y, w = rows.labels[:, 0].double().numpy(), rows.weights[:, 0].double().numpy()  # type: ignore[index]

    def loss(z: np.ndarray) -> float:
        z = z[:, 0].astype(np.float64)
        return float(np.average(np.logaddexp(0.0, z) - y * z, weights=w))

    return loss


def _info(data: Prepared, train: EncodedLog, history: dict[str, Any]) -> dict[str, Any]:
    """What a model's config.json records of its making."""
    from importlib.metadata import version

    return {
        "data": data.schema.name,
        "data_sha256": data.data_sha256,
        "training_rows": len(train),
        "calibration_rows": len(data.held_out),
        "vector_coverage": vector_coverage(train.inputs),
        "immature_rows_refused": {"train": train.refused, "calibrate": data.held_out.refused},
        "versions": {"galleryrank": version("galleryrank"), "python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "history": history,
    }
