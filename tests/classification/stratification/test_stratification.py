"""The ten lines of docs/stratification.md, as they stand there, with fewer patients, folds and epochs."""

import re
import shlex
from pathlib import Path

import nibabel as nib
import pandas as pd
import pytest

from nnunet_ms.classification.stratify_cli import main as stratify
from nnunet_ms.simulation.cli import main as simulate

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "stratification.md").read_text(encoding="utf-8")
BLOCK = re.search(r"## Ten lines\n\n```bash\n(.+?)```", PAGE, re.DOTALL)[1]
LINES = [line for line in BLOCK.splitlines() if not line.startswith("#")]
PROGRAMS = {"nnunet-ms-simulate": simulate, "nnunet-ms-stratify": stratify}
MORE = {
    "disability": ["--seed", "3"],
    "prepare": ["--no-pictures"],
    "train": ["--folds", "3", "--epochs", "1"],
    "evaluate": ["--replicates", "20"],
    "explain": ["--methods", "gradcam", "--randomised", "0"],
}


def smaller(words):
    """Fourteen patients, three folds, one epoch, few resamples, one method."""
    words = ["14" if before == "--patients" else word for before, word in zip(["", *words], words, strict=False)]
    return [*words, *MORE.get(words[0], [])]


def test_the_page_has_ten_lines_of_commands_and_comments():
    assert len(LINES) <= 10
    assert {shlex.split(line)[0] for line in LINES} == set(PROGRAMS)


@pytest.mark.slow
def test_the_lines_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in LINES:
        program, *words = shlex.split(line)
        assert PROGRAMS[program](smaller(words)) == 0, line
    truth = pd.read_csv("disability/truth.csv")
    judged = pd.read_csv("models/cross_validation.csv")
    strategies = judged[judged["model"].isin(["global", "ventricles"])]
    assert len(strategies) == 2 * len(truth)
    both = strategies.merge(truth, on=["patient_id", "visit"])
    assert (both["truth"] == both["disabled"]).all()
    assert set(pd.read_csv("evaluation/results.csv")["data"]) == {"simulated"}
    predicted = pd.read_csv("predicted/predictions.csv")
    assert len(predicted) == len(truth)
    assert predicted["probability"].between(0, 1).all()
    maps = sorted(Path("explained").rglob("*.nii.gz"))
    assert (
        nib.load(maps[0]).shape == nib.load(Path("disability") / pd.read_csv("disability/manifest.csv")["t1"][0]).shape
    )
