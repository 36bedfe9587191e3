"""The challenge archives on generated folders with the true names, and the longitudinal one on the real data."""

import json
from importlib import import_module

import numpy as np
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.sources import isbi2015, msseg2_2021, msseg2016, wmh2017
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.volumes import read_mask
from tests.dataset_conversion.conftest import SHAPE, save

RATERS = {1: (2, 3, 4), 2: (3, 4, 5), 3: (3, 4, 9)}  # rows that a rater marks; two of three agree on 3 and 4


def image(seed):
    return np.random.default_rng(seed).integers(1, 900, SHAPE).astype(np.int16)


def mask(rows=(3, 4), value=1):
    data = np.zeros(SHAPE, np.uint8)
    data[list(rows), 4, 2] = value
    return data


def layout(kind, root):  # noqa: C901 - one branch per layout, each plain
    """Files of two patients in a kind's layout; returns how many cases there are."""
    names = {}
    if kind == "isbi2015":
        for patient in ("training01", "training02"):
            for visit in ("01", "02"):
                stem = f"{patient}_{visit}"
                names |= {f"{patient}/preprocessed/{stem}_{s}_pp.nii": None for s in ("flair", "t2", "mprage", "pd")}
                names |= {f"{patient}/masks/{stem}_mask{r}.nii": RATERS[r] for r in (1, 2)}
    elif kind == "msseg2016":
        for patient in ("Center_01/Patient_01", "Center_07/Patient_01"):
            sequences = ("FLAIR", "T2", "T1", "GADO", "DP")
            names |= {f"{patient}/Preprocessed_Data/{s}_preprocessed.nii.gz": None for s in sequences}
            names |= {f"{patient}/Raw_Data/{s}.nii.gz": None for s in sequences}
            names |= {f"{patient}/Masks/ManualSegmentation_{r}.nii.gz": RATERS[r] for r in (1, 2, 3)}
            names[f"{patient}/Masks/Consensus.nii.gz"] = (4,)
    elif kind == "msseg2_2021":
        for patient in ("013", "015"):
            names |= {f"{patient}/flair_time0{v}_on_middle_space.nii.gz": None for v in (1, 2)}
            names |= {f"{patient}/ground_truth_expert{r}.nii.gz": RATERS[r] for r in (1, 2, 3)}
            names[f"{patient}/ground_truth.nii.gz"] = (4,)
    elif kind == "mslesseg":
        for folder, stem in (("train/P1/T1", "P1_T1"), ("train/P1/T2", "P1_T2"), ("test/P54", "P54")):
            names |= {f"{folder}/{stem}_{s}.nii.gz": None for s in ("FLAIR", "T2", "T1")}
            names[f"{folder}/{stem}_MASK.nii.gz"] = (4,)
    elif kind == "shifts":
        for part in ("best/train", "ljubljana/dev_out"):
            names |= {f"{part}/{s.lower()}/1_{s}_isovox.nii.gz": None for s in ("FLAIR", "T1")}
            names |= {f"{part}/gt/1_gt_isovox.nii.gz": (4,), f"{part}/fg_mask/1_isovox_fg_mask.nii.gz": (3, 4)}
    else:
        for patient in ("Utrecht/0", "Amsterdam/GE3T/100"):
            names |= {f"{patient}/{f}/{s}.nii.gz": None for f in ("pre", "orig") for s in ("FLAIR", "T1")}
            names[f"{patient}/wmh.nii.gz"] = (4,)
    for seed, (name, rows) in enumerate(names.items()):
        save(root / name, image(seed) if rows is None else mask(rows))
    return {"isbi2015": 4, "mslesseg": 3}.get(kind, 2)


def found(module, path, channels, **options):
    """Cases that a source finds."""
    return module.SOURCE.find(module.SOURCE.request(path, channels, **options))


KINDS = ("isbi2015", "msseg2016", "msseg2_2021", "mslesseg", "shifts", "wmh2017")


@pytest.mark.parametrize("kind", KINDS)
def test_layout_with_the_true_names_becomes_a_dataset(kind, tmp_path):
    number = layout(kind, tmp_path / "source")
    out = ["--dataset-id", "7", "--raw", str(tmp_path / "raw"), "--folds", "2"]
    assert main([kind, str(tmp_path / "source"), *out]) == 0
    folder = next((tmp_path / "raw").iterdir())
    labels = sorted((folder / "labelsTr").iterdir())
    assert len(labels) == number
    expected = (3, 4) if kind == "isbi2015" else (4,)  # both raters, or the archive's own consensus
    for path in labels:
        np.testing.assert_array_equal(read_mask(path).data, mask(expected))
    assert json.loads((folder / "dataset.json").read_text())["citation"]


