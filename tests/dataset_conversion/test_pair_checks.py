"""Pairs of a BIDS data set, checked before and taken back after; oracle: where the lesions were drawn."""

import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import check, convert
from nnunet_ms.dataset_conversion.raw_dataset.write_back import write_back
from nnunet_ms.images.volumes import read_mask
from tests.dataset_conversion.test_new_lesions import (
    AFFINE,
    BOTH,
    KEPT,
    MOVED,
    NEW,
    another_head,
    ball,
    change,
    manifest,
    visit,
)

OTHER = (-25, -45, 26)
SESSIONS = {"1": ({KEPT: 8}, np.eye(4)), "2": ({KEPT: 8, NEW: 9}, MOVED), "3": ({KEPT: 8, OTHER: 9}, np.eye(4))}


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    """One subject: a baseline, a follow-up whose head has moved, with a new lesion, and one with another."""
    root, aside = tmp_path_factory.mktemp("bids") / "study", tmp_path_factory.mktemp("drawn")
    for seed, (name, (lesions, moved)) in enumerate(SESSIONS.items()):
        visit(aside / name, lesions, moved, seed)
        folder, stem = f"sub-01/ses-{name}/anat", f"sub-01_ses-{name}"
        for place, file, suffix in (("", "flair", "FLAIR"), ("derivatives/manual", "mask", "label-lesion_mask")):
            target = root / place / folder / f"{stem}_{suffix}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(aside / name / f"{file}.nii.gz", target)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "study", "BIDSVersion": "1.10.0"}))
    return root


@pytest.fixture(scope="module")
def dataset(bids, tmp_path_factory):
    words = {"channels": "flair", "dataset_id": 7, "accept": "mask_contrast,sequence,alignment"}
    return convert(bids, "bids", raw=tmp_path_factory.mktemp("raw"), pairs="baseline", registration="rigid", **words)


def shared(mask, centre, moved):
    """Dice of a returned mask with the ball that was drawn at a visit."""
    found, drawn = read_mask(mask).data != 0, ball(centre, 9, moved)
    return 2 * (found & drawn).sum() / (found.sum() + drawn.sum())


def test_follow_ups_of_one_baseline_return_to_it_side_by_side(dataset, bids):
    out = bids / "derivatives" / "net"
    back = write_back(dataset.folder, dataset.folder / "labelsTr", out, "net")
    stem = out / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_label-lesion_desc-net"
    paths = {name: stem.with_name(f"{stem.name}To{name}_mask.nii.gz") for name in ("2", "3")}
    assert sorted(back) == sorted(paths.values())
    for name, centre in (("2", NEW), ("3", OTHER)):
        assert shared(paths[name], centre, np.eye(4)) > 0.75
        told = json.loads(paths[name].with_name(paths[name].name.replace(".nii.gz", ".json")).read_text())
        assert any(f"ses-{name}" in uri for uri in told["Sources"])
        assert told["SpatialReference"].endswith("sub-01_ses-1_FLAIR.nii.gz")


def test_each_returns_to_its_own_follow_up_through_the_registration(dataset, tmp_path):
    back = write_back(dataset.folder, dataset.folder / "labelsTr", tmp_path / "back", "net", visit="followup")
    names = [f"sub-01_ses-{name}_label-lesion_desc-net_mask.nii.gz" for name in ("2", "3")]
    assert [path.name for path in back] == names
    for path, (centre, moved) in zip(back, ((NEW, MOVED), (OTHER, np.eye(4))), strict=True):
        assert shared(path, centre, moved) > 0.75
        np.testing.assert_allclose(nib.load(path).affine, AFFINE)


def test_segmentations_of_each_follow_up_have_their_names_beside_them(dataset, tmp_path):
    content = json.loads((dataset.folder / "dataset.json").read_text())
    copy = tmp_path / "raw" / dataset.folder.name
    shutil.copytree(dataset.folder, copy)
    content["labels"] = {"background": 0, "new": 1, "enlarging": 2}
    (copy / "dataset.json").write_text(json.dumps(content))
    back = write_back(copy, copy / "labelsTr", tmp_path / "back", "net")
    assert [path.name for path in back] == [f"sub-01_ses-1_desc-netTo{name}_dseg.nii.gz" for name in ("2", "3")]
    assert sorted(path.name for path in (tmp_path / "back").glob("*.tsv")) == [
        "desc-netTo2_dseg.tsv",
        "desc-netTo3_dseg.tsv",
    ]


