"""Pages from templates, and how texts, numbers and tables are shown on them. The Jinja adapter.

Every text of a record is shown as text: HTML is escaped by Jinja, Markdown by us.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ratchet.plain_text import one_line

NOT_THERE = "not on record"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|~$&#]|:(?=//))")


def render(template: str, facts: Mapping) -> str:
    """The page of templates/<template>.j2: "<name>.html" or "<name>.md"."""
    return _environment(template.rpartition(".")[2]).get_template(f"{template}.j2").render(facts)


def table_of(lines: Sequence[Mapping], columns: Sequence[str]) -> dict | None:
    """Heads and cells, ready to show; a column that is empty in every line is left out. None: no lines."""
    shown = [name for name in columns if not all(_empty(line.get(name)) for line in lines)]
    cells = [[_cell(line.get(name)) for name in shown] for line in lines]
    return {"heads": [name.replace("_", " ") for name in shown], "lines": cells} if lines else None


def text_of(value: object) -> str:
    """A value of a record in words; NOT_THERE where there is none."""
    if _empty(value):
        return NOT_THERE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(text_of, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text_of(of)}" for name, of in value.items())
    return str(value)


def _cell(value: object) -> str:
    if type(value) is int:
        return f"{value:,}"
    return "" if _empty(value) else text_of(value)


def _empty(value: object) -> bool:
    return value is None or (isinstance(value, str | Mapping | list) and not value)


@cache
def _environment(kind: str) -> Environment:
    made = Environment(
        loader=PackageLoader("ratchet"),
        autoescape=kind == "html",
        finalize=_markdown if kind == "md" else _shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["text"] = text_of
    made.globals["raw"] = Markup  # what the template itself has made is not escaped again
    return made


def _shown(value: object) -> str:
    """Any text as one line, all of which is seen; HTML escapes it after that."""
    return value if isinstance(value, Markup) else one_line(str(value))  # Markup: of the template itself


def _markdown(value: object) -> str:
    """Any text as one line of Markdown that shows just that."""
    return str(value) if isinstance(value, Markup) else _MARKDOWN.sub(r"\\\1", _shown(value))
