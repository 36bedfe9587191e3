"""Which scans are found. Oracle: the folders and tables that the tests write."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.errors import ConversionError, SettingsError
from nnunet_ms.plain_names import plain_name
from nnunet_ms.segmentation.scans import find_scans, page_name

ALL = ("t1", "flair", "t2")


def write(folder, *names, seed=0):
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if ".nii" not in name:
            path.write_bytes(b"DICM")
            continue
        data = np.random.default_rng([seed, number]).normal(100, 20, (8, 8, 4)).astype(np.float32)
        nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    return folder


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("FLAIR.nii.gz", "T1w.nii.gz", "T1wGd.nii.gz", "T2w.nii.gz", "lesion.nii.gz"), "flair t2 t1"),
        (("P7_3D_FLAIR.nii.gz", "P7_MPRAGE.nii.gz"), "flair t1"),
        (("104252_t2.nii",), "t2"),
        (("sub-01_FLAIR.nii.gz", "sub-01_T1w.nii.gz"), "flair t1"),
        (("tirm_tra.nii.gz", "t2_tse.nii.gz", "dwi.nii.gz"), "flair t2"),
    ],
)
def test_a_folder_of_one_patient_is_read_by_the_words_of_its_names(tmp_path, names, expected):
    found = find_scans(write(tmp_path / "patient07", *names), {}, ALL)
    (case,) = found.cases
    assert (case.patient_id, " ".join(case.images)) == ("patient07", expected)
    unused = [name for name in names if name not in {path.name for path in case.images.values()}]
    said = " ".join([*found.notes, case.remark])
    assert all(name in said for name in unused)


@pytest.mark.parametrize(
    "names",
    [
        ("P1_flair.nii.gz", "P2_flair.nii.gz"),
        ("104252_FLAIR.nii.gz", "105755_T1w.nii.gz"),
        ("P1/FLAIR.nii.gz", "P1/T1.nii.gz", "P2/FLAIR.nii.gz", "P2/T1.nii.gz"),
        ("sub-1_FLAIR.nii.gz", "sub-1_T1w.nii.gz", "sub-2_T2w.nii.gz"),
        ("flair_a.nii.gz", "flair_b.nii.gz"),
    ],
)
def test_two_patients_in_one_folder_are_refused(tmp_path, names):
    with pytest.raises(ConversionError, match=r"expected the (images|folder) of one patient.*manifest"):
        find_scans(write(tmp_path / "both", *names), {}, ALL)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ((), "expected NIfTI images whose names tell their sequence.*found none.*--flair FILE"),
        (("scan.nii.gz", "other.nii.gz"), r"expected NIfTI.*found other\.nii\.gz, scan\.nii\.gz.*--flair FILE"),
        (("IM0001.dcm", "DICOMDIR"), r"found none, but DICOMDIR, IM0001\.dcm: make NIfTI files of DICOM first"),
        (("lesion.nii.gz", "brain.nii.gz"), "expected NIfTI images whose names tell"),
    ],
)
def test_a_folder_without_a_sequence_is_refused(tmp_path, names, match):
    folder = tmp_path / "one"
    folder.mkdir()
    with pytest.raises(ConversionError, match=match):
        find_scans(write(folder, *names), {}, ALL)


def test_a_manifest_may_leave_sequences_blank(tmp_path):
    write(tmp_path, "a_flair.nii.gz", "a_t1.nii.gz", "b_t2.nii.gz", "c_t1.nii.gz")
    rows = [
        ("P1", "base", 0, "a_flair.nii.gz", "", "a_t1.nii.gz"),
        ("P2", "base", 0, "", "b_t2.nii.gz", ""),
        ("P3", "base", 0, "", "", "c_t1.nii.gz"),
    ]
    names = ["patient_id", "visit", "week", "flair", "t2", "t1"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "manifest.csv", index=False)
    cases = find_scans(tmp_path / "manifest.csv", {}, ALL).cases
    assert [(case.case_id, *case.images) for case in cases] == [
        ("P1_base", "flair", "t1"),
        ("P2_base", "t2"),
        ("P3_base", "t1"),
    ]
    assert not any(case.problem for case in cases)


def test_bids_sessions_may_lack_sequences(tmp_path):
    one, two = "sub-01/ses-a/anat/sub-01_ses-a", "sub-02/ses-a/anat/sub-02_ses-a"
    write(tmp_path, f"{one}_FLAIR.nii.gz", f"{one}_T1w.nii.gz", f"{two}_T2w.nii.gz")
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    found = find_scans(tmp_path, {}, ALL)
    assert [(case.case_id, *case.images) for case in found.cases] == [("01_a", "flair", "t1"), ("02_a", "t2")]
    assert found.root == tmp_path


def test_input_and_images_are_alternatives(tmp_path):
    with pytest.raises(SettingsError, match=r"expected INPUT .* or images .*found neither"):
        find_scans(None, {}, ALL)
    with pytest.raises(SettingsError, match="found both"):
        find_scans(tmp_path, {"flair": tmp_path / "x.nii.gz"}, ALL)


@pytest.mark.parametrize(
    ("name", "match"),
    [("FLAIR.nii.gz", "found one image. Say what it is: --flair "), ("T1w.nii.gz", "--t1 "), ("x.nii.gz", "--flair, ")],
)
def test_one_image_as_input_is_told_its_option(tmp_path, name, match):
    with pytest.raises(ConversionError, match=match):
        find_scans(write(tmp_path, name) / name, {}, ALL)


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(ConversionError, match=r"expected a manifest \(CSV\) or a folder, found nothing"):
        find_scans(tmp_path / "absent", {}, ALL)
    with pytest.raises(ConversionError, match=r"expected an image \(--t1\), found no such file"):
        find_scans(None, {"t1": Path("absent.nii.gz")}, ALL)


@pytest.mark.parametrize("patients", [("P 1", "P-1"), ("p1", "P1"), ("=1", "+1"), ("-P1", "P1")])
def test_patients_whose_pages_would_have_one_name_are_refused(tmp_path, patients):
    write(tmp_path, "a.nii.gz", "b.nii.gz")
    rows = [(name, f"v{n}", n, f"{'ab'[n]}.nii.gz") for n, name in enumerate(patients)]
    pd.DataFrame(rows, columns=["patient_id", "visit", "week", "flair"]).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(ConversionError, match=r"patients '.*' and '.*' would have one page, .*\.html\. Rename one"):
        find_scans(tmp_path / "m.csv", {}, ALL)


@pytest.mark.parametrize("names", [{"patient": " "}, {"patient": "x" * 400}, {"patient": "P", "visit": "v" * 200}])
def test_a_name_that_no_file_can_have(tmp_path, names):
    with pytest.raises(ConversionError, match=r"patient '.*', visit '.*': expected names of 1 to 150 letters.*Rename"):
        find_scans(None, {"flair": write(tmp_path, "flair.nii.gz") / "flair.nii.gz"}, ALL, **names)


@pytest.mark.parametrize("name", ["Özil", "../x", "=1+1", "<b>", "-P1", ".hidden", "李"])
def test_every_patient_has_a_page_of_a_plain_name(name):
    assert plain_name(page_name(name), "page")


@pytest.mark.parametrize("columns", ["patient_id,visit,week,flair,t1\nP1,base,0,,", "patient_id,visit,week\nP1,base,0"])
def test_a_manifest_without_paths_says_what_to_fill_in(tmp_path, columns):
    (tmp_path / "m.csv").write_text(columns + "\n")
    with pytest.raises(ConversionError, match=r"expected paths in columns .*Fill in one of them for each visit\.$"):
        find_scans(tmp_path / "m.csv", {}, ALL)
