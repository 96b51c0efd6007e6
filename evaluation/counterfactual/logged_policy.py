"""Reading what a log says of the policy that wrote it, and refusing a log that does not say it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.checks import FloatArray, IntArray
from evaluation.counterfactual.placement_faults import placement_faults
from evaluation.measured.scored_log import ScoredLog, role_batches
from features import Dataset, Fault, raise_faults
from features.validation_rows import as_floats

__all__ = ["LoggedPolicy", "refuse_without_propensities"]


@dataclass(frozen=True, eq=False)
class LoggedPolicy:
    """Of each of N rows, in the order of a `ScoredLog`.

    Attributes:
        positions: `(N,)` where it was shown.
        propensities: `(N,)` how likely that was.
        items: `(N,)` its item's place in the order of ids, to break ties by.
    """

    positions: FloatArray
    propensities: FloatArray
    items: IntArray

    @classmethod
    def read(cls, dataset: Dataset, log: ScoredLog) -> LoggedPolicy:
        """Read the positions and propensities of the log's role.

        Raises:
            InputError: all faults at once: what `refuse_without_propensities` finds; missing or impossible values;
                rows that were dropped one by one; two candidates of a request at one position.
        """
        refuse_without_propensities(dataset)
        c = dataset.schema.columns
        position, propensity = str(dataset.schema.position and dataset.schema.position.column), str(c.propensity)
        parts = [
            [as_floats(table[name]) for name in (position, propensity)]
            for table in role_batches(dataset, log.role, [position, propensity])
        ]
        positions, propensities = (np.concatenate([part[j] for part in parts]) for j in range(2))
        policy = cls(positions, propensities, _item_order(log))
        faults = [*_value_faults(policy, position, propensity, log), *_sampling_faults(dataset, log)]
        raise_faults(Fault(fault.message, dataset.path, fault.column, value=fault.value, count=fault.count)
                     for fault in faults)  # fmt: skip
        return policy


def refuse_without_propensities(dataset: Dataset) -> None:
    """InputError for a description without propensities or positions, with what to log."""
    schema, faults = dataset.schema, []
    if schema.columns.propensity is None:
        faults.append(
            Fault(
                "is not declared: what another order would have earned cannot be told from a log that does not say how "
                "likely its own was. Log the probability with which the policy put the item at its position, and name "
                "that column",
                dataset.path,
                key="[columns].propensity",
            )
        )
    if schema.position is None:
        faults.append(
            Fault("is not declared: name the column that says where an item was shown", dataset.path,
                  key="[position].column")
        )  # fmt: skip
    raise_faults(faults)


def _value_faults(policy: LoggedPolicy, position: str, propensity: str, log: ScoredLog) -> list[Fault]:
    columns = {"positions": position, "propensities": propensity}
    return [
        Fault(
            f"must {fault.expectation} ({log.keys.text(fault.row)} is the first that does not)",
            column=columns[fault.argument],
            value="null" if np.isnan(fault.value) else f"{fault.value:g}",
            count=fault.count,
        )
        for fault in placement_faults(log.requests, policy.positions, policy.propensities)
    ]


def _sampling_faults(dataset: Dataset, log: ScoredLog) -> list[Fault]:
    code, sampling = log.requests.codes, dataset.schema.sampling
    if log.keep_prob.min(initial=1.0) == 1.0:
        return []
    first = np.ones(log.requests.count, dtype=np.float32)
    first[code] = log.keep_prob
    by_row = sampling is not None and log.role in sampling.roles and sampling.unit == "row"
    if not by_row and (log.keep_prob == first[code]).all():
        return []
    return [
        Fault(
            f"the {log.role} rows were sampled one by one, so candidates are missing from their requests and what "
            "another order would put where is unknown: use a role that is not sampled, or sample whole requests "
            '(unit = "request")'
        )
    ]


def _item_order(log: ScoredLog) -> IntArray:
    """`(N,)` rank of every row's item id among the ids: ties by item, as `Ranker.rank` breaks them."""
    ids: pa.Array = log.keys.ids[1]
    rank = np.empty(len(ids), dtype=np.intp)
    rank[pc.sort_indices(ids).to_numpy()] = np.arange(len(ids))
    return rank[log.keys.item]
