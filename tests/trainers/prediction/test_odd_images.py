"""Images with odd headers and names are predicted as the plain ones, and mask and table of a run lie at one place."""

import os
import unicodedata

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.images.volumes import read_grid, same_grid
from nnunet_ms.trainers.prediction.image_cases import find_image_cases
from nnunet_ms.trainers.prediction.model import read_model
from nnunet_ms.trainers.prediction.open_model import open_model
from nnunet_ms.trainers.prediction.predict import predict
from tests.images.odd_headers import ACCEPTED
from tests.trainers.tiny_model import SHAPE, write_images

KINDS = (
    "sform alone",  # the plain one, to which the others are compared
    "NIfTI-2",
    "codes 0",
    "shear 0.0002",
    "tilted 0.05",
    "tilted 0.05, qform alone",
    "pixdim .8 % off",
    "micrometres",
    "sform .09 mm beside qform",
    "4-D with one volume",
    "suffix .NII.GZ",
    "not packed, called .nii.gz",
    "packed, called .nii",
)


@pytest.fixture(scope="module")
def predicted(model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    (folder / "images").mkdir()
    channels = [np.random.default_rng(k).normal(100, 20, SHAPE).astype(np.float32) for k in range(3)]
    for number, kind in enumerate(KINDS):
        for channel, data in enumerate(channels):
            ACCEPTED[kind](folder / "images", f"c{number:02d}_{channel:04d}", data)
    (folder / "images" / "._c00_0000.nii.gz").write_bytes(b"\0\5\x16\7")  # what a Mac leaves on other disks
    model = open_model(model_folder, "0", device="cpu")
    done = predict(folder / "images", folder / "out", model=model, mc_samples=0, pictures=False)
    return folder, done


def test_all_of_them_are_predicted_and_hidden_files_are_none(predicted):
    _, done = predicted
    assert done.failures == []
    assert done.cases["case_id"].nunique() == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_mask_and_lesions_lie_where_the_image_lies(predicted, kind):
    # Oracle: centres of mass by SciPy with the affine that nibabel reads from the mask file.
    folder, done = predicted
    case = f"c{KINDS.index(kind):02d}"
    image = nib.load(folder / "out" / f"{case}.nii.gz")
    source = next((folder / "images").glob(f"{case}_0000*"))
    assert same_grid(read_grid(source), read_grid(folder / "out" / f"{case}.nii.gz"))
    assert same_grid(read_grid(source), read_grid(folder / "out" / "probability" / f"{case}.nii.gz"))
    mask = np.asarray(image.dataobj)
    found, number = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = ndimage.sum_labels(mask, found, range(1, number + 1))
    centres = np.array(ndimage.center_of_mass(mask, found, np.flatnonzero(sizes >= 3) + 1))
    expected = nib.affines.apply_affine(image.affine, centres)
    rows = done.lesions[done.lesions["case_id"] == case][["x_mm", "y_mm", "z_mm"]].to_numpy()
    assert len(rows) == len(expected) > 0
    distance = np.linalg.norm(rows[:, None] - expected[None], axis=2)
    assert distance.min(axis=1).max() < 0.15  # a tenth of the thickest edge


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_same_voxels_give_the_same_mask(predicted, kind):
    folder, _ = predicted
    plain, odd = (
        np.asarray(nib.load(folder / "out" / f"c{KINDS.index(k):02d}.nii.gz").dataobj) for k in (KINDS[0], kind)
    )
    assert np.mean(plain != odd) < 1e-3  # spacings that differ in the eighth digit are resampled


def test_names_in_two_forms_are_one_and_other_bytes_are_named(model_folder, tmp_path):
    images = write_images(tmp_path / "images", ("Müller", "good"))
    for path in sorted(images.glob("M*_0001.nii.gz")):
        path.rename(images / unicodedata.normalize("NFD", path.name))
    for channel in range(3):
        source = images / f"good_{channel:04d}.nii.gz"
        os.link(os.fsencode(source), os.fsencode(images) + b"/M\xfcller_%04d.nii.gz" % channel)
    cases, failures = find_image_cases(images, read_model(model_folder, ("0",)))
    assert [case.case_id for case in cases] == ["Müller", "good"]
    assert [failure.case for failure in failures] == [r"M\udcfcller"]
    assert "expected file names in UTF-8" in failures[0].reason


def test_a_channel_twice_is_named(model_folder, tmp_path):
    images = write_images(tmp_path / "images", ("a", "b"))
    os.link(images / "a_0001.nii.gz", images / "a_0001.NII.GZ")
    cases, failures = find_image_cases(images, read_model(model_folder, ("0",)))
    assert [case.case_id for case in cases] == ["b"]
    assert "found 0000, 0001, 0001, 0002. Add or remove files" in failures[0].reason
