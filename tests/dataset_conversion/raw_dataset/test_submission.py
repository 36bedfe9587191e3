"""A submission to ISBI 2015. Oracles: the masks themselves read by nibabel, the challenge's names by hand, zipfile."""

import zipfile

import nibabel as nib
import numpy as np
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import convert
from nnunet_ms.dataset_conversion.raw_dataset.submission import write_submission
from nnunet_ms.errors import ConversionError, ImageError
from tests.dataset_conversion.conftest import SHAPE

AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
AFFINE[:3, 3] = 5, -7, 11
SCANS = ("test01_01", "test01_02", "test02_01")
MASKS = {scan: np.random.default_rng(number).random(SHAPE) > 0.9 for number, scan in enumerate(SCANS)}


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, AFFINE), path)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A dataset of two training patients and two of the test set, and the folder of the predicted masks."""
    folder = tmp_path_factory.mktemp("isbi")
    scans = [*SCANS, *(f"training0{patient}_0{visit}" for patient in (1, 2) for visit in (1, 2))]
    for number, scan in enumerate(scans):
        place = folder / "source" / scan.partition("_")[0]
        for sequence in ("flair", "t2", "mprage"):
            image = np.random.default_rng(100 * number + len(sequence)).integers(1, 900, SHAPE)
            write(place / "preprocessed" / f"{scan}_{sequence}_pp.nii", image.astype(np.int16))
        if scan.startswith("training"):
            mask = np.zeros(SHAPE, np.uint8)
            mask[3:5, 4, 2] = 1
            for rater in (1, 2):
                write(place / "masks" / f"{scan}_mask{rater}.nii", mask)
    done = convert(folder / "source", "isbi2015", dataset_id=815, raw=folder / "raw", folds=2)
    for scan, mask in MASKS.items():
        write(folder / "predictions" / f"{scan}.nii.gz", mask.astype(np.uint8))
    return done.folder, folder / "predictions"


def voxels_of(path):
    image = nib.load(path)
    np.testing.assert_allclose(image.affine, AFFINE)
    return np.asanyarray(image.dataobj)


def test_the_masks_are_in_the_zip_under_the_challenges_names(converted, tmp_path, capsys):
    dataset, predictions = converted
    out = ["-o", str(tmp_path / "out"), "--layout", "isbi2015", "--team", "our-team"]
    assert main(["back", str(dataset), str(predictions), *out]) == 0
    names = [f"{scan}_our-team.nii" for scan in SCANS]
    with zipfile.ZipFile(tmp_path / "out" / "our-team.zip") as packed:
        assert packed.namelist() == names  # no folders: the site unpacks into one
        packed.extractall(tmp_path / "unpacked")
    for scan, name in zip(SCANS, names, strict=True):
        for place in ("out", "unpacked"):
            found = voxels_of(tmp_path / place / name)
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, MASKS[scan])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, "our-team.zip"}
    printed = capsys.readouterr().out
    assert "3 scans; the challenge's test set has 61 of 14 patients" in printed
    assert "files are called {scan}_{team}.nii, which we could not check with the site" in printed


def test_the_same_masks_give_the_same_bytes(converted, tmp_path):
    one, other = (write_submission(*converted, tmp_path / name, "team").path.read_bytes() for name in "ab")
    assert one == other


@pytest.mark.parametrize(
    ("pattern", "first"),
    [
        ("{scan}_{team}.nii", "test01_01_team.nii"),
        ("{scan}.nii.gz", "test01_01.nii.gz"),
        ("{team}-{scan}_mask.nii", "team-test01_01_mask.nii"),
    ],
)
def test_other_names_can_be_given(converted, tmp_path, pattern, first):
    done = write_submission(*converted, tmp_path / "out", "team", file_names=pattern)
    assert done.names[0] == first
    np.testing.assert_array_equal(voxels_of(tmp_path / "out" / first), MASKS["test01_01"])
    assert len(done.notes) == (2 if pattern == "{scan}_{team}.nii" else 1)


@pytest.mark.parametrize(
    "pattern", ["mask.nii", "{scan}.nrrd", "{patient}.nii", "../{scan}.nii", "{scan", "{scan}{0}.nii"]
)
def test_names_that_are_none_are_refused(converted, tmp_path, pattern):
    with pytest.raises(ConversionError, match=r"file_names: expected a name with \{scan\}"):
        write_submission(*converted, tmp_path / "out", "team", file_names=pattern)


@pytest.mark.parametrize("team", ["", "our team", "a/b", "ü", "a_b"])
def test_teams_that_are_none_are_refused(converted, tmp_path, team):
    with pytest.raises(ConversionError, match="team: expected letters, digits and hyphens"):
        write_submission(*converted, tmp_path / "out", team)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda folder: (folder / "test01_02.nii.gz").unlink(),
            ConversionError,
            r"none of test01_02\.nii\.gz\. The site",
        ),
        (
            lambda folder: write(folder / "test01_02.nii.gz", np.full(SHAPE, 2, np.uint8)),
            ConversionError,
            r"labels \[2\]",
        ),
        (lambda folder: write(folder / "test01_02.nii.gz", np.ones((3, 4, 5), np.uint8)), ImageError, "test01_02"),
        (
            lambda folder: write(folder / "test01_02.nii.gz", np.full(SHAPE, 0.25, np.float32)),
            ImageError,
            r"predictions/test01_02\.nii\.gz: expected a mask with values 0 to 255, found 0\.25",
        ),
        (
            lambda folder: write(folder / "test01_02.nii.gz", np.full(SHAPE, -1, np.int16)),
            ImageError,
            r"predictions/test01_02\.nii\.gz: expected a mask with values 0 to 255, found -1",
        ),
        (
            lambda folder: write(folder / "test01_02.nii.gz", np.zeros((*SHAPE, 2), np.uint8)),
            ImageError,
            r"predictions/test01_02\.nii\.gz: expected a 3-D image",
        ),
        (
            lambda folder: (folder / "test01_02.nii.gz").write_bytes(b"no image"),
            ImageError,
            r"predictions/test01_02\.nii\.gz: expected a NIfTI file",
        ),
    ],
)
def test_an_incomplete_or_strange_set_is_not_packed(converted, tmp_path, change, error, message):
    dataset, predictions = converted
    mine = tmp_path / "predictions"
    for path in predictions.iterdir():
        write(mine / path.name, np.asanyarray(nib.load(path).dataobj))
    change(mine)
    with pytest.raises(error, match=message):
        write_submission(dataset, mine, tmp_path / "out", "team")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [1, 3, 5])
def test_masks_of_no_test_scan_are_named(converted, tmp_path, number):
    dataset, predictions = converted
    for path in predictions.iterdir():
        write(tmp_path / path.name, np.asanyarray(nib.load(path).dataobj))
    for other in range(number):
        write(tmp_path / f"training01_{other:02d}.nii.gz", np.zeros(SHAPE, np.uint8))
    done = write_submission(dataset, tmp_path, tmp_path / "out", "team")
    assert len(done.names) == len(SCANS)
    assert "left out what is of no test scan: training01_00.nii.gz" in done.notes[0]
    assert done.notes[0].endswith("and 2 more") == (number == 5)


def test_masks_of_prepared_scans_come_back_to_the_challenges_grid(converted, tmp_path):
    source = converted[0].parents[1] / "source"
    done = convert(
        source, "isbi2015", dataset_id=816, raw=tmp_path / "raw", folds=2, steps={"spacing": (0.5, 0.5, 0.5)}
    )
    for path in sorted((done.folder / "imagesTs").glob("*_0000.nii.gz")):
        image = nib.load(path)
        fine = np.kron(MASKS[path.name.removesuffix("_0000.nii.gz")], np.ones((2, 2, 2)))
        assert image.shape == fine.shape
        mask = nib.Nifti1Image(fine.astype(np.uint8), image.affine)
        (tmp_path / "predictions").mkdir(exist_ok=True)
        nib.save(mask, tmp_path / "predictions" / path.name.replace("_0000", ""))
    write_submission(done.folder, tmp_path / "predictions", tmp_path / "out", "team")
    for scan in SCANS:
        np.testing.assert_array_equal(voxels_of(tmp_path / "out" / f"{scan}_team.nii"), MASKS[scan])


def test_a_dataset_of_another_study_is_refused(converted, tmp_path):
    lines = ["case_id,patient_id,visit,week,role", "a_01,training01,01,0,train", "test01_base,test01,base,0,test"]
    (tmp_path / "cases.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(ConversionError, match=r"expected scans of the ISBI 2015 test set .* found patients test01, t"):
        write_submission(tmp_path, converted[1], tmp_path / "out", "team")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--team", "x"], "--team, --file-names: expected with --layout isbi2015 only"),
        (["--layout", "isbi2015", "--team", "x", "--probabilities", "p"], "the challenge takes masks alone"),
        (["--layout", "isbi2015", "--team", "x", "--rater", "me"], "--rater, --visit: the challenge's names"),
        (["--layout", "isbi2015", "--team", "x", "--visit", "followup"], "--rater, --visit: the challenge's names"),
        (["--layout", "isbi2015"], "team: expected letters, digits and hyphens, found ''"),
    ],
)
def test_options_that_do_not_go_together(converted, tmp_path, capsys, more, message):
    dataset, predictions = converted
    assert main(["back", str(dataset), str(predictions), "-o", str(tmp_path / "out"), *more]) == 2
    assert message in capsys.readouterr().err
