"""What a saved model tells about the groups of its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from multitask.sharing.selective_sharing import SelectiveSharing


def sharing_record(sharing: SelectiveSharing) -> dict[str, Any]:
    """After a run: the directive, the groups of the weights that were kept, and the history, for JSON.

    >>> from multitask.sharing.branches import Branches
    >>> record = sharing_record(SelectiveSharing(Branches(2, 4, hidden=(3,)), ["click", "save"]))
    >>> record["directive"], record["groups"], record["epochs"]
    ('similarity', [['click'], ['save']], [])
    """
    epochs = sharing.history.to_dict("records")
    return {"directive": sharing.directive, "groups": sharing.groups(), "epochs": epochs}


def groups_text(groups: Sequence[Sequence[str]]) -> str:
    """The groups of several tasks in words.

    >>> groups_text([["click", "save"], ["hide"]]), groups_text([["click"], ["hide"]])
    ('click with save; on its own: hide', 'every task on its own')
    """
    together = [" with ".join(group) for group in groups if len(group) > 1]
    alone = [group[0] for group in groups if len(group) == 1]
    if not together:
        return "every task on its own"
    return "; ".join([*together, f"on its own: {', '.join(alone)}"] if alone else together)
