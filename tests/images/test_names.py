"""Names of files as other systems leave them."""

import os
import unicodedata
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.evaluation.evaluate import evaluate
from nnunet_ms.dataset_conversion.convert import convert
from nnunet_ms.images.names import file_called, is_text, one_form, stem_of

DRAWN = np.zeros((8, 9, 6), np.uint8)
DRAWN[2:5, 3:6, 2:4] = 1


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("P1.nii.gz", "P1"),
        ("P1.NII.GZ", "P1"),
        ("P1.Nii", "P1"),
        ("P1.v2.nii.gz", "P1.v2"),
        ("._P1.nii.gz", ""),
        (".DS_Store", ""),
        (".nii.gz", ""),
        ("P1.nii.gz:Zone.Identifier", ""),
        ("P1.nii.gz.part", ""),
        (unicodedata.normalize("NFD", "Åse.nii.gz"), "Åse"),
    ],
)
def test_stems(name, stem):
    assert stem_of(name) == stem


def test_a_file_is_found_in_either_form(tmp_path):
    (tmp_path / unicodedata.normalize("NFD", "Åse.nii")).touch()
    assert one_form(file_called(tmp_path, "Åse").name) == "Åse.nii"
    assert file_called(tmp_path, "Bo") == tmp_path / "Bo.nii.gz"
    assert is_text("Åse")
    assert not is_text(os.fsdecode(b"\xc5se"))


def test_evaluation_pairs_forms_and_suffixes_and_lists_other_bytes(write_nifti, tmp_path):
    # Right: Dice 1 of masks that are the references; the case whose name is Latin-1 is listed, the others go on.
    for folder, name in (("r", "Åse.nii.gz"), ("p", unicodedata.normalize("NFD", "Åse.nii")), ("r", "B.nii.gz")):
        write_nifti(f"{folder}/{name}", DRAWN)
    write_nifti("p/B.NII.GZ.nii.gz", DRAWN).rename(tmp_path / "p" / "B.NII.GZ")
    (tmp_path / "p" / "._B.nii.gz").write_bytes(b"\0\5\x16\7")
    for folder in ("r", "p"):
        os.link(tmp_path / "r" / "B.nii.gz", Path(os.fsdecode(os.fsencode(tmp_path / folder) + b"/M\xfcller.nii.gz")))
    done = evaluate(tmp_path / "p", tmp_path / "r", tmp_path / "out")
    dice = done.agreement_cases.query("metric == 'dice'").set_index("case_id")["value"]
    assert dice.to_dict() == {"B": 1.0, "Åse": 1.0}
    assert [(failure.case, failure.reason[:31]) for failure in done.failures] == [
        (r"M\udcfcller", "expected a file name in UTF-8, ")
    ]
    assert r"M\udcfcller" in (tmp_path / "out" / "failures.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_a_manifest_names_files_in_either_form_and_hidden_files_are_none(tmp_path, stored, written):
    rng, rows = np.random.default_rng(0), []
    for patient in ("Åse", "Müller", "Çelik"):
        folder = tmp_path / "study" / unicodedata.normalize(stored, patient)
        folder.mkdir(parents=True)
        for name, data in (("FLAIR", rng.integers(0, 900, DRAWN.shape).astype(np.int16)), ("lesion", DRAWN)):
            nib.save(nib.Nifti1Image(data, np.eye(4)), folder / f"{name}.NII.GZ")
            (folder / f"._{name}.nii.gz").write_bytes(b"\0\5\x16\7")
        here = unicodedata.normalize(written, patient)
        rows.append({"patient_id": here, "visit": "1", "week": 0, "flair": f"{here}/FLAIR.NII.GZ"})
        rows[-1]["t2_lesions"] = f"{here}/lesion.NII.GZ"
    pd.DataFrame(rows).to_csv(tmp_path / "study" / "manifest.csv", index=False)
    done = convert(tmp_path / "study" / "manifest.csv", dataset_id=801, raw=tmp_path / "raw", channels="flair")
    assert (len(done.cases), done.failures) == (3, ())
    found = convert(tmp_path / "study", "ms3seg", dataset_id=802, raw=tmp_path / "raw", channels="flair")
    assert (len(found.cases), found.failures) == (3, ())
