"""The house: imports go down the floors only, importing the scoring library is light, siblings cannot be hidden."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ["multitask", "features", "ranking", "evaluation", "optimization", "galleryrank"]


def imported_packages(path: Path) -> set[str]:
    """Top-level names that a file imports anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative imports hide the floor"
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_go_down_the_floors_only(floor: str) -> None:
    above = set(FLOORS[FLOORS.index(floor) + 1 :])
    files = list((ROOT / floor).rglob("*.py"))
    assert files
    for path in files:
        assert not imported_packages(path) & above, path


def test_the_check_sees_an_upward_import(tmp_path: Path) -> None:
    """The positive control of the test above."""
    path = tmp_path / "up.py"
    path.write_text("def f():\n    from evaluation import auc\n    return auc\n")
    assert imported_packages(path) == {"evaluation"}


def python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("package", ["ranking", "optimization"])
def test_importing_the_libraries_is_light(tmp_path: Path, package: str) -> None:
    heavy = "['ax', 'botorch', 'lightgbm', 'matplotlib', 'torchvision', 'sklearn', 'scipy', 'jinja2']"
    done = python(f"import sys, {package}; print([m for m in {heavy} if m in sys.modules])", tmp_path)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_help_is_light(tmp_path: Path) -> None:
    code = "import sys; from galleryrank.cli import main; main(['--help']); print('torch' in sys.modules)"
    done = python(code, tmp_path)
    assert done.stdout.strip().endswith("False"), done.stdout + done.stderr


@pytest.mark.parametrize("form", ["package", "module", "bare folder"])
@pytest.mark.parametrize("hidden", ["features", "multitask"])
def test_a_users_own_folder_of_our_name_is_named(tmp_path: Path, form: str, hidden: str) -> None:
    """With -c and with -m the working folder comes first on the path."""
    if form == "module":
        own = tmp_path / f"{hidden}.py"
        own.write_text("")
    else:
        own = tmp_path / hidden
        own.mkdir()
        if form == "package":
            own = own / "__init__.py"
            own.write_text("")
    # Without PYTHONPATH the packages come from the installation, as they do at a user's.
    done = python("import ranking", tmp_path, PYTHONPATH="")
    assert done.returncode == 1
    for part in ("HiddenPackageError", str(own), "Rename"):
        assert part in done.stderr, done.stderr
    command = [sys.executable, "-m", "galleryrank", "check", "log.parquet"]
    run = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert str(own) in run.stderr
    assert "Traceback" not in run.stderr


def test_nothing_committed_names_this_machine() -> None:
    """No absolute path of a home or work folder in any source file."""
    needles = ("/" + "work/", "/" + "root/", "/" + "home/")
    for folder in (*FLOORS, "tests", "examples", "benchmarks", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".toml", ".md", ".j2"):
                text = path.read_text(encoding="utf-8")
                assert not [n for n in needles if n in text], path
