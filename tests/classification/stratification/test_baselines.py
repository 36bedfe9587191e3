"""Oracles: scikit-learn's regression without a penalty, folds fitted by hand, and tables where the answer is known."""

import numpy as np
import pandas as pd
import pytest
import scipy.special

from nnunet_ms.classification.stratification.baselines import (
    AGE,
    CONFOUNDERS,
    LESION_LOAD,
    MAJORITY,
    VOLUMES,
    baseline_predictions,
    baseline_rows,
    baselines,
)
from nnunet_ms.errors import TableError

N = 140


@pytest.fixture(scope="module")
def scans():
    rng = np.random.default_rng(4)
    age, lesion = rng.uniform(20, 65, N), rng.gamma(2, 5, N)
    ventricles = rng.normal(30, 6, N)
    odds = -6 + 0.08 * age + 0.05 * lesion + 0.06 * ventricles
    frame = {
        "patient_id": [f"P{k:03d}" for k in range(N)], "visit": "base", "age_years": age,
        "sex": rng.choice(["F", "M"], N), "field_tesla": rng.choice([1.5, 3.0], N), "lesion_volume_ml": lesion,
        "disabled": (rng.random(N) < scipy.special.expit(odds)).astype(int), "brain_ml": rng.normal(1500, 120, N),
        "wm_ml": rng.normal(500, 30, N), "gm_ml": rng.normal(600, 30, N), "sgm_ml": rng.normal(50, 4, N),
        "ventricles_ml": ventricles, "brainstem_ml": rng.normal(20, 2, N),
    }  # fmt: skip
    return pd.DataFrame(frame)


FOLD = np.arange(N) % 7


def test_every_baseline_has_every_scan_once_out_of_fold(scans):
    found = baselines(scans, FOLD)
    assert found.rows["model"].unique().tolist() == [MAJORITY, AGE, CONFOUNDERS, LESION_LOAD, VOLUMES]
    assert found.notes == ()
    for _, rows in found.rows.groupby("model"):
        merged = scans.assign(fold=FOLD).merge(rows, on=["patient_id", "visit", "fold"], validate="1:1")
        assert len(merged) == N
        assert (merged["truth"] == merged["disabled"]).all()


def test_volumes_equal_scikit_learns_regression_on_the_five_folds(scans):
    # Oracle: scikit-learn without a penalty on the same terms, written out here; fold 2 is judged, fold 3 held back.
    from sklearn.linear_model import LogisticRegression

    share = [100 * scans[name] / scans["brain_ml"] for name in ("gm_ml", "sgm_ml", "ventricles_ml", "brainstem_ml")]
    X = np.column_stack([scans["age_years"], scans["sex"] == "M", np.log1p(scans["lesion_volume_ml"]),
                         scans["brain_ml"], *share])  # fmt: skip
    X = (X - X.mean(0)) / X.std(0)
    train = (FOLD != 2) & (FOLD != 3)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10000).fit(X[train], scans["disabled"][train])
    rows = baselines(scans, FOLD).rows
    rows = rows[(rows["model"] == VOLUMES) & (rows["fold"] == 2)]
    assert rows["probability"].to_numpy() == pytest.approx(model.predict_proba(X[FOLD == 2])[:, 1], abs=1e-5)
    # the threshold: that of the largest sum of sensitivity and specificity in fold 3, by trying every cut
    p, y = model.predict_proba(X[FOLD == 3])[:, 1], scans["disabled"][FOLD == 3].to_numpy()
    gains = [(p >= cut)[y == 1].mean() - (p >= cut)[y == 0].mean() for cut in p]
    cut = rows["threshold"].iloc[0]
    assert (p >= cut)[y == 1].mean() - (p >= cut)[y == 0].mean() == pytest.approx(max(gains))


def test_the_larger_class_is_that_of_the_training_folds(scans):
    rows = baselines(scans, FOLD).rows
    rows = rows[rows["model"] == MAJORITY]
    for number in range(7):
        train = ~np.isin(FOLD, (number, (number + 1) % 7))
        values = rows.loc[rows["fold"] == number, "probability"]
        assert values.to_numpy() == pytest.approx(scans["disabled"][train].mean())
    assert (rows["threshold"] == 0.5).all()


