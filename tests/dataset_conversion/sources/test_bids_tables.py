"""participants.tsv and sessions.tsv become our tables; several files of a session are chosen between by entity."""

import json

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.sources import bids
from nnunet_ms.dataset_conversion.sources.bids_tables import read_clinical
from nnunet_ms.errors import ConversionError, TableError
from nnunet_ms.tables import ASSESSMENTS, CASES, PATIENTS, read_table
from tests.dataset_conversion.conftest import SHAPE, save


def convert(source, raw, *more):
    arguments = ["bids", str(source), "--channels", "flair", "--dataset-id", "7", "--raw", str(raw)]
    return main([*arguments, *more])


def test_tables_are_written_as_the_endpoints_read_them_and_weeks_and_sites_reach_the_cases(bids_study, tmp_path):
    assert convert(bids_study, tmp_path / "raw") == 0
    folder = tmp_path / "raw" / "Dataset007_BIDS"
    patients = read_table(folder / "patients.csv", PATIENTS).set_index("patient_id")
    assert patients.loc["01", ["arm", "sex", "region"]].tolist() == ["placebo", "F", "IT"]
    assert patients.loc["03", ["age_years", "edss_baseline"]].tolist() == [29.0, 2.5]
    assert patients.loc["02", "handedness"] is None
    assessments = read_table(folder / "assessments.csv", ASSESSMENTS)
    assert assessments[["week", "edss"]].iloc[0].tolist() == [0.0, 2.5]
    assert assessments["week"].tolist() == [0.0, 24.0] * 3  # 1 March to 16 August: 168 days
    cases = read_table(folder / "cases.csv", CASES).set_index("case_id")
    assert cases.loc["01_w24", "week"] == 24.0
    assert cases["site"].tolist() == ["A", "A", "B", "B", "A", "A"]
    assert main(["splits", str(folder), "--scheme", "site"]) == 0
    assert len(json.loads((folder / "splits_final.json").read_text())) == 2


def test_missing_columns_are_told_and_do_not_stop_the_conversion(bids_study, tmp_path, capsys):
    (bids_study / "participants.tsv").write_text("participant_id\tage\nsub-01\t34\nsub-02\t41\nsub-03\t29\n")
    assert convert(bids_study, tmp_path / "raw") == 0
    assert "participants.tsv has no arm, sex, region: nnunet-ms-endpoints needs it" in capsys.readouterr().out


def test_a_data_set_without_tables_gives_none(tmp_path):
    clinical = read_clinical(tmp_path)
    assert clinical.patients is None
    assert clinical.assessments is None
    assert clinical.week_of == {}


@pytest.mark.parametrize(
    ("column", "value", "week"), [("week", "24", 24), ("days", "168", 24), ("months", "12", 52.18)]
)
def test_time_in_other_units(tmp_path, column, value, week):
    (tmp_path / "sub-1").mkdir()
    (tmp_path / "sub-1" / "sub-1_sessions.tsv").write_text(f"session_id\t{column}\nses-a\t0\nses-b\t{value}\n")
    assert read_clinical(tmp_path).week_of["1", "b"] == pytest.approx(week, abs=0.01)


@pytest.mark.parametrize(
    ("times", "weeks"),
    [
        # Oracle: the calendar; 1 March to 16 August 2019 are 168 days, whatever the hours and zones
        (["2019-03-01", "2019-08-16"], [0, 24]),
        (["2019-03-01T23:59:00", "2019-08-16T00:01:00"], [0, 24]),
        (["20190301T0800Z", "2019-228"], [0, 24]),
        (["2019-W09-5", "2019-08-16T23:30:00-11:00"], [0, 24]),
        (["1619-03-01", "1619-08-16"], [0, 24]),  # shifted dates of an anonymised study
    ],
)
def test_weeks_count_dates(tmp_path, times, weeks):
    clinical = sessions(tmp_path, times)
    assert list(clinical.week_of.values()) == weeks
    assert not [note for note in clinical.notes if "acq_time" in note]


@pytest.mark.parametrize(
    ("times", "known", "row", "found"),
    [
        (["n/a", "2019-08-16"], {}, 1, "n/a"),
        (["2019-03-01", "n/a", "2019-08-16"], {"1": 0, "3": 24}, 2, "n/a"),
        (["2019-03-01", "2019-08", "2019-08-16"], {"1": 0, "3": 24}, 2, "'2019-08'"),
        (["17/08/2019", "18/08/2019"], {}, 1, "'17/08/2019'"),
        (["2019-08-16", "n/a", "2019-03-01"], {}, 2, "n/a"),  # which is the first is not known
        (["2019", "2019-08-16"], {}, 1, "'2019'"),
    ],
)
def test_sessions_without_a_day_have_no_week_and_are_named(tmp_path, times, known, row, found):
    clinical = sessions(tmp_path, times)
    assert {session: week for (_, session), week in clinical.week_of.items()} == known
    (note,) = (note for note in clinical.notes if "acq_time" in note)
    assert f"sub-1_sessions.tsv: row {row}, column acq_time: expected one day" in note
    assert f"found {found}" in note
    lost = [f"ses-{i + 1}" for i in range(len(times)) if str(i + 1) not in known]
    assert f"no week for {', '.join(lost)}, and" in note


def sessions(folder, times):
    (folder / "sub-1").mkdir()
    rows = "".join(f"ses-{i + 1}\t{time}\n" for i, time in enumerate(times))
    (folder / "sub-1" / "sub-1_sessions.tsv").write_text(f"session_id\tacq_time\n{rows}")
    return read_clinical(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,age\n1,2\n", "expected a column participant_id"),
        (b"participant_id\tage\nsub-1\t2\nsub-1\t3\n", "stands twice"),
        (b"\xff\xfe\x00p", "expected a table with tabs"),
        (b"", "expected a table with tabs"),
    ],
)
def test_tables_that_are_none(tmp_path, content, message):
    (tmp_path / "participants.tsv").write_bytes(content)
    with pytest.raises(TableError, match=message):
        read_clinical(tmp_path)


