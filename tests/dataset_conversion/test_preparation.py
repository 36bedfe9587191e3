"""Preparation of images, each step against something that is not the code: nibabel, SciPy, known transforms."""

import json
import os
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK
from scipy import ndimage

from nnunet_ms.dataset_conversion import preparation
from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.preparation import Steps, write_preprocessed
from nnunet_ms.images import bias_field
from nnunet_ms.images.itk import resample, to_itk, to_matrix, voxels
from nnunet_ms.images.registration import register
from nnunet_ms.images.resample import smoothed
from nnunet_ms.images.volumes import Grid, read_mask, read_volume
from tests.images.moving_head import AFFINE, SHAPE, apart, image_of, motion


def save(path, data, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)


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
    arguments = ["--channels", "flair,t1", "--dataset-id", "5", "--raw", str(raw), "--accept", "mask_contrast"]
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
    assert json.loads((folder / "dataset.json").read_text())["spacing"] == [1, 1, 3]
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


PERIODS = (2, 4, 8, 16)  # voxels of a wave


def waves():
    """Waves along x, one beside the other, each with the mean 100 and the amplitude 50; voxels of 1 mm."""
    rows = [100 + 50 * np.cos(2 * np.pi * np.arange(96) / period) for period in PERIODS for _ in range(8)]
    return np.repeat(np.array(rows).T[:, :, None], 8, axis=2).astype(np.float32)


def test_what_is_finer_than_the_new_voxels_is_blurred_and_not_sampled(tmp_path):
    # Oracle: a Gaussian of FWHM sqrt(new^2 - old^2) lets through exp(-2 (pi sigma / period)^2) of a wave. Without it
    # the samples, three voxels apart, would show the finest waves in full, as coarser ones that are not there.
    save(tmp_path / "flair.nii.gz", waves(), np.eye(4))
    case = Case("P1", "base", None, {"flair": tmp_path / "flair.nii.gz"}, None)
    targets, rest = {"flair": tmp_path / "out.nii.gz"}, (tmp_path / "label.nii.gz", tmp_path / "record.json")
    write_preprocessed(case, targets, *rest, Steps(spacing=(3.0, 1.0, 1.0)), None)
    found = read_volume(tmp_path / "out.nii.gz")
    assert found.grid.spacing == pytest.approx((3, 1, 1))
    inside = found.data[6:-6, 4::8, 4] - 100  # far from the ends, one line per wave
    sigma = np.sqrt(3**2 - 1) / (2 * np.sqrt(2 * np.log(2)))
    expected = 50 * np.exp(-2 * (np.pi * sigma / np.array(PERIODS)) ** 2)
    np.testing.assert_allclose(np.abs(inside).max(axis=0), expected, rtol=0.05, atol=0.5)


def _ball(noise: float):
    """A brain without skull, or with noise around it, one hole of 0 inside; 1 x 1 x 1 mm."""
    rng = np.random.default_rng(0)
    axes = np.stack(np.meshgrid(*(np.arange(n) for n in (40, 44, 36)), indexing="ij"))
    brain = ((axes - np.array([20, 22, 18])[:, None, None, None]) ** 2).sum(0) < 13**2
    data = np.where(brain, rng.normal(500, 40, brain.shape), rng.uniform(1, 2, brain.shape) * noise).astype(np.float32)
    data[20, 22, 18] = 0
    return data, Grid(data.shape, np.eye(4)), brain


@pytest.mark.parametrize("spacing", [(1, 1, 3), (2, 2, 2), (1, 4, 1), (0.7, 0.7, 0.7), (1, 1, 1)])
@pytest.mark.parametrize("angle", [0.0, 0.2])
def test_what_is_0_around_a_brain_stays_0(spacing, angle):
    # Oracle: nearest neighbours by scipy: whatever the kernel, the brain ends where its voxels end
    data, grid, brain = _ball(noise=0)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    target = Grid(tuple(int(n / s) for n, s in zip(brain.shape, spacing, strict=True)), np.diag([*spacing, 1.0]))
    moved = voxels(preparation.moved_onto(to_itk(data, grid), grid, target, turn, is_label=False))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in target.shape), indexing="ij"), -1) @ target.affine[:3, :3]
    places = np.moveaxis(index @ turn[:3, :3].T, -1, 0)
    expected = ndimage.map_coordinates(brain.astype(np.uint8), places, order=0, mode="constant").astype(bool)
    assert ((moved != 0) != expected).mean() < 0.002  # places half-way between two voxels


