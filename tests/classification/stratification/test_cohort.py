"""Manifests of disability: the outcome of each row, what is left out with its reason, and what cannot be meant."""

import math

import pytest

from nnunet_ms.classification.stratification.cohort import SCALE, read_cohort
from nnunet_ms.errors import OptionError, TableError

HEADER = (
    "patient_id,visit,scan_date,t1,flair,brain_mask,region_labels,age_years,sex,field_tesla,"
    "lesion_volume_ml,edss,edss_date"
)
WELL = "P1,a,2021-01-01,1t.nii,1f.nii,1b.nii,1l.nii,34.5,F,3,4.2,2.5,2021-03-01"
ILL = "P2,a,2021-01-01,2t.nii,2f.nii,,,51,M,1.5,20,6,2021-07-03"  # 183 days


def manifest(folder, *rows, header=HEADER):
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def third(edss="3", scan="2021-01-01", assessed="2021-02-01", patient="P3", visit="a", sex="F"):
    return f"{patient},{visit},{scan},{patient}{visit}t.nii,{patient}{visit}f.nii,,,40,{sex},3,1,{edss},{assessed}"


def test_each_row_is_a_case_with_its_outcome(tmp_path):
    well, ill = read_cohort(manifest(tmp_path, WELL, ILL)).cases
    assert (well.t1, well.region_labels) == (tmp_path / "1t.nii", tmp_path / "1l.nii")
    assert (well.disabled, well.edss, well.days_to_edss, well.sex, well.age_years) == (False, 2.5, 59, "F", 34.5)
    assert (ill.disabled, ill.days_to_edss, ill.field_tesla) == (True, 183, 1.5)
    assert (ill.brain_mask, ill.region_labels, ill.case_id) == (None, None, "P2_a")


def test_days_of_a_count_do_for_dates_and_further_columns_may_be_left_out(tmp_path):
    header = "patient_id,visit,scan_day,t1,flair,edss,edss_day"
    rows = ["P1,a,-3,1t,1f,1.0,10", "P2,a,10,2t,2f,3.0,10"]
    well, ill = read_cohort(manifest(tmp_path, *rows, header=header)).cases
    assert (well.days_to_edss, ill.days_to_edss, ill.disabled) == (13, 0, True)
    assert math.isnan(well.age_years)
    assert math.isnan(well.lesion_volume_ml)
    assert well.sex == ""


@pytest.mark.parametrize("edss", SCALE)
def test_every_step_of_the_scale_is_of_the_class_of_its_number(tmp_path, edss):
    case = read_cohort(manifest(tmp_path, WELL, ILL, third(f"{edss:g}"))).cases[2]
    assert (case.edss, case.disabled) == (edss, edss >= 3)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (third(edss=""), "row 3: no EDSS"),
        (third(edss="NA", assessed=""), "row 3: no EDSS"),
        (third(scan="2020-12-31", assessed="2021-07-03"), "row 3: EDSS 184 days after the scan, more than 183"),
        (third(assessed="2020-12-31"), "row 3: EDSS 1 days before the scan"),
        (third(assessed="2020-01-01"), "row 3: EDSS 366 days before the scan, more than 183"),
    ],
)
def test_a_scan_without_a_valid_outcome_is_listed(tmp_path, row, reason):
    cohort = read_cohort(manifest(tmp_path, WELL, ILL, row))
    assert [case.patient_id for case in cohort.cases] == ["P1", "P2"]
    assert [(one.case, one.reason) for one in cohort.left_out] == [("P3_a", reason)]


def test_an_earlier_assessment_is_used_on_request_and_flagged_but_none_of_years_ago(tmp_path):
    rows = [WELL, ILL, third(assessed="2020-12-01"), third(assessed="2019-12-01", patient="P4")]
    cohort = read_cohort(manifest(tmp_path, *rows), earlier_edss="use")
    assert [case.edss_is_earlier for case in cohort.cases] == [False, False, True]
    assert cohort.cases[2].days_to_edss == -31
    assert [one.case for one in cohort.left_out] == ["P4_a"]
    with pytest.raises(OptionError, match="earlier_edss: expected one of 'refuse', 'use'"):
        read_cohort(manifest(tmp_path, *rows), earlier_edss="yes")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([WELL, ILL, third("0.5")], r"row 3 \(patient P3, visit a\), column edss: expected 0, 1, .* found 0\.5"),
        ([WELL, ILL, third("2.25")], r"column edss: expected 0, 1, .*found 2\.25"),
        ([WELL, ILL, third("10.5")], "row 3, column edss: expected a number from 0 to 10"),
        ([WELL, ILL, third("-1")], "row 3, column edss: expected a number from 0 to 10"),
        ([WELL, ILL, third(assessed="")], "row 3 .*scan_day and edss_day, found one of the two times"),
        ([WELL, ILL, third(scan="", assessed="")], "row 3 .*found neither"),
        ([WELL, ILL, third(scan="2021-01")], "row 3, column scan_date: expected one day"),
        ([WELL, WELL], "row 2: patient_id P1, visit a stands twice"),
        ([WELL, WELL.replace("P1", "P9")], "row 2, column t1: expected a file of its own, found 1t.nii, .* row 1 too"),
        ([WELL, ILL, third().replace("P3af", "1f")], "row 3, column flair: .* found 1f.nii, which is that of row 1"),
        ([WELL, ILL.replace("2f", "2t")], "row 2 .*: columns t1 and flair name one file, 2t.nii"),
        ([WELL, ILL.replace("2f.nii", "")], "row 2 .*: expected a path in column flair, found a blank"),
        (
            [WELL, ILL, third(), third(visit="b", sex="M")],
            "rows 3 and 4: expected one sex of patient P3, found F and M",
        ),
        ([WELL, ILL, third(patient="P_3", visit="v"), third(patient="P", visit="3_v")], "rows 3 and 4: .* found P_3_v"),
        ([ILL], r"expected scans with EDSS >= 3 and below, found 1 and 0 \(0 left out\)"),
        ([WELL, third("")], r"found 0 and 1 \(1 left out; P3_a, row 2: no EDSS\)"),
        ([third("")], "found no scan with an outcome"),
        ([], "expected a row for each scan, found none"),
    ],
)
def test_rows_that_cannot_be_meant_are_refused(tmp_path, rows, message):
    with pytest.raises(TableError, match=message):
        read_cohort(manifest(tmp_path, *rows))


def test_both_kinds_of_time_in_one_row_a_folder_and_other_names_of_columns_are_refused(tmp_path):
    header = HEADER + ",edss_day"
    with pytest.raises(TableError, match="found both kinds"):
        read_cohort(manifest(tmp_path, WELL + ",20", ILL + ",", header=header))
    with pytest.raises(TableError, match="found a folder"):
        read_cohort(tmp_path)
    with pytest.raises(TableError, match="disability manifest needs columns"):
        read_cohort(manifest(tmp_path, WELL, ILL, header=HEADER.replace("flair", "flair_file")))
