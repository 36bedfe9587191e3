"""The trees as they were published: every name of the lists, the laboratory's archive, and real scans in them."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import convert
from nnunet_ms.dataset_conversion.sources import ms3seg, open_ms, open_ms_longitudinal
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.volumes import read_mask, read_volume
from tests.dataset_conversion.conftest import SHAPE, save, tree

IDENTITY = "#Insight Transform File V1.0\n#Transform 0\nTransform: MatrixOffsetTransformBase_double_3_3\n"
IDENTITY += "Parameters: 1 0 0 0 1 0 0 0 1 0 0 0\nFixedParameters: 0 0 0\n"
BRAIN = np.zeros(SHAPE, np.uint8)
BRAIN[1:9, 1:10, 1:5] = 1


def lesion(value=1, dtype=np.uint8):
    data = np.zeros(SHAPE, dtype)
    data[3:6, 4, 2] = value
    return data


def publish(root, names):
    """Files of these names: small images, masks and brain masks by what the names say, transforms that do nothing."""
    for seed, name in enumerate(names):
        path = root / name
        stem = path.name.lower()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt" and "_to_" in stem:
            path.write_text(IDENTITY)
        elif ".nii" not in stem:
            path.touch()
        elif "brain" in stem and "mask" in stem:
            save(path, BRAIN)
        elif "3l_masks" in name:
            save(path, lesion(65535, np.uint16) + np.roll(lesion(32767, np.uint16), 3, axis=1))
        elif any(word in name for word in ("gt.nii", "GOLD", "abWMH", "change_gt")):
            save(path, lesion(255 if "abWMH_manual" in name else 1))
        else:
            save(path, np.random.default_rng(seed).integers(1, 900, SHAPE).astype(np.int16))
    return root


def listed(shared_data, name, keep=""):
    lines = (shared_data / "published_layouts" / name).read_text().splitlines()
    return [line for line in lines if line.startswith(keep)]


def converted(kind, source, raw, **more):
    done = convert(source, kind, dataset_id=7, raw=raw, overwrite=True, **more)
    return done, pd.read_csv(done.folder / "cases.csv", dtype=str).set_index("case_id")


# the lists ------------------------------------------------------------------------------------------------------------

THREE = ["patient01", "patient02", "patient03"]
OPEN_MS = {  # variant -> patients, source of T1 and of the mask of the first
    "": (THREE, "cross_sectional/coregistered/patient01/T1W.nii.gz", "coregistered/patient01/consensus_gt.nii.gz"),
    "coregistered_resampled": (THREE, "coregistered_resampled/patient01/T1W.nii.gz", "patient01/consensus_gt.nii.gz"),
    "raw": (THREE, "cross_sectional/raw/patient01/T1W.nii.gz", "raw/patient01/consensus_gt.nii.gz"),
    "MNI": (
        ["patient01"],
        "T1_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz",
        "GOLD_STANDARD_N4_noneck",
    ),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory, shared_data):
    """The whole repository of open_ms, of three patients, as listed."""
    return publish(tmp_path_factory.mktemp("open_ms_data"), listed(shared_data, "open_ms_data.txt"))


@pytest.mark.parametrize("variant", OPEN_MS)
def test_cross_sectional_trees_below_one_folder(published, tmp_path, variant):
    patients, t1, mask = OPEN_MS[variant]
    done, cases = converted("open_ms", published, tmp_path, channels="flair,t1,t1post", variant=variant)
    assert list(done.cases) == list(done.patients) == patients
    assert t1 in cases.loc["patient01", "source_t1"]
    assert mask in cases.loc["patient01", "source_label"]
    assert f"read as {variant or 'coregistered'}: " in done.notes[0]
    assert done.notes[0].startswith("3 cases" if len(patients) == 3 else "1 case ")
    np.testing.assert_array_equal(read_mask(done.folder / "labelsTr" / "patient01.nii.gz").data, lesion())


@pytest.mark.parametrize("name", ["coregistered", "coregistered_resampled", "raw", "MNI"])
@pytest.mark.parametrize("level", ["tree", "patient", "from inside"])
def test_a_tree_or_one_patient_of_it_is_known_by_the_folders_above(published, tmp_path, monkeypatch, name, level):
    source = published / "cross_sectional" / name
    if level != "tree":
        source /= "patient01"
    if level == "from inside":
        monkeypatch.chdir(source)
        source = Path()
    (case, *others) = open_ms.SOURCE.find(open_ms.SOURCE.request(source, "flair,t2"))
    assert case.patient_id == "patient01"
    assert len(others) == (2 if level == "tree" and name != "MNI" else 0)
    assert f"read as {name}" in case.remark
    assert bool(case.transforms) == (name == "raw")
    assert case.label is not None
    assert (case.brain_mask is not None) == name.startswith("coreg")


def test_another_name_of_a_tree_needs_the_variant_for_its_transforms_only(published, tmp_path):
    copy = tmp_path / "unpacked"
    shutil.copytree(published / "cross_sectional" / "raw", copy)
    (case, *_) = open_ms.SOURCE.find(open_ms.SOURCE.request(copy))
    assert (case.remark, case.transforms) == ("", {})
    (case, *_) = open_ms.SOURCE.find(open_ms.SOURCE.request(copy, variant="raw"))
    assert case.remark.endswith("no transform found for t2, t1: placed by the header alone")
    assert case.reference == copy / "patient01" / "FLAIR.nii.gz"


def test_the_transforms_of_raw_images_are_applied(published, tmp_path):
    # Oracle: by hand. ITK's resampling takes each point of the FLAIR to its place in the T1, here a voxel (2 mm) to the
    # right, as the longitudinal part's transforms do, which were verified on its real images
    source = tmp_path / "cross_sectional"
    shutil.copytree(published / "cross_sectional", source)
    moved = IDENTITY.replace("0 0 0\nFixed", "-2 0 0\nFixed")  # ITK's x points to the left
    (source / "coregistered/patient01/T1W_to_FLAIR.txt").write_text(moved)
    done, cases = converted("open_ms", source, tmp_path / "raw", channels="flair,t1", variant="raw")
    assert cases.loc["patient01", "resampled"] == "t1"
    before = read_volume(source / "raw/patient01/T1W.nii.gz").data.astype(float)
    after = read_volume(done.folder / "imagesTr/patient01_0001.nii.gz").data.astype(float)
    shifts = {shift for shift in (-1, 0, 1) if np.allclose(np.roll(before, shift, axis=0)[2:-2], after[2:-2])}
    assert shifts == {-1}


LONGITUDINAL = {"": "coregistered", "coregistered": "coregistered", "raw": "raw"}


@pytest.mark.parametrize("variant", LONGITUDINAL)
@pytest.mark.parametrize("level", ["longitudinal", "tree"])
def test_longitudinal_trees(published, tmp_path, variant, level):
    name = LONGITUDINAL[variant]
    source = published / "longitudinal" / (name if level == "tree" else "")
    done, cases = converted(
        "open_ms_longitudinal", source, tmp_path, channels="flair_baseline,flair_followup,t1_followup",
        target="signed_change", variant=variant if level != "tree" else "",
    )  # fmt: skip
    assert list(done.cases) == THREE
    assert cases.loc["patient02", "source_label"].endswith("patient02/gt.nii.gz")
    assert f"read as {name}" in done.notes[0]
    resampled = {"raw": "flair_baseline flair_followup t1_followup", "coregistered": None}[name]
    assert cases["resampled"].where(cases["resampled"].notna(), None).tolist() == [resampled] * 3
    label = read_mask(done.folder / "labelsTr/patient01.nii.gz", labels=(0, 1, 2)).data
    np.testing.assert_array_equal(label > 0, lesion() > 0)


def test_raw_or_coregistered_is_asked_where_nothing_tells(published, tmp_path):
    copy = tmp_path / "scans" / "patient01"
    shutil.copytree(published / "longitudinal" / "coregistered" / "patient01", copy)
    find, request = open_ms_longitudinal.SOURCE.find, open_ms_longitudinal.SOURCE.request
    (case,) = find(request(tmp_path / "scans"))
    assert case.problem.endswith("Say --variant raw or --variant coregistered.")
    (case,) = find(request(tmp_path / "scans", variant="coregistered"))
    assert (case.problem, case.transforms) == ("", {})
    (copy / "study1_T1W_intrastudy_to_FLAIR.txt").write_text(IDENTITY)
    (case,) = find(request(tmp_path / "scans"))
    assert (case.problem, set(case.transforms)) == ("", {"flair_baseline", "flair_followup"})


@pytest.mark.parametrize("variant", ["", "raw"])
def test_the_laboratorys_own_archives(tmp_path, variant):
    # names from the READMEs that come with both parts
    names = [f"{name}.nii.gz" for name in ("brainmask", "consensus_gt", "T1W", "T2W", "FLAIR", "T1WKS")]
    names += ["T1W_to_FLAIR.txt", "T2W_to_FLAIR.txt", "T1WKS_to_FLAIR.txt"]
    cross = [f"patient07/patient07_{name}" for name in names]
    cross += [f"patient07/raw/patient07_{name}.nii.gz" for name in ("T1W", "T2W", "FLAIR", "T1WKS")]
    publish(tmp_path / "cross", cross)
    (case,) = open_ms.SOURCE.find(open_ms.SOURCE.request(tmp_path / "cross", "flair,t2,t1,t1post", variant=variant))
    assert case.images["t1post"].parent.name == ("raw" if variant else "patient07")
    assert case.label is not None
    assert set(case.transforms) == ({"t2", "t1", "t1post"} if variant else set())
    parts = [f"study{visit}_{name}" for visit in (1, 2) for name in ("FLAIR", "T1W", "T2W")]
    long = ["patient9/patient9_brainmask.nii.gz", "patient9/patient9_gt.nii.gz"]
    long += [f"patient9/patient9_{part}reg.nii.gz" for part in parts]
    long += [f"patient9/raw/patient9_{part}.nii.gz" for part in parts]
    long += [f"patient9/patient9_study{visit}_FLAIR_to_common_space.txt" for visit in (1, 2)]
    long += [f"patient9/raw/patient9_{p}_intrastudy_to_FLAIR.txt" for p in parts if "FLAIR" not in p]
    publish(tmp_path / "long", long)
    channels = "flair_baseline,flair_followup,t2_followup"
    source = open_ms_longitudinal.SOURCE
    (case,) = source.find(source.request(tmp_path / "long", channels, variant=variant))
    assert case.problem == ""
    assert [len(chain) for chain in case.transforms.values()] == ([1, 1, 2] if variant else [])
    assert case.brain_mask is not None


MS3SEG = {  # kept part of the list, options -> source of the FLAIR, of the mask
    "all": (
        "",
        {"channels": "flair,t1"},
        "MS_100_patient_preprocessed/101228",
        "abWMH_manual_segmentations/101228.nii.gz",
    ),
    "registered": ("", {"channels": "flair,t2", "variant": "registered"}, "MS_100_patient_registered", "abWMH_manual"),
    "FLAIR as it was drawn on": ("Phase2", {"channels": "flair"}, "Original_FLAIRs_prep/101228.nii.gz", "abWMH_manual"),
    "three levels": (
        "",
        {"channels": "flair,t2,t1", "rater": "three_levels"},
        "preprocessed",
        "manual_3l_masks/101228",
    ),
}


@pytest.mark.parametrize("what", MS3SEG)
def test_ms3seg_as_listed(shared_data, tmp_path, what):
    keep, options, flair, mask = MS3SEG[what]
    publish(tmp_path / "ms3seg", listed(shared_data, "ms3seg_repository.txt", keep))
    done, cases = converted("ms3seg", tmp_path / "ms3seg", tmp_path, **options)
    assert len(done.cases) == {"registered": 2, "FLAIR as it was drawn on": 10}.get(what, 3)
    assert flair in cases.loc["101228", "source_flair"]
    assert mask in cases.loc["101228", "source_label"]
    written = read_mask(done.folder / "labelsTr" / "101228.nii.gz")
    np.testing.assert_array_equal(written.data, lesion())
    left = {failure.case for failure in done.failures}  # patients of the list that have a mask and not these images
    assert len(left) + len(done.cases) == 10


@pytest.mark.parametrize(("levels", "dtype"), [((1, 2), np.uint8), ((127, 255), np.uint8), ((32767, 65535), np.uint16)])
def test_three_level_masks_without_others(tmp_path, levels, dtype):
    # 0, ventricles, lesions; the authors' scripts scale levels to 65535
    data = lesion(levels[1], dtype) + np.roll(lesion(levels[0], dtype), 3, axis=1)
    publish(tmp_path / "set", [f"Original_FLAIRs_prep/10122{i}.nii.gz" for i in range(3)])
    for i in range(3):
        save(tmp_path / f"set/manual_3l_masks/10122{i}.nii.gz", data)
    done, _ = converted("ms3seg", tmp_path / "set", tmp_path, channels="flair")
    for path in (done.folder / "labelsTr").iterdir():
        np.testing.assert_array_equal(read_mask(path).data, lesion())
    save(tmp_path / "set/manual_3l_masks/101221.nii.gz", lesion(21845, np.uint16))
    done, _ = converted("ms3seg", tmp_path / "set", tmp_path, channels="flair")
    assert [failure.case for failure in done.failures] == ["101221"]
    assert "found 21845" in done.failures[0].reason


# brain masks ----------------------------------------------------------------------------------------------------------

BRAINS = {
    "open_ms": ("open_ms_data.txt", "cross_sectional/coregistered/", "flair,t1"),
    "open_ms_longitudinal": ("open_ms_data.txt", "longitudinal/coregistered", "flair_baseline,flair_followup"),
    "ms3seg": ("ms3seg_repository.txt", "", "flair,t1"),
}


@pytest.mark.parametrize("kind", BRAINS)
def test_brain_masks_that_come_with_a_tree_are_applied(shared_data, tmp_path, kind):
    name, keep, channels = BRAINS[kind]
    publish(tmp_path / "source", listed(shared_data, name, keep))
    steps = {"apply_brain_mask": True}
    done, _ = converted(kind, tmp_path / "source", tmp_path, channels=channels, steps=steps)
    assert len(done.cases) >= 2
    for path in (done.folder / "imagesTr").iterdir():
        data = read_volume(path).data
        assert data[BRAIN == 0].max() == 0 < data[BRAIN > 0].min()
    for path in (done.folder / "labelsTr").iterdir():
        assert set(np.flatnonzero(read_mask(path).data)) <= set(np.flatnonzero(lesion()))


def test_raw_images_that_are_moved_by_transforms_take_no_steps(published, tmp_path):
    with pytest.raises(ConversionError, match=r"expected no preparation, because the images \(of patient01, say\) are"):
        converted("open_ms_longitudinal", published, tmp_path, variant="raw", steps={"n4": True})


# real scans -----------------------------------------------------------------------------------------------------------

REAL = {  # kind -> the pack's folder, its names -> published ones
    "open_ms": (
        "open_ms_cross_sectional",
        {"FLAIR": "FLAIR", "T2w": "T2W", "T1w": "T1W", "T1wGd": "T1WKS", "lesion": "consensus_gt"},
        "cross_sectional/coregistered_resampled/{patient}/{name}.nii.gz",
        {"channels": "flair,t2,t1,t1post"},
    ),
    "ms3seg": (
        "ms3seg",
        {"FLAIR": "FLAIR", "T2w": "T2WI_reg", "T1w": "T1WI_reg", "brain": "brain_mask", "lesion": "abWMH_Mask"},
        "MS_100_patient_registered/{patient}/{patient}_{name}.nii.gz",
        {"channels": "flair,t1", "steps": {"apply_brain_mask": True}},
    ),
    "open_ms_longitudinal": (
        "open_ms_longitudinal",
        {"change_gt_common": "gt", "brainmask_common": "brainmask"},
        "longitudinal/raw/{patient}/{name}.nii.gz",
        {"target": "signed_change"},
    ),
}


@pytest.mark.parametrize("kind", REAL)
def test_the_real_pack_under_its_published_names(shared_data, tmp_path, kind):
    folder, names, form, options = REAL[kind]
    for path in (shared_data / folder).glob("*/*"):
        patient, (stem, _, ending) = path.parent.name, path.name.partition(".")
        if ending == "nii.gz" and stem not in names and kind != "open_ms_longitudinal":
            continue
        target = (
            tmp_path / "set" / form.format(patient=patient, name=names.get(stem, stem)).replace(".nii.gz", "." + ending)
        )
        if kind == "ms3seg" and stem == "lesion":
            target = tmp_path / f"set/MS_100_patient_masks/abWMH_Masks/{patient}/{patient}_abWMH_Mask.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    ours, _ = converted(kind, shared_data / folder, tmp_path / "pack", **options)
    theirs, _ = converted(kind, tmp_path / "set", tmp_path / "published", **options)
    assert ours.cases == theirs.cases
    assert (ours.failures, theirs.failures) == ((), ())
    images = [{k: v for k, v in tree(done.folder).items() if k.startswith("images")} for done in (ours, theirs)]
    assert images[0] == images[1]
    for path in (ours.folder / "labelsTr").iterdir():
        first, second = (nib.load(folder / "labelsTr" / path.name) for folder in (ours.folder, theirs.folder))
        np.testing.assert_array_equal(first.get_fdata(), second.get_fdata())
        np.testing.assert_array_equal(first.affine, second.affine)


def test_ms3seg_lists_the_two_patients_without_t2(shared_data, tmp_path, capsys):
    arguments = ["--dataset-id", "7", "--raw", str(tmp_path), "--workers", "2"]
    assert main(["ms3seg", str(shared_data / "ms3seg"), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.count("found no ['t2']") == 2
    labels = sorted((tmp_path / "Dataset007_MS3SEG" / "labelsTr").iterdir())
    assert len(labels) == 6
    for path in labels:  # copied byte by byte, as ever
        assert path.read_bytes() == (shared_data / "ms3seg" / path.name.split(".")[0] / "lesion.nii.gz").read_bytes()


def test_what_cannot_be(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").touch()
    with pytest.raises(ConversionError, match=r"expected files like coregistered/.*found \['letters/a.txt'\]"):
        open_ms.SOURCE.find(open_ms.SOURCE.request(tmp_path, ["flair"]))
    with pytest.raises(ConversionError, match="expected a folder"):
        ms3seg.SOURCE.find(ms3seg.SOURCE.request(tmp_path / "none", ["flair"]))
    with pytest.raises(ConversionError, match=r"--variant native: expected one of \['flair', 'folders', 'nifti', "):
        ms3seg.SOURCE.find(ms3seg.SOURCE.request(tmp_path, ["flair"], variant="native"))
