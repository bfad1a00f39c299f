"""Outcomes that are delivered as they become known: the first of a day are not like the rest."""

from types import SimpleNamespace

from ratchet.snapshot import labelled_rows
from ratchet.windows import Window
from ratchet.workflow.evidence import late_days

DAYS = ["2013-03-17", "2013-03-18", "2013-03-19", "2013-03-20"]


def test_a_day_of_cancelled_flights_is_labelled_and_one_whose_flights_have_not_landed_is_not(
    published, fill, made, spec, datasets
):
    """No outcome of a cancelled flight bears a label, and none is to come."""
    outcomes = made["outcomes"]
    outcomes = outcomes[(outcomes["day"] != DAYS[3]) | (outcomes["flight"] < 30)]
    outcomes = outcomes.assign(arr_delay=outcomes["arr_delay"].where(outcomes["day"] != DAYS[2]))
    fill(published, {"outcomes": outcomes}, DAYS[2:])
    rows = labelled_rows(spec, datasets, published, DAYS[0], DAYS[3])
    assert DAYS[2] not in set(rows["day"]) and DAYS[3] in set(rows["day"])
    deployment = SimpleNamespace(dataset=datasets.get, published=published)
    assert late_days(deployment, spec, rows, Window(DAYS[0], DAYS[3]), "2013-03-21") == [DAYS[3]]
    assert late_days(deployment, spec, rows, Window(DAYS[0], DAYS[2]), "2013-03-21") == []
