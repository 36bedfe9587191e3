"""BIDS in, BIDS derivatives out, folds and checks in between, on a generated data set."""

from nnunet_ms.dataset_conversion.sources import bids


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