def test_the_outcome_of_the_judged_fold_changes_nothing_there(scans):
    turned = scans.assign(disabled=np.where(FOLD == 1, 1 - scans["disabled"], scans["disabled"]))
    both = [baselines(frame, FOLD).rows for frame in (scans, turned)]
    one, other = (rows[rows["fold"] == 1]["probability"].to_numpy() for rows in both)
    assert one == pytest.approx(other, abs=1e-12)


def test_scans_without_a_predictor_have_no_probability_and_a_line_says_so(scans):
    holes = scans.assign(lesion_volume_ml=scans["lesion_volume_ml"].where(np.arange(N) >= 5), field_tesla=np.nan)
    told: list[str] = []
    rows = baseline_rows(holes, FOLD, told.append)
    counts = rows["model"].value_counts()
    assert (counts[LESION_LOAD], counts[VOLUMES], counts[AGE], counts[CONFOUNDERS]) == (N - 5, N - 5, N, N)
    assert f"lesion_load: 5 of {N} scans lack a predictor and have no probability." in told
    assert "confounders: without field_tesla, which no scan has." in told


@pytest.mark.parametrize(
    ("column", "value", "note"),
    [
        ("sex", "F", "volumes: without sex: F, the same in all scans."),
        ("age_years", 40.0, "age: left out, because nothing remains of it."),
        ("lesion_volume_ml", np.nan, "lesion_load: left out, because no scan has lesion_volume_ml."),
        ("brain_ml", np.nan, "volumes: left out, because no scan has a volume."),
        ("field_tesla", 3.0, "confounders: without field_tesla, the same in all scans."),
    ],
)
def test_what_cannot_be_used_is_said(scans, column, value, note):
    assert note in baselines(scans.assign(**{column: value}), FOLD).notes


def test_a_ridge_where_classes_are_separated_and_it_is_said(scans):
    apart = scans.assign(lesion_volume_ml=np.where(scans["disabled"] == 1, 50.0, 1.0) + np.arange(N) / 100)
    found = baselines(apart, FOLD)
    fits = found.fits[found.fits["model"] == LESION_LOAD]
    assert (fits["penalty"] == "ridge").all()
    assert fits["reason"].str.contains("separate").all()
    assert any(note.startswith("lesion_load: ridge in fold 0 (the predictors separate") for note in found.notes)
    assert np.isfinite(fits["estimate"]).all()


def test_a_ridge_where_predictors_repeat_each_other(scans):
    twin = scans.assign(sgm_ml=scans["gm_ml"] / 12)
    fits = baselines(twin, FOLD).fits
    assert set(fits.loc[fits["model"] == VOLUMES, "penalty"]) == {"ridge"}


def test_frozen_baselines_are_the_mean_of_the_folds(scans):
    found = baselines(scans, FOLD)
    again = baseline_predictions(found.fits, scans)
    # a scan judged by fold 0's regression has that fold's probability: all seven of them, computed from the table here
    fits = found.fits[found.fits["model"] == AGE].pivot_table(index="fold", columns="term", values="estimate")
    p = scipy.special.expit(fits["intercept"].to_numpy()[:, None] + np.outer(fits["age_years"], scans["age_years"]))
    assert again.loc[again["model"] == AGE, "probability"].to_numpy() == pytest.approx(p.mean(axis=0), abs=1e-12)
    own = found.rows[(found.rows["model"] == AGE) & (found.rows["fold"] == 3)]["probability"].to_numpy()
    assert own == pytest.approx(p[3, FOLD == 3], abs=1e-10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: (s.assign(patient_id=["P0", "P0", *s["patient_id"][2:]]), FOLD), "one fold, found patient P0 in 2"),
        (lambda s: (s, FOLD[:-1]), "one per scan, found 139 for 140"),
        (lambda s: (s.assign(disabled=s["disabled"].where(s.index != 3)), FOLD), "P003, visit base, column"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_meant(scans, change, message):
    with pytest.raises(TableError, match=message):
        baselines(*change(scans))


def test_a_frozen_baseline_needs_its_columns(scans):
    with pytest.raises(TableError, match="expected the column sex"):
        baseline_predictions(baselines(scans, FOLD).fits, scans.drop(columns="sex"))
