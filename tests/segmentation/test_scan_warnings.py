"""Warnings about scans, on brains made of the MNI152 template's tissues, and on the ten patients with real scans.

What the made brains show is set here: levels of the tissues by sequence, slices, what is cut away. The limits come from
the real scans, of which each right and each wrong use is tried.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.errors import ImageError, OptionError
from nnunet_ms.images.template import mni152_tissues
from nnunet_ms.segmentation.scan_warnings import WARNINGS, check_scan
from nnunet_ms.trainers.training_range import SequenceRange, TrainingRange

# white matter, grey matter, fluid
LEVELS = {"flair": (90, 100, 25), "t1": (100, 78, 30), "t2": (55, 65, 200), "t1post": (100, 84, 40)}
SEEN = SequenceRange(
    8, ((1.0, 1.2), (2.0, 2.0)), (0.8, 2.0), ((150, 190), (170, 240), (190, 240)), None, None, (), "all"
)
RANGE = TrainingRange(dict.fromkeys(("flair", "t1", "t2"), SEEN), (1.0, 7.0))


def drawn(sequence: str) -> np.ndarray:
    """A brain of one sequence on the template's grid of 2 mm, 0 outside."""
    tissues, (white, grey, fluid) = mni152_tissues(), LEVELS[sequence]
    rest = np.clip(1 - tissues.white - tissues.grey, 0, 1)
    data = white * tissues.white + grey * tissues.grey + fluid * rest
    data += np.random.default_rng(3).normal(0, 4, data.shape)
    if sequence == "t1post":  # a vein of Galen
        y, z = (
            tissues.grid.to_world(np.indices(data.shape).reshape(3, -1).T)[:, k].reshape(data.shape) for k in (1, 2)
        )
        x = tissues.grid.to_world(np.indices(data.shape).reshape(3, -1).T)[:, 0].reshape(data.shape)
        data[(np.abs(x) < 4) & (np.abs(y + 45) < 8) & (np.abs(z - 14) < 8)] = 190
    return np.where(tissues.brain, np.maximum(data, 1), 0).astype(np.float32)


