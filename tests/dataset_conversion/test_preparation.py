"""Preparation of images, each step against something that is not the code: nibabel, SciPy, known transforms."""

import json
import os
import sys
from functools import cache

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK
from nilearn.datasets import load_mni152_template
from scipy import ndimage

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.errors import ImageError
from nnunet_ms.images import bias_field
from nnunet_ms.images.bias_field import correct_bias
from nnunet_ms.images.grids import reoriented, respaced
from nnunet_ms.images.itk import resample, to_itk, to_matrix, to_transform, voxels
from nnunet_ms.images.registration import register
from nnunet_ms.images.volumes import Grid, read_mask, read_volume

SHAPE, AFFINE = (48, 58, 32), np.diag([3.5, 3.5, 5.0, 1.0])
AFFINE[:3, 3] = -82, -117, -68


@cache
def template():
    """MNI152 brain of nilearn's wheel: voxels, and their affine."""
    image = load_mni152_template(resolution=2)
    return ndimage.gaussian_filter(image.get_fdata(), 0.5), image.affine


def image_of(grid, matrix=None, other=False):
    """The brain on a grid, 0 to 800; `matrix` moves it: the image shows at p what the brain has at matrix @ p.

    `other` is another contrast: white matter dark, fluid bright.
    """
    data, affine = template()
    whole = np.linalg.inv(affine) @ (np.eye(4) if matrix is None else matrix) @ grid.affine
    image = 800 * ndimage.affine_transform(data, whole[:3, :3], whole[:3, 3], grid.shape, order=1)
    return np.where(image > 80, 900 - image, image).astype(np.float32) if other else image.astype(np.float32)


