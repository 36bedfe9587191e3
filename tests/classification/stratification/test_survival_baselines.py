"""Oracles: lifelines' Kaplan-Meier, and curves that do not change when the held-out patients' outcomes do."""

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter

from nnunet_ms.classification.stratification.survival_baselines import (
    COX,
    KAPLAN_MEIER,
    cox_covariates,
    kaplan_meier_at,
    survival_baselines,
)

AT = np.array([12.0, 48.0, 96.0])


@pytest.fixture(scope="module")
def patients():
    generator = np.random.default_rng(2)
    n = 60
    age = generator.normal(42, 9, n)
    progression = generator.exponential(70 * np.exp(-0.06 * (age - 42)))
    end = generator.uniform(60, 130, n)
    names = [f"P{k:02d}" for k in range(n)]
    return pd.DataFrame(
        {
            "case_id": names,
            "patient_id": names,
            "visit": "base",
            "fold": np.arange(n) % 5,
            "age_years": age,
            "edss_baseline": generator.choice([1.0, 2.0, 3.5], n),
            "lesion_volume_ml": generator.lognormal(1.5, 1, n),
            "time_weeks": np.minimum(progression, end),
            "event": (progression <= end).astype(int),
        }
    )


def curves(table, model):
    return table[table["model"] == model].pivot_table(index="case_id", columns="week", values="survival")


def test_kaplan_meier_equals_lifelines(patients):
    weeks, event = patients["time_weeks"].to_numpy().round(), patients["event"].to_numpy(float)
    expected = KaplanMeierFitter().fit(weeks, event).survival_function_at_times(AT)
    assert kaplan_meier_at(weeks, event, AT) == pytest.approx(expected.to_numpy())


def test_held_out_patients_are_judged_by_the_others_alone(patients):
    changed = patients.copy()
    changed.loc[changed["fold"] == 1, "event"] = 0
    changed.loc[changed["fold"] == 1, "time_weeks"] = 1.0
    held = patients["fold"].isin([0, 1]).to_numpy()  # fold 1 is judged, or stops the training of what judges fold 0
    tables = [survival_baselines(frame, frame["fold"], AT) for frame in (patients, changed)]
    for model in (KAPLAN_MEIER, COX):
        one, other = (curves(table, model) for table in tables)
        assert one[held].to_numpy() == pytest.approx(other[held].to_numpy(), rel=1e-12)
        assert not np.allclose(one[~held], other[~held])


def test_older_patients_progress_sooner_as_they_were_made(patients):
    found = curves(survival_baselines(patients, patients["fold"], AT), COX)[96.0]
    assert np.corrcoef(patients.set_index("case_id")["age_years"], found)[0, 1] < -0.4


@pytest.mark.parametrize(
    ("blank", "names"),
    [
        ([], ["age_years", "edss_baseline", "log_lesion_volume"]),
        (["lesion_volume_ml"], ["age_years", "edss_baseline"]),
        (["age_years", "lesion_volume_ml"], ["edss_baseline"]),
    ],
)
def test_columns_that_are_not_there_are_left_out_and_told(patients, blank, names):
    frame = patients.assign(**dict.fromkeys(blank, np.nan))
    told = []
    survival_baselines(frame, frame["fold"], AT, told.append)
    assert cox_covariates(frame)[1] == names
    assert told == ([f"cox: {' and '.join(blank)} tell nothing (one value, or none): left out."] if blank else [])


def test_without_a_covariate_or_with_the_same_twice_there_is_no_cox_model(patients):
    bare = patients.assign(age_years=np.nan, lesion_volume_ml=np.nan, edss_baseline=2.0)
    twice = patients.assign(lesion_volume_ml=np.expm1(patients["age_years"] / 10))
    for frame, reason in ((bare, "no covariate"), (twice, "covariates are confounded")):
        told = []
        table = survival_baselines(frame, frame["fold"], AT, told.append)
        assert set(table["model"]) == {KAPLAN_MEIER}
        assert reason in told[-1]
