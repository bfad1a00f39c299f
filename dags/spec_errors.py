"""Raises one import error that lists every spec that can't be used; the good ones stand, each in its own DAGs."""

from ratchet.errors import SpecError
from ratchet_airflow.wiring import deployment

errors = {**deployment().datasets.errors, **deployment().models.errors}
if errors:
    raise SpecError(
        f"{len(errors)} spec(s) can't be used",
        seen="\n" + "\n".join(errors.values()),
        hint="mend the files named above",
    )
