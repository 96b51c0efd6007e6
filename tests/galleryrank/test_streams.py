"""Exit codes say what was found, whoever reads the output."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from galleryrank.streams import UnfailingStream, unfailing_stderr

COMMAND = [sys.executable, "-m", "galleryrank", "evaluate", "nosuch"]  # bad input: 2


@pytest.mark.parametrize("arguments", [[], ["--bogus"]], ids=["our message", "the parser's message"])
def test_a_reader_that_left_does_not_change_the_code(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)  # as `2>&1 | true`
    done = subprocess.run([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=write, timeout=120)
    os.close(write)
    assert done.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_does_not_change_the_code() -> None:
    with open("/dev/full", "w") as full:
        assert subprocess.run(COMMAND, stdout=subprocess.DEVNULL, stderr=full, timeout=120).returncode == 2


def test_no_stderr_at_all_does_not_change_the_code() -> None:
    done = subprocess.run(["/bin/sh", "-c", '"$@" 2>&-', "sh", *COMMAND], stdout=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 2


def test_what_can_be_written_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    with unfailing_stderr():
        print("a remark", file=sys.stderr)
        assert not sys.stderr.isatty()
    assert sys.stderr is shown
    assert shown.getvalue() == "a remark\n"


def test_after_the_first_failure_nothing_is_tried_again() -> None:
    class Broken(io.StringIO):
        tries = 0

        def write(self, text: str) -> int:
            self.tries += 1
            raise BrokenPipeError

    stream = Broken()
    dropping = UnfailingStream(stream)
    assert [dropping.write("one"), dropping.write("two")] == [3, 3]
    dropping.flush()
    assert stream.tries == 1