def with_skull(data: np.ndarray) -> np.ndarray:
    brain = data > 0
    skull, scalp = (ndimage.binary_dilation(brain, iterations=n) for n in (4, 8))
    return np.where(brain, data, np.where(skull, 4, np.where(scalp, 230, 0))).astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Files of made brains: `<sequence>.nii.gz`, and what is wrong with a FLAIR."""
    folder, affine = tmp_path_factory.mktemp("scans"), mni152_tissues().grid.affine
    brains = {name: drawn(name) for name in LEVELS}
    flair = brains["flair"]
    brain = (flair > 0).astype(np.uint8)
    half, slab = flair.copy(), flair.copy()
    half[: flair.shape[0] // 2] = 0
    slab[:, :, :40], slab[:, :, 62:] = 0, 0
    axes = np.indices(flair.shape) - (np.array(flair.shape) // 2).reshape(3, 1, 1, 1)
    knee = ((np.abs(axes[0]) - 20) ** 2 + axes[1] ** 2 < 16**2) & (np.abs(axes[2]) < 30)  # both of them
    tube = ((axes[0] / 32) ** 2 + (axes[1] / 40) ** 2 < 1) & (np.abs(axes[2]) < 34)
    box = (np.abs(axes) < np.array([28, 36, 30]).reshape(3, 1, 1, 1)).all(0)
    noise = 60 + np.random.default_rng(0).normal(0, 10, flair.shape)
    files = brains | {name: np.where(mask, noise, 0) for name, mask in (("knee", knee), ("tube", tube), ("box", box))}
    files |= {"half": half, "slab": slab, "upside_down": flair[:, :, ::-1], "backwards": flair[:, ::-1]}
    files |= {"cut": flair[:, :, :55], "head": with_skull(flair), "t1_head": with_skull(brains["t1"])}
    files |= {f"brain_{n}": ndimage.binary_dilation(brain, iterations=n).astype(np.uint8) for n in (3, 8)}
    files |= {"brain": brain, "empty": 0 * brain}
    for name, data in files.items():
        kind = np.uint8 if name.startswith(("brain", "empty")) else np.float32
        nib.save(nib.Nifti1Image(data.astype(kind), affine), folder / f"{name}.nii.gz")
    for mm in (4, 6, 8):  # thick slices of the same brain
        step = mm // 2
        sliced = ndimage.uniform_filter1d(flair, step, axis=2)[:, :, ::step]
        nib.save(nib.Nifti1Image(sliced, affine @ np.diag([1, 1, step, 1])), folder / f"slices_{mm}.nii.gz")
    small = affine.copy()
    small[:3, :3] *= 0.7
    nib.save(nib.Nifti1Image(flair, small), folder / "small.nii.gz")
    return folder


def names(images, folder, brain=None, known=RANGE, accept=()):
    paths = {sequence: folder / f"{name}.nii.gz" for sequence, name in images.items()}
    found = check_scan(paths, None if brain is None else folder / f"{brain}.nii.gz", known, accept)
    assert {one.name for one in found} <= set(WARNINGS)
    return {(one.sequence, one.name) for one in found}


@pytest.mark.parametrize("brain", [None, "brain"])
def test_right_scans_are_not_warned_about(made, brain):
    every = {name: name for name in LEVELS}
    everything = TrainingRange(dict.fromkeys(LEVELS, SEEN), None)
    assert names(every, made, brain, everything) == set()
    assert names({"flair": "head", "t1": "t1_head"}, made, "brain") == set()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("slices_4", "slice_thickness"),
        ("slices_6", "slice_thickness"),
        ("slices_8", "slice_thickness"),
        ("head", "unstripped"),
        ("knee", "not_a_brain"),
        ("tube", "not_a_brain"),
        ("box", "not_a_brain"),
        ("half", "incomplete_brain"),
        ("slab", "incomplete_brain"),
        ("upside_down", "turned"),
        ("backwards", "turned"),
        ("cut", "cut_off"),
        ("cut", "field_of_view"),
        ("small", "brain_size"),
    ],
)
def test_what_is_unlike_the_training_is_named(made, image, expected):
    assert ("flair", expected) in names({"flair": image}, made)


def test_slices_that_are_only_simulated_are_said_to_be_so(made):
    said = {mm: check_scan({"flair": made / f"slices_{mm}.nii.gz"}, None, RANGE)[0] for mm in (6, 8)}
    assert said[6].found == "slices of 6 mm"
    assert said[6].known == "1 to 1.2 and 2 mm (1 to 7 mm only simulated in training)"
    assert said[8].known == "1 to 1.2 and 2 mm"


@pytest.mark.parametrize(
    ("image", "brain"), [({"flair": "head"}, "brain_3"), ({"flair": "head"}, "brain_8"), ({"t1": "t1_head"}, "brain_8")]
)
def test_a_mask_that_holds_skull_or_scalp_is_named(made, image, brain):
    assert (next(iter(image)), "brain_mask") in names(image, made, brain)


def test_contrast_agent_is_told_both_ways_and_so_is_a_new_sequence(made):
    assert names({"flair": "flair", "t1": "t1post"}, made) == {("t1", "contrast_agent")}
    assert names({"flair": "flair", "t1post": "t1"}, made) == {
        ("t1post", "no_contrast_agent"),
        ("t1post", "new_sequence"),
    }


@pytest.mark.parametrize(
    ("images", "told"),
    [
        ({"flair": "t1"}, "as in T1"),
        ({"flair": "t1post"}, "as in T1"),
        ({"flair": "t2"}, "as in T2"),
        ({"flair": "t1", "t1": "flair"}, "as in T1"),
        ({"flair": "t2", "t2": "flair"}, "dark fluid, as in FLAIR and T1"),
        ({"t2": "t1"}, "dark fluid"),
        ({"flair": "flair", "t1": "t2"}, "bright fluid"),
        ({"flair": "flair", "t1": "flair"}, "as in FLAIR"),
    ],
)
def test_a_sequence_in_anothers_place_is_an_error_that_can_be_accepted(made, images, told):
    with pytest.raises(ImageError, match=rf"{told}.*--accept sequence"):
        names(images, made)
    assert "sequence" in {name for _, name in names(images, made, accept=("sequence",))}


def test_a_contrast_that_the_training_did_not_have_is_named(made):
    other = SequenceRange(8, SEEN.slice_mm, SEEN.in_plane_mm, SEEN.field_mm, (1.15, 1.2), (0.3, 0.5), (), "all")
    assert ("flair", "contrast") in names({"flair": "flair"}, made, None, TrainingRange({"flair": other}))


def standardised(made, name, outside):
    """A file of the module's, standardised in the brain; what is around is 0, or moved with it."""
    data = nib.load(made / f"{name}.nii.gz").get_fdata()
    brain = data > 0
    moved = (data - data[brain].mean()) / data[brain].std()
    moved = moved if outside == "moved" else np.where(brain, moved, 0)
    image = nib.Nifti1Image(moved.astype(np.float32), nib.load(made / f"{name}.nii.gz").affine)
    nib.save(image, made / f"{name}_{outside}.nii.gz")


