"""`python -m nnunet_ms` and the scripts of the installation are the same commands."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nnunet_ms.__main__ import COMMANDS, main
from nnunet_ms.versions import version_line

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_words_are_the_scripts():
    assert {f"nnunet-ms-{word}": f"{module}:main" for word, (module, _) in COMMANDS.items()} == PROJECT["scripts"]


@pytest.mark.parametrize("words", [[], ["--help"]], ids=["nothing", "help"])
def test_every_command_is_listed_with_a_line(capsys, words):
    if words:
        with pytest.raises(SystemExit, match="0"):
            main(words)
    else:
        assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    for word, (_, line) in COMMANDS.items():
        assert f"  {word:<16}{line}" in lines


@pytest.mark.parametrize("word", COMMANDS)
def test_a_command_gets_the_words_that_follow_and_tells_versions(capsys, word):
    with pytest.raises(SystemExit, match="0"):
        main([word, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: nnunet-ms-{word} ")
    with pytest.raises(SystemExit, match="0"):
        main([word, "--version"])
    assert capsys.readouterr().out == f"{version_line()}\n"


def test_the_exit_code_is_the_commands_own(tmp_path, capsys):
    assert main(["endpoints", "run", str(tmp_path / "none.toml"), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("nnunet-ms-endpoints: ")
    with pytest.raises(SystemExit, match="2"):
        main(["endpoints", "run"])


def test_an_unknown_command_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["convrt"])
    error = capsys.readouterr().err
    assert "invalid choice: 'convrt'" in error
    assert all(word in error for word in COMMANDS)


def test_the_module_runs_and_its_version_imports_no_library():
    code = "import sys, runpy; sys.argv[1:] = ['--version']\n"
    code += "try: runpy.run_module('nnunet_ms', run_name='__main__')\n"
    code += "except SystemExit as end: assert not end.code; print('numpy' in sys.modules, 'torch' in sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{version_line()}\nFalse False\n"
