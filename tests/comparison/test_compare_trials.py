"""The comparison from the command line: what it writes, complete or absent, and what it refuses."""

import json
import re

import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints_cli import main
from nnunet_ms.analysis.report import rtf
from nnunet_ms.analysis.run_trial import run_trial
from nnunet_ms.comparison.common_ground import DIFFERENCES
from nnunet_ms.comparison.compare_trials import compare_trials
from nnunet_ms.comparison.effects import EFFECTS, POOLED
from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.tables import read_table
from tests.analysis.synthetic_trial import SETTINGS, assessments, patients
from tests.comparison.conftest import SHORT, write_evaluation, write_output


def test_the_command_writes_one_page_tables_and_the_forest(outputs, tmp_path, capsys):
    out = tmp_path / "out"
    evaluation = write_evaluation(tmp_path / "evaluation")
    arguments = ["compare", *map(str, outputs), "-o", str(out), "--test-set", f"a=b={evaluation}"]
    assert main(arguments) == 0
    assert "2 trials" in capsys.readouterr().out
    stems = ("cohorts", "test_sets", "lesion_sizes", "effects", "differences")
    ends = (".csv", ".rtf") if rtf.available() else (".csv",)
    expected = {f"tables/{stem}{end}" for stem in stems for end in ends} | {"figures/forest.svg", "figures/forest.png"}
    expected |= {"effects.csv", "differences.csv", "index.html", "provenance.json"}
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == expected
    page = (out / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    for text in (
        "Synthetic trial",
        "Other trial",
        "No estimate is pooled",
        "endpoint cdp12",
        "a=b, model",
        "Simulated data",
    ):
        assert text in page, text
    provenance = json.loads((out / "provenance.json").read_text())
    assert [entry["of"] for entry in provenance["inputs"]] == ["Synthetic trial", "Other trial", "a=b", "a=b"]
    assert str(tmp_path) not in (out / "provenance.json").read_text() + page
    first = {path: path.read_bytes() for path in out.rglob("*") if path.suffix in (".csv", ".svg", ".html")}
    assert main([*arguments, "--pool"]) == 0  # replaces the first
    assert (out / "pooled.csv").is_file()
    assert main(arguments) == 0
    assert {path: path.read_bytes() for path in first} == first


def test_rows_of_the_tables_are_read_back(outputs, tmp_path):
    found = compare_trials(outputs, tmp_path / "out", pool=True)
    for name, table in (("effects", EFFECTS), ("differences", DIFFERENCES), ("pooled", POOLED)):
        pd.testing.assert_frame_equal(
            read_table(tmp_path / "out" / f"{name}.csv", table).fillna(""),
            getattr(found, name).fillna(""),
            check_dtype=False,
        )


def other_files(folder):
    (folder / "out").mkdir()
    (folder / "out" / "notes.txt").touch()
    return folder / "out"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            other_files,
            "expected an empty folder or an earlier result of nnunet-ms-endpoints compare, found other files",
        ),
        (lambda folder: folder / "first", "expected a folder apart from the input"),
        (lambda folder: folder / "first" / "within", "expected a folder apart from the input"),
        (lambda folder: folder, "expected a folder apart from the input"),
        (lambda folder: folder / "first" / "index.html", "expected a folder to write, found a file"),
    ],
)
def test_places_that_are_not_written(outputs, tmp_path, place, message):
    out = place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SettingsError, match=message):
        compare_trials(outputs, out)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--evaluation", "first"], "expected NAME=FOLDER, found 'first'"),
        (["--evaluation", "=x"], "expected NAME=FOLDER"),
        (["--test-set", "a=x", "--test-set", "a=y"], r"--test-set: expected each name once, found \['a', 'a'\]"),
        (["--evaluation", "third=x"], "evaluation of 'third'"),
    ],
)
def test_options_that_mean_nothing(outputs, tmp_path, capsys, more, message):
    try:
        code = main(["compare", *map(str, outputs), "-o", str(tmp_path / "out"), *more])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": {"a": "first", "b": "second"}}, "trials: expected a list of folders, found names and folders"),
        ({"evaluations": ["first"]}, r"evaluations: expected names and folders, .*found \['first'\]"),
        ({"pool": "no"}, "pool: expected True or False, found 'no'"),
        ({"test_sets": "first"}, "test_sets: expected names and folders, .*found 'first'. Give each folder a name"),
    ],
)
def test_names_where_there_are_none_and_none_where_they_belong(outputs, tmp_path, arguments, message):
    with pytest.raises(OptionError, match=message):
        compare_trials(**{"trials": outputs, "out": tmp_path / "out", **arguments})
    assert not (tmp_path / "out").exists()


def test_a_run_does_not_replace_a_comparison(outputs, tmp_path):
    compare_trials(outputs, tmp_path / "out")
    settings = outputs[0].parent / "trial.toml"
    settings.write_text(SETTINGS)
    with pytest.raises(SettingsError, match="found other files"):
        run_trial(settings, tmp_path / "out")


def test_trials_without_lesion_tables_and_with_three_arms(made, tmp_path):
    # a trial without masks has clinical endpoints alone; two compared arms are two columns
    table = patients(45, 3)
    table["arm"] = ["placebo", "low", "high"] * 15
    settings = SHORT.replace('visits = "visits.csv"\n', "").replace('agreement = "agreement.csv"\n', "")
    settings = settings.replace('compared = ["active"]', 'compared = ["low", "high"]').replace(
        "Synthetic", "Three arms"
    )
    settings = re.sub(r"\[(lesions|visits)\]\n(.*\n)+?(?=\[)", "", settings)
    settings = settings.replace('preset = "opera2"\n', "") + "\n[visits]\nbaseline_week = 0\nweeks = [24, 48, 96]\n"
    three = write_output(tmp_path / "three", settings, 3, patients=table, assessments=assessments(table, 4))
    found = compare_trials([made / "first", three], tmp_path / "out")
    assert list(found.effects["endpoint"].unique()) == ["cdp24"]
    heads = found.tables["effects"].head
    assert [name.split(": ")[-1] for name in heads[1:]] == ["active / placebo", "OPERA II, published", "low / placebo",
                                                            "high / placebo"]  # fmt: skip
    listed = set(found.differences["what"])
    assert {"endpoint t2_volume_percent_change", "rater reference", "compared arms", "agreement of masks"} <= listed
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "No agreement of masks is known of Three arms" in page
    with pytest.raises(SettingsError, match=r"expected one compared arm to pool.*\['low', 'high'\]"):
        compare_trials([made / "first", three], tmp_path / "pooled", pool=True)
    assert not (tmp_path / "pooled").exists()


@pytest.mark.parametrize("name", ["=1+1 <b>bold</b>", "$x_1$ & {y}", "Ärzte\\par 'n' \"Co\""])
def test_a_trials_name_is_text_everywhere(outputs, tmp_path, name):
    path = outputs[1] / "provenance.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "trial": {**content["trial"], "name": name}}))
    found = compare_trials(outputs, tmp_path / "out")
    assert found.trials[1].name == name
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<b>bold" not in page
    table = pd.read_csv(tmp_path / "out" / "tables" / "cohorts.csv")
    assert not any(str(column).startswith("=") for column in table)
    assert set(read_table(tmp_path / "out" / "effects.csv", EFFECTS)["trial"]) == {"Synthetic trial", name}
    if rtf.available():
        text = (tmp_path / "out" / "tables" / "cohorts.rtf").read_text(encoding="ascii")
        assert not re.search(r"(?<!\\)\\par 'n'", text)
