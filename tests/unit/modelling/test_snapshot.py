import json

import pandas as pd
import pytest
from s3_server import s3_in_matrix

from ratchet.digests import frame_digest
from ratchet.errors import EmptyWindowError, ParameterError, SpecError, UnknownNameError
from ratchet.snapshot import build_inputs, load_snapshot, read_labels, save_snapshot, take_snapshot
from ratchet.specs import Input, Windows
from ratchet.windows import training_windows

WINDOWS = training_windows(Windows(validate_days=4, judge_days=5), "2013-03-01", "2013-03-21", 1)


@pytest.fixture
def published(published_in_storage):
    """Here it is read from a folder and from S3."""
    return published_in_storage


def test_a_snapshot_holds_the_labelled_rows_of_its_windows(snapshot, spec, made):
    frame, manifest = snapshot.frame, snapshot.manifest
    assert set(frame.columns) == {
        "carrier",
        "flight",
        "origin",
        "sched_dep_at",
        "day",
        "window",
        "label",
        *spec.features,
    }
    assert manifest["rows"] == frame["window"].value_counts().to_dict()
    assert sum(manifest["rows"].values()) == int(made["outcomes"]["arr_delay"].notna().sum())
    for name, window in WINDOWS.named().items():
        days = frame.loc[frame["window"] == name, "day"]
        assert (days.min(), days.max()) == (window.first, window.last)
    assert json.loads(json.dumps(manifest, allow_nan=False)) == manifest
    assert manifest["left_out"] == {
        "no_outcome": 0,
        "no_label": int(made["outcomes"]["arr_delay"].isna().sum()),
        "not_known_yet": 0,
    }
    assert list(manifest["partitions"]["planes"]) == ["2013-03-01"]
    assert {revision for revision, _, _ in manifest["partitions"]["flights"].values()} == {1}


def test_only_what_was_known_as_of_the_day_is_in(spec, datasets, published, made):
    """The outcomes of a day come on the next evening: as of that very day they are not known."""
    as_of = read_labels(spec, datasets, published, "2013-03-01", "2013-03-20", "2013-03-12")
    known = made["outcomes"].query("day <= '2013-03-11' and arr_delay.notna()")
    assert len(as_of) == len(known)
    early = build_inputs(spec, datasets, published, "2013-03-12", "2013-03-12", "2013-03-11")
    late = build_inputs(spec, datasets, published, "2013-03-12", "2013-03-12", "2013-03-13")
    noon = early["dep_hour"] > 12
    assert len(early) == len(late) == 60
    assert early.loc[noon, "temp"].isna().all() and late.loc[noon, "temp"].notna().all()


@s3_in_matrix
def test_rows_not_known_as_of_the_day_are_left_out_and_counted(spec, datasets, empty, made, fill):
    late = made["outcomes"]["day"].eq("2013-03-05")
    known_at = made["outcomes"]["known_at"].mask(late, pd.Timestamp("2013-06-01", tz="UTC"))
    fill(empty, {**made, "outcomes": made["outcomes"].assign(known_at=known_at)})
    left_out = take_snapshot(spec, datasets, empty, "2013-03-21", WINDOWS).manifest["left_out"]
    assert left_out["not_known_yet"] == 60 and left_out["no_outcome"] == 60


def test_c6_a_snapshot_after_corrections_is_the_one_of_then(spec, datasets, published, made, snapshot, fill):
    """A planted late correction of outcomes, and of flights: as of then nothing has changed; as of now it has."""
    for name, column, value in (("outcomes", "arr_delay", 99.0), ("flights", "distance", 1.0)):
        day = made[name].query("day == '2013-03-05'").copy()
        day[column] = day[column].where(day[column].isna(), value)
        day["known_at"] = pd.Timestamp("2013-12-01", tz="UTC")
        fill(published, {name: day})
    again = take_snapshot(spec, datasets, published, "2013-03-21", WINDOWS)
    assert again.digest == snapshot.digest and again.manifest == snapshot.manifest
    now = take_snapshot(spec, datasets, published, "2013-12-01", WINDOWS)
    assert now.digest != snapshot.digest
    assert now.manifest["partitions"]["outcomes"]["2013-03-05"][0] == 2


