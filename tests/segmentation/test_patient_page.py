"""The page of a patient: what stands on it is read back from the HTML with a parser of Python's own."""

import html.parser
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.segmentation.page_words import (
    calibration_words,
    change_words,
    glance,
    known,
    place_rows,
    uncertainty_words,
)
from nnunet_ms.segmentation.patient_page import _course, write_patient_page
from nnunet_ms.segmentation.results import ModelNotes, PatientResult, ScanWarning, VisitResult

CARD = """# A model

## Results

| set | Dice |
|---|---|
| held out | .55 |

## Limits

not a medical device & new to <QSM>
"""
LESIONS = pd.DataFrame(
    {
        "lesion_id": [1, 2, 3],
        "volume_ml": [0.4, 0.1, 0.02],
        "x_mm": [9.0, 4.0, 12.0],
        "y_mm": [9.0, 4.0, 12.0],
        "z_mm": [9.0, 12.0, 15.0],
        "uncertainty": [0.1, 0.9, 0.6],
        "location": ["periventricular", "juxtacortical", "periventricular"],
    }
)


class Shown(html.parser.HTMLParser):
    """Words, images and links to elsewhere of a page."""

    def __init__(self):
        super().__init__()
        self.words, self.addresses, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def read(page):
    shown = Shown()
    shown.feed(page.read_text(encoding="utf-8"))
    shown.close()
    assert shown.open == []
    return " ".join(" ".join(shown.words).split()), shown.addresses


@pytest.fixture
def files(tmp_path):
    axes = np.indices((40, 44, 16))
    head = (((axes - np.array([20, 22, 8]).reshape(3, 1, 1, 1)) / np.array([17, 19, 7]).reshape(3, 1, 1, 1)) ** 2).sum(
        0
    ) < 1
    mask = np.zeros(head.shape, np.uint8)
    mask[12:16, 20:24, 6:9] = 1
    made = {
        "flair": (head * 100.0 + 60.0 * mask).astype(np.float32),
        "mask": mask,
        "entropy": 0.6 * mask.astype(np.float32),
    }
    for name, data in made.items():
        nib.save(nib.Nifti1Image(data, np.diag([2.0, 2.0, 6.0, 1.0])), tmp_path / f"{name}.nii.gz")
    return {name: tmp_path / f"{name}.nii.gz" for name in made}


def visit(files, name="base", **more):
    numbers = {"lesion_count": 3.0, "volume_ml": 0.52, "expected_volume_ml": 0.7, "psu": 0.25}
    numbers |= {"calibrated_volume_ml": 0.61, "calibrated_lower_ml": 0.31, "calibrated_upper_ml": float("inf")}
    return VisitResult(name, files["mask"], {"flair": files["flair"]}, LESIONS, numbers, **more)


def test_a_page_with_two_visits_shows_what_it_was_given(tmp_path, files):
    warning = ScanWarning("slice_thickness", "flair", "slices of 6 mm", "0.9 to 3.3 mm", "Look closely.")
    change = {"previous_visit": "base", "new_lesion_count": 2, "enlarging_lesion_count": 0, "change_note": ""}
    later = visit(
        files,
        "w24",
        week=24.0,
        date="2024-05-01",
        change=change,
        warnings=(warning,),
        maps={"entropy": files["entropy"]},
    )
    notes = ModelNotes("any==1", "Any sequence", "CC-BY-4.0", CARD, {"Slice thickness": "0.9 to 3.3 mm"})
    page = write_patient_page(
        tmp_path / "pages", PatientResult("P 01", (visit(files, week=0.0), later), notes, "nnunet-ms 0.2.0")
    )
    words, addresses = read(page)
    for text in (
        *("P 01", "Visit w24, week 24, 2024-05-01", "Visit base, week 0", "not a medical device", "0.52 ml", "0.70 ml"),
        *("0.31 ml or more", "0.61 ml"),
        *(
            "2 new, 0 enlarging lesions",
            "slice thickness",
            "slices of 6 mm",
            "expected: 0.9 to 3.3 mm",
            "Look closely.",
        ),
        *("any==1", "CC-BY-4.0", "nnunet-ms 0.2.0", "| held out | .55 |", "new to <QSM>", "75%", "juxtacortical"),
    ):
        assert text in words
    assert words.index("Visit w24, week 24, 2024-05-01 1 warning") < words.rindex("Visit base, week 0")  # latest first
    outside = [one for one in addresses if not one.startswith(("data:image/png;base64,", "#"))]
    assert outside == []
    assert sum(one.startswith("data:") for one in addresses) == 2


