"""Oracle: what each way of naming a table means."""

from pathlib import Path

import pytest

from nnunet_ms.classification.named_tables import named_table
from nnunet_ms.errors import TableError

FILES = ("cross_validation.csv", "predictions.csv")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a.csv", ("", "a.csv")),
        ("net=a.csv", ("net", "a.csv")),
        ("m", ("", "m/predictions.csv")),
        ("net=m", ("net", "m/predictions.csv")),
        ("both", ("", "both/cross_validation.csv")),
        ("x=y.csv", ("", "x=y.csv")),  # such a file is there
        ("up/x=y.csv", ("", "up/x=y.csv")),
    ],
)
def test_what_a_word_names(tmp_path, monkeypatch, given, expected):
    monkeypatch.chdir(tmp_path)
    for path in ("m/predictions.csv", "both/predictions.csv", "both/cross_validation.csv", "x=y.csv"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).touch()
    name, path = named_table(given, FILES)
    assert (name, path.as_posix()) == expected


def test_a_folder_without_a_table(tmp_path):
    with pytest.raises(TableError, match=r"expected cross_validation\.csv or predictions\.csv in it"):
        named_table(tmp_path, FILES)
