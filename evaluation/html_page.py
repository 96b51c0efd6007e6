"""One self-contained HTML page from a template: the house's style inside, numbers written as everywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from evaluation.formatting import format_interval, format_number

STYLE = "report.css.j2"  # of this package; every page has it


def render_html(package: str, template: str, /, *, styles: Sequence[str] = (), **values: Any) -> str:
    """A page from `templates/<template>` of a package, which may include its neighbours there.

    Args:
        package: Where the template lies, "evaluation" or "optimization.report".
        template: Its file name.
        styles: Further style sheets beside it, after the house's own.
        values: What the template asks for; a name that is missing is an error. It also has `style`, and the filters
            `number`, `interval` and `markup`.

    Returns:
        One HTML document that fetches nothing.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    def load(name: str, where: str = package) -> str:
        return (resources.files(where) / "templates" / name).read_text(encoding="utf-8")

    environment = Environment(
        loader=FunctionLoader(load), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": format_number, "interval": format_interval, "markup": Markup}
    style = Markup(load(STYLE, "evaluation") + "".join(load(name) for name in styles))
    return environment.get_template(template).render(style=style, **values)
