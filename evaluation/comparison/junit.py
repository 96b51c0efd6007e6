"""The gate's tests as JUnit XML: what build servers show per test."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from evaluation.formatting import format_interval, format_number, format_p
from evaluation.metrics_json import write_whole

SUITE = "galleryrank.gate"
# what XML 1.0 cannot hold, not even as a reference
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: str | Path, gate: Mapping[str, Any]) -> Path:
    """Write a gate as JUnit XML, whole or not at all.

    One test case per head, metric and slice, of class `galleryrank.gate.<column>`: a regression is a failure, what is
    undecided or not tested is skipped, and both say their numbers; a warning passes and says so.

    Args:
        path: The file; an older one is replaced in one step.
        gate: `GateResult.to_dict()`.

    >>> import tempfile
    >>> gate = {"verdict": "pass", "sentence": "Pass.", "tests": []}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_junit(Path(folder) / "gate.xml", gate).read_text().splitlines()[2]
    '  <testsuite name="galleryrank.gate" tests="0" failures="0" errors="0" skipped="0">'
    """
    outcomes = [test["outcome"] for test in gate["tests"]]
    counts = {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count("regression")),
        "errors": "0",
        "skipped": str(outcomes.count("undecided") + outcomes.count("not tested")),
    }
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(root, "testsuite", {"name": SUITE, **counts})
    for test in gate["tests"]:
        _case(suite, test)
    said = "\n".join([gate["sentence"], *gate.get("warnings", [])])
    ElementTree.SubElement(suite, "system-out").text = _text(said)
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return write_whole(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n')


def _case(suite: ElementTree.Element, test: Mapping[str, Any]) -> None:
    place = "" if test["overall"] else f" {test['slice']}"
    attributes = {"classname": f"{SUITE}.{test['column']}", "name": f"{test['head']} {test['metric']}{place}"}
    case = ElementTree.SubElement(suite, "testcase", {name: _text(value) for name, value in attributes.items()})
    numbers = _text(_numbers(test))
    if test["outcome"] == "regression":
        ElementTree.SubElement(case, "failure", {"type": "regression", "message": numbers})
    elif test["outcome"] in ("undecided", "not tested"):
        message = test["reason"] or f"undecided: {numbers}"
        ElementTree.SubElement(case, "skipped", {"message": _text(message)})
    else:
        ElementTree.SubElement(case, "system-out").text = f"{test['outcome']}: {numbers}"


def _numbers(test: Mapping[str, Any]) -> str:
    return (
        f"candidate {format_number(test['candidate'])}, baseline {format_number(test['baseline'])}, floor "
        f"{format_number(test['floor'])}, d {format_number(test['d'], signed=True)} "
        f"{format_interval(test['low'], test['high'], signed=True)}, p {format_p(test['p'])}, after Holm "
        f"{format_p(test['p_holm'])}, {test['positives']} positives in {test['requests']} requests"
    )


def _text(value: str) -> str:
    r"""What XML cannot hold, as its escape: a bell becomes the four characters \x07."""
    return _FORBIDDEN.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), str(value))