# what only the registration shows, before anything is written --------------------------------------------------------


@pytest.fixture
def still(tmp_path):
    root = tmp_path / "study"
    visit(root / "P1" / "base", {KEPT: 10}, np.eye(4), 3)
    visit(root / "P1" / "w24", {KEPT: 10, NEW: 10}, np.eye(4), 4)
    return root


def arguments(root, *more, accept="mask_contrast,sequence,alignment"):
    words = ["check", "trial", str(manifest(root, BOTH)), "--channels", "flair", "--accept", accept]
    return [*words, "--pairs", "consecutive", "--registration", "none", *more]


def other_patient(root):
    change(root / "P1" / "w24" / "flair.nii.gz", another_head)


def reversed_order(root):
    lesions = {"base": {KEPT: 10, NEW: 10}, "w24": {KEPT: 10}}
    for name in ("base", "w24"):  # images exchanged, masks as they were
        visit(root / "P1" / name, lesions[name], np.eye(4), len(name))
    for name, drawn in (("base", {KEPT: 10}), ("w24", {KEPT: 10, NEW: 10})):
        mask = np.logical_or.reduce([ball(centre, radius, np.eye(4)) for centre, radius in drawn.items()])
        nib.save(nib.Nifti1Image(mask.astype(np.uint8), AFFINE), root / "P1" / name / "mask.nii.gz")


def one_scan_twice(root):
    shutil.copy(root / "P1" / "base" / "flair.nii.gz", root / "P1" / "w24" / "flair.nii.gz")


def one_scan_scaled(root):
    one_scan_twice(root)
    change(root / "P1" / "w24" / "flair.nii.gz", lambda data: 2.5 * data)


def heads_apart(root):
    for name in ("flair", "mask", "brain"):
        path = root / "P1" / "w24" / f"{name}.nii.gz"
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), AFFINE + 5000 * np.eye(4, k=3)), path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (other_patient, "below 0.6; written, and flagged in cases.csv"),
        (reversed_order, "are the visits reversed?"),
        (one_scan_twice, "found the voxels of flair_baseline"),
        (one_scan_scaled, "expected two scans, found one twice"),
        (heads_apart, "expected a brain that both visits show, found no voxel of it in both"),
    ],
)
def test_check_finds_what_a_conversion_would(still, tmp_path, capsys, spoil, words):
    spoil(still)
    before = sorted(tmp_path.rglob("*"))
    accept = "mask_contrast,sequence,alignment" + ",visits_order" * (spoil is other_patient)
    assert main(arguments(still, accept=accept)) == 2
    told = capsys.readouterr().out
    assert words in told
    assert "1 cases: 1 with errors" in told
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before] == [still / "manifest.csv"]


def test_check_of_a_good_pair_ends_with_0_and_poor_ones_can_be_accepted(still, capsys):
    assert main(arguments(still)) == 0
    other_patient(still)
    accept = "mask_contrast,sequence,alignment,visits_order"
    assert main(arguments(still, "--accept-poor-registration", accept=accept)) == 0
    assert "0 with errors" in capsys.readouterr().out


def test_check_without_pairs_refuses_their_options(still, capsys):
    words = ["check", "trial", str(manifest(still, BOTH)), "--channels", "flair", "--space", "halfway"]
    assert main(words) == 2
    assert "--space halfway: expected --pairs" in capsys.readouterr().err


def test_check_lists_a_follow_up_without_a_baseline_beside_good_pairs(still):
    visit(still / "P2" / "w24", {KEPT: 10}, np.eye(4), 9)
    table = pd.read_csv(manifest(still, [*BOTH, ("P2", "w24", 24)]))
    table.to_csv(still / "manifest.csv", index=False)
    words = {"channels": "flair", "accept": "mask_contrast,sequence,alignment", "registration": "none"}
    found = check(still / "manifest.csv", pairs="baseline", **words)
    assert (found.cases, sorted(found.failed)) == (2, ["P2_w24"])
