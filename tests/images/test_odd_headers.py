"""What a conversion accepts, nnU-Net's own reader and writer bring back to the same voxels, and evaluation scores 1."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunet_ms.analysis.evaluation.evaluate import evaluate
from nnunet_ms.dataset_conversion.convert import convert
from nnunet_ms.errors import ImageError
from nnunet_ms.images.headers import check_header, write_plain
from nnunet_ms.images.volumes import read_mask, read_volume, same_grid
from tests.images.odd_headers import ACCEPTED, REFUSED, saved, turned

SHAPE = (24, 28, 20)


def head(rng):
    """FLAIR and T1, and a mask without any symmetry, so that an axis turned round is seen."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:7, 5:8, 3:5] = mask[15:17, 20:24, 11:12] = mask[8:9, 9:12, 15:18] = 1
    flair = rng.integers(1, 60, SHAPE) + 60 * mask
    return flair.astype(np.int16), (120 - flair).astype(np.int16), mask


@pytest.fixture(scope="module")
def way(tmp_path_factory):
    """One patient per kind of header: converted, read and written by nnU-Net, evaluated; masks as they were drawn."""
    folder, rng, rows, drawn = tmp_path_factory.mktemp("odd"), np.random.default_rng(3), [], {}
    for number, (kind, write) in enumerate(ACCEPTED.items()):
        place = folder / "study" / f"P{number:02d}"
        place.mkdir(parents=True)
        images = dict(zip(("flair", "t1", "t2_lesions"), head(rng), strict=True))
        files = {name: write(place, name, data).relative_to(folder / "study") for name, data in images.items()}
        rows.append({"patient_id": place.name, "visit": "v", "week": 0, **files})
        drawn[kind] = (f"{place.name}_v", images["t2_lesions"], folder / "study" / files["t2_lesions"])
    pd.DataFrame(rows).to_csv(folder / "study" / "manifest.csv", index=False)
    done = convert(folder / "study" / "manifest.csv", dataset_id=801, raw=folder, channels="flair,t1")
    (folder / "predicted").mkdir()
    (folder / "originals").mkdir()
    reader = SimpleITKIO()
    for case, _, path in (entry for entry in drawn.values() if entry[0] in done.cases):
        channels = [str(done.folder / "imagesTr" / f"{case}_000{number}.nii.gz") for number in (0, 1)]
        _, properties = reader.read_images(channels)
        seg, _ = reader.read_seg(str(done.folder / "labelsTr" / f"{case}.nii.gz"))
        reader.write_seg(seg[0].astype(np.uint8), str(folder / "predicted" / f"{case}.nii.gz"), properties)
        (folder / "originals" / f"{case}{''.join(path.suffixes)}").symlink_to(path)
    scores = {}
    for name, references in (("converted", done.folder / "labelsTr"), ("originals", folder / "originals")):
        made = evaluate(folder / "predicted", references, folder / f"evaluated-{name}", done.folder / "cases.csv")
        rows = made.agreement_cases
        scores[name] = dict(rows[rows["metric"] == "dice"][["case_id", "value"]].itertuples(index=False))
    return done, drawn, scores, folder


def test_all_of_them_are_converted(way):
    done, drawn, _, _ = way
    assert [(failure.case, failure.reason) for failure in done.failures] == []
    assert set(done.cases) == {case for case, _, _ in drawn.values()}


@pytest.mark.parametrize("kind", ACCEPTED)
@pytest.mark.parametrize("references", ["converted", "originals"])
def test_nnunets_mask_scores_one(way, kind, references):
    # Oracle: the mask IS the reference, through SimpleITKIO of nnU-Net.
    _, drawn, scores, _ = way
    assert scores[references].get(drawn[kind][0]) == 1.0


