"""Oracle: the rows that `nnunet-ms-measure` writes of the same masks."""

import numpy as np
import pandas as pd

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
