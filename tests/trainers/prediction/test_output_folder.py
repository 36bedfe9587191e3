import json

import pandas as pd
import pytest

from nnunet_ms.errors import SettingsError
from nnunet_ms.parallel import Failure
from nnunet_ms.trainers.prediction.image_cases import ImageCase
from nnunet_ms.trainers.prediction.output_folder import RECORD, SPOOL, claim, collect, record_of, withdraw
from nnunet_ms.trainers.prediction.settings import make_runner, resolve_measuring

RECORDED = {"sampling": {"seed": 0}, "threshold": 0.5}


def test_a_new_folder_is_claimed_and_given_back(tmp_path):
    claim(tmp_path / "out", RECORDED, resume=False)
    assert json.loads((tmp_path / "out" / RECORD).read_text()) == RECORDED
    (tmp_path / "out" / SPOOL).mkdir()
    withdraw(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_and_a_folder_of_others_are_refused(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(SettingsError, match="expected a folder or nothing, found a file"):
        claim(tmp_path / "out", RECORDED, resume=False)
    (tmp_path / "out").unlink()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").touch()
    with pytest.raises(SettingsError, match=r"expected an empty folder, found letter\.txt\. Choose another -o\.$"):
        claim(tmp_path / "out", RECORDED, resume=False)
    with pytest.raises(SettingsError, match="expected an empty folder"):
        claim(tmp_path / "out", resume=True, record=RECORDED)


def test_going_on_needs_to_be_asked_for_with_the_same_settings(tmp_path):
    claim(tmp_path / "out", RECORDED, resume=False)
    with pytest.raises(SettingsError, match="or go on with resume"):
        claim(tmp_path / "out", RECORDED, resume=False)
    claim(tmp_path / "out", resume=True, record=RECORDED)
    with pytest.raises(SettingsError, match="found other threshold"):
        claim(tmp_path / "out", resume=True, record={**RECORDED, "threshold": 0.4})


def test_the_record_holds_what_numbers_depend_on(model_folder):
    import torch

    from nnunet_ms.trainers.prediction.model import read_model

    runner = make_runner(read_model(model_folder), torch.device("cpu"), seed=3, dropout=0.2)
    record = record_of(runner, resolve_measuring(runner, fold_thresholds=(0.4, 0.6)), "net", "simulated")
    assert json.loads(json.dumps(record))["fold_thresholds"] == [0.4, 0.6]
    assert (record["samples"], record["sampling"]["seed"], record["sampling"]["probability"]) == (20, 3, 0.2)


def test_tables_of_cases_without_lesions_keep_their_columns(tmp_path):
    lesions = pd.DataFrame({"case_id": ["007"], "lesion_id": [1], "uncertainty": [0.5]})
    for case, rows in {"006": lesions[:0], "007": lesions}.items():
        (tmp_path / "out" / ".done" / case).mkdir(parents=True)
        rows.to_csv(tmp_path / "out" / ".done" / case / "lesions.csv", index=False)
        pd.DataFrame({"case_id": [case]}).to_csv(tmp_path / "out" / ".done" / case / "cases.csv", index=False)
    empty, both = (ImageCase(name, (), name) for name in ("006", "007"))
    found, cases = collect([empty, both], [Failure("x", "damaged")], tmp_path / "out")
    assert found["case_id"].tolist() == ["007"]
    assert cases["case_id"].tolist() == ["006", "007"]
    assert pd.read_csv(tmp_path / "out" / "failures.csv").to_dict("records") == [{"case_id": "x", "reason": "damaged"}]
    (nothing, _) = collect([empty], [], tmp_path / "out")
    assert list(nothing.columns) == list(lesions.columns)
    assert len(nothing) == 0