RUNS = [f"a/sub-1_{rest}_FLAIR.nii.gz" for rest in ("acq-2d_run-01", "acq-3d_run-02", "acq-3d_run-10", "rec-x")]


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ("", [0, 1, 2, 3]),
        ("run=last", [2]),
        ("run=first", [0]),
        ("run=1", [0]),
        ("acq=3d", [1, 2]),
        ("acquisition=3D,run=first", [1]),
        ("flair.rec=X", [3]),
        ("t1.run=1", [0, 1, 2, 3]),
        ("echo=1,run=2", [1]),
    ],
)
def test_preferences_by_entity(tmp_path, rules, kept):
    found = bids.preferred("flair", RUNS, bids.parse_preferences(rules, tmp_path))
    assert found == [RUNS[k] for k in kept]


@pytest.mark.parametrize("text", ["run", "run=", "=1", "run=1;acq=2", "a.b.c=1", "run=../x"])
def test_preferences_that_cannot_be(tmp_path, text):
    with pytest.raises(ConversionError, match="expected entities like run=last"):
        bids.parse_preferences(text, tmp_path)


def test_second_runs_are_listed_unless_one_is_preferred(bids_study, tmp_path, capsys):
    stem = bids_study / "sub-01/ses-base/anat/sub-01_ses-base"
    save(stem.with_name(f"{stem.name}_run-2_FLAIR.nii.gz"), np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE))
    assert convert(bids_study, tmp_path / "raw") == 1
    assert "patient 01 visit base: expected one file, found" in capsys.readouterr().err
    assert convert(bids_study, tmp_path / "raw", "--prefer", "run=last", "--overwrite") == 0
    cases = pd.read_csv(tmp_path / "raw" / "Dataset007_BIDS" / "cases.csv").set_index("case_id")
    assert cases.loc["01_base", "source_flair"] == "sub-01/ses-base/anat/sub-01_ses-base_run-2_FLAIR.nii.gz"
    assert main(["trial", "x.csv", "--dataset-id", "7", "--raw", str(tmp_path), "--prefer", "run=1"]) == 2
    assert "--prefer is for bids" in capsys.readouterr().err


def subject(folder, *rows, columns="session_id\tacq_time\tEDSS", folders=()):
    (folder / "sub-01").mkdir(parents=True)
    for name in folders:
        (folder / "sub-01" / name).mkdir()
    (folder / "sub-01/sub-01_sessions.tsv").write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return read_clinical(folder)


@pytest.mark.parametrize(
    ("rows", "folders", "weeks"),
    [
        # the session without a date is listed last, but its name says that it may be the first
        (["ses-2\t2019-01-29\t3", "ses-3\t2019-02-05\t3", "ses-1\tn/a\t3"], (), {}),
        (["ses-M6\t2019-07-01\t3", "ses-M0\tn/a\t3"], (), {}),
        (["ses-M6\t2019-07-01\t3", "ses-M12\tn/a\t3"], (), {"M6": 0.0}),
        # a session with a folder and no row
        (["ses-02\t2019-01-29\t3", "ses-03\t2019-02-05\t3"], ("ses-01", "ses-02", "ses-03"), {}),
        (["ses-01\t2019-01-29\t3", "ses-02\t2019-02-05\t3"], ("ses-01", "ses-02", "ses-03"), {"01": 0.0, "02": 1.0}),
        # mixed forms of dates, one of which names no day
        (["ses-1\t2019-01-01T10:00:00\t3", "ses-2\t15.01.2019\t3", "ses-3\t20190129\t3"], (), {"1": 0.0, "3": 4.0}),
        (["ses-1\t15.01.2019\t3", "ses-2\t2019-02-12\t3"], (), {}),
    ],
)
def test_a_session_without_a_date_never_makes_another_the_baseline(tmp_path, rows, folders, weeks):
    clinical = subject(tmp_path, *rows, folders=folders)
    assert {visit: week for (_, visit), week in clinical.week_of.items()} == weeks
    assert sorted(clinical.assessments["week"]) == sorted(weeks.values())
    assert any("no week for" in note for note in clinical.notes)


@pytest.mark.parametrize("text", ["12 weeks", "w12", "12,5"])
def test_a_week_that_is_no_number_is_told(tmp_path, text):
    clinical = subject(tmp_path, "ses-1\t0\t3", f"ses-2\t{text}\t3", columns="session_id\tweek\tEDSS")
    assert list(clinical.week_of.values()) == [0.0]
    assert any(f"row 2, column week: expected a number, found '{text}'" in note for note in clinical.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("participant_id\tage\nsub-01\t34\t9\n", "line 2: expected 2 cells as in the header, found 3"),
        ("participant_id\tage\tage\nsub-01\t34\t9\n", "line 1: column age stands twice"),
        ("participant_id\tage\nsub-01\n", "line 2: expected 2 cells as in the header, found 1"),
        ("participant_id;age\nsub-01;34\n", "expected a column participant_id"),
    ],
)
def test_the_tables_are_read_as_strictly_as_all_others(tmp_path, content, message):
    (tmp_path / "participants.tsv").write_text(content)
    with pytest.raises(TableError, match=message):
        read_clinical(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(tmp_path):
    (tmp_path / "participants.tsv").write_bytes("\ufeffparticipant_id\tage \r\nsub-01 \t 34\r\n".encode())
    assert read_clinical(tmp_path).patients[["patient_id", "age_years"]].to_numpy().tolist() == [["01", "34"]]