def test_k6_what_the_lake_holds_and_the_ledger_does_not_know_is_not_read(spec, datasets, published, made, snapshot):
    day = made["flights"].query("day == '2013-03-05'").assign(distance=1.0, drop_sha256="unrecorded", recipe="r")
    published.lake.publish("datasets/flights", "2013-03-05", day)
    published.lake.publish("datasets/flights", "2013-03-25", day)
    assert take_snapshot(spec, datasets, published, "2013-03-21", WINDOWS).digest == snapshot.digest


@s3_in_matrix
def test_the_digest_is_of_content_not_of_where_it_lies(spec, datasets, made, empty, snapshot, fill):
    shuffled = {name: frame.sample(frac=1, random_state=5) for name, frame in made.items()}
    for days in (["2013-03-01", "2013-03-20"], WINDOWS.train.days(), None):
        fill(empty, shuffled, days)
    again = take_snapshot(spec, datasets, empty, "2013-03-21", WINDOWS)
    assert again.digest == snapshot.digest
    assert empty.lake.version("datasets/flights") == 2
    pd.testing.assert_frame_equal(again.frame, snapshot.frame)


@pytest.mark.parametrize("storage", ["s3"], indirect=True)
def test_the_digest_is_the_same_on_a_folder_and_on_s3(spec, datasets, made, empty, snapshot, fill):
    """`snapshot` was taken on a folder; the lake on S3 is filled for itself: no byte of it comes from there."""
    assert empty.lake.storage.address().startswith("s3://")
    on_s3 = take_snapshot(spec, datasets, fill(empty, made), "2013-03-21", WINDOWS)
    assert on_s3.digest == snapshot.digest and on_s3.manifest == snapshot.manifest
    pd.testing.assert_frame_equal(on_s3.frame, snapshot.frame)


def test_the_digest_moves_when_one_value_or_one_window_does(spec, datasets, published, made, snapshot, fill):
    windows = training_windows(Windows(validate_days=5, judge_days=4), "2013-03-01", "2013-03-21", 1)
    assert take_snapshot(spec, datasets, published, "2013-03-21", windows).digest != snapshot.digest
    day = made["flights"].query("day == '2013-03-05'").copy()
    day.iloc[0, day.columns.get_loc("distance")] += 1
    fill(published, {"flights": day})
    assert take_snapshot(spec, datasets, published, "2013-03-21", WINDOWS).digest != snapshot.digest


@s3_in_matrix
def test_training_and_scoring_see_the_same_features(spec, datasets, published, snapshot):
    """Day by day, in one go, or in a snapshot: no training-serving skew, also over the clock change."""
    whole = build_inputs(spec, datasets, published, "2013-03-01", "2013-03-20", "2013-03-21")
    daily = [build_inputs(spec, datasets, published, day, day) for day in sorted(whole["day"].unique())]
    pd.testing.assert_frame_equal(pd.concat(daily, ignore_index=True), whole)
    key = ["carrier", "flight", "origin", "sched_dep_at"]
    columns = [*dict.fromkeys([*key, *spec.features])]
    trained = whole.merge(snapshot.frame[key], on=key)[columns]
    pd.testing.assert_frame_equal(trained, snapshot.frame[columns])


def test_each_row_meets_the_reference_data_of_its_own_time(spec, datasets, published, made, fill):
    newer = made["planes"].assign(seats=999, known_at=pd.Timestamp("2013-03-10", tz="UTC"), day="2013-03-10")
    fill(published, {"planes": newer})
    rows = build_inputs(spec, datasets, published, "2013-03-08", "2013-03-12")
    seats = rows.groupby("day")["plane_seats"].max()
    assert (seats[:"2013-03-09"] == 200).all() and (seats["2013-03-10":] == 999).all()
    before = build_inputs(spec, datasets, published, "2013-03-08", "2013-03-12", "2013-03-08")
    assert (before["plane_seats"].dropna() <= 200).all()


