"""Oracle: the volumes of the synthetic trial, averaged by pandas; Welch's interval by scipy."""

import numpy as np
import pytest
import scipy.stats

from nnunet_ms.analysis.endpoints.statistic_rows import select, to_frame, value_of
from nnunet_ms.analysis.endpoints.t2_volume import changes
from nnunet_ms.analysis.endpoints.t2_volume_ml import CHANGE, VOLUME, volume_ml_statistics
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import patients, visits, write_trial


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    trial = read_trial(read_settings(write_trial(tmp_path_factory.mktemp("ml"))))
    table, _ = changes(trial)
    return trial, table, to_frame(volume_ml_statistics(trial, table))


def sample(table, rater, arm, week):
    return table[(table["rater"] == rater) & (table["arm"] == arm) & (table["week"] == week)]


def test_volumes_and_changes_are_those_of_the_patients(made):
    trial, table, rows = made
    for rater in trial.raters:
        for arm in trial.settings.arms:
            for week in trial.settings.weeks:
                own = sample(table, rater, arm, week)
                keys = {"rater": rater, "arm": arm, "visit": f"{week:g}", "contrast": ""}
                for name, value in (
                    ("n", len(own)),
                    ("mean", own["volume_ml"].mean()),
                    ("sd", own["volume_ml"].std()),
                    ("median", own["volume_ml"].median()),
                ):
                    assert value_of(rows, analysis=VOLUME, stat_name=name, **keys) == pytest.approx(value, rel=1e-12)
                change = own["volume_ml"] - own["baseline_ml"]
                found = value_of(rows, analysis=CHANGE, stat_name="se", **keys)
                assert found == pytest.approx(change.sem(), rel=1e-12)


def test_difference_of_changes_is_welchs(made):
    trial, table, rows = made
    week = trial.settings.weeks[-1]
    active, placebo = (
        sample(table, "reference", arm, week).eval("volume_ml - baseline_ml") for arm in ("active", "placebo")
    )
    expected = scipy.stats.ttest_ind(active, placebo, equal_var=False).confidence_interval()
    keys = {"analysis": CHANGE, "rater": "reference", "contrast": "active - placebo", "visit": f"{week:g}"}
    assert value_of(rows, stat_name="separation", **keys) == pytest.approx(active.mean() - placebo.mean(), rel=1e-12)
    limits = [value_of(rows, stat_name=name, **keys) for name in ("low", "high")]
    assert limits == pytest.approx([expected.low, expected.high], rel=1e-9)


def test_baseline_is_of_patients_with_a_follow_up(made):
    _, table, rows = made
    first = table[table["rater"] == "model"].drop_duplicates("patient_id")
    n = value_of(rows, analysis=VOLUME, rater="model", arm="active", visit="0", stat_name="n")
    assert n == (first["arm"] == "active").sum()


def test_an_arm_with_one_patient_says_why_it_has_no_spread(tmp_path):
    table = patients(12)
    table["arm"] = ["active"] + ["placebo"] * 11
    trial = read_trial(read_settings(write_trial(tmp_path, patients=table, visits=visits(table))))
    rows = to_frame(volume_ml_statistics(trial, changes(trial)[0]))
    blank = select(rows, arm="active", analysis=CHANGE, stat_name="sd")
    assert np.isnan(blank["stat"]).all()
    assert blank["method"].str.endswith("not estimable (1 patient)").all()