def test_a_page_of_a_plain_mask_says_what_is_not_known(tmp_path, files):
    bare = VisitResult(
        "", files["mask"], {"flair": files["flair"]}, LESIONS[["lesion_id", "volume_ml"]], {"volume_ml": float("nan")}
    )
    words, _ = read(write_patient_page(tmp_path, PatientResult("P1", (bare,), ModelNotes("folder"))))
    for text in ("Lesion volume 0.52 ml", "was not measured", "only what can be told without that is warned about"):
        assert text in words
    assert "nan" not in re.sub(r"[a-z]nan", "", words.lower())


NO_LESIONS = {
    "no rows of numbers": LESIONS.iloc[:0],
    "no rows of any kind": LESIONS.iloc[:0].astype(object),  # as tables come that never had a row
    "no columns but the needed ones": pd.DataFrame(columns=["lesion_id", "volume_ml"]),
    "no columns": pd.DataFrame(),
}


@pytest.mark.parametrize("lesions", NO_LESIONS.values(), ids=NO_LESIONS)
def test_a_scan_without_lesions_has_a_page_and_does_not_stop_the_other_visit(tmp_path, files, lesions):
    empty = VisitResult("w0", files["mask"], {"flair": files["flair"]}, lesions, {"volume_ml": 0.0})
    words, _ = read(write_patient_page(tmp_path, PatientResult("P1", (empty, visit(files)), ModelNotes("folder"))))
    assert "No lesion was found" in words
    assert "Visit base" in words


@pytest.mark.parametrize("given", [None, float("nan"), pd.NA, np.float64("nan"), pd.NaT])
def test_what_is_not_known_is_not_a_number(given):
    assert not known(given)


def test_places_and_certainty_are_counted_by_hand():
    assert place_rows(LESIONS)[0] == {"Place": "periventricular", "Lesions": "2", "Volume (ml)": "0.42"}
    said = uncertainty_words(VisitResult("", None, {}, LESIONS, {}))[0]
    assert "Of 3 lesions 1 came back nearly the same" in said
    assert "and 2 came back less than half" in said
    assert "no proof" in uncertainty_words(VisitResult("", None, {}, LESIONS[:0], {}))[0]


def test_two_runs_give_the_same_bytes(tmp_path, files):
    patient = PatientResult("P1", (visit(files, maps={"entropy": files["entropy"]}),), ModelNotes("any==1"))
    assert (
        write_patient_page(tmp_path / "a", patient).read_bytes()
        == write_patient_page(tmp_path / "b", patient).read_bytes()
    )


def test_a_patient_without_visits_a_bad_name_and_a_mask_elsewhere_are_told(tmp_path, files):
    with pytest.raises(SettingsError, match="expected a visit, found none"):
        write_patient_page(tmp_path, PatientResult("P1", (), ModelNotes("any")))
    with pytest.raises(SettingsError, match="patient_id: expected a plain name"):
        write_patient_page(tmp_path, PatientResult("../P1", (visit(files),), ModelNotes("any")))
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), files["mask"])
    with pytest.raises(ImageError, match=r"mask\.nii\.gz"):
        write_patient_page(tmp_path, PatientResult("P1", (visit(files),), ModelNotes("any")))


@pytest.mark.parametrize("note", ["", None, float("nan"), pd.NA])
def test_a_blank_note_is_none(note, files):
    change = {"change_note": note, "previous_visit": "base", "new_lesion_count": 2.0}
    one = replace(visit(files), numbers={"volume_calibration_note": note}, change=change)
    assert change_words(one) == ["Since visit base: 2 new lesions."]
    assert calibration_words(one) == []


def test_why_an_interval_has_no_upper_limit_is_told(files):
    numbers = {"calibrated_lower_ml": 2.0, "calibrated_upper_ml": float("inf"), "volume_calibration_note": "8 patients"}
    assert calibration_words(replace(visit(files), numbers=numbers)) == ["About the calibrated volume: 8 patients."]
    assert glance(replace(visit(files), numbers=numbers))["Interval (calibrated)"] == "2.00 ml or more"


def test_visits_of_different_numbers_keep_their_columns(files):
    visits = [replace(visit(files), numbers=one) for one in ({"volume_ml": 1.0}, {"expected_volume_ml": 2.0})]
    first, second = _course(PatientResult("P1", tuple(visits), ModelNotes("m")))
    assert list(first) == list(second)
    assert (first["Sum of probabilities"], second["Sum of probabilities"]) == ("not known", "2.00 ml")
