"""Oracle: tables joined by hand."""

import pytest

from nnunet_ms.classification.stratification.patient_risk import add_disability_risk
from nnunet_ms.classification.stratify_cli import main
from nnunet_ms.errors import TableError

PREDICTIONS = (
    "patient_id,visit,probability,threshold,disabled\nP1,base,0.7,0.5,1\nP1,w96,0.9,0.5,1\n007,base,0.25,0.5,0\n"
)
PATIENTS = 'patient_id,arm,age_years,note\nP1,active,40.50,"a, b"\n007,placebo,33,\nP3,active,50,x\n'


@pytest.fixture
def files(tmp_path):
    def write(predictions=PREDICTIONS, patients=PATIENTS):
        for name, text in (("predictions.csv", predictions), ("patients.csv", patients)):
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / "predictions.csv", tmp_path / "patients.csv", tmp_path / "out.csv"

    return write


def test_cells_are_copied_as_they_stand_and_the_risk_is_of_the_baseline(files, capsys):
    predictions, patients, out = files()
    arguments = ["risk", str(predictions), "--patients", str(patients), "--visit", "base", "-o", str(out)]
    assert main(arguments) == 1  # P3 has no prediction
    assert out.read_text().splitlines() == [
        "patient_id,arm,age_years,note,disability_risk", 'P1,active,40.50,"a, b",0.7', "007,placebo,33,,0.25",
        "P3,active,50,x,"]  # fmt: skip
    assert "no prediction of 1 patients: P3" in capsys.readouterr().err
    assert main(arguments) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "visit", "message"),
    [
        ({}, None, r"found several of patient P1.*\['base', 'w96'\]: --visit"),
        ({}, "baseline", r"visit 'baseline', found \['base', 'w96'\]"),
        ({"patients": "patient_id,arm\nQ1,a\n"}, "base", "found none of them, but Q1"),
        ({"patients": "subject,arm\nP1,a\n"}, "base", "column patient_id"),
        ({"patients": "patient_id,disability_risk\nP1,0.5\n"}, "base", "none called disability_risk, found it"),
        ({"predictions": PREDICTIONS.replace("0.7", "1.7")}, "base", "probability"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_meant(files, change, visit, message):
    predictions, patients, out = files(**change)
    with pytest.raises(TableError, match=message):
        add_disability_risk(predictions, patients, out, visit=visit)
    assert not out.exists()
