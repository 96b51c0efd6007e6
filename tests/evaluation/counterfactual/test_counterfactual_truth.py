"""The marketplace knows what a ranking is worth: what each estimator makes of its log, over several worlds."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from evaluation.counterfactual import Reranking, estimate_reranking
from features.world import HEADS, World, draw_log
from features.world.policy import order_by_plackett_luce

WORLDS, REQUESTS, CANDIDATES = 8, 4000, 10


@cache
def errors() -> pd.DataFrame:
    """Per world, ranking, estimator and head: error, se and truth, of rankings that the logs support."""
    lines = []
    for seed in range(WORLDS):
        world = World.generate(seed=seed, properties=400, users=1000)
        log = pa.concat_tables(draw_log(world, requests=REQUESTS, candidates=CANDIDATES)).to_pandas()
        user, item, time = (log[name].to_numpy() for name in ("user_id", "item_id", "timestamp"))
        guess = world.probabilities(user, item, np.full(len(log), 3), time)  # what a fair model knows, seldom right:
        relevance = np.column_stack([0.8 * getattr(guess, head) ** 0.9 for head in HEADS])
        random = np.random.default_rng(seed)
        again = order_by_plackett_luce(random, world.policy_score[item.reshape(-1, CANDIDATES)])
        liked = world.policy_score[item] + 1.5 * np.log(relevance[:, HEADS.index("click")])
        rankings = {"model": liked, "same policy": -np.argsort(again, axis=1).ravel().astype(float)}
        for name, scores in rankings.items():
            new = Reranking.of(scores, item, log["request_id"], log["position"], log["propensity"])
            p = world.probabilities(user, item, new.new, time)
            result = estimate_reranking(new, log[list(HEADS)], names=HEADS, relevance=relevance)
            for r in result.table.to_dict("records"):
                truth = float(getattr(p, r["head"]).sum() / REQUESTS)
                lines.append({"world": seed, "ranking": name, "truth": truth, "error": r["value"] - truth, **r})
    return pd.DataFrame(lines)


@pytest.mark.parametrize("estimator", ["ips", "snips", "dr"])
def test_the_truth_is_recovered_within_three_standard_errors(estimator: str) -> None:
    own = errors()[errors()["estimator"] == estimator]
    z = own["error"] / own["se"]
    assert len(z) == WORLDS * 2 * len(HEADS)
    assert z.abs().max() < 3
    assert abs(z.mean()) < 0.6  # heads of one world are not independent: about eight draws
    assert z.std() < 1.3
    assert (own["se"] / own["truth"]).median() < 0.15  # and not because anything would be within three of them


def test_what_the_log_earned_is_not_what_the_new_ranking_would_earn() -> None:
    """The naive reading: off by a tenth and more for clicks, by many of its standard errors, in every world."""
    naive = errors().query("estimator == 'logged' and ranking == 'model' and head == 'click'")
    assert (naive["error"] / naive["truth"]).max() < -0.08
    assert (naive["error"] / naive["se"]).max() < -4


def test_the_position_based_model_is_right_for_saves_and_biased_for_clicks() -> None:
    """Saves do not depend on the position. For clicks it acts on the logit: a product of two factors is too generous to
    a ranking that puts the likely ones first."""
    pbm = errors().query("estimator == 'pbm' and ranking == 'model'").set_index(["head", "world"])
    z = pbm["error"] / pbm["se"]
    assert z["save"].abs().max() < 3
    bias = (pbm["error"] / pbm["truth"]).groupby("head").mean()
    assert 0.005 < bias["click"] < 0.08
    narrow = errors().query("estimator == 'dr' and ranking == 'model'")["se"].mean()
    assert pbm["se"].mean() < 0.6 * narrow


def test_requests_that_were_sampled_are_weighted() -> None:
    """Requests without a click are kept with .2: weighted they give the whole log's truth, unweighted far more."""
    world = World.generate(seed=0, properties=400, users=1000)
    log = pa.concat_tables(draw_log(world, requests=8000, candidates=CANDIDATES)).to_pandas()
    p = world.probabilities(log["user_id"], log["item_id"], np.full(len(log), 3), log["timestamp"])
    log["score"], log["p"] = world.policy_score[log["item_id"]], p.click
    engaged = log.groupby("request_id")["click"].transform("max").to_numpy() == 1
    keep = np.where(engaged, 1.0, 0.2)
    kept = np.random.default_rng(0).random(8000)[log["request_id"]] < keep
    whole = Reranking.of(log["score"], log["item_id"], log["request_id"], log["position"], log["propensity"])
    true = world.probabilities(log["user_id"], log["item_id"], whole.new, log["timestamp"]).click.sum() / 8000
    part = log[kept]
    weighted, unweighted = (
        estimate_reranking(
            Reranking.of(part["score"], part["item_id"], part["request_id"], part["position"], part["propensity"], w),
            part[["click"]], relevance=part[["p"]],
        ).table.set_index("estimator")
        for w in (1 / keep[kept], None)
    )  # fmt: skip
    for estimator in ("ips", "snips", "dr"):
        assert abs(weighted.loc[estimator, "value"] - true) < 3 * weighted.loc[estimator, "se"]
    assert abs(unweighted.loc["logged", "value"] - weighted.loc["logged", "value"]) > 0.05


def test_the_difference_to_the_log_is_paired() -> None:
    """A new draw of the same policy earns the same: z of the difference, and its error below the unpaired one."""
    same = errors().query("estimator == 'snips' and ranking == 'same policy'")
    z = same["difference"] / same["difference_se"]
    assert z.abs().max() < 3.2
    logged = errors().query("estimator == 'logged' and ranking == 'same policy'")["se"].to_numpy()
    assert (same["difference_se"].to_numpy() < np.hypot(same["se"].to_numpy(), logged)).mean() > 0.9
