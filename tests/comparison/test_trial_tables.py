"""The tables as they are shown: numbers of each trial's own output, published numbers beside, nothing mixed up."""

from dataclasses import replace

import pandas as pd
import pytest

from nnunet_ms.comparison.common_ground import differences
from nnunet_ms.comparison.compared_trial import read_trials
from nnunet_ms.comparison.effects import effect_rows
from nnunet_ms.comparison.evaluations import find_test_sets
from nnunet_ms.comparison.trial_tables import (
    cohort_table,
    difference_table,
    effect_table,
    heading,
    size_cells,
    size_table,
    test_set_table,
)
from tests.comparison.conftest import RULES, write_evaluation

test_set_table.__test__ = False  # a function of the package


@pytest.fixture(scope="module")
def trials(made):
    return read_trials([made / "first", made / "second"])


def rows_of(table):
    return {line[0]: dict(zip(table.head[1:], line[1:], strict=True)) for line in table.lines if len(line) > 1}


def test_cohorts_stand_in_columns_with_the_published_ones_beside(trials, made):
    # Oracles: pandas on the tables that the fixture wrote; Table 1 of the paper.
    table = cohort_table(trials, ["reference"])
    assert table.head[1:] == [
        "Synthetic trial (simulated)", "OPERA II, published", "Other trial (simulated)", "ORATORIO, published",
    ]  # fmt: skip
    found = rows_of(table)
    for name, head in (("first", table.head[1]), ("second", table.head[3])):
        patients = pd.read_csv(made / f"{name}_tables" / "patients.csv")
        visits = pd.read_csv(made / f"{name}_tables" / "visits.csv").query("lesion_type == 't2_lesions'")
        reference = visits.query("rater == 'reference'")
        volume = reference.query("week == 0")["volume_ml"]
        assert found["patients"][head] == str(len(patients))
        assert found["visits with masks"][head] == str(len(reference))
        assert (
            found["age (years), mean (SD)"][head] == f"{patients.age_years.mean():.1f} ({patients.age_years.std():.1f})"
        )
        assert found["T2 lesion volume (ml), mean (SD)"][head] == f"{volume.mean():.1f} ({volume.std():.1f})"
        female = (patients["sex"] == "F").sum()
        assert found["sex: F"][head] == f"{female} ({100 * female / len(patients):.1f})"
    assert found["patients"]["OPERA II, published"] == "798"
    assert found["visits with masks"]["ORATORIO, published"] == "2605"
    assert found["T2 lesion volume (ml), mean (SD)"]["ORATORIO, published"] == "11.79 ± 14.09"
    assert found["sex: F"]["OPERA II, published"] == "–"


def test_a_characteristic_that_one_trial_lacks_is_a_dash(trials):
    found = rows_of(cohort_table(trials, ["reference"]))["enhancing lesions: present"]
    assert found["Synthetic trial (simulated)"] == "–"
    assert found["Other trial (simulated)"] != "–"


@pytest.mark.parametrize("presets", [("opera2", "opera2"), ("olympus", "olympus"), (None, "opera1")])
def test_one_preset_has_one_published_column(trials, presets):
    both = [replace(t, settings={**t.settings, "preset": p}) for t, p in zip(trials, presets, strict=True)]
    effects = effect_rows(both, ["cdp24"], [])
    for table in (cohort_table(both, ["reference"]), effect_table(both, effects)):
        assert [name.endswith("published") for name in table.head[1:]] == [False, False, True]
        assert table.frame().columns.is_unique
        assert all(len(line) in (1, 4) for line in table.lines)


def test_no_name_makes_two_columns_of_one_name(trials):
    names = [
        replace(t, name=name, settings={**t.settings, "simulated": False})
        for t, name in zip(trials, ("part", "so"), strict=True)
    ]
    for table in (cohort_table(names, []), difference_table(names, differences(names, []))):
        assert table.frame().columns.is_unique
        assert {"part", "so"} <= set(table.head)


def test_without_a_preset_there_is_no_published_column(trials):
    plain = [replace(trial, settings={**trial.settings, "preset": None}) for trial in trials]
    assert not any("published" in name for name in cohort_table(plain, []).head)
    masks = find_test_sets(plain, {}, {})
    assert not any("published" in line[0] for line in test_set_table(plain, masks).lines)


