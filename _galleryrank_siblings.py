"""Notices when a user's own folder hides one of the packages of this distribution.

The packages have common names (`features`, `evaluation`, ...). Python takes the first one on its path, so a folder of
the same name in the working directory would be imported in place of ours and fail later in confusing ways. Every
package calls `require_siblings` before it imports another one. This module stands outside of the packages because it
must be importable when one of them is hidden.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("multitask", "features", "ranking", "evaluation", "optimization", "galleryrank")


def require_siblings(package_file: str) -> None:
    """Raise ImportError when a sibling of the package whose `__file__` is given would come from somewhere else.

    >>> import ranking
    >>> require_siblings(ranking.__file__)
    """
    home = Path(package_file).resolve().parent.parent
    for name in PACKAGES:
        spec = find_spec(name)
        origin = spec.origin if spec is not None else None
        # A folder without __init__.py has no origin; Python prefers any regular package to it, so it hides nothing.
        expected = home / name / "__init__.py"
        if origin is None or Path(origin).resolve() == expected:
            continue
        raise ImportError(
            f"galleryrank's own package `{name}` is hidden by {origin}, which comes first on Python's path "
            f"(expected {expected}). Rename that file or folder, or start Python from another folder or with "
            f"`python -P`, which leaves the working folder off the path."
        )
