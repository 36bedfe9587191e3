"""The cohort on disk: whole patients or none, resumed with the same bytes, refused where it is another one."""

import hashlib

import numpy as np
import pytest

from nnunet_ms.classification.rim.cohort import read_cohort
from nnunet_ms.classification.rim.lesion_boxes import visit_lesions
from nnunet_ms.errors import SettingsError
from nnunet_ms.images.volumes import Grid
from nnunet_ms.simulation import cli
from nnunet_ms.simulation.images import rim_files, rim_patient
from nnunet_ms.simulation.images.rim_files import RIM_TRUTH, RimSettings, write_rims
from nnunet_ms.tables import read_table

ROW = {name: 1.0 for name in RIM_TRUTH.names if name not in ("patient_id", "visit", "week")}


def small_visit(seed, index):
    """A visit of few voxels, in the place of one that takes seconds."""
    volumes = {name: np.full((4, 4, 2), index + seed, np.int16) for name in rim_files.VOLUMES}
    row = ROW | {"lesion_id": 1, "voxels": 3, "label": index % 2, "kind": "rim", "vein": "none"}
    return rim_patient.RimVisit(Grid((4, 4, 2), np.eye(4)), volumes, [row])


def checksums(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*z")} | {
        p.name: p.read_text() for p in folder.glob("*.csv")
    }


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(rim_files, "draw_visit", small_visit)


@pytest.mark.usefixtures("small")
def test_manifests_list_the_same_visits_with_either_mask(tmp_path):
    assert write_rims(RimSettings(3, 1), tmp_path / "out") == []
    first, second = (read_cohort(tmp_path / "out" / name) for name in ("manifest.csv", "manifest_flair.csv"))
    assert [case.case_id for case in first] == ["P001_week000", "P002_week000", "P003_week000"]
    assert {case.lesions.name for case in first} == {"qsm_lesions.nii.gz"}
    assert {case.lesions.name for case in second} == {"flair_lesions.nii.gz"}
    assert all(path.is_file() for case in first for path in (case.qsm, case.flair, case.brain_mask, case.labels))
    assert read_table(tmp_path / "out/truth.csv", RIM_TRUTH)["label"].tolist() == [0, 1, 0]


@pytest.mark.parametrize("broken", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(tmp_path, monkeypatch, broken):
    def fails_once(seed, index):
        if index == 1 and not (tmp_path / "tried").exists():
            (tmp_path / "tried").touch()
            raise broken("now")
        return small_visit(seed, index)

    monkeypatch.setattr(rim_files, "draw_visit", small_visit)
    write_rims(RimSettings(3, 1), tmp_path / "whole")
    monkeypatch.setattr(rim_files, "draw_visit", fails_once)
    if broken is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt, match="now"):
            write_rims(RimSettings(3, 1), tmp_path / "out")
        assert [p.name for p in (tmp_path / "out/images").iterdir()] == ["P001"]
    else:
        assert [failure.case for failure in write_rims(RimSettings(3, 1), tmp_path / "out")] == ["P002"]
        assert len(read_cohort(tmp_path / "out/manifest.csv")) == 2
    assert write_rims(RimSettings(3, 1), tmp_path / "out") == []
    assert checksums(tmp_path / "out") == checksums(tmp_path / "whole")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("settings", "message"), [(RimSettings(3, 2), "seed is 1, asked for 2"), (RimSettings(4, 1), "patients is 3")]
)
def test_another_cohort_in_the_folder_is_refused(tmp_path, settings, message):
    write_rims(RimSettings(3, 1), tmp_path / "out")
    with pytest.raises(SettingsError, match=message):
        write_rims(settings, tmp_path / "out")


@pytest.mark.usefixtures("small")
def test_other_things_in_the_folder_are_refused(tmp_path):
    (tmp_path / "note.txt").touch()
    with pytest.raises(SettingsError, match="expected an empty folder or a simulation"):
        write_rims(RimSettings(1, 0), tmp_path)


@pytest.mark.usefixtures("small")
def test_the_command_writes_it(tmp_path):
    assert cli.main(["rims", "--patients", "2", "--seed", "3", "-o", str(tmp_path / "out")]) == 0
    assert len(read_cohort(tmp_path / "out/manifest.csv")) == 2


def test_a_real_patient_goes_through_with_either_mask_and_gives_its_lesions_back(tmp_path):
    # Oracle: the truth. Splitting finds the lesions that are there, and labels fall into them.
    assert write_rims(RimSettings(1, 0), tmp_path / "out") == []
    truth = read_table(tmp_path / "out/truth.csv", RIM_TRUTH)
    for manifest, most in (("manifest.csv", 0.1), ("manifest_flair.csv", 0.15)):
        (case,) = read_cohort(tmp_path / "out" / manifest)
        found = visit_lesions(case)
        labels = np.array([lesion.label for lesion in found.lesions])
        assert len(found.problems) <= most * len(truth)
        assert abs(len(found.lesions) - len(truth)) <= most * len(truth)
        assert np.nansum(labels) == truth["label"].sum()
        assert np.isnan(labels).sum() <= most * len(truth)