def test_noise_around_a_head_is_resampled_as_before():
    data, grid, _ = _ball(noise=1)
    target = Grid((40, 44, 12), np.diag([1.0, 1.0, 3.0, 1.0]))
    image = to_itk(data, grid)
    moved = preparation.moved_onto(image, grid, target, np.eye(4), is_label=False)
    plain = resample(smoothed(image, grid, target), target, np.eye(4), is_label=False)
    np.testing.assert_array_equal(voxels(moved), voxels(plain))


def test_reorientation_alone_moves_voxels_and_changes_none(study, tmp_path):
    flipped = AFFINE.copy()
    flipped[0] *= -1
    for path in study.parent.rglob("*.nii.gz"):
        save(path, np.asanyarray(nib.load(path).dataobj), flipped)
    assert convert(study, tmp_path / "raw", "--reorient") == 0
    folder = tmp_path / "raw" / "Dataset005_Trial"
    assert json.loads((folder / "dataset.json").read_text())["axes"] == "RAS"
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
    folder = next((tmp_path / "raw").iterdir())  # the others are there
    written = set(pd.read_csv(folder / "cases.csv")["case_id"])
    assert written == {f"{row.patient_id}_{row.visit}" for row in frame.itertuples()} - {"P1_base"}


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


AT_T1 = motion((0, 0, 2), (1, 2, 0))  # how T1 lies in `study`


def pose_mask(image):
    """Mask of the made-up head as it lies in an image of its first visit."""
    there = AT_T1 if image == "t1" else np.eye(4)
    return ndimage.binary_fill_holes(image_of(Grid(SHAPE, AFFINE), there) > 80).astype(np.uint8)


@pytest.mark.parametrize(
    ("channels", "source", "more"),
    [
        pytest.param("flair,t1", "t1", ("--align", "rigid"), marks=pytest.mark.slow),
        ("t1,flair", "t1", ()),
        ("flair,t1", "t1", ()),
        ("flair", "flair", ()),
    ],
)
def test_deepbets_mask_is_of_t1_where_there_is_one_and_moves_with_it(
    study, tmp_path, monkeypatch, channels, source, more
):
    pd.read_csv(study).iloc[[0, 2]].to_csv(study, index=False)  # the first visits of two patients
    seen = []
    monkeypatch.setattr(
        preparation, "deepbet_mask", lambda data, grid, path: seen.append(path.name) or pose_mask(path.name[:-7])
    )
    asked = ["--channels", channels, "--brain", "deepbet", "--folds", "2", *more]
    assert convert(study, tmp_path / "raw", *asked) == 0
    assert seen == [f"{source}.nii.gz"] * 2
    folder = tmp_path / "raw" / "Dataset005_Trial"
    record = json.loads((folder / "provenance" / "P1_base.json").read_text())
    assert record["steps"][0] | {"voxels": 0} == {"step": "deepbet", "channel": source, "voxels": 0}
    assert pd.read_csv(folder / "cases.csv")["steps"][0].startswith("deepbet brain_mask")
    kept = read_volume(folder / "imagesTr" / "P1_base_0000.nii.gz").data != 0
    # with --align the mask lies as the first channel's head does; without, both are taken to lie alike
    assert dice(kept, pose_mask("flair" if more else source) > 0) > (0.96 if more else 0.999)


def test_deepbet_needs_a_contrast_that_it_was_measured_on(study, tmp_path, capsys):
    frame = pd.read_csv(study).rename(columns={"t1": "t2"})
    frame.to_csv(study, index=False)
    assert convert(study, tmp_path / "raw", "--channels", "t2", "--brain", "deepbet") == 2
    assert "--brain deepbet: expected channel t1 or flair, found t2." in capsys.readouterr().err
    assert convert(study, tmp_path / "raw", "--brain", "deepbet", "--apply-brain-mask") == 2
    assert "--apply-brain-mask and --brain deepbet: expected one brain mask, found two" in capsys.readouterr().err


def test_steps_that_exclude_each_other(study, tmp_path, capsys):
    assert convert(study, tmp_path / "raw", "--hd-bet", "--apply-brain-mask") == 2
    assert "expected one brain mask, found two" in capsys.readouterr().err


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
