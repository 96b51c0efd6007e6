"""The picture of the groups shows what the history's table says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multitask.sharing import groups_figure
from multitask.sharing.history import GroupingHistory


def history(tasks: int, epochs: int = 8) -> GroupingHistory:
    """Tasks i and i + 1 join, then fours, until epoch 4."""
    past = GroupingHistory([f"task {t}" for t in range(tasks)], law=(1, 10))
    for epoch in range(epochs):
        size = 2 ** min(max(0, epoch - 1), 3)
        past.add(epoch, [t // size for t in range(tasks)], changed=1 < epoch < 5, locked=epoch >= 5, seconds=0.0)
    return past


@pytest.mark.parametrize("tasks", [3, 10, 31, 50])
def test_lines_end_together_where_groups_are(tmp_path: Path, tasks: int) -> None:
    figure = groups_figure(history(tasks).table(), title="similarity")
    axes = figure.axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert len(lines) == tasks
    starts = [line.get_ydata()[0] for line in lines]
    assert sorted(starts) == pytest.approx(list(range(tasks)))
    ends = np.array([line.get_ydata()[-1] for line in lines])
    colours = [line.get_color() for line in lines]
    neighbours = np.abs(np.diff(ends)) < 0.5
    for i, near in enumerate(neighbours):
        assert near == (i // 8 == (i + 1) // 8)
        assert colours[i] == colours[i + 1] or not near
    figure.savefig(tmp_path / "groups.png")


def test_the_picture_ends_after_the_lock() -> None:
    axes = groups_figure(history(10, epochs=30).table()).axes[0]
    assert axes.get_xlim() == (0, 8)  # locked in epoch 5: 6 epochs done
    assert axes.texts[0].get_text() == "locked"


def test_order_follows_the_joins() -> None:
    past = GroupingHistory(["a", "b", "c", "d"], law=(1, 1))
    past.add(0, [0, 1, 2, 1], changed=True, locked=False, seconds=0.0)
    past.add(1, [0, 1, 0, 1], changed=True, locked=True, seconds=0.0)
    axes = groups_figure(past.table()).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "c", "b", "d"]
    assert [text.get_text() for text in axes.texts] == ["locked", "a, c", "b, d"]


def test_names_that_differ_in_blanks_stay_apart() -> None:
    past = GroupingHistory(["a b", "a_b", "c|d"], law=(1, 1))
    past.add(0, [0, 1, 1], changed=True, locked=False, seconds=0.0)
    assert past.table()["members"].tolist() == ["a_b | a_b_2 c_d"]
    assert past.named([0, 1, 1]) == [["a b"], ["a_b", "c|d"]]
    axes = groups_figure(past.table()).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a_b", "a_b_2", "c_d"]


def test_an_empty_history_is_refused() -> None:
    with pytest.raises(ValueError, match="`history` must hold at least one epoch"):
        groups_figure(GroupingHistory(["a"], law=(1, 1)).table())
