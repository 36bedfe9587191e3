"""Preparation. Oracle: the template's own brain, moved by known matrices, and the real scans of two studies."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from nnunet_ms.classification.stratification import preparation
from nnunet_ms.classification.stratification.cohort import ScanCase
from nnunet_ms.classification.stratification.preparation import (
    PreparationSettings,
    PreparedScan,
    load_prepared,
    prepare_scan,
    prior_regions,
    save_prepared,
    target_grid,
)
from nnunet_ms.classification.stratification.regions import label_table
from nnunet_ms.errors import ImageError, OptionError
from nnunet_ms.images.itk import resample, to_itk, voxels
from nnunet_ms.images.registration import Registration
from nnunet_ms.images.template import mni152, mni152_brain
from nnunet_ms.images.volumes import Grid

GRID = Grid((64, 76, 62), np.array([[3.0, 0, 0, -94], [0, 3, 0, -128], [0, 0, 3, -84], [0, 0, 0, 1]]))
# points of MNI -> points of the scan: a smaller brain, turned a little, elsewhere
TRUE = np.array([[0.90, -0.05, 0, 4], [0.05, 0.92, 0, -6], [0, 0, 0.88, 5], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """T1, FLAIR (contrast turned round), brain and labels of the template's brain, made smaller and turned."""
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    folder, template = tmp_path_factory.mktemp("scan"), mni152()
    back = np.linalg.inv(TRUE)
    t1 = voxels(resample(to_itk(template.data, template.grid), GRID, back, is_label=False))
    brain = voxels(resample(to_itk(mni152_brain().astype(np.uint8), template.grid), GRID, back, is_label=True))
    world = GRID.to_world(np.indices(GRID.shape).reshape(3, -1).T).reshape(*GRID.shape, 3)
    labels = np.where(brain > 0, np.where(world[..., 2] > 20, 2, 3), 0)
    labels[(brain > 0) & (np.abs(world[..., 0]) < 8) & (world[..., 2] > 0) & (world[..., 2] < 20)] = 4
    flair = np.where(brain > 0, 1.5 * t1.max() - t1, 0)
    for name, data in {"t1": t1, "flair": flair, "brain": brain, "labels": labels}.items():
        kind = np.float32 if name in ("t1", "flair") else np.uint8
        nib.save(nib.Nifti1Image(data.astype(kind), GRID.affine), folder / f"{name}.nii.gz")
    return case_of(folder)


def case_of(folder, labels="labels.nii.gz", **names):
    files = {"t1": "t1.nii.gz", "flair": "flair.nii.gz", "brain_mask": "brain.nii.gz"} | names
    paths = {key: Path(folder) / name for key, name in files.items()}
    own = Path(folder) / labels if labels else None
    return ScanCase(
        "P1",
        "a",
        region_labels=own,
        age_years=40,
        sex="F",
        field_tesla=3,
        lesion_volume_ml=1,
        edss=3,
        disabled=True,
        days_to_edss=0,
        **paths,
    )


@pytest.fixture(scope="module")
def prepared(scan):
    return prepare_scan(scan)


@pytest.mark.slow
def test_a_moved_and_smaller_brain_lies_where_the_template_has_it(prepared):
    middle = np.array([0.0, -17, 10])
    points = middle + np.array([[0, 0, 0], [50, 0, 0], [-50, 0, 0], [0, 60, 0], [0, -60, 0], [0, 0, 40]])
    here, truth = (points @ matrix[:3, :3].T + matrix[:3, 3] for matrix in (prepared.matrix, TRUE))
    assert np.linalg.norm(here - truth, axis=1).max() < 3  # a voxel
    assert prepared.brain_dice > 0.95
    assert prepared.images.shape == (2, 80, 96, 80)


