"""RESULTS.md: a section for each part that is measured, replaced when that part is measured again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TITLE = "# What Ratchet costs, measured"


@dataclass(frozen=True)
class Target:
    """A figure that is held against what was asked for. `spread`: of single repetitions. `met` None: only looked at, or
    where something was asked: too few repetitions to show it."""

    what: str
    seen: str
    spread: str = ""
    asked: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        return {True: "met", False: "**missed**", None: "not shown" if self.asked else ""}[self.met]

    def __str__(self) -> str:
        spread = f" (single repetitions {self.spread})" if self.spread else ""
        target = f", target {self.asked}: {self.verdict.strip('*')}" if self.asked else ""
        return f"{self.what}: {self.seen}{spread}{target}"


@dataclass(frozen=True)
class Section:
    """What was measured, under `## <part>: <title>`. `text`: in Markdown, with `targets` as a table before it."""

    part: str
    title: str
    targets: Sequence[Target]
    text: str


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = f"|{'---|' * len(head)}"
    return "\n".join([_line(head), rule, *map(_line, rows)])


def write_section(section: Section, *, command: str, date: str, machine: str, versions: str, noise: str) -> str:
    rows = [(one.what, one.seen, one.spread, one.asked, one.verdict) for one in section.targets]
    return f"""## {section.part}: {section.title}

Written by `{command}` on {date}.

- Machine: {machine}
- Versions: {versions}
- Noise: {noise}

{table(["", "measured", "single repetitions", "target", ""], rows)}

{section.text.strip()}
"""


def put_section(text: str, section: str, order: Sequence[str]) -> str:
    """`text` with this section in place of the one of the same part, the parts in `order`."""
    sections = {_part(one): one.strip() for one in [*re.split(r"(?m)^(?=## )", text)[1:], section]}
    known = [part for part in order if part in sections]
    others = [part for part in sections if part not in order]
    return "\n\n".join([TITLE, *(sections[part] for part in [*known, *others])]) + "\n"


def _part(section: str) -> str:
    return re.match(r"## ([^:\n]*)", section)[1]


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)
