"""BIDS in, BIDS derivatives out, folds and checks in between, on a generated data set."""

import numpy as np
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.sources import bids
from tests.dataset_conversion.conftest import SHAPE, save


def test_contrast_enhanced_and_plain_t1_are_told_apart(bids_folder):
    case = bids.find_cases(bids.SOURCE.request(bids_folder, "flair,t1,t1post"))[0]
    assert case.problem == ""
    assert case.images["t1"].name == "sub-01_ses-1_T1w.nii.gz"
    assert case.images["t1post"].name == "sub-01_ses-1_ce-gadolinium_T1w.nii.gz"


def test_two_runs_are_listed_and_not_chosen_between(bids_folder):
    image = bids_folder / "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz"
    image.with_name("sub-01_ses-1_run-2_FLAIR.nii.gz").write_bytes(image.read_bytes())
    case = bids.find_cases(bids.SOURCE.request(bids_folder, "flair"))[0]
    assert "expected one file, found ['sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz'" in case.problem


def found(folder, channels="flair", target="t2_lesions", prefer=""):
    return bids.find_cases(bids.SOURCE.request(folder, channels, target, prefer=prefer))


def one_session(folder, *masks):
    """A session with a FLAIR, and mask files (empty: names alone are looked at) below the data set."""
    (folder / "sub-01/ses-1/anat").mkdir(parents=True)
    (folder / "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz").touch()
    for mask in masks:
        path = folder / mask.format(a="sub-01/ses-1/anat", s="sub-01_ses-1")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    "mask",
    [
        "derivatives/manual/{a}/{s}_label-lesion_mask",
        "derivatives/manual/{a}/{s}_desc-lesion_dseg",
        "derivatives/lesions/v2/{a}/{s}_space-orig_label-L_desc-expert_mask",
        "derivatives/{a}/{s}_acq-3d_run-1_label-WMH_mask",
        "derivatives/labels/{a}/{s}_FLAIR_lesion-manual",
        "derivatives/labels/{a}/{s}_FLAIR_seg-lesion_desc-rater1_mask",
        "derivatives/labels/{a}/{s}_FLAIR_lesion_mask",
        "{a}/{s}_T1w_label-lesion_roi",  # fMRIPrep, beside the image
        "{a}/{s}_FLAIR_label-lesions_roi",
        "{a}/{s}_label-lesion_mask",
    ],
)
def test_masks_are_known_under_the_names_that_tools_give_them(tmp_path, mask):
    one_session(tmp_path, f"{mask}.nii.gz")
    (case,) = found(tmp_path)
    assert case.problem == ""
    assert case.label.files["consensus"].name == f"{mask}.nii.gz".format(a="", s="sub-01_ses-1").rpartition("/")[2]
    assert case.images["flair"].name == "sub-01_ses-1_FLAIR.nii.gz"


@pytest.mark.parametrize(
    "other",
    [
        "derivatives/seg/{a}/{s}_desc-aseg_dseg.nii.gz",
        "derivatives/labels/{a}/{s}_FLAIR_lesions.json",
        "derivatives/labels/{a}/{s}_label-GM_probseg.nii.gz",
        "derivatives/labels/sub-01/{s}_label-lesion_mask.nii.gz",  # no anat
        "sourcedata/{a}/{s}_label-lesion_mask.nii.gz",
    ],
)
def test_sessions_without_a_mask_say_where_one_was_looked_for(tmp_path, other):
    one_session(tmp_path, other)
    (case,) = found(tmp_path)
    assert case.label is None
    assert case.remark.startswith("without a mask of t2_lesions, looked for label-lesion, label-L, desc-lesion")
    passed = f"; passed over were files such as {other.format(a='sub-01/ses-1/anat', s='sub-01_ses-1')}"
    assert (passed in case.remark) is other.endswith(".nii.gz")


def test_a_mask_in_a_template_is_named_and_one_beside_it_is_taken(tmp_path):
    template = "derivatives/m/{a}/{s}_space-MNI152NLin2009cAsym_label-lesion_mask.nii.gz"
    one_session(tmp_path / "one", template)
    (case,) = found(tmp_path / "one")
    assert "expected a mask in the space of its image" in case.problem
    one_session(tmp_path / "two", template, "derivatives/m/{a}/{s}_space-FLAIR_label-lesion_mask.nii.gz")
    (case,) = found(tmp_path / "two")
    assert (case.problem, case.label.files["consensus"].name) == (
        "",
        "sub-01_ses-1_space-FLAIR_label-lesion_mask.nii.gz",
    )