@pytest.mark.parametrize("kind", ACCEPTED)
def test_no_voxel_changes_its_place(way, kind):
    # Oracle: the array that was drawn, read by nibabel alone from what nnU-Net wrote, within a tenth of a voxel.
    _, drawn, _, folder = way
    case, mask, path = drawn[kind]
    written = nib.load(folder / "predicted" / f"{case}.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), mask)
    np.testing.assert_array_equal(read_volume(path).data, mask)


@pytest.mark.parametrize("kind", ACCEPTED)
def test_a_file_that_is_written_anew_is_said_and_recorded(way, kind):
    done, drawn, _, _ = way
    case, _, path = drawn[kind]
    why = check_header(path).differs
    row = pd.read_csv(done.folder / "cases.csv", dtype=str).set_index("case_id").loc[case]
    said = [note for note in done.notes if note.startswith(f"{case}: ")]
    assert (f"label: the source has {why}" in str(row["rewritten"])) == bool(why)
    assert any(why in note for note in said) == bool(why)
    copied = (done.folder / "labelsTr" / f"{case}.nii.gz").read_bytes() == path.read_bytes()
    assert copied == (not why and path.read_bytes()[:2] == b"\x1f\x8b" and "float" not in kind)


def test_a_mask_whose_quaternion_lost_the_tilt_lies_on_its_image(tmp_path):
    # nibabel#1025, MRtrix3#1318: 0.24 mm at the corners of 240 mm, though both were written from one affine.
    rng, shape = np.random.default_rng(0), (240, 240, 4)
    data = rng.integers(0, 2, shape).astype(np.uint8)
    for angle in (0.03, 0.045, 0.06, 0.068):
        image = check_header(saved(tmp_path, "image", data, affine=turned(angle)))
        mask = check_header(saved(tmp_path, "mask", data, affine=turned(angle), codes=(0, 1)))
        assert np.abs(image.grid.affine - mask.grid.affine).max() > 1e-4
        assert same_grid(image.grid, mask.grid)


def test_a_plain_copy_holds_the_same_voxels(tmp_path):
    mask = head(np.random.default_rng(1))[2].astype(np.int64)
    write_plain(saved(tmp_path, "mask", mask, codes=(0, 0)), tmp_path / "plain.nii.gz")
    np.testing.assert_array_equal(read_mask(tmp_path / "plain.nii.gz").data, mask)
    assert check_header(tmp_path / "plain.nii.gz").differs == ""


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("read", [read_volume, read_mask, lambda path: (check_header(path), read_volume(path))])
def test_what_is_refused_is_refused_by_every_reader_in_the_same_words(tmp_path, kind, read):
    write, words = REFUSED[kind]
    with pytest.raises(ImageError, match=words):
        read(write(tmp_path, "image", head(np.random.default_rng(0))[2]))


@pytest.mark.parametrize("order", [("L", "A", "S"), ("R", "P", "I"), ("A", "S", "R"), ("S", "L", "P")])
def test_a_mask_whose_axes_are_stored_in_another_order_is_turned_onto_its_image(tmp_path, order):
    # Oracle: nibabel's `as_reoriented` turned the mask; what nnU-Net reads must be the mask as it was drawn.
    rng, rows, drawn = np.random.default_rng(5), [], {}
    for patient in ("P1", "P2"):
        (tmp_path / patient).mkdir()
        flair, _, mask = head(rng)
        image = nib.Nifti1Image(flair, turned(3, signs=(1, 1, 1)))
        label = nib.Nifti1Image(mask, image.affine)
        codes = nib.orientations.axcodes2ornt(order)
        change = nib.orientations.ornt_transform(nib.io_orientation(image.affine), codes)
        nib.save(image, tmp_path / patient / "flair.nii.gz")
        nib.save(label.as_reoriented(change), tmp_path / patient / "mask.nii.gz")
        paths = {"flair": f"{patient}/flair.nii.gz", "t2_lesions": f"{patient}/mask.nii.gz"}
        rows.append({"patient_id": patient, "visit": "v", "week": 0, **paths})
        drawn[patient] = mask
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    done = convert(tmp_path / "manifest.csv", dataset_id=801, raw=tmp_path, channels="flair", folds=2)
    assert "axes are stored in another order or direction" in " ".join(done.notes)
    for patient, mask in drawn.items():
        seg, _ = SimpleITKIO().read_seg(str(done.folder / "labelsTr" / f"{patient}_v.nii.gz"))
        np.testing.assert_array_equal(seg[0].T, mask)
