"""Joins go by the patient's id: neither the order of rows nor the type of the ids nor white space changes a number.

Oracle: the trial as it is written first, and a plain derivation with one table per patient.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnunet_ms.analysis.trial.assessments import read_weekly
from nnunet_ms.analysis.trial.composite_outcomes import derive_outcome
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.outcomes import OUTCOMES, PRESETS, derive_progression
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import TableError
from nnunet_ms.tables import ASSESSMENTS, PATIENTS, RELAPSES, read_table
from tests.analysis.table_damage import parquet_bytes, tables, whole, write

ID_TYPES = {
    "text": str,
    "whole numbers": int,
    "floats": float,
    "categories": "category",
    "single precision": "float32",
    "small integers": "Int8",
}
SPACES = st.sampled_from(["", " ", "\t", "  ", "\u00a0"])
RULE = PRESETS["krishnan2023"]


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    return read_trial(read_settings(write(tmp_path_factory.mktemp("whole"), whole())))


def events(trial, outcome="ccdp24"):
    return derive_outcome(trial.patients, trial.assessments, OUTCOMES[outcome], RULE)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_numbers_do_not_depend_on_order_types_and_white_space(trial, tmp_path_factory, data):
    files = {"agreement.csv": whole()["agreement.csv"]}
    for name, frame in tables().items():
        shuffled = frame.iloc[data.draw(st.permutations(range(len(frame))), label=f"rows of {name}")]
        kind = data.draw(st.sampled_from(list(ID_TYPES)), label=f"ids of {name}")
        if kind == "text":
            before, after = data.draw(SPACES), data.draw(SPACES)
            shuffled = shuffled.assign(patient_id=before + shuffled["patient_id"] + after)
        else:
            shuffled = shuffled.assign(patient_id=shuffled["patient_id"].astype(int).astype(ID_TYPES[kind]))
        files[f"{name}.parquet"] = parquet_bytes(shuffled)
    found = read_trial(read_settings(write(tmp_path_factory.mktemp("in"), files)))
    pd.testing.assert_frame_equal(
        events(found), events(trial).set_index("patient_id").loc[found.patients["patient_id"]].reset_index()
    )
    pd.testing.assert_frame_equal(found.patients, trial.patients)
    pd.testing.assert_frame_equal(found.volumes, trial.volumes)


@settings(max_examples=25)
@given(st.permutations(range(12)), st.sampled_from([str, int, "Int64", "category"]), st.randoms(use_true_random=False))
def test_progression_is_each_patients_own(order, kind, random):
    # Oracle: a table per patient, and one patient at a time.
    table, frame = tables()["patients"], tables()["assessments"].assign(scheduled=True)
    rows = list(range(len(frame)))
    random.shuffle(rows)
    whole_table = derive_progression(
        table.iloc[list(order)].assign(discontinued_week=np.nan),
        frame.iloc[rows].astype({"patient_id": kind}),
        OUTCOMES["cdp24"],
        RULE,
    )
    for row in whole_table.to_dict("records"):
        alone = table[table["patient_id"] == row["patient_id"]].assign(discontinued_week=np.nan)
        own = frame[frame["patient_id"] == row["patient_id"]]
        expected = derive_progression(alone, own, OUTCOMES["cdp24"], RULE).to_dict("records")[0]
        assert {k: v for k, v in row.items() if v == v} == {k: v for k, v in expected.items() if v == v}


@settings(max_examples=25)
@given(st.integers(1, 12), st.sampled_from([str.lower, str.upper, lambda s: f" {s}", lambda s: s.replace("P", "P0")]))
def test_an_id_in_another_case_or_with_zeros_is_the_same_id_or_refused(tmp_path_factory, number, change):
    names = [f"P{i:02d}" for i in range(1, 13)]
    written = [change(name) if i == number - 1 else name for i, name in enumerate(names)]
    path = tmp_path_factory.mktemp("ids") / "relapses.csv"
    pd.DataFrame({"patient_id": written, "week": 12}).to_csv(path, index=False)
    people = pd.DataFrame({"patient_id": names, "arm": "a"})
    if [name.strip() for name in written] == names:
        assert read_weekly(path, RELAPSES, people, path.with_name("patients.csv"))[0]["patient_id"].tolist() == names
        return
    with pytest.raises(TableError, match=rf"row {number}, column patient_id: expected one way to write an id"):
        read_weekly(path, RELAPSES, people, path.with_name("patients.csv"))


TIMES = ["T23:59", "T00:00", " 07:45:30", "T12:00:00Z", "T23:30:00-11:00", "T00:30+14:00", ""]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 800), st.sampled_from(TIMES), st.sampled_from(TIMES)), min_size=1, max_size=6))
def test_times_of_day_and_zones_cost_no_day(tmp_path_factory, rows):
    # Oracle: the days that were drawn.
    path = tmp_path_factory.mktemp("times") / "relapses.csv"
    names, start = [f"P{i}" for i in range(len(rows))], pd.Timestamp("2020-01-31")
    dates = [f"{start + pd.Timedelta(days=days):%Y-%m-%d}{time}" for days, time, _ in rows]
    pd.DataFrame({"patient_id": names, "date": dates}).to_csv(path, index=False)
    people = path.with_name("patients.csv")
    columns = ["patient_id", "arm", "age_years", "sex", "region", "edss_baseline", "randomisation_date"]
    pd.DataFrame(
        [[n, "a", 40, "F", "US", 2, f"2020-01-31{r[2]}"] for n, r in zip(names, rows, strict=True)], columns=columns
    ).to_csv(people, index=False)
    found, _ = read_weekly(path, RELAPSES, read_table(people, PATIENTS), people)
    assert found["week"].tolist() == [days / 7 for days, _, _ in rows]


@pytest.mark.parametrize("column", ["edss", "t25fw_s", "nhpt_s"])
@pytest.mark.parametrize("rows", [12, 0])
def test_a_measure_that_nobody_has_is_one_line(tmp_path, column, rows):
    frame = pd.DataFrame(
        {"patient_id": [str(i) for i in range(rows)], "week": 12, "edss": 2.0, "t25fw_s": 5.0, "nhpt_s": 20.0}
    )
    frame.assign(**{column: None}).to_csv(tmp_path / "assessments.csv", index=False)
    people = pd.DataFrame({"patient_id": [str(i) for i in range(12)], "arm": "a"})
    with pytest.raises(
        TableError,
        match=rf"column {column if rows else 'edss'}: outcome ccdp12 needs it.* blank in each of {rows} rows",
    ):
        read_weekly(tmp_path / "assessments.csv", ASSESSMENTS, people, tmp_path / "patients.csv", ("ccdp12",))


def test_who_was_never_able_to_walk_was_measured(tmp_path):
    frame = pd.DataFrame({"patient_id": ["1", "2"], "week": 12, "edss": 7.0, "t25fw_s": "", "t25fw_unable": "true"})
    frame.to_csv(tmp_path / "assessments.csv", index=False)
    people = pd.DataFrame({"patient_id": ["1", "2"], "arm": "a"})
    found, _ = read_weekly(tmp_path / "assessments.csv", ASSESSMENTS, people, tmp_path / "patients.csv", ("t25fw12",))
    assert len(found) == 2
