"""Exit codes: what the shell, CI and a calling script learn from a command."""

from __future__ import annotations

import sys
from collections.abc import Callable

from _galleryrank_siblings import HiddenPackageError
from galleryrank.streams import redirect_to_nowhere, unfailing_stderr

PASS = 0
REGRESSION = 1
BAD_INPUT = 2
INCONCLUSIVE = 3
INTERNAL_ERROR = 70
INTERRUPTED = 130


def run(command: Callable[[], int | None]) -> int:
    """Run a command and turn what it raises into an exit code; messages go to stderr.

    Bad input (an InputError, or a file that cannot be opened) prints its faults and nothing else. Any other exception
    is ours to mend: it prints its traceback and exits with 70, never with 1, which means a regression. Nor does a
    stderr that nobody reads any more change the code.
    """
    with unfailing_stderr():
        return _run(command)


def _run(command: Callable[[], int | None]) -> int:
    try:
        code = command() or PASS
        if code == INTERRUPTED:  # typer makes an exit of the interrupt, and says nothing
            _say("interrupted")
        return code
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, e.g. `| head`
        redirect_to_nowhere(sys.stdout)
        return PASS
    except OSError as error:
        _say(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}")
        return BAD_INPUT
    except Exception as error:
        import traceback

        if isinstance(error, HiddenPackageError):  # a sibling cannot be imported: nothing below could be
            _say(f"error: {error}")
            return BAD_INPUT
        from features import InputError  # here, so that `--help` need not load it
        from multitask import CheckpointError

        if isinstance(error, CheckpointError | FloatingPointError):  # settings that do not fit, or that diverge
            _say(f"error: {error}")
            return BAD_INPUT
        if isinstance(error, InputError):
            many = len(error.faults) > 1
            _say(f"{len(error.faults)} errors:\n{error}" if many else f"error: {error}")
            return BAD_INPUT
        traceback.print_exc()
        _say("internal error: this is a fault of galleryrank, not of your input")
        return INTERNAL_ERROR


def _say(text: str) -> None:
    print(text, file=sys.stderr)
