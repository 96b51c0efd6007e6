"""Accepted weights: those they replace stay with the model, in memory, on disk and on its card."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from features import InputError
from ranking import Prepared, Ranker, Utility
from ranking.card import model_card

FIRST, SECOND, THIRD = Utility(click=1.0), Utility(click=0.4, save=0.6), Utility(long_click=1.0)


@pytest.fixture
def accepted(ranker: Ranker) -> Ranker:
    return ranker.with_utility(FIRST).accept_utility(SECOND, "tuned\non test").accept_utility(THIRD)


def test_the_weights_that_are_replaced_are_kept_in_order(accepted: Ranker) -> None:
    history = accepted.info["utility_history"]
    assert [entry["weights"] for entry in history] == [FIRST.to_dict(), SECOND.to_dict()]
    assert [entry["note"] for entry in history] == ["tuned\non test", ""]
    for entry in history:
        age = datetime.now(UTC) - datetime.fromisoformat(entry["replaced"])
        assert timedelta(0) <= age < timedelta(hours=1)
    assert accepted.utility == THIRD


def test_the_first_ranker_is_left_as_it_was(ranker: Ranker) -> None:
    first = ranker.with_utility(FIRST)
    first.accept_utility(SECOND)
    assert first.utility == FIRST
    assert "utility_history" not in first.info
    assert "utility_history" not in first.with_utility(SECOND).info  # trying weights out is not accepting them


def test_accepting_what_is_in_use_changes_nothing(accepted: Ranker) -> None:
    assert accepted.accept_utility(THIRD, "again") is accepted


def test_history_and_weights_are_saved_and_loaded(accepted: Ranker, prepared: Prepared, tmp_path: Path) -> None:
    accepted.save(tmp_path / "model")
    loaded = Ranker.load(tmp_path / "model")
    assert loaded.utility == THIRD
    assert loaded.info["utility_history"] == accepted.info["utility_history"]
    # and a loaded model goes on with it, where it was loaded from
    loaded.accept_utility(FIRST, "back").save(tmp_path / "model")
    again = Ranker.load(tmp_path / "model")
    assert [entry["weights"] for entry in again.info["utility_history"]] == [
        FIRST.to_dict(), SECOND.to_dict(), THIRD.to_dict(),
    ]  # fmt: skip
    columns = again.encoders.required_columns(serving_position=True)
    rows = prepared.dataset.table("test", columns).to_pandas().head(50)
    pd.testing.assert_frame_equal(again.predict(rows), accepted.predict(rows), check_exact=True)


def test_the_card_shows_what_was_in_use_until_when(accepted: Ranker) -> None:
    card = model_card(accepted).splitlines()
    times = [entry["replaced"] for entry in accepted.info["utility_history"]]
    start = card.index("Utility weights before, latest first:")
    assert card[start + 2 : start + 4] == [
        f"- until {times[1]}: click 0.4, save 0.6",
        f"- until {times[0]}: click 1 (tuned on test)",
    ]
    assert "Utility weights: long_click 1." in card
    assert "Utility weights before" not in model_card(Ranker(**_without(accepted)))  # type: ignore[arg-type]


def _without(ranker: Ranker) -> dict[str, object]:
    fields = {name: getattr(ranker, name) for name in ranker.__dataclass_fields__}
    return fields | {"info": {k: v for k, v in ranker.info.items() if k != "utility_history"}}


def test_a_model_without_weights_has_none_before(ranker: Ranker) -> None:
    bare = Ranker(**(_without(ranker) | {"utility": None}))  # type: ignore[arg-type]
    accepted = bare.accept_utility(FIRST)
    assert [entry["weights"] for entry in accepted.info["utility_history"]] == [None]
    assert f"- until {accepted.info['utility_history'][0]['replaced']}: none" in model_card(accepted)


def test_weights_that_do_not_fit_are_refused(ranker: Ranker, importance: Ranker) -> None:
    with pytest.raises(InputError, match="unknown head `share`"):
        ranker.accept_utility(Utility(share=1.0))
    with pytest.raises(InputError, match="single head"):
        importance.accept_utility(FIRST)
