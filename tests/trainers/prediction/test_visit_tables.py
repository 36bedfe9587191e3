"""Oracle: the rows that `nnunet-ms-measure` writes of the same masks."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.evaluation.measure import measure
from nnunet_ms.trainers.prediction.case_measures import Measuring
from nnunet_ms.trainers.prediction.image_cases import ImageCase
from nnunet_ms.trainers.prediction.visit_tables import rule_name, write_visits


def test_visits_of_predicted_masks_are_those_that_measure_writes(write_nifti, tmp_path):
    rng = np.random.default_rng(5)
    cases = []
    for patient in ("P1", "P2"):
        for week in (0, 12, 24):
            mask = np.kron(rng.random((6, 6, 4)) > 0.9, np.ones((2, 2, 2))).astype(np.uint8)
            write_nifti(f"out/{patient}_{week}.nii.gz", mask)
            cases.append(ImageCase(f"{patient}_{week}", (), patient, f"w{week}", float(week)))
    found = write_visits(cases, tmp_path / "out", Measuring((("t2_lesions", 1),)), "net", "simulated")
    keys = [(c.case_id, c.patient_id, c.visit, c.week, "test") for c in cases]
    names = ["case_id", "patient_id", "visit", "week", "role"]
    pd.DataFrame(keys, columns=names).to_csv(tmp_path / "cases.csv", index=False)
    done = measure(tmp_path / "out", tmp_path / "m", tmp_path / "cases.csv", rater="net", note="simulated")
    pd.testing.assert_frame_equal(found, done.visits)
    for name in ("visits.csv", "lesion_changes.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (done.out / name).read_bytes()
    assert found["new_lesion_count"].notna().sum() == 4


def test_the_rule_is_named_after_its_smallest_lesion():
    assert [rule_name(n) for n in (3, 1)] == ["krishnan2023", "18-connected, at least 1 voxels"]


def pairs_of(write_nifti, value):
    """Two follow-ups of one patient, each compared with the same baseline: masks of change with 2 and 1 lesions."""
    cases = []
    for week, corners in ((24, ((1, 1), (8, 8))), (48, ((4, 4),))):
        mask = np.zeros((12, 12, 6), np.uint8)
        for x, y in corners:
            mask[x : x + 3, y : y + 3, 2:4] = value
        write_nifti(f"out/P1_{week}.nii.gz", mask)
        cases.append(ImageCase(f"P1_{week}", (), "P1", f"w{week}", float(week), "base", 0.0))
    return cases


KINDS = (("new", 1), ("enlarging", 2), ("resolved", 3), ("shrinking", 4))


@pytest.mark.parametrize("of", ["t2_lesions", "t1_unenhancing", "t1_enhancing"])
@pytest.mark.parametrize(
    ("target", "classes", "value", "column"),
    [
        ("new", (("new", 1),), 1, "new"),
        ("all", KINDS, 1, "new"),
        ("all", KINDS, 2, "enlarging"),
        ("all", KINDS, 3, "resolved"),
    ],
)
def test_masks_of_change_are_counted_and_not_compared(write_nifti, tmp_path, target, classes, value, column, of):
    cases = pairs_of(write_nifti, value)
    measuring = Measuring(classes, pairs=target, lesions=of)
    found = write_visits(cases, tmp_path / "out", measuring, "net", "").set_index("case_id")
    assert set(found["lesion_type"]) == {of}  # one row per case: that which the endpoints read
    assert found[f"{column}_lesion_count"].to_dict() == {"P1_24": 2, "P1_48": 1}
    assert found[f"{column}_volume_ml"].to_dict() == pytest.approx(
        {"P1_24": 0.108, "P1_48": 0.054}
    )  # 18 voxels of 3 mm3
    assert found[["lesion_count", "volume_ml"]].isna().all().all()  # of all lesions, which the mask does not tell
    assert (found["previous_week"].tolist(), set(found["previous_visit"])) == ([0.0, 0.0], {"base"})
    others = [f"{kind}_lesion_count" for kind, _ in classes if kind != column]
    assert (found[others] == 0).all().all()
    assert pd.read_csv(tmp_path / "out" / "lesion_changes.csv").empty


OF_SIGN = (("new_or_enlarging", 1), ("resolved_or_shrinking", 2))  # what a mask of change tells by its sign


@pytest.mark.parametrize(
    ("target", "classes", "value", "column"),
    [
        ("new_or_enlarging", (("lesion", 1),), 1, "new_or_enlarging"),
        ("all", OF_SIGN, 1, "new_or_enlarging"),
        ("all", OF_SIGN, 2, "resolved_or_shrinking"),
    ],
)
@pytest.mark.parametrize("of", ["t2_lesions", "t1_unenhancing"])
def test_kinds_that_a_model_does_not_tell_apart_have_a_count_of_their_own(
    write_nifti, tmp_path, target, classes, value, column, of
):
    measuring = Measuring(classes, pairs=target, lesions=of)
    found = write_visits(pairs_of(write_nifti, value), tmp_path / "out", measuring, "net", "").set_index("case_id")
    assert set(found["lesion_type"]) == {of}  # one row per case: that which the endpoints read
    assert found[f"{column}_lesion_count"].to_dict() == {"P1_24": 2, "P1_48": 1}
    assert found[f"{column}_volume_ml"].to_dict() == pytest.approx({"P1_24": 0.108, "P1_48": 0.054})
    assert found[["lesion_count", "volume_ml", "new_lesion_count", "enlarging_lesion_count"]].isna().all().all()
    assert found["change_note"].str.contains("lesions are not told apart").all()
    assert found["previous_week"].tolist() == [0.0, 0.0]
    written = pd.read_csv(tmp_path / "out" / "visits.csv")
    assert written[f"{column}_lesion_count"].tolist() == [2, 1]


@pytest.mark.parametrize("classes", [KINDS, (("new", 1),)])
def test_models_that_tell_the_kinds_apart_have_no_such_columns(write_nifti, tmp_path, classes):
    measuring = Measuring(classes, pairs="all" if len(classes) > 1 else "new", lesions="t2_lesions")
    found = write_visits(pairs_of(write_nifti, 1), tmp_path / "out", measuring, "net", "")
    assert not [name for name in found.columns if "_or_" in name]
