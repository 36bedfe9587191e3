"""A folder as `nnunet-ms-predict` leaves it, made by hand; numbers checked against counting by eye."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.evaluate_cli import main
from nnunet_ms.analysis.evaluation.uncertainty import evaluate_uncertainty, write_uncertainty
from nnunet_ms.errors import SettingsError
from nnunet_ms.images.volumes import write_volume

SHAPE = (12, 12, 6)
TRUE, FALSE, MISSED = (slice(1, 4), 2, 2), (slice(7, 10), 8, 2), (slice(1, 4), 9, 4)


@pytest.fixture
def folders(tmp_path):
    """Two cases; each: one true lesion (LSU 0.1), one false (0.8), one missed."""
    rows, cases = [], []
    for name in ("p1", "p2"):
        truth, p = np.zeros(SHAPE, np.uint8), np.full(SHAPE, 0.001, np.float32)
        truth[TRUE] = truth[MISSED] = 1
        p[TRUE], p[FALSE], p[MISSED] = 0.95, 0.6, 0.3
        write_volume(tmp_path / "references" / f"{name}.nii.gz", truth, np.eye(4))
        write_volume(tmp_path / "out" / f"{name}.nii.gz", (p > 0.5).astype(np.uint8), np.eye(4))
        for kind in ("probability", "deterministic"):
            write_volume(tmp_path / "out" / kind / f"{name}.nii.gz", p, np.eye(4))
        place = {
            "case_id": name,
            "patient_id": name,
            "visit": "v",
            "week": 0,
            "rater": "net",
            "lesion_type": "t2_lesions",
        }
        for number, uncertainty in ((1, 0.1), (2, 0.8)):
            size = {"lesion_id": number, "voxels": 3, "volume_ml": 0.003, "x_mm": 0, "y_mm": 0, "z_mm": 0}
            rows.append({**place, **size, "uncertainty": uncertainty})
        cases.append({**place, "role": "test", "psu": 0.3, "content_voxels": 500})
    pd.DataFrame(rows).to_csv(tmp_path / "out" / "lesions.csv", index=False)
    pd.DataFrame(cases).to_csv(tmp_path / "out" / "cases.csv", index=False)
    return tmp_path / "out", tmp_path / "references"


def value(evaluation, metric, kind="probability", region="all"):
    table = evaluation.uncertainty
    rows = table[(table["metric"] == metric) & (table["kind"] == kind) & (table["region"] == region)]
    return rows["value"].iloc[0], rows["n"].iloc[0]


def test_numbers_by_counting(folders):
    found = evaluate_uncertainty(*folders)
    assert (found.n_cases, len(found.lesions), found.failures) == (2, 4, [])
    assert value(found, "lppv") == (0.5, 4)
    assert value(found, "ltpr") == (0.5, 4)
    # one of the two false lesions is among the least certain 20 % of four lesions
    assert value(found, "lppv_without_least_certain_20_percent")[0] == pytest.approx(2 / 3)
    assert value(found, "f1")[0] == pytest.approx(0.5)
    # 9 candidate voxels of each case: gaps 0.05, 0.6 and 0.7 in three bins of 3
    ece, voxels = value(found, "ece", region="candidates")
    assert voxels == 18
    assert ece == pytest.approx((0.05 + 0.6 + 0.7) / 3)
    assert value(found, "ece", "deterministic", "candidates")[0] == pytest.approx(ece)
    assert value(found, "spearman_lsu_false")[0] == pytest.approx(1)
    assert value(found, "ece")[1] == 1000  # content voxels


def test_tables_and_figures_are_written(folders, tmp_path):
    write_uncertainty(*folders, tmp_path / "evaluated", note="simulated")
    names = {path.name for path in (tmp_path / "evaluated").iterdir()}
    tables = {"calibration.csv", "retention.csv", "uncertainty.csv", "failures.csv"}
    assert names == tables | {f"{n}.{s}" for n in ("reliability", "retention") for s in ("svg", "png")}
    retention = pd.read_csv(tmp_path / "evaluated" / "retention.csv")
    assert set(retention["curve"]) == {"ndsc", "f1", "lppv", "ltpr"}
    assert set(retention["data_note"]) == {"simulated"}


@pytest.mark.usefixtures("no_figures")
def test_command_adds_the_folder_and_can_be_repeated(folders, tmp_path, capsys):
    out, references = (str(folder) for folder in folders)
    options = [
        "--predictions",
        out,
        "--references",
        references,
        "--uncertainty",
        out,
        "-o",
        str(tmp_path / "evaluation"),
    ]
    for _ in range(2):
        assert main(options) == 0
        assert "uncertainty of 2 cases" in capsys.readouterr().out
        assert (tmp_path / "evaluation" / "uncertainty" / "uncertainty.csv").is_file()


def test_other_lesions_than_the_mask_has_are_a_failure_of_the_case(folders):
    out, references = folders
    lesions = pd.read_csv(out / "lesions.csv")
    lesions.loc[0, "voxels"] = 4
    lesions.to_csv(out / "lesions.csv", index=False)
    found = evaluate_uncertainty(out, references)
    assert [failure.case for failure in found.failures] == ["p1"]
    assert "expected the 2 lesions of" in found.failures[0].reason


def test_a_case_without_its_map_is_a_failure(folders):
    out, references = folders
    (out / "probability" / "p2.nii.gz").unlink()
    found = evaluate_uncertainty(out, references)
    assert "no such file" in found.failures[0].reason


def test_folders_that_are_no_prediction(folders, tmp_path):
    out, references = folders
    with pytest.raises(SettingsError, match=r"expected the output of nnunet-ms-predict, lesions\.csv is missing"):
        evaluate_uncertainty(references, references)
    with pytest.raises(SettingsError, match=r"expected lesion type x, found \['t2_lesions'\]"):
        evaluate_uncertainty(out, references, lesion_type="x")
    with pytest.raises(SettingsError, match="none of 0 cases with a reference"):
        evaluate_uncertainty(out, tmp_path)


def test_a_prediction_by_one_sample_has_no_uncertainty(folders):
    out, references = folders
    lesions = pd.read_csv(out / "lesions.csv").assign(uncertainty=np.nan)
    lesions.to_csv(out / "lesions.csv", index=False)
    with pytest.raises(SettingsError, match="predicted by one sample"):
        evaluate_uncertainty(out, references)


def test_a_model_that_sees_nothing_has_its_tables_and_figures(folders, tmp_path):
    out, references = folders
    for name in ("p1", "p2"):
        write_volume(out / f"{name}.nii.gz", np.zeros(SHAPE, np.uint8), np.eye(4))
        for kind in ("probability", "deterministic"):
            write_volume(out / kind / f"{name}.nii.gz", np.full(SHAPE, 0.001, np.float32), np.eye(4))
    lesions = pd.read_csv(out / "lesions.csv")
    lesions[:0].to_csv(out / "lesions.csv", index=False)
    found = write_uncertainty(out, references, tmp_path / "written")
    assert found.failures == []
    assert value(found, "ltpr")[0] == 0
    assert np.isnan(value(found, "ece", region="candidates")[0])
    assert (tmp_path / "written" / "reliability.png").is_file()
