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


class HiddenPackageError(ImportError):
    """A folder or file of the user's hides a package of ours."""


def require_siblings(package_file: str) -> None:
    """Raise HiddenPackageError when a sibling of the package whose `__file__` is given would come from somewhere else.

    >>> import ranking
    >>> require_siblings(ranking.__file__)
    """
    home = Path(package_file).resolve().parent.parent
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is None:
            continue
        # A folder without __init__.py has no origin. It, too, hides a package that an editable installation provides.
        found = spec.origin or next(iter(spec.submodule_search_locations or []), "")
        expected = home / name / "__init__.py"
        if Path(found).resolve() == expected:
            continue
        raise HiddenPackageError(
            f"galleryrank's own package `{name}` is hidden by {found}, which comes first on Python's path "
            f"(expected {expected}). Rename that file or folder, or start Python from another folder or with "
            f"`python -P`, which leaves the working folder off the path."
        )
