"""The dataset of a learning curve: what is refused, and what a fold trains on."""

import json

import pytest

from nnunet_ms.errors import SettingsError
from nnunet_ms.learning.studies import check_lesions, read_studies, steps_of
from tests.learning.centre import NAME, places, write_centre


def read(folder, dataset=816, **options):
    return read_studies(dataset, **places(folder), **options)


@pytest.fixture
def centre(tmp_path):
    write_centre(tmp_path, subsets=6, each=2)
    return tmp_path


def test_the_papers_example_train_on_1_test_on_2(centre):
    # Wahlig et al.: k = 1: train on subset 1, test on 2; k = 2: train on 1 and 2, test on 3; the last ones begin again.
    studies = read(centre)
    folds = json.loads((studies.preprocessed / "splits_final.json").read_text())
    assert studies.trained_on(1, 1) == studies.subsets[0]
    assert set(studies.trained_on(2, 2)) == {*studies.subsets[0], *studies.subsets[1]}
    assert set(studies.trained_on(2, 0)) == {*studies.subsets[4], *studies.subsets[5]}
    for k in range(1, 6):
        for test in range(6):
            fold = folds[studies.fold(k, test)]
            assert set(fold["train"]) == set(studies.trained_on(k, test))
            assert tuple(fold["val"]) == studies.subsets[test]


@pytest.mark.parametrize("dataset", [816, "816", NAME], ids=str)
def test_a_dataset_is_found_by_number_and_by_name(centre, dataset):
    studies = read(centre, dataset)
    assert (studies.number, studies.raw.name, studies.channels) == (816, NAME, ("FLAIR",))
    assert (studies.label, studies.value, studies.per_subset) == ("t2_lesions", 1, 2)


def test_sizes_are_multiples_of_a_subset(centre):
    studies = read(centre)
    assert steps_of(None, studies) == {2: 1, 4: 2, 6: 3, 8: 4, 10: 5}
    assert steps_of([8, 2], studies) == {2: 1, 8: 4}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([3], r"multiples of 2, the studies of a subset, found \[3\]\. Choose from 2,4,6,8,10\."),
        ([2, 5, 7], r"multiples of 2.*found \[5, 7\]"),
        ([0], r"multiples of 2.*found \[0\]"),
        ([-2], r"multiples of 2.*found \[-2\]"),
        ([12], r"12 studies are 6 subsets of 2, expected at most 5: there are 6, and one is tested\. Choose from 2,4"),
        ([2, 2], r"expected different sizes, found \[2, 2\]"),
        ([], r"expected different sizes, found \[\]"),
    ],
    ids=str,
)
def test_other_sizes_are_refused(centre, sizes, message):
    with pytest.raises(SettingsError, match=f"--sizes: .*{message}"):
        steps_of(sizes, read(centre))


def change_folds(folder, change):
    path = folder / "preprocessed" / NAME / "splits_final.json"
    folds = json.loads(path.read_text())
    path.write_text(json.dumps(change(folds)))


def swapped(folds):
    folds[7]["train"], folds[8]["train"] = folds[8]["train"], folds[7]["train"]
    return folds