def test_one_of_several_experts_is_chosen_by_prefer(tmp_path):
    one_session(tmp_path, *(f"derivatives/m/{{a}}/{{s}}_label-lesion_desc-expert{i}_mask.nii.gz" for i in (1, 2)))
    (case,) = found(tmp_path)
    assert "Choose with --prefer, such as run=last, acq=3d or mask.desc=expert1" in case.problem
    (case,) = found(tmp_path, prefer="mask.desc=expert2")
    assert case.label.files["consensus"].name == "sub-01_ses-1_label-lesion_desc-expert2_mask.nii.gz"


@pytest.mark.parametrize("which", ["sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz", "derivatives/m/x_mask"])
@pytest.mark.parametrize("kind", ["annex link", "unlocked annex", "lfs", "broken link"])
def test_content_that_was_not_fetched_is_named_with_the_way_to_get_it(tmp_path, which, kind):
    mask = "derivatives/m/{a}/{s}_label-lesion_mask.nii.gz"
    one_session(tmp_path, mask)
    path = tmp_path / (which if "FLAIR" in which else mask.format(a="sub-01/ses-1/anat", s="sub-01_ses-1"))
    path.unlink()
    if kind == "annex link":
        path.symlink_to("../../../.git/annex/objects/Gx/9k/MD5E-s123--abc.nii.gz/MD5E-s123--abc.nii.gz")
    elif kind == "broken link":
        path.symlink_to("elsewhere.nii.gz")
    else:
        pointer = (
            "/annex/objects/MD5E-s1--abc" if kind == "unlocked annex" else "version https://git-lfs.github.com/spec/v1"
        )
        path.write_text(f"{pointer}\n")
    (case,) = found(tmp_path)
    advice = {"lfs": "git lfs pull", "broken link": "copy the file there"}.get(kind, "datalad get")
    assert path.name in case.problem
    assert "whose content is not there" in case.problem
    assert advice in case.problem


def test_a_data_set_without_masks_says_so_in_one_line(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for subject in ("01", "02"):
        save(
            tmp_path / f"bids/sub-{subject}/anat/sub-{subject}_FLAIR.nii.gz", rng.integers(1, 9, SHAPE).astype(np.int16)
        )
    main(["bids", str(tmp_path / "bids"), "--channels", "flair", "--dataset-id", "7", "--raw", str(tmp_path / "raw")])
    said = capsys.readouterr()
    assert "2 cases without a mask of t2_lesions, looked for label-lesion" in said.out + said.err


def test_a_mask_without_a_session_is_of_the_only_one_and_named_where_there_are_several(tmp_path):
    mask = "derivatives/m/sub-01/anat/sub-01_label-lesion_mask.nii.gz"
    one_session(tmp_path, mask)
    (case,) = found(tmp_path)
    assert (case.visit, case.problem) == ("1", "")
    assert case.label.files["consensus"].name == "sub-01_label-lesion_mask.nii.gz"
    assert case.remark == "with a mask that names no session, the only one"
    second = tmp_path / "sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii.gz"
    second.parent.mkdir(parents=True)
    second.touch()
    problems = [case.problem for case in found(tmp_path) if case.problem]
    assert problems == [
        "sub-01_label-lesion_mask.nii.gz: expected a mask of one session, found none in its name beside ses-1, ses-2. "
        "Add ses- to it."
    ]
    assert [case.label for case in found(tmp_path) if not case.problem] == [None, None]


def test_data_without_sessions_keep_their_masks(tmp_path):
    (tmp_path / "sub-01/anat").mkdir(parents=True)
    (tmp_path / "sub-01/anat/sub-01_FLAIR.nii.gz").touch()
    (tmp_path / "derivatives/m/sub-01/anat").mkdir(parents=True)
    (tmp_path / "derivatives/m/sub-01/anat/sub-01_label-lesion_mask.nii.gz").touch()
    (case,) = found(tmp_path)
    assert (case.visit, case.problem, case.remark) == ("", "", "")
    assert case.label is not None
