"""`back` and `splits`: words that they take and lines that they print."""

from typing import get_args

import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.dataset_cli import splits_parser
from nnunet_ms.dataset_conversion.raw_dataset.fold_files import Scheme
from tests.dataset_conversion.conftest import convert_trial


def test_the_command_offers_the_schemes_of_the_function():
    (action,) = (action for action in splits_parser()._actions if action.dest == "scheme")
    assert tuple(action.choices) == get_args(Scheme)


def test_each_says_what_it_wrote(trial, raw, tmp_path, capsys):
    assert convert_trial(trial, raw) == 0
    dataset = raw / "Dataset005_Trial"
    capsys.readouterr()
    assert main(["splits", str(dataset), "--folds", "3"]) == 0
    assert capsys.readouterr().out == f"wrote 3 folds to {dataset / 'splits_final.json'}\n"
    assert main(["back", str(dataset), str(dataset / "labelsTr"), "-o", str(tmp_path / "back")]) == 0
    assert capsys.readouterr().out == f"wrote 6 masks to {tmp_path / 'back'}\n"


@pytest.mark.parametrize("command", ["back", "splits"])
def test_a_folder_that_is_no_dataset(tmp_path, capsys, command):
    more = [str(tmp_path), "-o", str(tmp_path / "out")] if command == "back" else []
    assert main([command, str(tmp_path), *more]) == 2
    said = f"{tmp_path}: expected cases.csv in it, found none. Is this the folder of a dataset?"
    assert capsys.readouterr().err == f"nnunet-ms-convert {command}: {said}\n"