@s3_in_matrix
def test_absent_weather_does_not_block(spec, datasets, empty, made, fill):
    fill(empty, {name: made[name] for name in ("flights", "planes", "outcomes")})
    snapshot = take_snapshot(spec, datasets, empty, "2013-03-21", WINDOWS)
    assert snapshot.frame["temp"].isna().all() and len(snapshot.frame) > 1000
    assert snapshot.manifest["partitions"]["weather"] == {}


@s3_in_matrix
@pytest.mark.parametrize("absent", ["flights", "outcomes"])
def test_a_window_without_rows_is_an_error_that_names_it(spec, datasets, empty, made, fill, absent):
    fill(empty, {name: frame for name, frame in made.items() if name != absent})
    fill(empty, {absent: made[absent]}, WINDOWS.train.days())
    with pytest.raises(EmptyWindowError, match="validate window of flight_delay") as caught:
        take_snapshot(spec, datasets, empty, "2013-03-21", WINDOWS)
    assert WINDOWS.validate.first in str(caught.value)


def test_nothing_at_all_is_the_same_clear_error(spec, datasets, empty):
    with pytest.raises(EmptyWindowError, match="train window"):
        take_snapshot(spec, datasets, empty, "2013-03-21", WINDOWS)


def test_an_unknown_dataset_is_named(spec, datasets, published):
    wrong = spec.model_copy(update={"inputs": {**spec.inputs, "volcanoes": Input()}})
    with pytest.raises(UnknownNameError, match="volcanoes"):
        build_inputs(wrong, datasets, published, "2013-03-01", "2013-03-02")


def test_a_feature_function_that_breaks_its_promise_is_named(spec, datasets, published):
    wrong = spec.model_copy(update={"numeric_features": [*spec.numeric_features, "moon_phase"]})
    with pytest.raises(SpecError, match="moon_phase"):
        build_inputs(wrong, datasets, published, "2013-03-01", "2013-03-02")


def test_saved_and_loaded_it_is_the_same(snapshot, storage, monkeypatch):
    folder = f"snapshots/flight_delay/{snapshot.digest}"
    assert save_snapshot(snapshot, storage) == storage.address(folder)
    assert {entry.key for entry in storage.list()} == {f"{folder}/frame.parquet", f"{folder}/manifest.json"}
    again = load_snapshot(storage, "flight_delay", snapshot.digest)
    pd.testing.assert_frame_equal(again.frame, snapshot.frame)
    assert again.manifest == snapshot.manifest
    monkeypatch.setattr(type(storage), "_put", lambda *_: pytest.fail("written again"))
    assert save_snapshot(snapshot, storage) == storage.address(folder)


def test_a_snapshot_half_written_is_no_snapshot(snapshot, storage):
    storage.write(f"snapshots/flight_delay/{snapshot.digest}/frame.parquet", b"of a run that was killed")
    with pytest.raises(UnknownNameError, match="no snapshot"):
        load_snapshot(storage, "flight_delay", snapshot.digest)
    save_snapshot(snapshot, storage)
    assert load_snapshot(storage, "flight_delay", snapshot.digest).digest == snapshot.digest


def test_an_altered_snapshot_is_refused(snapshot, storage, tmp_path):
    save_snapshot(snapshot, storage)
    altered = snapshot.frame.assign(label=1 - snapshot.frame["label"])
    altered.to_parquet(tmp_path / "altered", index=False)
    storage.write(f"snapshots/flight_delay/{snapshot.digest}/frame.parquet", tmp_path / "altered")
    with pytest.raises(ParameterError, match="isn't what its name says"):
        load_snapshot(storage, "flight_delay", snapshot.digest)
    assert frame_digest(altered) != snapshot.digest
    storage.write(f"snapshots/flight_delay/{snapshot.digest}/frame.parquet", b"no parquet at all")
    with pytest.raises(ParameterError, match="isn't what its name says"):
        load_snapshot(storage, "flight_delay", snapshot.digest)


@pytest.mark.parametrize(
    ("model", "digest"), [("../up", "a" * 64), ("flight_delay", "../x"), ("flight_delay", "a" * 64 + "\n")]
)
def test_d8_names_are_checked_before_any_path_is_made(tmp_path, model, digest):
    with pytest.raises(ParameterError):
        load_snapshot(tmp_path, model, digest)
