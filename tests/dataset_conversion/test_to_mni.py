"""Images in the template's space. Oracles: the motions that were made, SciPy's resampling, a round trip of masks."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from nnunet_ms.dataset_conversion import preparation
from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.dataset_conversion.checks.check import CheckedCase
from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.preparation import Steps, baselines_of, write_preprocessed
from nnunet_ms.dataset_conversion.told import _first_visits
from nnunet_ms.errors import ImageError
from nnunet_ms.images import template as template_module
from nnunet_ms.images.itk import simpleitk_threads
from nnunet_ms.images.template import Template
from nnunet_ms.images.volumes import Grid, read_mask, read_volume
from tests.images.moving_head import AFFINE, SHAPE, apart, image_of, motion

MNI = Grid((49, 58, 47), np.array([[4.0, 0, 0, -98], [0, 4, 0, -134], [0, 0, 4, -72], [0, 0, 0, 1]]))
TO_MNI = {"base": motion((8, -4, 5), (12, -9, 15)), "w24": motion((3, 6, -7), (-6, 5, 22))}  # scanner -> MNI
CENTRE = (20, -15, 20)  # of a lesion, in MNI space


def save(path, data, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)


@pytest.fixture
def small_template(monkeypatch):
    """The MNI152 brain at 4 mm: registration in a second."""
    data = image_of(MNI)
    near = ndimage.binary_dilation(data > 80, iterations=2)
    small = Template(data, near.astype(np.uint8), MNI, "MNI152 at 4 mm")
    for module in (preparation, template_module):
        monkeypatch.setattr(module, "mni152", lambda: small)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two patients of two visits; every visit lies elsewhere, one lesion stays at one place in MNI space."""
    rows, folder, generator = [], tmp_path_factory.mktemp("to_mni") / "study", np.random.default_rng(12)
    for patient, visits in {"P1": ("base", "w24"), "P2": ("base",)}.items():
        for visit in visits:
            matrix = TO_MNI[visit]
            place, grid = folder / patient / visit, Grid(SHAPE, AFFINE)
            noise = generator.normal(0, 2, SHAPE).astype(np.float32)
            save(place / "flair.nii.gz", image_of(grid, matrix, other=True) + noise)
            index = np.stack([*np.indices(SHAPE), np.ones(SHAPE)], axis=-1) @ (matrix @ AFFINE).T
            mask = np.linalg.norm(index[..., :3] - CENTRE, axis=-1) < 11
            save(place / "mask.nii.gz", mask.astype(np.uint8))
            names = {"flair": "flair", "t2_lesions": "mask"}
            paths = {column: f"{patient}/{visit}/{name}.nii.gz" for column, name in names.items()}
            rows.append({"patient_id": patient, "visit": visit, "week": 24 * (visit == "w24"), **paths})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@pytest.mark.usefixtures("small_template")
def test_visits_meet_in_template_space_and_masks_come_back(study, tmp_path):
    options = ["--channels", "flair", "--dataset-id", "5", "--raw", str(tmp_path / "raw"), "--folds", "2"]
    assert main(["trial", str(study), *options, "--accept", "mask_contrast", "--to-mni"]) == 0
    folder = tmp_path / "raw" / "Dataset005_Trial"
    for visit, matrix in TO_MNI.items():
        image = read_volume(folder / "imagesTr" / f"P1_{visit}_0000.nii.gz")
        np.testing.assert_array_equal(image.grid.affine, MNI.affine)
        assert image.data.shape == MNI.shape
        record = json.loads((folder / "provenance" / f"P1_{visit}.json").read_text())
        # Oracle: the motion that was made; half of a voxel of 4 mm
        assert apart(np.array(record["target_to_source"]), np.linalg.inv(matrix)) < 2
        label = read_mask(folder / "labelsTr" / f"P1_{visit}.nii.gz").data > 0
        assert np.linalg.norm(MNI.to_world(np.argwhere(label)).mean(axis=0) - CENTRE) < 2.5
        step = record["steps"][-1]
        assert (step["step"], step["template"], step["visit"]) == ("to_mni", "MNI152 at 4 mm", "P1_base")
    cases = pd.read_csv(folder / "cases.csv").set_index("case_id")["steps"]
    assert (cases["P1_base"], cases["P1_w24"]) == ("baseline to_mni", "to_baseline to_mni")
    assert main(["back", str(folder), str(folder / "labelsTr"), "-o", str(tmp_path / "back")]) == 0
    for visit in TO_MNI:
        returned = read_mask(tmp_path / "back" / "P1" / visit / f"P1_{visit}_nnunetms.nii.gz")
        original = read_mask(study.parent / "P1" / visit / "mask.nii.gz")
        np.testing.assert_array_equal(returned.grid.affine, original.grid.affine)
        assert dice(returned.data > 0, original.data > 0) > 0.75  # a ball of three voxels' radius, twice to the nearest


@pytest.fixture
def later(study):
    """The later visit of a patient, and its first one."""
    return [
        Case("P1", visit, week, {"flair": study.parent / "P1" / visit / "flair.nii.gz"}, None)
        for visit, week in (("w24", 24.0), ("base", 0.0))
    ]