@pytest.mark.parametrize(("rater", "rows"), [("2", (3, 4, 5)), ("union", (2, 3, 4, 5)), ("consensus", (3, 4))])
def test_raters_of_isbi(tmp_path, rater, rows):
    layout("isbi2015", tmp_path / "source")
    arguments = ["--dataset-id", "7", "--raw", str(tmp_path), "--folds", "2", "--rater", rater]
    assert main(["isbi2015", str(tmp_path / "source"), *arguments]) == 0
    written = read_mask(tmp_path / "Dataset007_ISBI2015" / "labelsTr" / "training01_02.nii.gz")
    np.testing.assert_array_equal(written.data, mask(rows))


def test_all_raters_give_a_case_each_and_stay_with_their_patient(tmp_path):
    layout("isbi2015", tmp_path)
    cases = found(isbi2015, tmp_path, "flair", rater="all")
    assert len(cases) == 8
    assert {case.patient_id for case in cases} == {"training01", "training02"}
    assert len({case.case_id for case in cases}) == 8


def test_same_patient_number_at_two_centres_is_two_patients_with_their_site(tmp_path):
    layout("msseg2016", tmp_path)
    cases = found(msseg2016, tmp_path, "flair,t1post", variant="unprocessed")
    assert [case.patient_id for case in cases] == ["Center_01-Patient_01", "Center_07-Patient_01"]
    assert [case.site for case in cases] == ["Center_01", "Center_07"]
    assert cases[0].images["t1post"].name == "GADO.nii.gz"


def test_other_pathology_of_wmh_is_background(tmp_path):
    layout("wmh2017", tmp_path / "source")
    save(tmp_path / "source" / "Utrecht/0/wmh.nii.gz", mask((3,)) + mask((4,), value=2))
    arguments = ["--dataset-id", "7", "--raw", str(tmp_path), "--folds", "2"]
    assert main(["wmh2017", str(tmp_path / "source"), *arguments]) == 0
    written = read_mask(tmp_path / "Dataset007_WMH2017" / "labelsTr" / "Utrecht-0.nii.gz")
    np.testing.assert_array_equal(written.data, mask((3,)))


def test_missing_sequence_and_missing_rater_are_named(tmp_path, capsys):
    layout("msseg2_2021", tmp_path / "source")
    (tmp_path / "source" / "013" / "flair_time02_on_middle_space.nii.gz").unlink()
    (tmp_path / "source" / "015" / "ground_truth_expert3.nii.gz").unlink()
    assert (
        main(["msseg2_2021", str(tmp_path / "source"), "--dataset-id", "7", "--raw", str(tmp_path), "--rater", "3"])
        == 2
    )
    error = capsys.readouterr().err
    assert "patient 013 visit 1: found no ['flair_followup']" in error
    assert "patient 015 visit 1: found no mask of rater 3" in error


def test_a_patient_without_masks_tests_and_a_visit_without_one_is_left_out_if_its_patient_trains(tmp_path, capsys):
    layout("isbi2015", tmp_path / "source")
    for path in [*(tmp_path / "source").rglob("training02*mask*"), *(tmp_path / "source").rglob("training01_02_mask*")]:
        path.unlink()
    assert main(["isbi2015", str(tmp_path / "source"), "--dataset-id", "7", "--raw", str(tmp_path)]) == 1
    assert "case training01_02: patient training01 visit 02: found no mask, while" in capsys.readouterr().err
    folder = tmp_path / "Dataset007_ISBI2015"
    tests = [f"training02_0{visit}_000{i}.nii.gz" for visit in (1, 2) for i in range(3)]
    assert sorted(path.name for path in (folder / "imagesTs").iterdir()) == tests
    assert sorted(path.name for path in (folder / "labelsTr").iterdir()) == ["training01_01.nii.gz"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"rater": "9"}, "--rater 9: expected one of"), ({"variant": "raw"}, "--variant raw: expected one of")],
)
def test_unknown_rater_and_variant(tmp_path, arguments, message):
    layout("wmh2017", tmp_path)
    with pytest.raises(ConversionError, match=message):
        found(wmh2017, tmp_path, "flair", **arguments)


@pytest.mark.parametrize(
    ("kind", "patient", "case_id"),
    [
        ("isbi2015", "training01", "training01_02"),
        ("msseg2016", "Center_07/Patient_01", "Center_07-Patient_01"),
        ("msseg2_2021", "013", "013"),
        ("mslesseg", "train/P1", "P1_T2"),
        ("wmh2017", "Utrecht/0", "Utrecht-0"),
    ],
)
def test_one_patients_folder_is_a_source(kind, patient, case_id, tmp_path):
    layout(kind, tmp_path / "release")
    module = import_module(f"nnunet_ms.dataset_conversion.sources.{kind}")
    everybody = found(module, tmp_path / "release", None)
    alone = found(module, tmp_path / "release" / patient, None)
    assert case_id in {case.case_id for case in alone}
    assert {case.case_id for case in alone} < {case.case_id for case in everybody}
    assert all(case.label is not None and not case.problem for case in alone)


def test_loop_of_links_does_not_trap_the_walk_and_other_folders_are_refused(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(ConversionError, match="expected files like 013/flair_time01"):
        found(msseg2_2021, tmp_path, "flair_baseline")
