"""The command: arguments, exit codes, one line per error that the user can fix."""

import os
import subprocess
import sys
import time

import pytest

from nnunet_ms.simulation import cli
from nnunet_ms.simulation.images import files


def test_trial_writes_tables(tmp_path):
    assert cli.main(["trial", "--patients", "4", "-o", str(tmp_path / "out")]) == 0
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {
        *("patients.csv", "assessments.csv", "relapses.csv", "visits.csv", "truth.json", "trial.toml", "adam"),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trial", "--patients", "0"], "expected a whole number >= 1"),
        (["trial", "--preset", "opera9"], "invalid choice: 'opera9'"),
        (["phantom", "--grid", "7t"], "invalid choice: '7t'"),
        (["trial", "--seed", "-1"], "expected a whole number >= 0"),
        ([], "the following arguments are required"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path, capsys):
    output = ["-o", str(tmp_path / "out")] if arguments else []
    with pytest.raises(SystemExit, match="2"):
        cli.main([*arguments, *output])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_one_line_and_exit_code_2(tmp_path, capsys):
    (tmp_path / "other.txt").touch()
    assert cli.main(["trial", "-o", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nnunet-ms-simulate: ")
    assert error.count("\n") == 1


def test_qsm_needs_images(tmp_path, capsys):
    assert cli.main(["trial", "--qsm", "-o", str(tmp_path / "out")]) == 2
    assert "qsm: expected images beside it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_failed_patients_are_listed_and_left_out(tmp_path, monkeypatch, capsys):
    def no_luck(folder, grid, course, weeks, seed, index, qsm):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "write_patient", no_luck)
    assert cli.main(["phantom", "--patients", "2", "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "case P001" in error
    assert "case P002" in error
    assert (tmp_path / "out" / "manifest.csv").read_text().count("\n") == 1


def test_help_is_fast():
    command = [sys.executable, "-X", "importtime", "-m", "nnunet_ms.simulation.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "example:" in done.stdout
    assert not any(name in done.stderr for name in ("numpy", "scipy", "pandas", "nilearn"))


def test_a_run_killed_at_several_moments_ends_with_the_same_bytes(tmp_path):
    # Oracle: a run that nobody disturbed; the second kill hits a run that was already resuming.
    arguments = ["trial", "--patients", "3", "--images", "--seed", "5", "-o"]
    assert cli.main([*arguments, str(tmp_path / "whole")]) == 0
    folder = tmp_path / "killed"
    program = f"from nnunet_ms.simulation.cli import main; main({[*arguments, str(folder)]!r})"
    for count in (3, 17):
        run = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
        while run.poll() is None and images_in(folder) < count:
            time.sleep(0.02)
        assert run.poll() is None, "the run ended before it could be killed"
        run.kill()
        run.wait()
    assert not (folder / "manifest.csv").exists()
    assert cli.main([*arguments, str(folder)]) == 0
    found, expected = contents(folder), contents(tmp_path / "whole")
    assert found.keys() == expected.keys()
    assert found["truth.json"].splitlines() == expected["truth.json"].splitlines()
    assert [name for name in found if found[name] != expected[name]] == []


def images_in(folder):
    """How many there are at this moment; folders may go meanwhile, which `Path.glob` does not take."""
    return sum(name.endswith(".gz") for _, _, names in os.walk(folder / "images") for name in names)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_cluster_makes_the_same_images(tmp_path):
    for name, where in (("here", ()), ("there", ("--dask", "local:1"))):
        assert cli.main(["phantom", "--patients", "1", *where, "-o", str(tmp_path / name)]) == 0
    here, there = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("here", "there")
    )
    assert here == there
