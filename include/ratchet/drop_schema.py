"""The columns of a drop against those of its spec: what is read from where, and what the policy says of changes."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ratchet.drop_lines import unusable
from ratchet.drops import Drop
from ratchet.specs import DatasetSpec, Policy

Kind = Literal["added", "removed", "renamed", "retyped"]


@dataclass(frozen=True)
class SchemaChange:
    """How a drop's columns differ from the spec's. `column`: the spec's name of it; of an added one, the file's."""

    kind: Kind
    column: str
    policy: Policy
    detail: str


@dataclass(frozen=True)
class Layout:
    """Where to find the spec's columns in a row of `width` fields; those that the drop lacks have no place."""

    width: int
    places: dict[str, int]
    extra: list[str]
    changes: list[SchemaChange]


def layout_of(header: Sequence[str], spec: DatasetSpec, drop: Drop) -> Layout:
    """Raises DropError for a doubled column, for an unknown one that looks like one of the spec's, and for what
    `schema_policy` refuses. A column can be missing only if it may be empty."""
    known = {name: spec.renames.get(name, name) for name in header}
    places = {known[name]: place for place, name in enumerate(header) if known[name] in spec.columns}
    missing = [name for name in spec.columns if name not in places]
    doubled = [name for name, count in Counter(header).items() if count > 1]
    doubled += [name for name, count in Counter(known.values()).items() if count > 1 and name in spec.columns]
    refused = [name for name in missing if spec.schema_policy.removed == "refuse" or name not in spec.may_be_empty]
    if doubled or refused:
        raise _other_columns(refused, doubled, spec, drop)
    extra = [name for name in header if known[name] not in spec.columns]
    _refuse_look_alikes(extra, spec, drop)
    old_names = {spec.renames[name]: name for name in header if name in spec.renames}
    changes = [
        *(SchemaChange("removed", name, spec.schema_policy.removed, "read as nulls") for name in missing),
        *(
            SchemaChange("renamed", new, spec.schema_policy.renamed, f"called {old!r}")
            for new, old in old_names.items()
        ),
        *(SchemaChange("added", name, spec.schema_policy.added, "left out") for name in extra),
    ]
    refuse_changes(changes, drop)
    return Layout(len(header), places, extra, changes)


def refuse_changes(changes: Iterable[SchemaChange], drop: Drop) -> None:
    """Raises DropError for those whose policy is `refuse`."""
    if refused := [change for change in changes if change.policy == "refuse"]:
        seen = listed(f"{change.column!r} {change.kind}, {change.detail}" for change in refused)
        hint = "have the sender deliver it as agreed; or change columns, renames or schema_policy in the spec"
        raise unusable(drop, "has changed columns", seen, f"schema_policy: {refused[0].kind}: warn", hint)


def listed(names: Iterable[str], most: int = 20) -> str:
    """The first of them, and how many more there are."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _other_columns(missing: list[str], doubled: list[str], spec: DatasetSpec, drop: Drop):
    # A file without a header has data in its place: of a dataset with personal columns it must not be shown.
    shown = f"{len(doubled)} names" if missing and spec.personal else listed(map(repr, doubled))
    seen = [f"missing [{listed(map(repr, missing))}]"] * bool(missing) + [f"twice [{shown}]"] * bool(doubled)
    return unusable(drop, "has other columns than the spec", ", ".join(seen), listed(spec.columns, 100))


def _refuse_look_alikes(extra: list[str], spec: DatasetSpec, drop: Drop) -> None:
    by_length: dict[int, list[str]] = {}
    for name in spec.columns:
        by_length.setdefault(len(_plain(name)), []).append(name)
    found = []
    for name in extra:
        plain = _plain(name)
        found += [(name, column) for column in by_length.get(len(plain), ()) if _look_alike(plain, _plain(column))]
    if found:
        seen = listed(f"{name!r} for {column!r}" for name, column in found)
        hint = "have the sender spell it as agreed; or name it under renames in the spec"
        raise unusable(drop, "has column names that look like the spec's", seen, listed(spec.columns, 100), hint)


def _plain(name: str) -> str:
    """Without case, accents, blanks and what can't be seen; ligatures and full-width letters as plain ones."""
    folded = unicodedata.normalize("NFKD", name).casefold()
    return "".join(
        sign for sign in folded if not sign.isspace() and unicodedata.category(sign) not in ("Mn", "Cf", "Cc")
    )


def _look_alike(plain: str, column: str) -> bool:
    """Equal but for letters outside ASCII, each of which may look like the one in its place."""
    return all(sign == other or not sign.isascii() for sign, other in zip(plain, column, strict=True))