@pytest.mark.parametrize("brain", [None, "brain"])
def test_standardised_scans_are_named_so_and_nothing_else_is_said_of_them(made, brain):
    for name in LEVELS:
        for outside in ("zero", "moved"):
            standardised(made, name, outside)
    right = names({name: f"{name}_moved" for name in LEVELS}, made, brain)
    assert right == names({name: name for name in LEVELS}, made, brain)  # less what is around, it is the same scan
    found = names({name: f"{name}_zero" for name in LEVELS}, made, brain)
    assert found - right == {(name, "standardised") for name in LEVELS}
    with pytest.raises(ImageError, match=r"expected flair, .*found likeness to T1 \d\.\d+, as in T1"):
        names({"flair": "t1_zero", "t1": "flair_zero"}, made, brain)


def test_images_too_small_for_a_head_are_named(made):
    nib.save(nib.Nifti1Image(np.ones((10, 10, 10), np.float32), np.diag([2, 2, 2, 1])), made / "tiny.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((60, 60, 60), np.float32), np.diag([3, 3, 3, 1])), made / "nothing.nii.gz")
    assert names({"flair": "tiny"}, made) == {("flair", "no_head")}
    assert ("t1", "no_head") in names({"flair": "flair", "t1": "nothing"}, made)


def test_a_mask_too_small_for_its_middle_is_no_number_that_is_none(made):
    mask = np.zeros(nib.load(made / "brain.nii.gz").shape, np.uint8)
    mask[40:45, 50:55, 40:45] = 1
    nib.save(nib.Nifti1Image(mask, nib.load(made / "brain.nii.gz").affine), made / "speck.nii.gz")
    found = check_scan({"flair": made / "flair.nii.gz"}, made / "speck.nii.gz", RANGE)
    assert "brain_size" in {one.name for one in found}
    assert not any("nan" in one.text for one in found)


def test_bad_arguments(made):
    with pytest.raises(ImageError, match="expected a brain mask, every voxel is 0"):
        names({"flair": "flair"}, made, "empty")
    with pytest.raises(OptionError, match="accept"):
        names({"flair": "flair"}, made, accept=("turned",))


PATIENTS = [
    *(f"ms3seg/{one}" for one in (101228, 104252, 104670, 104899, 105755, 106639, 107130, 110218)),
    *("open_ms_cross_sectional/patient07", "open_ms_cross_sectional/patient26"),
]


def real(folder: Path, **images: str) -> tuple[dict[str, Path], Path | None]:
    brain = folder / "brain.nii.gz"
    return {name: folder / f"{file}.nii.gz" for name, file in images.items()}, brain if brain.exists() else None


@pytest.mark.slow
@pytest.mark.parametrize("patient", PATIENTS)
def test_real_scans_right_and_exchanged(shared_data, patient):
    # Oracle: the names of the files as published, and what is said of them in the data's README.
    folder = shared_data / patient
    found = {one.name for one in check_scan(*real(folder, flair="FLAIR", t1="T1w"), None)}
    # the brains of these two are 100 mm long by their headers, and their T1 is mirrored against FLAIR
    strange = {"brain_size", "elsewhere"} if patient.endswith(("104252", "105755")) else set()
    assert found == strange
    for wrong in ({"flair": "T1w"}, {"flair": "T1w", "t1": "FLAIR"}):
        with pytest.raises(ImageError, match="--accept sequence"):
            check_scan(*real(folder, **wrong), None)
    try:
        told = {one.name for one in check_scan(*real(folder, t1="FLAIR"), None)}
    except ImageError:
        told = {"sequence"}
    assert told & {"sequence", "sequence_unsure"}
    if (folder / "T2w.nii.gz").exists():
        with pytest.raises(ImageError, match=r"bright fluid.*dark fluid"):
            check_scan(*real(folder, flair="T2w", t2="FLAIR"), None)
    if (folder / "T1wGd.nii.gz").exists():
        assert {one.name for one in check_scan(*real(folder, flair="FLAIR", t1="T1wGd"), None)} == {"contrast_agent"}
