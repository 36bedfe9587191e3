"""Oracle: nnU-Net's own preprocessing of the files."""

import nibabel as nib
import numpy as np
import pytest
import torch

from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.trainers.prediction.given_channels import given_channels, prepare_channels
from nnunet_ms.trainers.prediction.model import read_model

NAMES = ("t1", "flair", "t2")


@pytest.fixture(scope="module")
def files(image_folder):
    return {name: image_folder / f"a_1_{number:04d}.nii.gz" for number, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def model(model_folder):
    return read_model(model_folder, ("0",))


def test_names_and_order_are_the_same_images(files):
    by_name = given_channels(dict(reversed(list(files.items()))), NAMES)
    in_order = given_channels([str(path) for path in files.values()], NAMES)
    assert by_name.files == in_order.files == tuple(files.values())
    assert all(np.array_equal(a.data, b.data) for a, b in zip(by_name.volumes, in_order.volumes, strict=True))


def test_one_channel_needs_no_name(files):
    assert given_channels(files["flair"], ("flair",)).files == (files["flair"],)
    assert given_channels(nib.load(files["flair"]), ("flair",)).files == ()
    data = np.asarray(nib.load(files["flair"]).dataobj)
    (volume,) = given_channels(data, ("flair",), spacing=(1, 1, 3)).volumes
    assert volume.data is data


def test_images_in_memory_are_prepared_as_files_are(files, model):
    expected, properties = prepare_channels(given_channels(files, NAMES), model)
    images = {name: nib.load(path) for name, path in files.items()}
    found, made = prepare_channels(given_channels(images, NAMES), model)
    assert torch.allclose(found, expected, atol=1e-5)
    assert made["bbox_used_for_cropping"] == properties["bbox_used_for_cropping"]
    assert made["spacing"] == pytest.approx(properties["spacing"])
    for name, value in properties["sitk_stuff"].items():
        assert made["sitk_stuff"][name] == pytest.approx(value), name


def arrays(files, **changed):
    return {**{name: np.asarray(nib.load(path).dataobj) for name, path in files.items()}, **changed}


@pytest.mark.parametrize(
    ("change", "geometry", "error", "message"),
    [
        (
            lambda a: a.pop("t2"),
            {},
            ImageError,
            r"expected the channels \['t1', 'flair', 't2'\], found \['t1', 'flair'\]",
        ),
        (lambda a: a.update(T1=a.pop("t1")), {}, ImageError, r"found \['flair', 't2', 'T1'\]\. Is 'T1' 't1'\?"),
        (lambda a: a.update(extra=a["t1"]), {}, ImageError, r"found \['t1', .*'extra'\]\. Name each of them"),
        (lambda a: a.update(t2=a["t2"][1:]), {}, ImageError, r"t2: expected the grid of t1 \(shape \(20, 26, 11\)"),
        (
            lambda a: a.update(t2=a["t1"]),
            {},
            ImageError,
            "t2: expected another sequence than t1, found the same voxels",
        ),
        (lambda a: a.update(dict.fromkeys(a, a["t1"] * 0)), {}, ImageError, "expected intensities, found 0 in every"),
        (lambda _: None, {"spacing": None}, SettingsError, "t1: an array needs spacing or affine, found neither"),
    ],
)
def test_channels_that_do_not_fit_are_refused(files, change, geometry, error, message):
    given = arrays(files)
    change(given)
    with pytest.raises(error, match=message):
        given_channels(given, NAMES, **{"spacing": (1, 1, 3), **geometry})


def test_other_refusals(files):
    with pytest.raises(ImageError, match="expected 3 images, of the channels t1, flair, t2, found 2"):
        given_channels(list(files.values())[:2], NAMES)
    with pytest.raises(ImageError, match="expected 3 images, of the channels t1, flair, t2, found 1"):
        given_channels(files["t1"], NAMES)
    with pytest.raises(ImageError, match=r"channels \['mri', 'mri'\] have no names of their own"):
        given_channels({"mri": files["t1"]}, ("mri", "mri"))
    with pytest.raises(SettingsError, match="affine, spacing: expected neither"):
        given_channels(files, NAMES, spacing=(1, 1, 3))
    moved = nib.Nifti1Image(np.asarray(nib.load(files["t2"]).dataobj), np.eye(4))
    with pytest.raises(ImageError, match=r"t2: expected the grid of .*a_1_0000\.nii\.gz"):
        given_channels({**files, "t2": moved}, NAMES)
