from __future__ import annotations

import threading

import pytest

from evaluation.parallel import MOST_THREADS, run_parts, usable_threads


def test_parts_keep_their_names_and_order_on_any_number_of_threads() -> None:
    parts = {name: (lambda value=number: value * 2) for number, name in enumerate("cab")}
    for threads in (1, 2, 5, None):
        assert list(run_parts(parts, threads).items()) == [("c", 0), ("a", 2), ("b", 4)]


def test_two_threads_run_two_parts_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=20)
    found = run_parts({"one": meeting.wait, "two": meeting.wait}, threads=2)
    assert sorted(found.values()) == [0, 1]


def test_a_part_that_fails_is_what_the_caller_sees() -> None:
    def fails() -> None:
        raise ValueError("`labels` must be 0 or 1")

    for threads in (1, 2):
        with pytest.raises(ValueError, match="`labels` must be 0 or 1"):
            run_parts({"fine": lambda: 1, "bad": fails, "later": lambda: 2}, threads)
    with pytest.raises(ValueError, match="`threads` must be at least 1, got 0"):
        run_parts({"fine": lambda: 1}, 0)


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert usable_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert 1 <= usable_threads() <= MOST_THREADS