@pytest.mark.parametrize(
    "change",
    [
        lambda folds: folds[:5],  # five folds, as nnU-Net's own
        lambda folds: folds[:-1],
        lambda folds: [],
        lambda folds: ["train"] * len(folds),
        lambda folds: [{"val": fold["val"]} for fold in folds],
        swapped,
        lambda folds: [{"train": fold["train"] * 2, "val": fold["val"]} for fold in folds],
        lambda folds: folds[6:12] + folds[:6] + folds[12:],
    ],
    ids=["five", "one less", "none", "no folds", "no train", "swapped", "twice", "other order"],
)
def test_folds_that_are_no_learning_curve_are_refused_with_the_command(centre, change):
    change_folds(centre, change)
    with pytest.raises(
        SettingsError, match=r"cyclic learning curve.*nnunet-ms-convert splits .*--scheme learning-curve"
    ):
        read(centre)


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (
            "preprocessed/splits",
            {},
            r"splits_final\.json: expected the folds .* found no file\. Run: nnunet-ms-convert",
        ),
        (
            "preprocessed/nnUNetPlansMS.json",
            {},
            r"expected plans of this name, found none\. Run: nnUNetv2_plan_and_pre",
        ),
        ("", {"plans": "nnUNetPlans"}, r"nnUNetPlans\.json: .* found nnUNetPlansMS\. Run"),
        ("", {"configuration": "3d_lowres"}, r"expected configuration 3d_lowres, found 3d_fullres, 2d\."),
        ("", {"configuration": "2d"}, r"nnUNetPlansMS_2d: expected the preprocessed studies, found no folder\. Run"),
        ("", {"dataset": 817}, r"expected one Dataset817_\*, found 0 of Dataset816_Few\."),
        ("", {"dataset": ""}, r"expected one , found 0 of Dataset816_Few"),
        ("", {"dataset": "/Dataset816_Few"}, r"found 0 of Dataset816_Few"),
        ("", {"dataset": "Dataset816_*"}, r"found 0 of Dataset816_Few"),
        ("", {"label": "rim"}, r"--label: expected one of t2_lesions, found 'rim'"),
        ("raw/dataset.json", {}, r"dataset\.json: expected this file of nnU-Net, found none"),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_makes_it(centre, damage, options, message):
    if damage:
        top, _, name = damage.partition("/")
        next((centre / top / NAME).glob(f"{name}*")).unlink()
    with pytest.raises(SettingsError, match=message):
        read(centre, **options)


def describe(folder, **changes):
    path = folder / "raw" / NAME / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_of_several_labels_one_is_chosen(centre):
    describe(centre, labels={"background": 0, "new": 1, "enlarging": 2, "all": [1, 2]})
    with pytest.raises(SettingsError, match=r"several labels, new, enlarging, all\. Say with --label"):
        read(centre)
    with pytest.raises(SettingsError, match=r"--label all: expected one value, found the region \[1, 2\]"):
        read(centre, label="all")
    assert read(centre, label="enlarging").value == 2


def test_other_image_formats_and_damaged_files_are_refused(centre):
    describe(centre, file_ending=".mha")
    with pytest.raises(SettingsError, match=r"expected file_ending \.nii\.gz, found '\.mha'"):
        read(centre)
    describe(centre, file_ending=".nii.gz", labels=None)
    with pytest.raises(SettingsError, match=r"dataset\.json: expected labels, found none"):
        read(centre)
    (centre / "raw" / NAME / "dataset.json").write_text("[]")
    with pytest.raises(SettingsError, match=r"expected a dict, found a list"):
        read(centre)
    (centre / "raw" / NAME / "dataset.json").write_text("{")
    with pytest.raises(SettingsError, match=r"expected JSON, cannot read it"):
        read(centre)


def test_without_nnunets_variables_they_are_asked_for(monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    with pytest.raises(SettingsError, match=r"nnUNet_raw: .* not set\. export nnUNet_raw=FOLDER"):
        read_studies(816)


@pytest.mark.parametrize(("empty", "found"), [((), []), (("S03",), ["S03"]), (("S00", "S05"), ["S00", "S05"])])
def test_studies_without_lesions_are_told(tmp_path, empty, found):
    write_centre(tmp_path, empty=empty)
    assert check_lesions(read(tmp_path)) == found


@pytest.mark.parametrize(("empty", "subset"), [(("S00", "S01"), 0), (("S02", "S03"), 1), (("S00", "S04", "S05"), 2)])
def test_a_subset_without_any_lesion_is_refused(tmp_path, empty, subset):
    write_centre(tmp_path, empty=empty)
    with pytest.raises(SettingsError, match=rf"no study of subset {subset} \(S0.* --folds 3 --seed 1"):
        check_lesions(read(tmp_path))
