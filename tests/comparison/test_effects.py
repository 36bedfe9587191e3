"""Effects are copied from each trial's output, never computed anew; pooled ones only where that means something."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.comparison.common_ground import common_endpoints
from nnunet_ms.comparison.compared_trial import read_trials
from nnunet_ms.comparison.effects import effect_rows, pooled_rows
from nnunet_ms.comparison.forest import forest
from nnunet_ms.errors import SettingsError


@pytest.fixture(scope="module")
def trials(made):
    return read_trials([made / "first", made / "second"])


def test_every_number_is_that_of_the_trials_own_table(trials):
    # Oracle: endpoints.csv, read by pandas alone.
    effects = effect_rows(trials, common_endpoints(trials), ["reference"])
    for trial in trials:
        table = pd.read_csv(trial.folder / "endpoints.csv", keep_default_na=False)
        for row in effects[effects["trial"] == trial.name].to_dict("records"):
            keys = {k: row[k] for k in ("endpoint", "rater", "contrast", "analysis")}
            keys |= {"visit": row["visit"]} if row["visit"] else {}
            here = table[(table[list(keys)] == pd.Series(keys)).all(axis=1) & table["term"].isin(["", "arm"])]
            stats = here.set_index("stat_name")["stat"].to_dict()
            for ours, theirs in (("estimate", row["stat_name"]), ("low", "low"), ("high", "high")):
                assert row[ours] == float(stats[theirs] or "nan")


def test_a_standard_error_is_of_the_logarithm(trials):
    # Definition: the limits of a Wald interval are 2 * 1.96 standard errors of the logarithm apart.
    effects = effect_rows(trials, ["cdp24"], [])
    assert len(effects) == 2
    width = (np.log(effects["high"]) - np.log(effects["low"])) / (2 * 1.959964)
    assert effects["log_se"].to_numpy() == pytest.approx(width.to_numpy(), rel=1e-5)


def test_pooling_is_the_weighted_mean_of_the_logarithms(trials):
    # Oracle: inverse-variance weights, numpy.
    effects = effect_rows(trials, ["cdp24", "t2_volume_percent_change"], ["reference"])
    pooled = pooled_rows(trials, effects)
    assert set(pooled["stat_name"]) == {"hazard_ratio", "geometric_mean_ratio"}  # no pooled separation
    hazard = effects[effects["stat_name"] == "hazard_ratio"]
    expected = np.exp(np.average(np.log(hazard["estimate"]), weights=hazard["log_se"] ** -2))
    (found,) = pooled.query("stat_name == 'hazard_ratio' and model == 'common effect'")["estimate"]
    assert found == pytest.approx(expected)


def test_what_is_estimable_in_one_trial_only_is_not_pooled(trials):
    effects = effect_rows(trials, ["cdp24"], [])
    effects.loc[0, ["estimate", "log_se"]] = np.nan
    assert pooled_rows(trials, effects).empty


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"compared_arms": ["low", "high"]}, r"expected one compared arm to pool.*\['low', 'high'\]"),
        ({"simulated": False}, "simulated trials alone or real ones alone"),
        (
            {"reference_arm": "active", "compared_arms": ["placebo"]},
            r"first: expected arms in one role.*'active' compared here and the reference in \S*second: .*reciprocals",
        ),
        ({"compared_arms": ["placebo"], "reference_arm": "third"}, "second: expected arms in one role in all"),
        ({"reference_arm": "active", "compared_arms": ["third"]}, "first: expected arms in one role in all"),
        (
            {"lesion_type": "t1_unenhancing"},
            "one lesion type to pool, found t2_lesions in .*first and t1_unenhancing in",
        ),
    ],
)
def test_what_may_not_be_pooled(trials, values, message):
    other = replace(trials[1], settings={**trials[1].settings, **values})
    with pytest.raises(SettingsError, match=message):
        pooled_rows([trials[0], other], effect_rows(trials, ["cdp24"], []))


def test_the_forest_has_a_line_per_trial_and_says_that_nothing_is_pooled(trials):
    effects = effect_rows(trials, ["t2_volume_percent_change", "cdp24"], ["reference"])
    drawing = forest(trials, effects, pooled_rows(trials, effects).iloc[:0])
    labels = [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]
    assert labels == [
        "T2 lesion volume by reference, ratio of geometric means",
        "Synthetic trial (simulated): active / placebo, week 96", "Other trial (simulated): active / placebo, week 96",
        "CDP24, hazard ratio",
        "Synthetic trial (simulated): active / placebo", "Other trial (simulated): active / placebo",
    ]  # fmt: skip
    assert drawing.caption.endswith("No estimate is pooled over the trials.")
    assert drawing.figure.get_suptitle() == "SIMULATED DATA"
    pooled = forest(trials, effects, pooled_rows(trials, effects))
    labels = [label.get_text() for label in pooled.figure.axes[0].get_yticklabels()]
    assert labels.count("pooled, random effects") == 2
    assert pooled.caption.endswith("Pooled estimates were asked for.")


def test_a_forest_of_nothing_is_none(trials):
    effects = effect_rows(trials, ["cdp24"], []).assign(estimate=np.nan)
    assert forest(trials, effects, effects.iloc[:0]) is None
