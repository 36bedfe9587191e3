"""The ten lines of docs/rim.md, as they stand there, with fewer patients and one small model."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from nnunet_ms.classification.rim_cli import main as rim
from nnunet_ms.simulation.cli import main as simulate

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "rim.md").read_text(encoding="utf-8")
BLOCK = re.search(r"## Ten lines\n\n```bash\n(.+?)```", PAGE, re.DOTALL)[1]
LINES = [line for line in BLOCK.splitlines() if not line.startswith("#")]
PROGRAMS = {"nnunet-ms-simulate": simulate, "nnunet-ms-rim": rim}


def smaller(words):
    """Fewer patients and folds, one model that is no network, one process, few resamples; a seed with enough rims."""
    fewer = {"--patients": "8", "--models": "aprl", "--workers": "1"}
    words = [fewer.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    words = [word.replace("models/qsmrimnet", "models/aprl") for word in words]
    more = {"rims": ["--seed", "5"], "train": ["--folds", "2"], "evaluate": ["--replicates", "50"]}
    return [*words, *more.get(words[1], [])]


def test_the_page_has_ten_lines_of_commands_and_comments():
    assert len(BLOCK.splitlines()) <= 12
    assert {shlex.split(line)[0] for line in LINES} == set(PROGRAMS)


@pytest.mark.slow
def test_the_lines_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in LINES:
        program, *words = smaller(shlex.split(line))
        code = PROGRAMS[program](words)
        assert code == 0, line
    results = pd.read_csv("evaluation/results.csv")
    assert set(results["data"]) == {"simulated"}
    assert results["rim_lesions"].iloc[0] > 0
    judged = pd.read_csv("predicted/rim_lesions.csv")
    assert len(judged) == len(pd.read_csv("features/lesions.csv"))
    assert Path("evaluation/evaluation.md").is_file()
    assert Path("evaluation_flair/results.csv").is_file()