def motion(degrees=(4.0, -3.0, 6.0), shift=(5.0, -4.0, 3.0)):
    matrix = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        turn, (a, b) = np.eye(4), [k for k in range(3) if k != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    matrix[:3, 3] = shift
    return matrix


def save(path, data, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)


def apart(first, second):
    """Largest distance between two transforms in the brain, mm."""
    index = np.argwhere(image_of(Grid(SHAPE, AFFINE)) > 80)[::50]
    points = np.c_[index, np.ones(len(index))] @ AFFINE.T
    return float(np.linalg.norm(((first - second) @ points.T)[:3], axis=0).max())


# parts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)])
def test_reorientation_is_nibabels(axes, flips):
    data = np.random.default_rng(0).random((3, 4, 5))
    affine = np.zeros((4, 4))
    for axis, target in enumerate(axes):
        affine[target, axis] = flips[axis] * (1.0 + axis)
    affine[:, 3] = 3, -7, 11, 1
    expected = nib.as_closest_canonical(nib.Nifti1Image(data, affine))
    grid, target = Grid(data.shape, affine), reoriented(Grid(data.shape, affine))
    assert target.shape == expected.shape
    np.testing.assert_allclose(target.affine, expected.affine)
    moved = voxels(resample(to_itk(data, grid), target, np.eye(4), is_label=False))
    np.testing.assert_allclose(moved, expected.get_fdata(), rtol=1e-6)


def test_new_voxels_fill_the_old_field_of_view():
    grid = Grid((10, 12, 6), np.diag([2.0, 2.0, 4.0, 1.0]))
    for wanted, shape in (((1.0, 1.0, 3.0), (20, 24, 8)), ("isotropic", (10, 12, 12)), ((4.0, 4.0, 4.0), (5, 6, 6))):
        new = respaced(grid, wanted)
        assert new.shape == shape
        for corner in ((0, 0, 0), (1, 1, 1)):
            edges = [(g.affine @ [*(np.array(corner) * g.shape - 0.5), 1])[:3] for g in (grid, new)]
            np.testing.assert_allclose(*edges, atol=1e-9)
    assert respaced(grid, None) is grid


def test_transforms_of_simpleitk_and_matrices_are_one():
    matrix = motion()
    euler = SimpleITK.Euler3DTransform((1.0, 2.0, 3.0), 0.1, -0.2, 0.3, (4.0, 5.0, 6.0))
    np.testing.assert_allclose(to_matrix(to_transform(matrix)), matrix, atol=1e-12)
    point = np.array([10.0, -20.0, 30.0])
    lps = np.array(euler.TransformPoint((point * [-1, -1, 1]).tolist()))
    np.testing.assert_allclose((to_matrix(euler) @ [*point, 1])[:3], lps * [-1, -1, 1], atol=1e-12)


def test_resampling_is_scipys():
    grid, target = (
        Grid(SHAPE, AFFINE),
        Grid((40, 40, 30), np.diag([1.5, 2.0, 2.5, 1.0]) + np.array([[0, 0, 0, -30.0]] * 3 + [[0] * 4])),
    )
    matrix, data = motion(), image_of(Grid(SHAPE, AFFINE))
    whole = np.linalg.inv(AFFINE) @ matrix @ target.affine
    expected = ndimage.affine_transform(data, whole[:3, :3], whole[:3, 3], target.shape, order=1, cval=0.0)
    moved = voxels(resample(to_itk(data, grid), target, matrix, is_label=False))
    inside = ndimage.binary_erosion(expected > 0, iterations=2)
    np.testing.assert_allclose(moved[inside], expected[inside], atol=0.05)


@pytest.mark.parametrize("kind", ["rigid", "affine"])
def test_registration_finds_a_known_motion_between_contrasts(kind):
    # Oracle: the motion that was made. Error below half of a voxel of 3.5 x 3.5 x 5 mm anywhere.
    grid, matrix = Grid(SHAPE, AFFINE), motion()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    fixed, moving = to_itk(image_of(grid), grid), to_itk(image_of(grid, matrix, other=True), grid)
    found = register(fixed, moving, kind)
    expected = np.linalg.inv(matrix)  # the moving image shows at p the head's matrix @ p
    assert apart(found.matrix, expected) < 1.75
    assert found.after > found.before
    np.testing.assert_array_equal(register(fixed, moving, kind).matrix, found.matrix)  # each time the same


def test_images_that_lie_well_stay_where_they_are():
    grid = Grid(SHAPE, AFFINE)
    found = register(to_itk(image_of(grid), grid), to_itk(image_of(grid), grid), "rigid")
    assert apart(found.matrix, np.eye(4)) < 0.1


def test_images_without_content_are_refused():
    grid = Grid(SHAPE, AFFINE)
    with pytest.raises(ImageError, match="expected two images that overlap"):
        register(to_itk(image_of(grid), grid), to_itk(np.zeros(SHAPE, np.float32), grid), "rigid")


def test_n4_takes_out_most_of_a_known_bias(monkeypatch):
    monkeypatch.setattr(bias_field, "N4_ITERATIONS", (50, 20))  # enough for a bias this simple
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = AFFINE[:3, 3]
    grid = Grid((34, 41, 30), affine)
    clean = image_of(grid)
    bias = np.exp(0.5 * np.linspace(-1, 1, 34))[:, None, None].astype(np.float32)
    brain = clean > 80
    corrected = voxels(correct_bias(to_itk(clean * bias, grid), to_itk(brain.astype(np.uint8), grid)))
    left = [np.std(np.log(data[brain] / clean[brain])) for data in (clean * bias, corrected)]
    assert left[1] < 0.6 * left[0]


# the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path):
    """Three patients with two visits; t1 lies elsewhere than flair, the second visit elsewhere than the first."""
    rows, grid = [], Grid(SHAPE, AFFINE)
    for number, patient in enumerate(("P1", "P2", "P3")):
        for visit, moved in (("base", np.eye(4)), ("w24", motion((3, 2, -4), (3, 2, -4)))):
            place = tmp_path / "study" / patient / visit
            noise = np.random.default_rng(number).normal(0, 2, SHAPE).astype(np.float32)
            save(place / "flair.nii.gz", image_of(grid, moved) + noise + 5)
            save(place / "t1.nii.gz", image_of(grid, motion((0, 0, 2), (1, 2, 0)) @ moved, other=True) - noise)
            index = np.stack([*np.indices(SHAPE), np.ones(SHAPE)], axis=-1) @ AFFINE.T @ moved.T
            mask = np.linalg.norm(index[..., :3] - [25, -10, 26], axis=-1) < 9
            save(place / "mask.nii.gz", mask.astype(np.uint8))
            brain = ndimage.binary_fill_holes(image_of(grid, moved) > 80)
            save(place / "brain.nii.gz", brain.astype(np.uint8))
            names = {"flair": "flair", "t1": "t1", "t2_lesions": "mask", "brain_mask": "brain"}
            paths = {column: f"{patient}/{visit}/{name}.nii.gz" for column, name in names.items()}
            rows.append({"patient_id": patient, "visit": visit, "week": 24 * (visit == "w24"), **paths})
    pd.DataFrame(rows).to_csv(tmp_path / "study" / "manifest.csv", index=False)
    return tmp_path / "study" / "manifest.csv"


def convert(manifest, raw, *more):
    arguments = ["--channels", "flair,t1", "--dataset-id", "5", "--raw", str(raw)]
    return main(["trial", str(manifest), *arguments, *more])


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_every_step_at_once_and_masks_return_to_the_grid_they_came_from(study, tmp_path, monkeypatch):
    monkeypatch.setattr(bias_field, "N4_ITERATIONS", (2,))  # what N4 does has its own test
    steps = ("--align", "rigid", "--to-baseline", "--n4", "--apply-brain-mask", "--spacing", "1x1x3")
    pd.read_csv(study).iloc[:3].to_csv(study, index=False)  # both visits of one patient, one of another
    assert convert(study, tmp_path / "raw", *steps, "--folds", "2") == 0
    folder = tmp_path / "raw" / "Dataset005_Trial"
    base, later = (read_volume(folder / "imagesTr" / f"P1_{v}_0000.nii.gz") for v in ("base", "w24"))
    assert base.grid.spacing == pytest.approx((1, 1, 3))
    np.testing.assert_array_equal(base.grid.affine, later.grid.affine)
    brain = (base.data > 0) & (later.data > 0)
    assert np.corrcoef(base.data[brain], later.data[brain])[0, 1] > 0.98
    labels = [read_mask(folder / "labelsTr" / f"P1_{v}.nii.gz").data > 0 for v in ("base", "w24")]
    assert dice(*labels) > 0.7  # one lesion, seen twice, on one grid
    cases = pd.read_csv(folder / "cases.csv").set_index("case_id")
    assert cases.loc["P1_w24", "steps"] == "brain_mask n4 align_rigid to_baseline reorient resample"
    record = json.loads((folder / "provenance" / "P1_w24.json").read_text())
    assert record["baseline"] == "P1_base"
    assert apart(np.array(record["target_to_source"]), np.linalg.inv(motion((3, 2, -4), (3, 2, -4)))) < 1.75
    assert main(["back", str(folder), str(folder / "labelsTr"), "-o", str(tmp_path / "back")]) == 0
    for visit in ("base", "w24"):
        returned = read_mask(tmp_path / "back" / "P1" / visit / f"P1_{visit}_nnunetms.nii.gz")
        original = read_mask(study.parent / "P1" / visit / "mask.nii.gz")
        np.testing.assert_array_equal(returned.grid.affine, original.grid.affine)
        assert dice(returned.data > 0, original.data > 0) > 0.8


def test_reorientation_alone_moves_voxels_and_changes_none(study, tmp_path):
    flipped = AFFINE.copy()
    flipped[0] *= -1
    for path in study.parent.rglob("*.nii.gz"):
        save(path, np.asanyarray(nib.load(path).dataobj), flipped)
    assert convert(study, tmp_path / "raw", "--reorient") == 0
    folder = tmp_path / "raw" / "Dataset005_Trial"
    for source, written in (("flair", "imagesTr/P1_base_0000"), ("mask", "labelsTr/P1_base")):
        expected = nib.as_closest_canonical(nib.load(study.parent / "P1" / "base" / f"{source}.nii.gz"))
        found = nib.load(folder / f"{written}.nii.gz")
        np.testing.assert_allclose(found.affine, expected.affine)
        np.testing.assert_allclose(found.get_fdata(), expected.get_fdata(), rtol=1e-6)
    assert main(["back", str(folder), str(folder / "labelsTr"), "-o", str(tmp_path / "back")]) == 0
    returned = read_mask(tmp_path / "back" / "P1" / "base" / "P1_base_nnunetms.nii.gz")
    original = read_mask(study.parent / "P1" / "base" / "mask.nii.gz")
    np.testing.assert_array_equal(returned.data, original.data)
    np.testing.assert_allclose(returned.grid.affine, original.grid.affine)


def test_without_steps_nothing_is_recorded_and_files_are_copied(study, tmp_path):
    assert convert(study, tmp_path / "raw") == 0
    folder = tmp_path / "raw" / "Dataset005_Trial"
    assert not (folder / "provenance").exists()
    assert "steps" not in pd.read_csv(folder / "cases.csv")


def test_a_visit_that_cannot_be_registered_is_left_out_and_listed(study, tmp_path, capsys):
    far = np.zeros(SHAPE, np.float32)
    far[0, 0, 0], far[1, 0, 0] = 1, 2
    pd.read_csv(study).iloc[1:4].to_csv(study, index=False)
    save(study.parent / "P2" / "w24" / "t1.nii.gz", far, np.diag([2.0, 2.0, 4.0, 1.0]) + np.eye(4, k=3) * 5000)
    assert convert(study, tmp_path / "raw", "--align", "rigid", "--folds", "2") == 1
    assert "case P2_w24: " in capsys.readouterr().err
    assert len(list((tmp_path / "raw" / "Dataset005_Trial" / "labelsTr").iterdir())) == 2
    assert "P2_w24" not in (tmp_path / "raw" / "Dataset005_Trial" / "cases.csv").read_text()


def test_brain_mask_that_is_missing_is_listed_before_anything_is_written(study, tmp_path, capsys):
    frame = pd.read_csv(study)
    frame.loc[0, "brain_mask"] = None
    frame.to_csv(study, index=False)
    assert convert(study, tmp_path / "raw", "--apply-brain-mask") == 1
    assert "case P1_base: P1_base: --apply-brain-mask: expected a brain mask, found none" in capsys.readouterr().err


def test_hd_bet_is_called_as_its_version_2_asks(study, tmp_path, monkeypatch):
    # a stand-in for the command: reads -i, writes the mask beside -o, as hd-bet 2 does with --save_bet_mask
    command = tmp_path / "bin" / "hd-bet"
    command.parent.mkdir()
    command.write_text(
        f"#!{sys.executable}\n"
        "import sys, nibabel as nib, numpy as np\n"
        "a = sys.argv[1:]\n"
        "assert '--save_bet_mask' in a and '--no_bet_image' in a and a[a.index('-device') + 1] == 'cpu'\n"
        "image = nib.load(a[a.index('-i') + 1])\n"
        "mask = (image.get_fdata() > 100).astype('uint8')\n"
        "nib.save(nib.Nifti1Image(mask, image.affine), a[a.index('-o') + 1].replace('.nii.gz', '_bet.nii.gz'))\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    assert convert(study, tmp_path / "raw", "--hd-bet") == 0
    written = read_volume(tmp_path / "raw" / "Dataset005_Trial" / "imagesTr" / "P1_base_0000.nii.gz")
    source = read_volume(study.parent / "P1" / "base" / "flair.nii.gz")
    np.testing.assert_allclose(written.data, np.where(source.data > 100, source.data, 0))
    command.write_text("#!/bin/sh\necho out of memory >&2\nexit 3\n")
    assert convert(study, tmp_path / "other", "--hd-bet") == 2
    assert not (tmp_path / "other").exists()


def test_hd_bet_that_is_not_installed(study, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert convert(study, tmp_path / "raw", "--hd-bet") == 2
    assert "expected the command hd-bet (version 2), found none" in capsys.readouterr().err


def test_steps_that_exclude_each_other(study, tmp_path, capsys):
    assert convert(study, tmp_path / "raw", "--hd-bet", "--apply-brain-mask") == 2
    assert "expected one brain mask, found two" in capsys.readouterr().err
    longitudinal = ["open_ms_longitudinal", str(study.parent), "--dataset-id", "5", "--raw", str(tmp_path / "raw")]
    assert main([*longitudinal, "--n4"]) == 2
    assert "expected no preparation" in capsys.readouterr().err


def test_visits_of_a_real_patient_lie_as_by_the_publishers_own_transforms(shared_data):
    # Oracle: the transforms that came with the data (Lesjak et al. 2016), which moved the head by 10 mm here.
    folder = shared_data / "open_ms_longitudinal" / "patient01"
    first, second = (read_volume(folder / f"study{k}_FLAIR.nii.gz") for k in (1, 2))
    to_common = [
        to_matrix(SimpleITK.ReadTransform(str(folder / f"study{k}_FLAIR_to_common_space.txt"))) for k in (1, 2)
    ]
    images = [to_itk(volume.data.astype(np.float32), volume.grid) for volume in (first, second)]
    found = register(*images, "rigid")
    index = np.argwhere(first.data > 100)[::5000]
    points = np.c_[index, np.ones(len(index))] @ first.grid.affine.T
    distance = np.linalg.norm(((to_common[1] @ np.linalg.inv(to_common[0]) - found.matrix) @ points.T)[:3], axis=0)
    assert distance.mean() < 0.7  # a voxel is 0.72 x 0.72 x 4 mm
