"""The cohort of disability on disk: read by the room that uses it, resumed with the same bytes, true to its numbers."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.classification.stratification.cohort import read_cohort
from nnunet_ms.classification.stratification.preparation import target_grid
from nnunet_ms.classification.stratification.regions import REGIONS, label_table, region_masks
from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.images.template import likeness_to_mni
from nnunet_ms.images.volumes import read_volume
from nnunet_ms.simulation import cli
from nnunet_ms.simulation.images import disability_files, disability_scan
from nnunet_ms.simulation.images.disability_files import DISABILITY_TRUTH, DisabilitySettings, write_disability
from nnunet_ms.simulation.model.disability import draw_disability
from nnunet_ms.simulation.simulate import simulate_disability
from nnunet_ms.tables import ASSESSMENTS, read_table

SETTINGS = DisabilitySettings(3, 5, edge_mm=4)  # of both classes; the third patient is scanned twice


def small_scans(patient, edge_mm, seed, index):
    """Scans of few voxels, in the place of those that take half a second."""
    volumes = {name: np.full((4, 4, 2), index + seed, np.int16) for name in disability_files.VOLUMES}
    grid = disability_scan.scan_grid(edge_mm)
    return [disability_scan.DisabilityScan(grid, volumes, 20.0, 25.0, 5.0) for _ in patient.scans]


def checksums(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*z")} | {
        p.name: p.read_text() for p in folder.glob("*.[cj]s*")
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("cohort") / "out"
    assert write_disability(SETTINGS, place) == []
    return place


def test_the_manifest_is_read_by_the_room_that_needs_it(folder):
    cohort = read_cohort(folder / "manifest.csv")
    truth = read_table(folder / "truth.csv", DISABILITY_TRUTH)
    assert [case.case_id for case in cohort.cases] == list(truth["patient_id"] + "_" + truth["visit"])
    assert [case.disabled for case in cohort.cases] == truth["disabled"].astype(bool).tolist()
    assert not cohort.left_out
    assert len(truth) > truth["patient_id"].nunique()  # some are scanned twice


def test_brains_lie_on_the_grid_of_the_networks_with_every_region(folder):
    for case in read_cohort(folder / "manifest.csv").cases:
        brain, labels = read_volume(case.brain_mask), read_volume(case.region_labels)
        assert labels.grid.shape == target_grid(4.0).shape
        assert np.allclose(labels.grid.affine, target_grid(4.0).affine)
        assert likeness_to_mni(brain.data > 0, brain.grid, np.eye(4)) > 0.9
        masks = region_masks(labels, label_table())  # refuses numbers that FreeSurfer does not know
        assert all(masks[region].any() for region in REGIONS)
        t1, flair = read_volume(case.t1).data, read_volume(case.flair).data
        assert t1[masks["ventricles"]].mean() < t1[masks["gm"]].mean() < t1[masks["wm"]].mean()
        lesions = labels.data == 77
        assert flair[lesions].mean() > flair[masks["wm"] & ~lesions].mean()
        assert (t1[brain.data == 0] == 0).all()


def test_fine_and_coarse_grids_cover_the_same_box():
    fine, coarse = disability_scan.scan_grid(2), disability_scan.scan_grid(4)
    assert np.allclose(fine.affine, target_grid(2.0).affine)
    edges = [grid.affine[:3, 3] - np.array(grid.spacing) / 2 for grid in (fine, coarse)]
    assert np.allclose(*edges)


def test_blocks_keep_means_and_majorities():
    data = np.zeros((4, 4, 4), np.int16)
    data[:2, :2, :2], data[0, 0, 0] = 7, 15
    assert disability_scan._majority(data, 2)[0, 0, 0] == 7
    assert disability_scan._mean(data, 2)[0, 0, 0] == 8
    assert disability_scan._majority(data, 1) is data


def test_larger_ventricles_lesions_and_stems_are_larger_in_the_images():
    patient = replace(draw_disability("ventricles", 0.0, 0, 2), ventricle_z=-1.5, stem_z=1.5)
    wide = replace(
        patient, ventricle_z=1.5, stem_z=-1.5, scans=tuple(replace(s, log_tlv=s.log_tlv + 1) for s in patient.scans)
    )
    small, large = (disability_scan.draw_scans(one, 4, 0, 2)[0] for one in (patient, wide))
    assert large.ventricles_ml > 1.3 * small.ventricles_ml
    assert large.brainstem_ml > 1.3 * small.brainstem_ml
    assert large.lesion_volume_ml == pytest.approx(np.e * small.lesion_volume_ml, rel=0.1)


@pytest.mark.parametrize("broken", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(tmp_path, monkeypatch, broken):
    def fails_once(patient, edge_mm, seed, index):
        if index == 1 and not (tmp_path / "tried").exists():
            (tmp_path / "tried").touch()
            raise broken("now")
        return small_scans(patient, edge_mm, seed, index)

    monkeypatch.setattr(disability_scan, "draw_scans", small_scans)
    write_disability(SETTINGS, tmp_path / "whole")
    monkeypatch.setattr(disability_scan, "draw_scans", fails_once)
    if broken is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt, match="now"):
            write_disability(SETTINGS, tmp_path / "out")
    else:
        assert [failure.case for failure in write_disability(SETTINGS, tmp_path / "out")] == ["P002"]
        assert "P002" not in set(pd.read_csv(tmp_path / "out/assessments.csv")["patient_id"])
    assert write_disability(SETTINGS, tmp_path / "out") == []
    assert checksums(tmp_path / "out") == checksums(tmp_path / "whole")


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"signal": "none"}, {"field_effect": 1.0}, {"edge_mm": 2}, {"patients": 4}]
)
def test_another_cohort_in_the_folder_is_refused(folder, other):
    with pytest.raises(SettingsError, match=f"other settings: {next(iter(other))} is"):
        write_disability(replace(SETTINGS, **other), folder)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("signal", "ventricle", "signal: expected"),
        ("edge_mm", 3, "edge_mm: expected 2 or 4, found 3"),
        ("field_effect", float("nan"), "field_effect: expected a number from -5 to 5"),
        ("field_effect", 6.0, "found 6.0"),
        ("patients", 0, "patients: expected a whole number >= 1"),
        ("seed", -1, "seed: expected a whole number >= 0"),
    ],
)
def test_bad_options_are_told(tmp_path, option, value, message):
    with pytest.raises(OptionError, match=message):
        simulate_disability(tmp_path / "out", **{option: value})
    assert not (tmp_path / "out").exists()


def test_the_command_writes_the_truth_and_the_courses(tmp_path, monkeypatch):
    monkeypatch.setattr(disability_scan, "draw_scans", small_scans)
    out = tmp_path / "out"
    command = ["disability", "--patients", "5", "--signal", "lesions", "--field-effect", "1", "--edge-mm", "4"]
    assert cli.main([*command, "-o", str(out)]) == 0
    truth = json.loads((out / "truth.json").read_text())
    assert truth["log_odds_ratios"] == {"ventricles": 0.3, "lesions": 2.0, "age": 0.3, "brainstem": 0.0}
    assert truth["field_effect"] == 1
    assert 0.8 < truth["best_auc"] < 0.95
    courses = read_table(out / "assessments.csv", ASSESSMENTS)
    assert courses.groupby("patient_id")["week"].min().tolist() == [0] * 5
    assert courses.groupby("patient_id")["edss"].first().tolist() == (
        pd.read_csv(out / "truth.csv").query("scan_day == 0")["edss"].tolist()
    )
