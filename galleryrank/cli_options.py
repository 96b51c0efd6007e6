"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", help="where to write")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="nothing on stderr but errors")]
Format = Annotated[str, typer.Option("--format", help="text: tables on stderr; json: the same data on stdout")]
Device = Annotated[str | None, typer.Option("--device", help="cpu or cuda; default: cuda when there is one")]
Logged = Annotated[
    bool, typer.Option("--logged-position", help="use each row's own position instead of the serving position")
]
