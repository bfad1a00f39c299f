"""Drafts a dataset's spec and suite from a sample. All of it is guessed; each guess says what it was made from.

What one sample can't know (ranges, sets of values, nulls, times of delivery) is drafted as a warning: on record,
refusing nothing. What the file says is not trusted: names get into a draft as identifiers, values quoted and with
escapes, and values of a column that looks personal not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zoneinfo import available_timezones

from ratchet.drops import DropStore, require_dataset_name
from ratchet.errors import ParameterError
from ratchet.profile.draft import NO_KEY, draft_spec, draft_suite, notes_on
from ratchet.profile.guesses import find_keys, guess_column, guess_event_time, refuse_made_names
from ratchet.profile.sample import read_source, stem, tame

__all__ = ["NO_KEY", "Draft", "profile", "write_draft"]

MAX_ROWS = 100_000
MAX_BYTES = 32 * 1024 * 1024  # unpacked


@dataclass(frozen=True)
class Draft:
    """The texts of both files. `rows` were looked at; `notes` are for the person who asked."""

    name: str
    spec: str
    suite: str
    rows: int
    notes: list[str]


def profile(
    source: str,
    drops: DropStore,
    *,
    name: str | None = None,
    time_zone: str | None = None,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
) -> Draft:
    """The draft for `source`: the path of a CSV file, gzipped or not, or `<dataset>/<day>`, a drop of `drops`.

    Reads `max_rows` rows and `max_bytes` unpacked bytes at most. Raises DropError if that is no usable CSV with a
    header and rows, or has columns whose names can't be used; ParameterError if there is nothing of that name.
    """
    if time_zone is not None and time_zone not in available_timezones():
        hint = "use an IANA name such as America/New_York"
        raise ParameterError("unknown time zone", seen=repr(time_zone), hint=hint)
    sample = read_source(source, drops, max_rows, max_bytes)
    name = require_dataset_name(name or (sample.drop.dataset if sample.drop else tame(stem(source), "sample")))
    columns = [guess_column(column, given) for column, given in sample.text.items()]
    refuse_made_names(source, columns)
    when = guess_event_time(columns, sample, time_zone)
    keys = find_keys(columns, when.column)
    notes = notes_on(sample, columns, keys, when)
    spec = draft_spec(name, sample, columns, keys, when, notes)
    suite = draft_suite(name, sample, columns, keys[0] if keys else [], when)
    return Draft(name, spec, suite, len(sample.text), notes)


def write_draft(draft: Draft, specs: Path, suites: Path, *, force: bool = False) -> tuple[Path, Path]:
    """Writes `<name>.json` to `suites`, then `<name>.yaml` to `specs`; over files there are only with `force`."""
    spec, suite = Path(specs) / f"{draft.name}.yaml", Path(suites) / f"{draft.name}.json"
    if (there := [str(path) for path in (spec, suite) if path.exists()]) and not force:
        hint = "--out for another folder, --name for another name, --force to overwrite"
        raise ParameterError(f"there are files for {draft.name} already", where=", ".join(there), hint=hint)
    try:
        for path, text in ((suite, draft.suite), (spec, draft.spec)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise ParameterError("the draft can't be written", seen=error, hint="name another folder with --out") from error
    return spec, suite