def test_test_sets_stand_in_rows_by_rule(trials, tmp_path):
    masks = find_test_sets(trials, {}, {"challenge": write_evaluation(tmp_path / "evaluation", "net")})
    table = test_set_table(trials, masks)
    parts = [line[0] for line in table.lines if len(line) == 1]
    assert parts == ["rule krishnan2023", "rule isbi2015", "published, their own images and rule"]
    challenge = [line for line in table.lines if line[0] == "challenge, net"]
    assert [line[4] for line in challenge] == [f"{mean:.3f} ± 0.100" for mean in RULES.values()]
    found = rows_of(table)
    assert found["Synthetic trial (simulated), model"]["Dice"] == "0.720 ± 0.100"
    assert found["OPERA II"]["LTPR"] == ".837 ± .134"
    assert found["MICCAI 2016 (consensus)"]["r count"] == ".942"
    assert "OLYMPUS" not in found  # no trial of that name is compared


def test_published_numbers_of_every_trial_are_those_of_the_paper(trials, shared, tmp_path):
    # Oracle: the rows of the table in papers.md.
    text = (shared / "papers.md").read_text(encoding="utf-8")
    presets = [
        replace(trials[0], settings={**trials[0].settings, "preset": p}) for p in ("opera2", "oratorio", "olympus")
    ]
    found = rows_of(test_set_table(presets, find_test_sets(trials, {}, {})))
    for title in ("OPERA II", "ORATORIO", "OLYMPUS", "MICCAI 2016 (consensus)"):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
        assert list(found[title].values())[1:] == [cell.strip() for cell in row.strip("|").split("|")[1:]]


# Oracle: shares that the paper prints, from groups of 100 lesions drawn so
@pytest.mark.parametrize(("small", "ten", "fifty"), [((41, 42, 17), "41", "83"), ((43, 41, 16), "43", "84"),
                                                     ((23, 55, 22), "23", "78")])  # fmt: skip
def test_size_distributions(trials, tmp_path, small, ten, fifty):
    masks = find_test_sets(trials, {}, {"challenge": write_evaluation(tmp_path / "evaluation", small=small)})
    found = rows_of(size_table(trials, masks))
    assert list(found["challenge, reference"].values()) == ["100", f"{ten}.0", f"{fifty}.0"]
    assert list(found["challenge, model"].values()) == ["200", f"{ten}.0", f"{fifty}.0"]
    assert list(found["OPERA II"].values()) == ["–", "41", "83"]
    assert list(found["ORATORIO"].values()) == ["–", "43", "84"]


@pytest.mark.parametrize(
    ("ends", "counts", "cells"),
    [
        ([10, 50, None], [1, 1, 2], ["4", "25.0", "50.0"]),
        ([2, 10, 50, None], [1, 1, 1, 1], ["4", "50.0", "75.0"]),  # a rule that keeps the smallest
        ([20, None], [3, 1], ["4", "–", "–"]),
        ([10, 50, None], [0, 0, 0], ["0", "–", "–"]),
    ],
)
def test_shares_by_hand(ends, counts, cells):
    bins = pd.DataFrame({"voxels_max": pd.array(ends, dtype="Int64"), "reference_lesions": counts})
    assert size_cells(bins, "reference_lesions") == cells


def test_effects_stand_in_columns_of_trial_and_arm(trials):
    effects = effect_rows(trials, ["t2_volume_percent_change", "cdp24"], ["reference"])
    table = effect_table(trials, effects)
    assert table.head[1:] == [
        "Synthetic trial (simulated): active / placebo", "OPERA II, published",
        "Other trial (simulated): active / placebo", "ORATORIO, published",
    ]  # fmt: skip
    found = rows_of(table)
    assert found["hazard ratio"]["ORATORIO, published"] == "0.75 (0.58 to 0.98) (trial)"
    for trial, head in zip(trials, table.head[1::2], strict=True):
        row = effects[(effects["trial"] == trial.name) & (effects["stat_name"] == "hazard_ratio")].iloc[0]
        assert found["hazard ratio"][head].startswith(f"{row['estimate']:.2f} ({row['low']:.2f} to {row['high']:.2f})")
        assert found["separation, percentage points, reference"][head].endswith("week 96")
        ml = effects[(effects["trial"] == trial.name) & (effects["unit"] == "ml")].iloc[0]
        assert found["separation, ml, reference"][head] == (
            f"{ml['estimate']:.2f} ({ml['low']:.2f} to {ml['high']:.2f}), week 96".replace("-", "−")
        )
    assert found["separation, ml, reference"]["ORATORIO, published"] == "–"


def test_what_is_another_thing_in_another_trial_is_labelled(trials):
    def other(**values):
        return [trials[0], replace(trials[1], settings={**trials[1].settings, **values})]

    assert heading(trials, "cdp24", short=True) == "CDP24"
    assert heading(other(rule=None), "cdp24", short=True) == "CDP24 (rules of progression differ)"
    assert heading(other(lesion_type="x"), "t2_volume_percent_change") == "T2 lesion volume (lesion types differ)"
    assert heading(other(rule=None, lesion_type="x"), "enhancing_lesions") == "Enhancing lesions"
