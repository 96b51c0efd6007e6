"""What the reports of the studies say: the law, the claims, the maps, and the page in docs/."""

from __future__ import annotations

import doctest
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # as `python -m` has it

from examples.selective_sharing import activation_maps, capture, claims, summary

PAGE = Path(__file__).resolve().parents[2] / "docs" / "selective_sharing.md"
MODULES = ("activation_maps", "capture", "images", "measures", "report", "vector_report")


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings(name: str) -> None:
    module = importlib.import_module(f"examples.selective_sharing.{name}")
    assert doctest.testmod(module).failed == 0


def test_the_example_of_the_page_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    code, printed = re.findall(r"```python\n(.*?)```\n\n((?:    [^\n]*\n)+)", page, flags=re.DOTALL)[0]
    exec(compile(code, "selective_sharing.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.split() == printed.split()


def test_the_law_and_the_lock() -> None:
    run = _run(["a b", "c"], locked_at=3)
    assert summary.law_is_exact(run)
    assert summary.lock_epoch(run) == 3
    assert summary.seconds_around(run) == (2.0, 5.0)  # of 1, 2, 3 and of 4, 5, 6
    assert not summary.law_is_exact(run | {"parameters": run["parameters"] + 1})
    assert not summary.law_is_exact(run | {"parameters_before": run["parameters_before"] - 1})
    never = _run(["a", "b", "c"], locked_at=None)
    assert summary.lock_epoch(never) is None
    assert np.isnan(summary.seconds_around(never)[1])


def test_what_holds_and_what_does_not() -> None:
    """Merging took 40 %, .4 points below a branch per task and .4 above one branch, locks after 8 and 9 epochs."""

    def table(**changes: Any) -> pd.DataFrame:
        own = {"arm": "similarity", "top1": 96.6, "fewer": 40.0, "law_exact": True, "lock": 8.0, "groups": "4 9 | 7"}
        others = {"lock": np.nan, "groups": "", "fewer": 0.0, "law_exact": True}
        rows = [own | {"seed": seed} for seed in range(3)]
        rows[2] |= changes
        for arm, top1 in (("unmerged", 97.0), ("one_branch", 96.2)):
            rows += [others | {"arm": arm, "seed": seed, "top1": top1} for seed in range(3)]
        return pd.DataFrame(rows)

    def verdicts(runs: pd.DataFrame, name: str = "mnist") -> list[bool | None]:
        return [claim.holds for claim in claims.claims(name, runs)]

    assert verdicts(table()) == [True, True, True, False, True, True]
    assert verdicts(table(fewer=29.0, lock=9.0, groups="4 | 9 7")) == [False, True, True, False, False, True]
    assert verdicts(table(lock=np.nan, law_exact=False))[1:5:3] == [False, False]
    assert len(verdicts(table(), "cifar10")) == 5
    runs = table()
    assert verdicts(runs[runs.arm != "similarity"]) == [None, True, None, None, None, None]
    assert str(claims.claims("mnist", runs)[2]).startswith("- holds: similarity's mean top-1 at most 0.5 points below")
    assert str(claims.claims("mnist", runs)[3]).endswith("(+0.40)")


def test_gradient_weighted_maps_are_class_activation_maps_where_those_exist() -> None:
    """Behind a mean over the picture and one linear layer w: map_c = sum_k w_ck A_k [Zhou et al. 2016]."""
    torch.manual_seed(0)
    end = nn.Linear(6, 4)
    net = nn.Sequential(nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), end)
    net.eval()
    x, c = torch.randn(3, 1, 20, 20), torch.tensor([0, 3, 1])
    a = net[:3](x).detach()  # (3, 6, 16, 16)
    # Where the ReLU is closed its gradient is 0, which the mean sees; the weights are per map, so compare with these.
    w = end.weight[c].detach() * (a > 0).float().mean((2, 3))
    expected = torch.einsum("bk,bkhw->bhw", w, a).relu()[:, None]
    expected = nn.functional.interpolate(expected, size=(20, 20), mode="bilinear")[:, 0]
    found = activation_maps.activation_maps(net, x, c)
    torch.testing.assert_close(found, expected / expected.amax((1, 2), keepdim=True))
    with pytest.raises(ValueError, match="maps of at least 7 px"):
        activation_maps.activation_maps(net, x[..., :8, :8], c)


def test_what_listening_costs_is_measured() -> None:
    milliseconds, *_ = capture.capture_cost("response", blocks=2, steps=2)
    assert 0 < milliseconds < 1000
    assert capture.clustering_milliseconds(10, repeats=1) > 0


def _run(groups: list[str], locked_at: int | None) -> dict[str, Any]:
    """Six epochs of 1, 2, ... seconds; 100 parameters in the trunk, 7 in the outputs, 10 in a branch."""
    members = [group.split() for group in groups]
    records = [{"epoch": epoch, "locked": locked_at is not None and epoch + 1 >= locked_at} for epoch in range(6)]
    return {
        "law": {"trunk": 100, "outputs": 7, "branch": 10},
        "parameters_before": 107 + 30,
        "parameters": 107 + 10 * len(members),
        "branches": len(members),
        "tested_groups": members,
        "sharing": records,
        "epochs": [{"cpu_seconds": float(epoch)} for epoch in range(1, 7)],
    }
