"""What a file says, as text that can stand in a draft or a remark: in one line, quoted, with escapes."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pandas as pd
import yaml


def quoted(value: str) -> str:
    """The first 40 characters in one line, in which nothing can end a comment or turn the reading direction."""
    return printable(json.dumps(value if len(value) <= 40 else f"{value[:40]}…", ensure_ascii=False))


def printable(text: str) -> str:
    """JSON text, with escapes for all that isn't to be seen: line ends of any kind, marks of direction."""
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


def told(value: object) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, pd.Timestamp) else str(value)


def scalar(name: str) -> str:
    """An identifier, quoted where YAML would take it for something else, such as null or on."""
    return name if yaml.safe_load(name) == name else json.dumps(name)


def flow(names: Iterable[str]) -> str:
    return f"[{', '.join(map(scalar, names))}]"


def each(why: dict[str, str]) -> str:
    return "; ".join(f"{name} {one}" for name, one in why.items())
