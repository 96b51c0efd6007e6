"""The network: its first predictions, its trunks, item projections, and vectors of a query."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from features import Encoders, Inputs, ItemVectors
from multitask import TrainingConfig
from ranking import NetworkConfig, Prepared, Ranker, RankerConfig, fit_prepared
from ranking.network import RankingNetwork
from ranking.network_fitting import build_network
from ranking.scorer import NetworkScorer


def test_it_starts_at_the_base_rates(prepared: Prepared, small: RankerConfig) -> None:
    network = build_network(prepared.encoders, small, 3).eval()
    torch.nn.init.zeros_(network.towers.output_weight)
    network.set_base_rates([0.1, 0.02, 0.5])
    with torch.no_grad():
        p = torch.sigmoid(network(prepared.train.inputs.slice(0, 5)))
    np.testing.assert_allclose(p, np.tile([0.1, 0.02, 0.5], (5, 1)), rtol=1e-5)


@pytest.mark.parametrize("tower_hidden", [0, 6])
@pytest.mark.parametrize(("trunk", "cross"), [("shared_bottom", 0), ("shared_bottom", 1), ("mmoe", 0), ("ple", 1)])
def test_scoring_equals_the_plain_forward_pass(
    prepared: Prepared, small: RankerConfig, trunk: str, cross: int, tower_hidden: int
) -> None:
    """Item vectors are projected once per item where the trunk allows it; the logits agree to rounding."""
    config = small.model_copy(
        update={"network": NetworkConfig(trunk=trunk, cross_layers=cross, hidden=(8, 4), tower_hidden=tower_hidden)}
    )
    network = build_network(prepared.encoders, config, 5).eval()
    inputs = prepared.train.inputs.slice(0, 300)
    with torch.no_grad():
        expected = network(inputs).numpy()
    scorer = NetworkScorer(network)
    np.testing.assert_allclose(scorer.logits(inputs), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scorer.with_precision("bfloat16").logits(inputs), expected, atol=0.05)
    with pytest.raises(ValueError, match="precision"):
        scorer.with_precision("int8")  # type: ignore[arg-type]


def test_padding_of_a_list_never_matters() -> None:
    """An empty list pools to zeros; what stands in the padding row cannot leak into the features."""

    class OneList:
        n_embeddings, fields, list_fields, numeric_names, query_item = 5, (), ("filters",), (), None

    network = RankingNetwork(OneList(), NetworkConfig(embedding_dim=3, hidden=(4,)), 1)  # type: ignore[arg-type]
    inputs = Inputs(torch.empty(2, 0, dtype=torch.int32), (torch.tensor([[2, 3, 0], [0, 0, 0]]),), torch.empty(2, 0))
    with torch.no_grad():
        network.embedding.weight[0] = torch.nan
        pooled = network.features(inputs)
        weight = network.embedding.weight
    np.testing.assert_allclose(pooled[0], (weight[2] + weight[3]).detach() / 2)
    np.testing.assert_array_equal(pooled[1], np.zeros(3))


def test_the_cosine_with_the_querys_vector_is_a_feature(prepared: Prepared) -> None:
    vectors = ItemVectors.from_arrays("item", np.array([7, 8]), np.array([[3.0, 4.0], [4.0, -3.0]], np.float32))

    class Query:
        n_embeddings, fields, list_fields, numeric_names, query_item = 1, (), (), (), "query_item"

    network = RankingNetwork(Query(), NetworkConfig(hidden=(4,)), 1, torch.from_numpy(vectors.matrix))  # type: ignore[arg-type]
    row = torch.from_numpy(vectors.rows(np.array([7, 7, 9])))
    query = torch.from_numpy(vectors.rows(np.array([7, 8, 7])))
    inputs = Inputs(torch.empty(3, 0, dtype=torch.int32), (), torch.empty(3, 0), row, query)
    np.testing.assert_allclose(network.features(inputs)[:, -1].detach(), [1.0, 0.0, 0.0], atol=1e-6)


def test_training_learns_something(prepared: Prepared, small: RankerConfig) -> None:
    """The held-out loss ends below the loss of the base rates."""
    ranker = fit_prepared(prepared, small)
    losses = [epoch["metrics"]["validation_loss"] for epoch in ranker.info["history"]["epochs"]]
    labels = prepared.held_out.labels.numpy()
    w = 1 / prepared.held_out.keep_prob.numpy()
    rate = (w @ labels) / w.sum()
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)).mean()
    assert min(losses) < entropy


def test_task_weightings_are_read(prepared: Prepared, small: RankerConfig, ranker: Ranker) -> None:
    inputs = prepared.train.inputs.slice(0, 50)
    plain = ranker.scorer.logits(inputs)
    for change in ({"task_weighting": "uncertainty"}, {"task_weighting": "fixed", "task_weights": {"save": 5.0}}):
        assert not np.allclose(fit_prepared(prepared, small.model_copy(update=change)).scorer.logits(inputs), plain)


def test_the_same_seed_gives_the_same_network_bit_for_bit(
    prepared: Prepared, small: RankerConfig, ranker: Ranker
) -> None:
    inputs = prepared.train.inputs.slice(0, 50)
    expected = ranker.scorer.logits(inputs)
    np.testing.assert_array_equal(fit_prepared(prepared, small).scorer.logits(inputs), expected)
    other = small.model_copy(update={"training": TrainingConfig(**(small.training.model_dump() | {"seed": 1}))})
    assert not np.array_equal(fit_prepared(prepared, other).scorer.logits(inputs), expected)


def test_encoders_know_what_the_network_needs(prepared: Prepared) -> None:
    encoders: Encoders = prepared.encoders
    assert len(encoders.fields) == prepared.train.inputs.ids.shape[1]
    assert int(prepared.train.inputs.ids.max()) < encoders.n_embeddings


@pytest.mark.parametrize("correction", ["headwise", "inverse_propensity"])
def test_the_start_is_the_weighted_base_rate(prepared: Prepared, small: RankerConfig, correction: str) -> None:
    """Modes that weight their rows must start at the weighted rates: after next to no training the mean is right."""
    still = small.training.model_copy(update={"epochs": 1, "learning_rate": 1e-9})
    ranker = fit_prepared(prepared, small.model_copy(update={"correction": correction, "training": still}))
    z = ranker.scorer.logits(prepared.train.inputs)
    p = np.exp(ranker.log_probabilities(z, ranker.negative_rate(), "corrected", logged_position=True))[:, :-1]
    w = 1.0 / prepared.train.keep_prob.numpy()[:, None]
    ratio = (w * p).sum(0) / (w * prepared.train.labels.numpy()).sum(0)
    np.testing.assert_allclose(ratio, 1.0, atol=0.15)


def test_fitting_leaves_the_callers_random_state_alone(prepared: Prepared, small: RankerConfig) -> None:
    before = torch.random.get_rng_state()
    fit_prepared(prepared, small.model_copy(update={"training": small.training.model_copy(update={"epochs": 1})}))
    assert torch.equal(torch.random.get_rng_state(), before)
