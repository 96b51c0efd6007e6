"""The README is true: its example prints what it says, its tree names every file, its settings exist."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from features.gallery import EncoderConfig
from galleryrank.settings import RunConfig

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"\d+\.\d+")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_prints_what_the_readme_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word; decimals within 0.01, as the last bits of training differ between processors."""
    monkeypatch.chdir(tmp_path)
    code, expected = blocks("python")[0], blocks("text")[0]
    assert len([line for line in code.splitlines() if line.strip()]) == 15
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    words = [NUMBER.sub("#", line).split() for line in (printed.getvalue().strip(), expected.strip())]
    assert words[0] == words[1]
    got, said = ([float(n) for n in NUMBER.findall(text)] for text in (printed.getvalue(), expected))
    assert got == pytest.approx(said, abs=0.01)


def test_the_gallery_example_prints_what_the_readme_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(blocks("python")[1], "README.md", "exec"), {"__name__": "__main__"})
    assert printed.getvalue().strip() == blocks("text")[1].strip()


def test_the_tree_names_every_file_in_under_ten_words() -> None:
    tree = blocks("text")[2].splitlines()
    named = [line.split()[0] for line in tree if line.strip()]
    for folder in ("multitask", "features", "ranking", "evaluation", "optimization", "galleryrank"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name not in ("__init__.py", "__main__.py"):
                assert path.name in named, path
    for line in tree:
        assert len(line.split()[1:]) < 10, line
    files = {p.name for p in ROOT.rglob("*.py") if ".venv" not in p.parts}
    for name in named:
        assert name.endswith("/") or name.split("/")[-1] in files, f"{name} is in the tree and nowhere else"


def settings_of(model: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += settings_of(kind, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    # The monitored metric and its direction are the training loop's; a ranker has one metric.
    internal = {"training.monitor", "training.direction"}
    fit, embed = text.split("## Settings of `galleryrank embed`")
    for name in settings_of(RunConfig):
        plain = name.removeprefix("trees.")
        assert name in internal or f"`{name}" in fit or f"`{plain}" in fit, name
    for name in settings_of(EncoderConfig):
        assert name.startswith("training.") or f"`{name}`" in embed, name


def test_files_that_the_readme_links_to_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^ {4}make (\S+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
