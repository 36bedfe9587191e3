"""What is an output, and what is none: each mistake is one line that says what to do."""

import json
import shutil
from pathlib import Path

import pytest

from nnunet_ms.comparison.compared_trial import read_output, read_trials
from nnunet_ms.errors import SettingsError, TableError


def test_an_output_is_read_with_its_settings(outputs):
    # Oracle: the settings and tables that the fixture writes.
    first, second = read_trials(outputs)
    assert (first.name, first.raters, first.last_week) == ("Synthetic trial", ["reference", "model"], 96)
    assert (second.raters, second.published.title) == (["reference", "other_model"], "ORATORIO")
    assert second.arms == ["placebo", "active"]
    assert first.head == "Synthetic trial (simulated)"


def changed(folder, **values):
    path = folder / "provenance.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **values}))


def without_last_row(folder):
    path = folder / "endpoints.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


DAMAGE = {
    "is gone": (shutil.rmtree, "expected an output folder of nnunet-ms-endpoints run, found nothing. Check the path"),
    "no provenance": (lambda f: (f / "provenance.json").unlink(), r"with provenance\.json, found \['endpoints\.csv'"),
    "no JSON": (lambda f: (f / "provenance.json").write_text("{"), r"provenance\.json: expected JSON, found"),
    "a list": (lambda f: (f / "provenance.json").write_text("[]"), "found that of 'list'"),
    "of another program": (
        lambda f: changed(f, program="nnunet-ms-endpoints compare"),
        "found that of 'nnunet-ms-endp",
    ),
    "of an earlier version": (lambda f: changed(f, trial=None), "an earlier version wrote it. Repeat"),
    "half of the settings": (lambda f: changed(f, trial={"name": "A"}), "an earlier version wrote it. Repeat"),
    "no numbers": (lambda f: (f / "endpoints.csv").unlink(), r"found no endpoints\.csv. Repeat"),
    "no page": (lambda f: (f / "index.html").unlink(), r"found no index\.html. Repeat"),
    "a row is missing": (without_last_row, r"found \d+ rows in endpoints\.csv, not \d+. Repeat"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_no_whole_output(outputs, kind):
    damage, message = DAMAGE[kind]
    damage(outputs[1])
    with pytest.raises(SettingsError, match=message) as raised:
        read_trials(outputs)
    assert str(outputs[1]) in str(raised.value)


def test_numbers_that_are_none(outputs):
    path = outputs[0] / "endpoints.csv"
    path.write_text(path.read_text().replace("stat_name,stat,", "stat_name,number,", 1))
    with pytest.raises(TableError, match=r"endpoints\.csv: endpoints needs columns \['stat'\]"):
        read_trials(outputs)


def test_a_settings_file_is_no_output(tmp_path):
    (tmp_path / "trial.toml").touch()
    with pytest.raises(
        SettingsError, match=r"found a file\. Run nnunet-ms-endpoints run .*trial\.toml -o FOLDER first"
    ):
        read_output(tmp_path / "trial.toml")


def test_one_trial_alone(outputs):
    for alone in (outputs[:1], outputs[0], str(outputs[0])):
        with pytest.raises(SettingsError, match="at least two folders to compare, found 1"):
            read_trials(alone)


def as_link(folder, target):
    target.symlink_to(folder)


def with_other_numbers(folder, target):
    shutil.copytree(folder, target)
    changed(
        target,
        rows_out={"endpoints": json.loads((target / "provenance.json").read_text())["rows_out"]["endpoints"] - 1},
    )
    without_last_row(target)


def with_other_inputs(folder, target):
    shutil.copytree(folder, target)
    inputs = json.loads((target / "provenance.json").read_text())["inputs"]
    changed(target, inputs=[{**entry, "sha256": "0"} for entry in inputs])


@pytest.mark.parametrize(
    ("copy", "why"),
    [
        (as_link, "the same numbers"),
        (shutil.copytree, "the same numbers"),
        (with_other_inputs, "the same numbers"),
        (with_other_numbers, "the same patients and visits and assessments"),
    ],
)
def test_the_same_trial_twice(outputs, tmp_path, copy, why):
    copy(outputs[0], tmp_path / "again")
    with pytest.raises(SettingsError, match=rf"again: expected different trials.*{why}\). Leave one out"):
        read_trials([*outputs, tmp_path / "again"])


@pytest.mark.parametrize("level", [0.9, 0.99, 0.951])
def test_intervals_of_different_levels_are_refused(outputs, level):
    settings = json.loads((outputs[1] / "provenance.json").read_text())["trial"]
    changed(outputs[1], trial={**settings, "level": level})
    with pytest.raises(SettingsError, match=rf"found 95 % in .*first and {100 * level:g} % in .*second\. Set the same"):
        read_trials(outputs)


def test_two_trials_of_one_name_have_their_folders_behind(outputs):
    settings = json.loads((outputs[1] / "provenance.json").read_text())["trial"]
    changed(outputs[1], trial={**settings, "name": "Synthetic trial"})
    assert [trial.name for trial in read_trials(outputs)] == ["Synthetic trial (first)", "Synthetic trial (second)"]
    moved = outputs[1].parent / "else" / "first"
    moved.parent.mkdir()
    Path(outputs[1]).rename(moved)
    names = [trial.name for trial in read_trials([outputs[0], moved])]
    assert len(set(names)) == 2
    assert all("first" in name for name in names)