def written(case, baseline, folder, **steps):
    folder.mkdir(parents=True, exist_ok=True)
    targets = {"flair": folder / "flair.nii.gz"}
    rest = (folder / "label.nii.gz", folder / "record.json")
    write_preprocessed(case, targets, *rest, Steps(to_mni=True, **steps), baseline)
    return read_volume(targets["flair"]), json.loads(rest[1].read_text())


@pytest.mark.usefixtures("small_template")
def test_the_transforms_are_joined_and_the_image_is_resampled_once(later, tmp_path):
    # Oracle: SciPy's linear interpolation of the original voxels through the two matrices of the record, multiplied.
    image, record = written(*later, tmp_path / "out")
    through, onto = record["steps"]
    assert [through["step"], onto["step"]] == ["to_baseline", "to_mni"]
    joined = np.array(through["matrix"]) @ np.array(onto["matrix"])
    np.testing.assert_allclose(record["target_to_source"], joined, atol=1e-12)
    source = read_volume(later[0].images["flair"])
    whole = np.linalg.inv(source.grid.affine) @ joined @ MNI.affine
    data = source.data.astype(np.float64)  # 3.5 to 4 mm: no blur
    expected = ndimage.affine_transform(data, whole[:3, :3], whole[:3, 3], MNI.shape, order=1)
    inside = expected > 200
    np.testing.assert_allclose(image.data[inside], expected[inside], atol=0.05 * 800)
    assert np.corrcoef(image.data[inside], expected[inside])[0, 1] > 0.9999


@pytest.mark.usefixtures("small_template")
@pytest.mark.parametrize(
    ("steps", "spacing"), [({}, (4, 4, 4)), ({"spacing": (5.0, 5.0, 5.0)}, (5, 5, 5)), ({"reorient": True}, (4, 4, 4))]
)
def test_the_template_gives_the_grid_and_other_steps_start_from_it(later, tmp_path, steps, spacing):
    image, record = written(later[1], None, tmp_path / "out", **steps)
    assert image.grid.spacing == pytest.approx(spacing)
    corners = [grid.to_world(np.array([[-0.5, -0.5, -0.5]])) for grid in (image.grid, MNI)]
    np.testing.assert_allclose(*corners)  # the same outer edge
    assert record["grid"]["shape"] == list(image.data.shape)


@pytest.mark.usefixtures("small_template")
def test_every_visit_finds_the_same_way_from_the_first_to_the_template(later):
    own = preparation._from_mni(later[1], [])
    preparation._mni_registration.cache_clear()  # another process, and with more threads
    with simpleitk_threads(2):
        assert np.array_equal(preparation._from_mni(later[1], []), own)


@pytest.mark.parametrize(
    ("visits", "first"),
    [
        (["m12", "m3", "m6"], "m3"),
        (["v10", "v9"], "v9"),
        (["12 months", "baseline"], "baseline"),
        (["follow-up", "Screening", "end"], "Screening"),
        (["w104", "w24", "w48"], "w24"),
    ],
)
@pytest.mark.parametrize("step", ["to_mni", "to_baseline"])
def test_without_weeks_the_first_visit_is_the_first_by_its_name_and_its_numbers(visits, first, step):
    checked = [CheckedCase(Case("P1", visit, None, {}, None), (), recoded=False, bytes=0) for visit in visits]
    steps = Steps(**{step: True})
    found = baselines_of(checked, steps)
    assert {case.visit for case in found.values()} == {first}
    assert len(found) == len(visits) - 1
    (note,) = _first_visits(checked, steps)
    assert "by the order of the visits' names, because no week is known" in note
    assert (
        _first_visits([replace(one, case=replace(one.case, week=4.0 * k)) for k, one in enumerate(checked)], steps)
        == []
    )


def test_later_visits_go_through_the_first(later):
    class Checked:
        def __init__(self, case):
            self.case = case

    visits = [Checked(case) for case in later]
    assert baselines_of(visits, Steps(to_mni=True)) == {"P1_w24": later[1]}
    assert baselines_of(visits, Steps()) == {}


@pytest.mark.usefixtures("small_template")
def test_an_image_without_a_head_is_refused(tmp_path):
    save(tmp_path / "flair.nii.gz", np.zeros(SHAPE, np.float32))
    empty = Case("P1", "base", 0.0, {"flair": tmp_path / "flair.nii.gz"}, None)
    with pytest.raises(ImageError, match=r"flair\.nii\.gz: registration to the template: expected"):
        written(empty, None, tmp_path / "out")


@pytest.mark.usefixtures("small_template")
def test_a_mask_beside_the_template_is_not_lost_in_silence(tmp_path):
    path = tmp_path / "mask.nii.gz"
    mask = np.zeros(SHAPE, np.uint8)
    mask[:2, :2, :2] = 1
    far = AFFINE.copy()
    far[:3, 3] -= 60
    save(path, mask, far)
    with pytest.raises(ImageError, match=r"mask\.nii\.gz: expected lesions inside .* found 8 of 8 voxels beside it"):
        preparation._check_inside(read_mask(path), MNI, np.linalg.inv(TO_MNI["base"]))
