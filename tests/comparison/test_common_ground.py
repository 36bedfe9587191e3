"""What trials have in common, and every difference by name."""

from dataclasses import replace

import pytest

from nnunet_ms.comparison.common_ground import (
    NOT_COMPARED,
    common_endpoints,
    common_raters,
    differences,
    effect_endpoints,
)
from nnunet_ms.comparison.compared_trial import read_trials
from nnunet_ms.comparison.evaluations import find_test_sets
from nnunet_ms.errors import SettingsError
from tests.comparison.conftest import write_evaluation


@pytest.fixture(scope="module")
def trials(made):
    return read_trials([made / "first", made / "second"])


def listed(trials, masks=()):
    """What differs -> the trials' own words."""
    found = differences(trials, masks)
    return {what: tuple(rows["has"]) for what, rows in found.groupby("what", sort=False)}


def test_trials_with_other_outcomes_and_raters(trials):
    # Oracle: what the fixture gives each trial.
    assert {"t2_volume_percent_change", "cdp24"} <= set(common_endpoints(trials))
    assert "cdp12" not in common_endpoints(trials)
    assert common_raters(trials) == ["reference"]
    found = listed(trials)
    assert found["endpoint cdp12"] == ("no", "yes")
    assert found["rater model"] == ("yes", "no")
    assert found["rater other_model"] == ("no", "yes")
    assert found["endpoint enhancing_lesions"] == ("no", "yes")
    assert found["baseline characteristic enhancing_lesions"] == ("no", "yes")
    table = differences(trials, [])
    assert set(table.loc[table["what"] == "endpoint cdp12", "consequence"]) == {NOT_COMPARED}


def with_settings(trials, **values):
    one, other = trials
    return [one, replace(other, settings={**other.settings, **values})]


def changed(settings, key, **values):
    return {key: {**settings[key], **values}}


SETTINGS = {
    "reference arm": (lambda s: {"reference_arm": "sham"}, ("placebo", "sham")),
    "lesion type": (lambda s: {"lesion_type": "t1_unenhancing"}, ("t2_lesions", "t1_unenhancing")),
    "weeks of the visits": (lambda s: {"weeks": [48, 120]}, ("24, 48, 96", "48, 120")),
    "volumes of 0": (lambda s: {"zero_volume": "half_smallest_positive"}, ("exclude", "half_smallest_positive")),
    "population": (lambda s: {"population": "ITT"}, ("none", "ITT")),
    "[analysis] strata": (lambda s: changed(s, "analysis", strata=[]), ("region", "none")),
    "[analysis] exposure": (lambda s: changed(s, "analysis", exposure="scans"), None),
    "a new setting": (lambda s: {"a_new_setting": 1.5}, ("none", "1.5")),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_every_setting_that_differs_is_listed_in_the_words_of_each_trial(trials, what):
    change, expected = SETTINGS[what]
    found = listed(with_settings(trials, **change(trials[1].settings)))
    assert what in found
    assert expected is None or found[what] == expected
    assert what not in listed(trials)


def test_rules_of_progression_and_conventions_are_told_in_full(trials):
    rule = changed(trials[1].settings, "rule", name="opera", relapse_onset_weeks=12.0)
    (one, other) = listed(with_settings(trials, **rule))["rule of progression"]
    assert "name krishnan2023" in one
    assert "name opera" in other
    assert "relapse onset weeks 12" in other
    one, other = listed(with_settings(trials, **changed(trials[1].settings, "conventions", ties="breslow")))[
        "conventions of computing"
    ]
    assert ("ties efron" in one, "ties breslow" in other) == (True, True)


def test_what_is_alike_is_not_listed(trials):
    same = [trials[0], replace(trials[0], name="Copy")]
    assert differences(same, []).empty
    assert common_raters(same) == ["reference", "model"]


def test_without_a_common_rater_the_endpoints_of_lesions_are_named(trials):
    only = [replace(t, rows=t.rows[~t.rows["rater"].isin(["reference"])]) for t in trials]
    assert common_raters(only) == []
    table = differences(only, [])
    row = table[table["what"] == "endpoint t2_volume_percent_change"]
    assert set(row["consequence"]) == {"not compared: no rater is in all"}
    assert not table.duplicated(["what", "trial"]).any()


def test_trials_with_lesions_alone_and_no_common_rater_are_refused(trials):
    only = [replace(t, rows=t.rows[(t.rows["rater"] != "reference") & (t.rows["endpoint"] != "cdp24")]) for t in trials]
    with pytest.raises(SettingsError, match="those of lesions by a rater of all"):
        common_endpoints(only)


def test_rules_of_detection_and_missing_agreement_are_named(trials, tmp_path):
    masks = find_test_sets(trials, {}, {"challenge": write_evaluation(tmp_path / "evaluation")})
    assert listed(trials, masks)["rule of detection isbi2015"] == ("no", "no", "yes")
    assert listed(trials, masks[:1])["agreement of masks"] == ("yes", "no")
    sizes_alone = [replace(masks[0], name=trials[1].name, agreement=masks[0].agreement.iloc[:0])]
    assert listed(trials, [masks[0], *sizes_alone])["agreement of masks"] == ("yes", "no")
    assert "rule of detection krishnan2023" not in listed(trials, [masks[0], *sizes_alone])


@pytest.mark.parametrize("kept", [[], ["cdp12"], ["new_t2_lesions", "cdp12"]])
def test_trials_without_a_common_endpoint_are_refused(trials, kept):
    one, other = trials
    known = [name for name in effect_endpoints(other) if name not in kept]
    other = replace(other, rows=other.rows[~other.rows["endpoint"].isin(known)])
    one = replace(one, rows=one.rows[~one.rows["endpoint"].isin(kept)])
    with pytest.raises(SettingsError, match=r"at least one endpoint in all .*, found .*first and .*second"):
        common_endpoints([one, other])
