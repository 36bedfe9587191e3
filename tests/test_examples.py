"""Every command's help ends with an example: it parses, and those that need no trained model run on generated data."""

import re
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
SUBCOMMANDS = {
    "nnunet-ms-convert": ("", "check", "back", "splits"),
    "nnunet-ms-model": ("", "card", "range", "calibrate", "pack", "install", "list", "show", "check"),
    "nnunet-ms-stratify": ("", "prepare", "explain"),
    "nnunet-ms-rim": ("", "features", "train", "predict", "evaluate"),
}


def commands():
    return [(script, sub) for script in SCRIPTS for sub in SUBCOMMANDS.get(script, ("",))]


def main_of(script):
    module, function = SCRIPTS[script].split(":")
    return getattr(import_module(module), function)


def example_of(script, sub, capsys):
    with pytest.raises(SystemExit, match="0"):
        main_of(script)([*([sub] if sub else []), "--help"])
    text = capsys.readouterr().out
    assert "example:" in text
    lines = [line.strip() for line in text.split("example:")[1].strip().splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(f"{script} ")]


@pytest.mark.parametrize(("script", "sub"), commands(), ids=[" ".join(pair).strip() for pair in commands()])
def test_help_shows_an_example_that_parses(script, sub, capsys, monkeypatch):
    examples = example_of(script, sub, capsys)
    assert examples
    for words in examples:
        with monkeypatch.context() as patched:
            # the command stops before its work: arguments that argparse refuses leave with SystemExit
            module = import_module(SCRIPTS[script].split(":")[0])
            for place in (module, import_module("nnunet_ms.dataset_conversion.dataset_cli")):
                patched.setattr(place, "run", lambda *_, **__: 0, raising=False)
            patched.setattr("nnunet_ms.commands.run", lambda *_, **__: 0)
            assert main_of(script)(words[1:]) == 0


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what the examples name: a simulated trial as `study`, and nnU-Net's raw folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    monkeypatch.delenv("nnUNet_results", raising=False)
    return tmp_path


def run(words, place, **replaced):
    text = [re.sub(r"\$(\w+)", lambda m: str(place / "raw") if m[1] == "nnUNet_raw" else m[0], word) for word in words]
    text = [replaced.get(word.replace("-", "_").replace(",", "_"), word) for word in text]
    return main_of(text[0])(text[1:])


@pytest.mark.slow
def test_examples_of_the_way_run_one_after_the_other(place, capsys):
    (simulate,) = example_of("nnunet-ms-simulate", "", capsys)
    small = ["6" if word == "20" else word for word in simulate]  # six patients show the same way as twenty
    assert run(small, place) == 0
    (place / "simulated_trial").rename(place / "study")
    patients = sorted(pd.read_csv(place / "study" / "manifest.csv")["patient_id"].unique())
    (check,) = example_of("nnunet-ms-convert", "check", capsys)
    assert run(check, place) == 0
    convert = example_of("nnunet-ms-convert", "", capsys)[0]
    assert run(convert, place, P031_P032=",".join(patients[:2])) == 0
    (splits,) = example_of("nnunet-ms-convert", "splits", capsys)
    assert run([word.replace("5", "2") if word == "5" else word for word in splits], place) == 0
    (place / "predictions").symlink_to(place / "raw" / "Dataset801_Trial" / "labelsTs")
    (place / "labelsTs").symlink_to(place / "raw" / "Dataset801_Trial" / "labelsTs")
    (place / "cases.csv").symlink_to(place / "raw" / "Dataset801_Trial" / "cases.csv")
    (back,) = example_of("nnunet-ms-convert", "back", capsys)
    assert run([word.replace("Dataset801_BIDS", "Dataset801_Trial") for word in back], place) == 0
    evaluate = example_of("nnunet-ms-evaluate", "", capsys)[0]
    assert run(["1" if word == "4" else word for word in evaluate], place) == 0


def test_the_module_form_of_each_command_answers_help():
    for script, target in SCRIPTS.items():
        code = f"from {target.split(':')[0]} import main; main(['--help'])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, script
        assert done.stdout.startswith("usage: ")
