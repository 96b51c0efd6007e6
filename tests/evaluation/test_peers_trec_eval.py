"""Per-request metrics equal those of trec_eval, by pytrec_eval and ir_measures.

They take queries and judgements: a request is a query, a row a document. Both hold scores in float32 and break ties by
document id, the greatest first, so with ids that fall from row to row their order is our `ties="order"`.
"""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.per_request import request_influences, request_metrics

NAMES = {
    "ndcg": "ndcg",
    "ndcg@3": "ndcg_cut_3",
    "ndcg@10": "ndcg_cut_10",
    "mrr": "recip_rank",
    "recall@5": "recall_5",
    "hit_rate@2": "success_2",
    "mean_ap": "map",
    "mean_ap@4": "map_cut_4",
}
ASKED = {"ndcg", "ndcg_cut.3,10", "recip_rank", "recall.5", "success.2", "map", "map_cut.4"}

Log = tuple[np.ndarray, np.ndarray, np.ndarray]


def log(seed: int, levels: int, *, graded: bool = False) -> Log:
    """Ragged requests in no order; scores that are exact in float32."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 150, 1800)
    labels = rng.choice([0, 0, 0, 1, 2, 4] if graded else [0, 0, 0, 1], len(ids))
    scores = rng.permutation(1800) if levels == 0 else rng.integers(0, levels, 1800)
    return labels, scores / 2048, ids


def judged(labels: np.ndarray, scores: np.ndarray, ids: np.ndarray) -> tuple[dict, dict]:
    """Judgements and a run; requests without a positive are not judged."""
    judgements: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for row, (label, score, request) in enumerate(zip(labels.tolist(), scores.tolist(), ids.tolist())):
        document = f"row{len(labels) - row:06d}"
        judgements.setdefault(str(request), {})[document] = label
        run.setdefault(str(request), {})[document] = score
    return {query: rows for query, rows in judgements.items() if any(rows.values())}, run


@pytest.mark.parametrize("levels", [0, 5, 1], ids=["untied", "tied", "constant"])
@pytest.mark.parametrize("name", NAMES)
def test_pytrec_eval(name: str, levels: int) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec_eval is not installed (test extra)")
    parts = log(0, levels)
    judgements, run = judged(*parts)
    found = pytrec_eval.RelevanceEvaluator(judgements, ASKED).evaluate(run)
    expected = np.mean([query[NAMES[name]] for query in found.values()])
    assert request_influences(name, *parts, ties="order")[0] == pytest.approx(expected, abs=1e-9)
    if levels == 0:
        assert request_influences(name, *parts)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["ndcg", "ndcg@3", "ndcg@10"])
@pytest.mark.parametrize("levels", [0, 5])
def test_graded_judgements(name: str, levels: int) -> None:
    """trec_eval's gains are linear."""
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec_eval is not installed (test extra)")
    parts = log(1, levels, graded=True)
    judgements, run = judged(*parts)
    found = pytrec_eval.RelevanceEvaluator(judgements, ASKED).evaluate(run)
    expected = np.mean([query[NAMES[name]] for query in found.values()])
    assert request_influences(name, *parts, ties="order")[0] == pytest.approx(expected, abs=1e-9)


def test_a_query_that_is_judged_without_a_positive_is_0_there() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec_eval is not installed (test extra)")
    judgements, run = {"a": {"x": 1, "y": 0}, "b": {"x": 0}}, {"a": {"x": 2.0, "y": 1.0}, "b": {"x": 1.0}}
    found = pytrec_eval.RelevanceEvaluator(judgements, {"map", "ndcg", "recip_rank"}).evaluate(run)
    assert found["b"] == {"map": 0.0, "ndcg": 0.0, "recip_rank": 0.0}
    table = request_metrics([1, 0, 0], [2, 1, 1], ["a", "a", "b"], metrics=["mean_ap", "ndcg", "mrr"])
    assert table["value"].tolist() == [1.0] * 3
    assert table["left_out"].tolist() == [1] * 3


@pytest.mark.parametrize("levels", [0, 5], ids=["untied", "tied"])
def test_ir_measures(levels: int) -> None:
    ir_measures = pytest.importorskip("ir_measures", reason="ir_measures is not installed (test extra)")
    AP, RR, R, Success, nDCG = (getattr(ir_measures, name) for name in ("AP", "RR", "R", "Success", "nDCG"))
    asked = {
        "ndcg@10": nDCG @ 10, "ndcg": nDCG, "mrr": RR, "recall@5": R @ 5, "hit_rate@2": Success @ 2, "mean_ap": AP,
        "mean_ap@4": AP @ 4,
    }  # fmt: skip
    if levels == 0:  # its RR@K has an order of its own
        asked["mrr@3"] = RR @ 3
    parts = log(2, levels)
    judgements, run = judged(*parts)
    expected = ir_measures.calc_aggregate(asked.values(), judgements, run)
    table = request_metrics(*parts, metrics=list(asked), ties="order").set_index("metric")
    for name, measure in asked.items():
        assert table.loc[name, "value"] == pytest.approx(expected[measure], abs=1e-9), name
