import io
import sys

import pytest

from nnunet_ms.analysis.endpoints_cli import main
from nnunet_ms.analysis.run_trial import run_trial
from nnunet_ms.progress import bar, unseen
from tests.analysis.endpoints.test_population_effects import POPULATIONS
from tests.analysis.synthetic_trial import SETTINGS, patients, write_trial


class Terminal(io.StringIO):
    """Takes what is written to stderr and says that it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def on_terminal(monkeypatch):
    """Call it in the test: pytest puts its own stderr in place when the test begins."""

    def switch():
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return switch


@pytest.mark.parametrize("progress", [bar, unseen])
def test_items_come_in_their_order(progress):
    assert list(progress([0, 24, 48], "weeks", str)) == [0, 24, 48]
    assert list(progress([], "weeks", str)) == []


def test_a_bar_names_what_is_at_work(on_terminal):
    terminal = on_terminal()
    weeks = bar([0, 24], "weeks", lambda week: f"week {week}")
    shown = [terminal.getvalue().rpartition("\r")[2].partition("|")[0] for _ in weeks]
    assert shown == ["weeks: week 0:   0%", "weeks: week 24:  50%"]
    assert "weeks: 100%" in terminal.getvalue()


def test_no_bar_without_items(on_terminal):
    terminal = on_terminal()
    assert list(bar([], "weeks", str)) == []
    assert terminal.getvalue() == ""


def test_no_bar_where_stderr_is_no_terminal(capsys):
    assert list(bar([1, 2], "weeks", str)) == [1, 2]
    assert capsys.readouterr().err == ""


def test_every_step_of_a_trial_is_announced_once(tmp_path):
    seen = {}

    def progress(items, title, name):
        assert title not in seen
        seen[title] = [name(item) for item in items]
        return items

    table = patients().assign(ITTFL="Y", PPROTFL=["N", "N", *["Y"] * 58])
    text = SETTINGS.replace("[lesions]", POPULATIONS)
    run_trial(write_trial(tmp_path, text, patients=table), tmp_path / "out", progress=progress)
    assert list(seen) == ["endpoints", "populations", "figures", "tables", "listings"]
    assert {"T2 volume", "progression", "effects by rater, bootstrap"} <= set(seen["endpoints"])
    assert seen["populations"] == ["per_protocol"]
    assert {f"{stem}.svg" for stem in seen["figures"]} == {p.name for p in (tmp_path / "out/figures").glob("*.svg")}
    assert len(seen["tables"]) > 5


def test_the_command_shows_bars_and_prints_what_it_did_before(tmp_path, on_terminal, capsys):
    terminal = on_terminal()
    assert main(["run", str(write_trial(tmp_path)), "-o", str(tmp_path / "out")]) == 0
    assert "effects by rater, bootstrap" in terminal.getvalue()
    assert "figures: 100%" in terminal.getvalue()
    assert capsys.readouterr().out.count("\n") == 1