@pytest.mark.slow
def test_images_are_scored_in_the_brain_and_0_outside_and_contrasts_keep_their_sense(prepared):
    inside = prepared.images[:, prepared.brain]
    np.testing.assert_allclose(inside.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(inside.std(axis=1), 1, atol=1e-4)
    assert (prepared.images[:, ~prepared.brain] == 0).all()
    deep = ndimage.binary_erosion(prepared.brain, iterations=4)  # at its edge, both images fade into the 0 around
    assert np.corrcoef(prepared.images[:, deep])[0, 1] < -0.9


@pytest.mark.slow
def test_volumes_are_the_patients_own_and_empty_regions_are_listed(prepared, scan):
    labels = np.asarray(nib.load(scan.region_labels).dataobj)
    assert prepared.volumes_ml["wm_ml"] == pytest.approx((labels == 2).sum() * 0.027)
    assert prepared.volumes_ml["ventricles_ml"] == pytest.approx((labels == 4).sum() * 0.027)
    assert prepared.regions_from == "labels"
    assert prepared.empty == ["sgm", "brainstem"]
    size = np.linalg.det(TRUE[:3, :3])
    assert prepared.regions["wm"].sum() * 0.008 * size == pytest.approx(prepared.volumes_ml["wm_ml"], rel=0.05)


def test_a_made_up_scan_is_loaded_as_it_was_saved(tmp_path):
    images, mask = np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype(np.float32), np.ones((4, 5, 6), bool)
    made = PreparedScan(images, mask, {"wm": mask, "gm": ~mask}, {"brain_ml": 1.5, "wm_ml": 1.0}, "priors", 0.93, TRUE)
    save_prepared(made, tmp_path / "scan.npz")
    again = load_prepared(tmp_path / "scan.npz")
    np.testing.assert_array_equal(again.images, images)
    np.testing.assert_array_equal(again.matrix, TRUE)
    assert (again.volumes_ml, again.regions_from, again.brain_dice) == (made.volumes_ml, "priors", 0.93)
    assert (list(again.regions), again.empty) == (["wm", "gm"], ["gm"])


@pytest.mark.slow
def test_what_is_saved_is_what_is_loaded(prepared, tmp_path):
    save_prepared(prepared, tmp_path / "scan.npz")
    again = load_prepared(tmp_path / "scan.npz")
    np.testing.assert_array_equal(again.images, prepared.images)
    np.testing.assert_array_equal(again.matrix, prepared.matrix)
    assert again.volumes_ml == prepared.volumes_ml
    assert (again.empty, again.regions_from, again.brain_dice) == (prepared.empty, "labels", prepared.brain_dice)
    for region, mask in prepared.regions.items():
        np.testing.assert_array_equal(again.regions[region], mask)


def test_the_grid_holds_the_templates_whole_brain():
    for edge in (1.0, 2.0, 3.0):
        grid = target_grid(edge)
        low, high = grid.to_world(np.array([[-0.5] * 3, np.array(grid.shape) - 0.5]))
        points = mni152().grid.to_world(np.argwhere(mni152_brain()))
        assert (points.min(0) > low).all()
        assert (points.max(0) < high).all()
    with pytest.raises(OptionError, match=r"edge_mm: expected a number from .* to 8, found 0"):
        PreparationSettings(edge_mm=0)


def broken(scan, folder, kind):
    """The scan with one thing wrong."""
    brain = np.asarray(nib.load(scan.brain_mask).dataobj)
    path, affine = folder / "broken.nii.gz", GRID.affine
    if kind == "no mask":
        return replace(scan, brain_mask=None)
    if kind == "empty mask":
        nib.save(nib.Nifti1Image(np.zeros_like(brain), affine), path)
        return replace(scan, brain_mask=path)
    if kind == "labels for a mask":
        return replace(scan, brain_mask=scan.region_labels)
    if kind == "labels elsewhere":
        nib.save(nib.Nifti1Image(brain[:-1], affine), path)
        return replace(scan, region_labels=path)
    if kind == "unknown ids":
        nib.save(nib.Nifti1Image(brain * 99, affine), path)
        return replace(scan, region_labels=path)
    raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no mask", "P1_a: expected a brain mask, found a blank in column brain_mask"),
        ("empty mask", "broken.nii.gz: expected a brain mask, found no voxel in it"),
        ("labels for a mask", r"labels.nii.gz: expected a mask with values \[0, 1\], found 2"),
        ("labels elsewhere", "broken.nii.gz: expected the grid of .*t1.nii.gz"),
        ("unknown ids", r"broken.nii.gz: expected ids of the table, found 99 \(\d+ voxels\)"),
    ],
)
def test_what_cannot_be_meant_is_one_error(scan, tmp_path, kind, message):
    with pytest.raises(ImageError, match=message):
        prepare_scan(broken(scan, tmp_path, kind))


def test_a_brain_that_does_not_fit_is_refused(scan, monkeypatch):
    monkeypatch.setattr(preparation, "likeness_to_mni", lambda *_: 0.8)
    monkeypatch.setattr(preparation, "fit_to_mni", lambda *_: Registration(np.eye(4), 0.0, 0.0))
    monkeypatch.setattr(preparation, "_registered", lambda *_: np.eye(4))
    with pytest.raises(ImageError, match=r"t1.nii.gz: expected a brain that fits .*Dice 0.85.*, found 0\.80 after"):
        prepare_scan(scan)


def test_a_flair_with_nothing_in_common_is_refused(scan, monkeypatch):
    monkeypatch.setattr(preparation, "register", lambda *_: Registration(np.eye(4), 0.0, 0.01))  # as of noise
    with pytest.raises(ImageError, match=r"flair.nii.gz: expected the head of .*t1.nii.gz, found little in common"):
        prepare_scan(scan)


def test_priors_make_five_regions_that_do_not_overlap(shared_data):
    regions = prior_regions(shared_data / "atlas", target_grid())
    assert set(regions) == {"wm", "gm", "sgm", "ventricles", "brainstem"}
    assert 20 < regions["brainstem"].sum() * 0.008 < 40
    assert sum(mask.astype(int) for mask in regions.values()).max() == 1
    assert 300 < regions["wm"].sum() * 0.008 < 700
    with pytest.raises(ImageError, match="WM_prior"):
        prior_regions(shared_data, target_grid())


@pytest.mark.slow
def test_real_brains_fit_the_template(shared_data):
    folder = shared_data / "ms3seg" / "101228"
    case = case_of(folder, labels="", t1="T1w.nii.gz", flair="FLAIR.nii.gz", brain_mask="brain.nii.gz")
    found = prepare_scan(case, PreparationSettings(table=label_table(), priors=shared_data / "atlas"))
    assert found.brain_dice >= 0.90
    assert found.regions_from == "priors"
    assert found.volumes_ml["wm_ml"] > 300
