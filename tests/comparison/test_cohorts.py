"""Oracle: the tables of the single evaluations, which must come back as they are."""

import pandas as pd
import pytest

from nnunet_ms.analysis.evaluate_cli import main
from nnunet_ms.analysis.evaluation.size_groups import SIZE_GROUPS
from nnunet_ms.comparison.cohorts import COHORTS, compare_cohorts
from nnunet_ms.errors import NnunetMsError, OptionError, SettingsError, TableError
from nnunet_ms.tables import read_table, write_table
from tests.analysis.evaluation.test_group_figures import groups


@pytest.fixture
def evaluations(tmp_path):
    """Two evaluations; the second has one rule more."""
    table = groups(("x", "y")).assign(sd=0.1, level=0.95, n_patients=9, n_lesions=40)
    for name, more in (("x", ()), ("y", ("isbi2015",))):
        own = table[table["cohort"] == name][SIZE_GROUPS.names]
        frame = pd.concat([own, *(own.assign(rule=rule) for rule in more)])
        (tmp_path / name).mkdir()
        write_table(frame, tmp_path / name / "size_groups.csv")
    return {"OPERA II": tmp_path / "x", "MICCAI 2016": tmp_path / "y"}


def test_the_numbers_are_those_of_the_evaluations_under_the_common_rule(evaluations, tmp_path):
    table = compare_cohorts(evaluations, tmp_path / "out")
    read = read_table(tmp_path / "out" / "cohorts.csv", COHORTS)
    assert list(dict.fromkeys(read["cohort"])) == list(evaluations)
    assert set(read["rule"]) == {"krishnan2023"}
    for name, folder in evaluations.items():
        own = read_table(folder / "size_groups.csv", SIZE_GROUPS).query("rule == 'krishnan2023'")
        back = table[table["cohort"] == name].reset_index(drop=True)[SIZE_GROUPS.names]
        pd.testing.assert_frame_equal(back, own.reset_index(drop=True))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "cohorts.csv",
        *(f"size_groups_krishnan2023_t2_lesions_patients.{suffix}" for suffix in ("svg", "png")),
    }


def test_the_command_prints_the_rates_and_draws_what_is_asked_for(evaluations, tmp_path, capsys):
    named = [f"{name}={folder}" for name, folder in evaluations.items()]
    out = tmp_path / "out"
    assert main(["--cohorts", *named, "--averaging", "pooled", "-o", str(out)]) == 0
    assert (out / "size_groups_krishnan2023_t2_lesions_pooled.png").is_file()
    printed = capsys.readouterr().out
    table = read_table(out / "cohorts.csv", COHORTS)
    row = table.query("cohort == 'OPERA II' and size_bin == '3 to 10' and averaging == 'pooled'").set_index("metric")
    numbers = [f"{row.loc[name, 'value']:.3f}" for name in ("lesion_dice_found", "ltpr", "lfpr")]
    (line,) = [text for text in printed.splitlines() if "OPERA II" in text and "3 to 10" in text]
    assert line.split()[-3:] == numbers


def test_several_models_in_a_cohort_are_series_of_their_own(evaluations, tmp_path, monkeypatch):
    path = evaluations["OPERA II"] / "size_groups.csv"
    table = read_table(path, SIZE_GROUPS)
    write_table(pd.concat([table, table.assign(rater="other")]), path)
    seen = []
    monkeypatch.setattr("nnunet_ms.comparison.cohorts.size_group_figure", lambda rows, *_: seen.append(rows))
    monkeypatch.setattr("nnunet_ms.comparison.cohorts.save_figure", lambda *_: None)
    compare_cohorts(evaluations, tmp_path / "out")
    assert list(dict.fromkeys(seen[0]["cohort"])) == ["OPERA II, net", "OPERA II, other", "MICCAI 2016, net"]


def spoil(evaluations, column, value):
    path = evaluations["OPERA II"] / "size_groups.csv"
    write_table(read_table(path, SIZE_GROUPS).assign(**{column: value}), path)


def respell(evaluations, column, old, new):
    path = evaluations["OPERA II"] / "size_groups.csv"
    write_table(read_table(path, SIZE_GROUPS).replace({column: {old: new}}), path)


def cut(evaluations, column, value):
    path = evaluations["OPERA II"] / "size_groups.csv"
    write_table(read_table(path, SIZE_GROUPS).loc[lambda rows: rows[column] != value], path)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda e: e.pop("OPERA II"), SettingsError, "cohorts: expected two or more"),
        (lambda e: e.update(third=e["OPERA II"] / "nowhere"), SettingsError, "expected an evaluation with size_groups"),
        (lambda e: spoil(e, "rule", "wahlig2023"), SettingsError, "a rule and lesion type that all have"),
        (lambda e: spoil(e, "lesion_type", "t1_enhancing"), SettingsError, "a rule and lesion type that all have"),
        (lambda e: spoil(e, "metric", "ltpr"), TableError, "stands twice"),
        (lambda e: (e["OPERA II"] / "size_groups.csv").write_text("rater\nnet\n"), TableError, "needs columns"),
        (lambda e: e.update({"a/b": e["OPERA II"]}), SettingsError, "cohort"),
        (
            lambda e: respell(e, "metric", "lfpr", "LFPR"),
            TableError,
            r"column metric: expected .*'lfpr'\], found \['LFPR'",
        ),
        (lambda e: respell(e, "averaging", "pooled", "sum"), TableError, "column averaging: expected .*found .*'sum'"),
        (lambda e: respell(e, "size_bin", "3 to 10", "5 to 10"), SettingsError, "same groups of size.*'5 to 10'"),
        (lambda e: cut(e, "metric", "lfpr"), TableError, "column metric: expected .*Repeat nnunet-ms-evaluate"),
        (lambda e: cut(e, "size_bin", "> 50"), SettingsError, "same groups of size in all under rule krishnan2023"),
    ],
    ids=[
        *("one", "no folder", "other rule", "other lesions", "twice", "other table", "name", "other metric"),
        *("other averaging", "other sizes", "a metric less", "a size less"),
    ],
)
def test_what_cannot_be_put_side_by_side_is_refused(evaluations, tmp_path, change, error, message):
    change(evaluations)
    with pytest.raises(error, match=message):
        compare_cohorts(evaluations, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_averaging_and_another_folder_are_refused(evaluations, tmp_path):
    with pytest.raises(OptionError, match="averaging: expected one of 'patients', 'pooled'"):
        compare_cohorts(evaluations, tmp_path / "out", "cases")
    with pytest.raises(OptionError, match=r"evaluations: expected names and folders.*Give each folder a name"):
        compare_cohorts(list(evaluations.values()), tmp_path / "out")
    with pytest.raises(NnunetMsError, match="expected a new folder or an earlier evaluation"):
        compare_cohorts(evaluations, tmp_path)


def test_masks_beside_cohorts_and_nothing_at_all_are_one_line(evaluations, tmp_path, capsys):
    named = [f"{name}={folder}" for name, folder in evaluations.items()]
    assert main(["--cohorts", *named, "--references", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "--cohorts: expected no --references beside it" in capsys.readouterr().err
    assert main(["-o", str(tmp_path / "out")]) == 2
    assert "expected --predictions DIR and --references DIR" in capsys.readouterr().err
    assert main(["--averaging", "pooled", "--predictions", "a", "--references", "b", "-o", str(tmp_path / "out")]) == 2
    assert "--averaging: expected --cohorts with it" in capsys.readouterr().err
