"""ADaM copies against the tables that they copy, and against the definition of confirmed progression."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms import tables
from nnunet_ms.simulation import adam
from nnunet_ms.simulation.model.trial_presets import DEMO
from nnunet_ms.simulation.trial import TrialSettings, write_trial

NAMES = ("adsl", "adtte", "adqs", "admri")


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adam") / "trial"
    write_trial(TrialSettings(DEMO, 60, 4, "demo", images=False), folder)
    return folder


@pytest.fixture(scope="module")
def frames(trial):
    return {name: pd.read_csv(trial / "adam" / f"{name}.csv", keep_default_na=False, na_values=[""]) for name in NAMES}


def naive_time(weeks, values, threshold, confirmation):
    """Day of onset and event by the definition, or day of the last assessment."""
    for i, start in enumerate(weeks):
        later = [j for j in range(i, len(weeks)) if weeks[j] <= start + confirmation]
        confirmed = [j for j in range(i, len(weeks)) if weeks[j] >= start + confirmation]
        stays = all(values[j] >= threshold for j in [*later, *confirmed[:1]])
        if i and confirmed and stays:
            return start * 7, 0
    return weeks[-1] * 7, 1


def test_one_row_per_subject_and_standard_names(trial, frames):
    patients = tables.read_table(trial / "patients.csv", tables.PATIENTS)
    assert list(frames["adsl"].SUBJID) == list(patients.patient_id)
    assert list(frames["adsl"].TRT01P) == list(patients.arm)
    assert set(frames["adsl"].EOTSTT) == {"COMPLETED", "DISCONTINUED"}
    for frame in frames.values():
        assert all(len(name) <= 8 and name == name.upper() and name in adam.LABELS for name in frame)
    assert not frames["adtte"].duplicated(["USUBJID", "PARAMCD"]).any()


@pytest.mark.parametrize(
    ("code", "column", "weeks"), [("CDP12", "edss", 12), ("CDP24", "edss", 24), ("NHPT24", "nhpt_s", 24)]
)
def test_times_follow_from_the_assessments_by_definition(trial, frames, code, column, weeks):
    assessments = tables.read_table(trial / "assessments.csv", tables.ASSESSMENTS)
    told = frames["adtte"][code == frames["adtte"].PARAMCD].set_index("USUBJID")
    for name, rows in assessments.groupby("patient_id"):
        values = rows[column].to_numpy()
        rise = (1.0 if values[0] <= 5.5 else 0.5) if column == "edss" else round(0.2 * values[0], 10)
        day, censored = naive_time(rows.week.to_numpy(), values, values[0] + rise, weeks)
        row = told.loc[f"SIM-DEMO-{name}"]
        assert (day, censored) == (row.AVAL, row.CNSR)
        assert row.ADY == row.AVAL + 1
    assert set(told.CNSR) == {0, 1}


def test_composite_is_the_first_component(frames):
    wide = frames["adtte"].pivot_table(index="USUBJID", columns="PARAMCD", values=["AVAL", "CNSR"])
    parts = ["CDP24", "T25FW24", "NHPT24"]
    first = wide["AVAL"][parts].where(wide["CNSR"][parts] == 0).min(axis=1)
    event = wide["CNSR"]["CCDP24"] == 0
    np.testing.assert_array_equal(first.notna(), event)
    np.testing.assert_array_equal(wide["AVAL"]["CCDP24"][event], first[event])


def test_assessments_are_all_there_with_their_change(trial, frames):
    assessments = tables.read_table(trial / "assessments.csv", tables.ASSESSMENTS)
    edss = frames["adqs"][frames["adqs"].PARAMCD == "EDSS"]
    np.testing.assert_array_equal(edss.AVAL, assessments.edss)
    np.testing.assert_array_equal(edss.AVISITN, assessments.week)
    later = edss[edss.ABLFL.isna()]
    np.testing.assert_allclose(later.CHG, later.AVAL - later.BASE)
    assert (edss[edss.ABLFL == "Y"].AVISITN == 0).all()


@pytest.mark.parametrize(
    ("code", "kind", "columns"),
    [
        ("T2NEW", "t2_lesions", ["new_lesion_count"]),
        ("T2ENL", "t2_lesions", ["enlarging_lesion_count"]),
        ("T2NEWENL", "t2_lesions", ["new_lesion_count", "enlarging_lesion_count"]),
        ("T1NEW", "t1_unenhancing", ["new_lesion_count"]),
        ("GDLES", "t1_enhancing", ["lesion_count"]),
        ("T2VOL", "t2_lesions", ["volume_ml"]),
    ],
)
def test_counts_of_lesions_are_those_of_the_table_under_a_name_that_says_which(trial, frames, code, kind, columns):
    # Oracle: visits.csv, by pandas; the first scan has no change, and is no 0.
    visits = pd.read_csv(trial / "visits.csv").query("lesion_type == @kind").dropna(subset=columns)
    told = frames["admri"][code == frames["admri"].PARAMCD]
    assert list(told.EVALID) == list(visits.rater)
    np.testing.assert_allclose(told.AVAL, visits[columns].sum(axis=1))
    np.testing.assert_array_equal(told.AVISITN, visits.week)
    np.testing.assert_array_equal(told.PREVWK, visits.previous_week)
    assert (told.ADY == told.AVISITN * 7 + 1).all()
    of_change = code.startswith(("T2N", "T2E", "T1N"))
    assert (told.AVISITN > 0).all() == of_change
    assert told.PARAM.str.contains("since the Scan Before").all() == of_change


def test_transport_files_hold_the_same(trial, frames):
    # Oracle: ReadStat's reader (pyreadstat 1.3.7).
    pyreadstat = pytest.importorskip("pyreadstat")
    for name, frame in frames.items():
        read, meta = pyreadstat.read_xport(str(trial / "adam" / f"{name}.xpt"))
        assert list(read) == list(frame)
        assert meta.column_names_to_labels == {column: adam.LABELS[column] for column in frame}
        numbers = [c for c in frame if pd.api.types.is_numeric_dtype(frame[c])]
        np.testing.assert_allclose(read[numbers].to_numpy(float), frame[numbers].to_numpy(float))
        if "ADT" in frame:
            assert [str(date) for date in read.ADT[:20]] == list(frame.ADT[:20])


def test_without_pyreadstat_there_is_csv_only(tmp_path, monkeypatch):
    monkeypatch.setattr(adam, "find_spec", lambda _: None)
    write_trial(TrialSettings(DEMO, 4, 4, "demo", images=False), tmp_path / "trial")
    assert {p.name for p in (tmp_path / "trial" / "adam").iterdir()} == {f"{name}.csv" for name in NAMES}
