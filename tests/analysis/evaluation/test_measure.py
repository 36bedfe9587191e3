"""Oracle: `nnunet-ms-evaluate` of the same masks beside references, whose columns must be the same numbers."""

import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import nnunet_ms as ms
from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints_cli import main as endpoints
from nnunet_ms.analysis.evaluation.evaluate import evaluate
from nnunet_ms.analysis.evaluation.measure import measure
from nnunet_ms.analysis.measure_cli import main
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import ImageError, OptionError, SettingsError
from tests.analysis.synthetic_trial import patients

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
WEEKS = (0, 24, 48, 96)


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data.astype(np.uint8), AFFINE), path)


def scans(seed):
    """Masks (4 visits) that grow, shrink, come and go."""
    rng = np.random.default_rng(seed)
    now = np.zeros((24, 24, 10), dtype=bool)
    for _ in WEEKS:
        for x, y, z in rng.integers(2, (20, 20, 7), (3, 3)):
            now[x : x + rng.integers(1, 4), y : y + 3, z : z + 2] ^= True
        yield now.copy()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folder with `masks`, `references`, `images` and cases.csv of eight patients with four visits."""
    folder = tmp_path_factory.mktemp("study")
    rows = []
    for number in range(8):
        for week, mask, other in zip(WEEKS, scans(number), scans(100 + number), strict=True):
            name = f"P{number:03d}_w{week}"
            rows.append((name, f"P{number:03d}", f"w{week}", week, "test"))
            save(folder / "masks" / f"{name}.nii.gz", mask)
            save(folder / "references" / f"{name}.nii.gz", other)
            save(folder / "images" / f"{name}_0000.nii.gz", 40 + 60 * mask + 20 * other)
    table = pd.DataFrame(rows, columns=["case_id", "patient_id", "visit", "week", "role"])
    table.to_csv(folder / "cases.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def measured(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "measured"
    return measure(study / "masks", out, study / "cases.csv", rater="net", note="simulated")


@pytest.fixture(scope="module")
def evaluated(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "evaluated"
    return evaluate(study / "masks", study / "references", out, study / "cases.csv", rater="net", note="simulated")


def table(folder, name):
    frame = pd.read_csv(folder / name)
    return frame[frame["rater"] == "net"].reset_index(drop=True) if "rater" in frame else frame


@pytest.mark.parametrize("name", ["visits.csv", "lesions.csv", "lesion_changes.csv"])
def test_the_rows_are_those_of_an_evaluation_beside_references(measured, evaluated, name):
    found, expected = table(measured.out, name), table(evaluated.out, name)
    assert len(found) > 20
    pd.testing.assert_frame_equal(found, expected[found.columns], check_exact=True)
    about_both = {"found", "overlap_voxels", "lesion_dice", "distance_mm"}
    assert set(expected.columns) - set(found.columns) <= about_both


def test_several_readers_labels_rules_and_maps(study, tmp_path):
    readers = {"one": study / "masks", "reference": study / "references"}
    done = measure(readers, tmp_path / "m", study / "cases.csv", rule="isbi2015", maps={"grey": study / "masks"})
    alone = measure(study / "references", tmp_path / "n", study / "cases.csv", rule="isbi2015", rater="reference")
    rows = done.visits[done.visits["rater"] == "reference"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, alone.visits)
    assert set(done.visits["rule"]) == {"isbi2015"}
    lesions = pd.read_csv(done.out / "lesions.csv")
    assert (lesions.loc[lesions["rater"] == "one", "grey"] == 1).all()  # the mean of a mask over its own lesions
    assert not (lesions.loc[lesions["rater"] == "reference", "grey"] == 1).all()


def test_two_types_in_one_mask_are_two_masks(study, tmp_path):
    both = tmp_path / "both"
    for path in (study / "masks").iterdir():
        mask, other = (np.asanyarray(nib.load(study / kind / path.name).dataobj) for kind in ("masks", "references"))
        save(both / path.name, np.where(mask, 1, np.where(other, 2, 0)))
    done = measure(both, tmp_path / "m", study / "cases.csv", labels={"a": 1, "b": 2})
    alone = measure(study / "masks", tmp_path / "n", study / "cases.csv", lesion_type="a")
    rows = done.visits[done.visits["lesion_type"] == "a"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, alone.visits)


def test_endpoints_take_the_output_as_it_is(study, tmp_path, capsys):
    out = tmp_path / "measured"
    assert main([str(study / "masks"), "--cases", str(study), "--rater", "net", "-o", str(out)]) == 0
    assert "net, t2_lesions: 32 masks of 8 patients" in capsys.readouterr().out
    patients(8).to_csv(tmp_path / "patients.csv", index=False)
    words = ["--patients", str(tmp_path / "patients.csv"), "--visits", str(out / "visits.csv")]
    assert endpoints(["init", str(tmp_path / "trial.toml"), *words]) == 0
    settings = read_settings(tmp_path / "trial.toml")
    assert settings.weeks == (24.0, 48.0, 96.0)
    found = compute_endpoints(read_trial(settings)).endpoints
    keys = {"endpoint": "new_t2_lesions", "analysis": "by_visit", "visit": "all", "stat_name": "lesions"}
    of_arms = found[np.logical_and.reduce([found[key] == value for key, value in keys.items()])]
    assert of_arms["stat"].sum() == pd.read_csv(out / "visits.csv")["new_lesion_count"].sum() > 0


def test_a_table_without_weeks_compares_nothing_and_says_so(study, tmp_path, capsys):
    assert main([str(study / "masks"), "-o", str(tmp_path / "m")]) == 0
    said = capsys.readouterr().out
    assert "0 compared with the visit before" in said
    assert "cases without a week: nnunet-ms-endpoints needs one" in said
    assert pd.read_csv(tmp_path / "m" / "visits.csv")["new_lesion_count"].isna().all()


def test_missing_foreign_and_damaged_masks_are_told(study, tmp_path, capsys):
    masks = tmp_path / "masks"
    shutil.copytree(study / "masks", masks)
    (masks / "P000_w24.nii.gz").write_bytes(b"no image")
    (masks / "P001_w24.nii.gz").rename(masks / "other.nii.gz")
    assert main([str(masks), "--cases", str(study / "cases.csv"), "-o", str(tmp_path / "m")]) == 1
    said = capsys.readouterr()
    assert "1 cases of the table of cases have no mask, such as P001_w24" in said.out
    assert "1 masks are not in the table of cases, such as other: left out" in said.out
    assert "case P000_w24" in said.err
    visits = pd.read_csv(tmp_path / "m" / "visits.csv").set_index("case_id")
    assert visits.loc["P000_w48", "previous_visit"] == "w0"  # the visit before the damaged one
    assert pd.read_csv(tmp_path / "m" / "failures.csv")["case_id"].tolist() == ["P000_w24"]


@pytest.mark.parametrize("images", [True, False])
def test_pictures_show_those_with_most_change_first(study, tmp_path, images):
    beside = {"images": study / "images"} if images else {}
    done = measure(study / "masks", tmp_path / "m", study / "cases.csv", pictures=3, **beside)
    page = (done.out / "qc.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in (done.out / "qc").iterdir()) == ["0001.png", "0002.png", "0003.png"]
    changed = done.visits[["new_lesion_count", "enlarging_lesion_count"]].astype(float).sum(axis=1)
    first = page.split("<h2>")[1].split(",")[0]
    assert changed[done.visits["case_id"] == first].tolist() == [changed.max()]


def test_the_picture_has_the_colours_of_what_came_and_went(study, tmp_path):
    first, second = np.zeros((2, 24, 24, 10), dtype=bool)
    first[3:8, 3:8, 4], second[3:8, 3:8, 4] = True, True  # both: purple
    first[15:20, 3:8, 4] = True  # gone: red
    second[3:8, 15:20, 4] = True  # new: blue
    for name, mask in {"P_a": first, "P_b": second}.items():
        save(tmp_path / "masks" / f"{name}.nii.gz", mask)
    rows = [("P_a", "P", "a", 0, "test"), ("P_b", "P", "b", 12, "test")]
    cases = pd.DataFrame(rows, columns=["case_id", "patient_id", "visit", "week", "role"])
    cases.to_csv(tmp_path / "cases.csv", index=False)
    done = measure(tmp_path / "masks", tmp_path / "m", tmp_path / "cases.csv", pictures=1)
    from matplotlib.image import imread

    pixels = imread(done.out / "qc" / "0001.png")[..., :3].reshape(-1, 3)
    red = ((pixels[:, 0] > 0.6) & (pixels[:, 1] < 0.2) & (pixels[:, 2] < 0.2)).sum()
    blue = ((pixels[:, 0] < 0.25) & (pixels[:, 1] < 0.45) & (pixels[:, 2] > 0.7)).sum()
    purple = ((abs(pixels[:, 0] - 0.5) < 0.06) & (pixels[:, 1] < 0.25) & (pixels[:, 2] > 0.5)).sum()
    assert min(red, blue, purple) > 500


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_write_the_same_bytes(study, measured, tmp_path, workers):
    done = measure(study / "masks", tmp_path / "m", study / "cases.csv", rater="net", note="simulated", workers=workers)
    for name in ("visits.csv", "lesions.csv", "lesion_changes.csv", "failures.csv"):
        assert (done.out / name).read_bytes() == (measured.out / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rule": "dice"}, SettingsError, "rules: expected different names"),
        ({"rater": "a/b"}, SettingsError, "rater"),
        ({"rater": ""}, SettingsError, "rater: expected a name, found a blank"),
        ({"labels": {"a": 1, "b": 1}}, SettingsError, "labels: expected different whole numbers"),
        ({"maps": {"volume_ml": "masks"}}, SettingsError, "lesions.csv has a column of this name"),
        ({"images": "nowhere"}, SettingsError, "expected a folder of images"),
        ({"pictures": -1}, OptionError, "pictures: expected a number of cases"),
        ({"masks": "images"}, SettingsError, "expected masks <case_id>.nii.gz of the cases named in"),
        ({"masks": "nowhere"}, SettingsError, "nowhere: expected a folder"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_written(study, tmp_path, arguments, error, message):
    given = {"masks": "masks", "cases": study / "cases.csv", **arguments}
    for name in ("masks", "images"):
        if name in given:
            given[name] = study / given[name]
    with pytest.raises(error, match=message):
        measure(given.pop("masks"), tmp_path / "m", **given)
    assert not (tmp_path / "m").exists()


def test_not_one_readable_mask_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.nii.gz").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"none of 1 masks could be measured\. a: "):
        measure(tmp_path / "masks", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_folder_with_other_files_is_not_replaced(study, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match=r"found thesis\.txt"):
        measure(study / "masks", tmp_path / "m")


def test_the_front_door_has_it(measured):
    assert ms.measure is measure
    assert measured.lesions["volume_ml"].sum() == pytest.approx(measured.visits["volume_ml"].sum())
    assert set(measured.changes["change"]) >= {"existing", "shrinking"}
