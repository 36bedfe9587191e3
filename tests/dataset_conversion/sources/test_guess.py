"""Patterns from names: trees whose answer is written beside them, and the published lists."""

import re

import pytest

from nnunet_ms.dataset_conversion.sources.guess import guess_patterns, role_by_name
from nnunet_ms.dataset_conversion.sources.patterns import expression

PAIR = ("001", "002")
TREES = {  # what the tree is -> its files, patterns, and what must be said
    "flat": (
        [f"{p}_{s}.nii.gz" for p in PAIR for s in ("FLAIR", "T1w", "mask")],
        {"flair": "{patient}_FLAIR.nii.gz", "t1": "{patient}_T1w.nii.gz", "t2_lesions": "{patient}_mask.nii.gz"},
        "",
    ),
    "BIDS": (
        [f"sub-{p}/ses-{v}/anat/sub-{p}_ses-{v}_{s}.nii.gz" for p in PAIR for v in "12" for s in ("T2w", "ce-gd_T1w")],
        {
            "t2": "sub-{patient}/ses-{visit}/anat/sub-{patient}_ses-{visit}_T2w.nii.gz",
            "t1post": "sub-{patient}/ses-{visit}/anat/sub-{patient}_ses-{visit}_ce-gd_T1w.nii.gz",
        },
        "",
    ),
    "sites": (
        [f"{c}/{c[0]}{n}/{s}.nii" for c in ("Rome", "Oslo") for n in (1, 2) for s in ("flair", "lesions")],
        {"flair": "{site}/{patient}/flair.nii", "t2_lesions": "{site}/{patient}/lesions.nii"},
        "",
    ),
    "dates, more than patients": (
        [f"{p}/20{y}-05-06/T2_FLAIR.nii.gz" for p in ("Anna", "Bert") for y in (18, 19, 20, 21)],
        {"flair": "{patient}/{visit}/T2_FLAIR.nii.gz"},
        "",
    ),
    "weeks": (
        [f"study/ROM-{p}/week{w}/{s}.nii.gz" for p in PAIR for w in (0, 24, 48) for s in ("flair", "t1")],
        {"flair": "study/ROM-{patient}/week{week}/flair.nii.gz", "t1": "study/ROM-{patient}/week{week}/t1.nii.gz"},
        "",
    ),
    "a folder per sequence": (
        [f"{s}/{p}.nii.gz" for s in ("FLAIR", "T1", "masks") for p in PAIR],
        {"flair": "FLAIR/{patient}.nii.gz", "t1": "T1/{patient}.nii.gz", "t2_lesions": "masks/{patient}.nii.gz"},
        "",
    ),
    "T1 as a visit": (
        [f"P{n}/T{t}/P{n}_T{t}_{s}.nii.gz" for n in (1, 2, 3) for t in (1, 2) for s in ("FLAIR", "T1")],
        {s.lower(): f"{{patient}}/{{visit}}/{{patient}}_{{visit}}_{s}.nii.gz" for s in ("FLAIR", "T1")},
        "names speak of flair and t1: taken for flair",
    ),
    "numbers of series": (
        [f"{p}/{p}_{n}_t2_space_dark-fluid.nii.gz" for p, n in (("A", 3), ("B", 5), ("C", 4))],
        {"flair": "{patient}/{patient}_*_t2_space_dark-fluid.nii.gz"},
        "'3' varies and is neither patient nor visit",
    ),
    "no words": (
        [f"{f}/{p}.nii.gz" for f in ("images", "labels") for p in PAIR],
        {"flair": "images/{patient}.nii.gz", "t2_lesions": "labels/{patient}.nii.gz"},
        "no word of the names tells a sequence",
    ),
    "one patient": (
        ["P07/base/FLAIR.nii.gz", "P07/base/T1_post.nii.gz", "P07/base/brain_mask.nii.gz"],
        {"flair": "{patient}/base/FLAIR.nii.gz", "t1post": "{patient}/base/T1_post.nii.gz",
         "brain_mask": "{patient}/base/brain_mask.nii.gz"},
        "one file only",
    ),
    "brackets in names": (
        [f"{p}/FLAIR [3D].nii.gz" for p in PAIR],
        {"flair": "{patient}/FLAIR [[]3D[]].nii.gz"},
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TREES)
def test_patterns_of_a_tree_and_each_matches_its_files_and_no_other(what):
    files, expected, said = TREES[what]
    found = guess_patterns([*files, "notes.txt", ".hidden/FLAIR.nii.gz"])
    assert {name: several[0] for name, several in found.patterns.items()} == expected
    assert all(len(several) == 1 for several in found.patterns.values())
    assert (said in " ".join(found.unsure)) if said else found.unsure == ()
    taken = [p for p in files if any(re.fullmatch(expression(q), p) for q in expected.values())]
    assert sorted(taken) == sorted(files)
    assert found.unused == ()


def test_two_ways_of_naming_are_two_patterns_the_more_frequent_first():
    files = [f"P{n}/FLAIR.nii.gz" for n in range(3)] + [f"P{n}/x_FLAIR_2.nii.gz" for n in (7, 8)]
    found = guess_patterns(files)
    assert found.patterns["flair"] == ("{patient}/FLAIR.nii.gz", "{patient}/x_FLAIR_2.nii.gz")
    assert found.unsure[0].startswith(
        "flair: 2 ways of naming; where a visit has several, the first counts: {patient}/FL"
    )


def test_a_part_that_is_the_same_in_all_files_of_one_sequence_is_known_from_another():
    # T2 of one patient only: its folder does not vary, its visits do
    files = [f"{p}/study{v}_FLAIR.nii.gz" for p in ("patient01", "patient03") for v in "12"]
    files += [f"patient01/study{v}_T2W.nii.gz" for v in "12"] + ["patient01/gt.nii.gz"]
    found = guess_patterns(files)
    assert found.patterns == {
        "flair": ("{patient}/{visit}_FLAIR.nii.gz",),
        "t2": ("{patient}/{visit}_T2W.nii.gz",),
        "t2_lesions": ("{patient}/gt.nii.gz",),
    }


def test_files_in_the_source_itself_have_no_patient():
    found = guess_patterns(["FLAIR.nii.gz", "T1.nii.gz"])
    assert found.patterns == {}
    assert found.unsure[0] == "flair: FLAIR.nii.gz has no patient in its path: give the folder above it"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("T1WKS", "t1post"), ("t1_gd", "t1post"), ("T1W", "t1"), ("T2W_TSE", "t2"), ("t2_flair_3d", "flair"),
        ("consensus_gt", "t2_lesions"), ("gt", "t2_lesions"), ("wmh", "t2_lesions"), ("black_holes", "t1_unenhancing"),
        ("enhancing_lesions", "t1_enhancing"), ("unenhancing", "t1_unenhancing"), ("brainmask", "brain_mask"),
        ("FLAIR_brain_mask", "brain_mask"), ("new_lesions", "new_lesions"), ("SWI", "t2star"), ("dwi_b1000", "other"),
        ("scan", ""), ("DP", "pd"), ("QSM", "qsm"), ("FLAIR_brain", "flair"), ("agt", ""),
    ],
)  # fmt: skip
def test_words(name, role):
    assert role_by_name(f"P/{name}.nii.gz") == role


@pytest.mark.parametrize(
    "part", ["cross_sectional/coregistered/", "longitudinal/coregistered/", "cross_sectional/raw/"]
)
def test_the_published_lists(shared_data, part):
    lines = (shared_data / "published_layouts" / "open_ms_data.txt").read_text().splitlines()
    files = [line.removeprefix(part) for line in lines if line.startswith(part)]
    found = guess_patterns(files)
    assert "t2_lesions" in found.patterns
    for several in found.patterns.values():
        assert all(pattern.startswith("{patient}/") for pattern in several)
