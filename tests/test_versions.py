"""Oracle: the installation records, read by `importlib.metadata`."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import nnunet_ms
from nnunet_ms import versions


def test_the_line_names_what_is_installed():
    shown = f"(nnU-Net {version('nnunetv2')}, torch {version('torch')})"
    assert versions.version_line() == f"nnunet-ms {version('nnunet-ms')} {shown}"
    assert nnunet_ms.__version__ == version("nnunet-ms")


def test_what_is_not_there_is_said(monkeypatch):
    assert versions.version_of("no-such-distribution") == "not installed"

    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", absent)
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert versions.version_of("nnunet-ms") == f"{project['version']}+checkout"
    assert versions.version_line().endswith("(nnU-Net not installed, torch not installed)")


@pytest.mark.parametrize("text", [None, '[project]\nname = "another"\nversion = "9"\n'])
def test_a_folder_above_that_is_no_checkout_of_ours_gives_no_version(monkeypatch, tmp_path, text):
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "nnunet_ms" / "versions.py"))
    assert versions._of_checkout() == "not installed"
