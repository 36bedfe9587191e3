"""The model of disability: its risk and best AUC against draws and scikit-learn, its courses against the scale."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from nnunet_ms.simulation.model import disability
from nnunet_ms.simulation.model.disability import (
    MODEL,
    SIGNALS,
    best_auc,
    draw_disability,
    draw_numbers,
    latent_sum,
)

SCALE = {0.0, *(n / 2 for n in range(2, 21))}
PATIENTS = 1500


@pytest.fixture(scope="module")
def cohort():
    return [draw_disability("ventricles", 0.0, 3, index) for index in range(PATIENTS)]


@pytest.mark.parametrize("signal", SIGNALS)
def test_the_best_auc_is_that_of_the_risk_of_many_drawn_patients(signal):
    # Oracle: scikit-learn on 200,000 patients whose class is drawn by their risk
    rng = np.random.default_rng(7)
    risk = expit(latent_sum(signal, *draw_numbers(200_000, rng)) - disability._cut(signal, 3.0))
    truth = rng.random(risk.size) < risk
    assert truth.mean() == pytest.approx(sum(MODEL.edss_weights[5:]) / sum(MODEL.edss_weights), abs=0.005)
    assert best_auc(signal) == pytest.approx(roc_auc_score(truth, risk), abs=0.005)


@pytest.mark.parametrize("signal", ["ventricles", "brainstem", "lesions", "age"])
def test_a_logistic_regression_finds_the_strengths_again(signal):
    patients = [draw_disability(signal, 0.0, 5, index) for index in range(PATIENTS)]
    numbers = np.array([(one.ventricle_z, one.lesion_z, one.age_z, one.stem_z) for one in patients])
    truth = np.array([one.scans[0].edss >= 3 for one in patients])
    model = LogisticRegression(C=np.inf).fit(numbers, truth)
    by = SIGNALS[signal]
    assert model.coef_[0] == pytest.approx([by.ventricles, by.lesions, by.age, by.brainstem], abs=0.35)


def test_risk_of_first_and_second_scans_is_the_share_that_is_disabled(cohort):
    for visit in (0, 1):
        scans = [one.scans[visit] for one in cohort if len(one.scans) > visit]
        expected = np.array([scan.risk for scan in scans])
        share = np.mean([scan.edss >= 3 for scan in scans])
        assert share == pytest.approx(expected.mean(), abs=3.5 * np.sqrt(0.25 / len(scans)))
    assert len(scans) / PATIENTS == pytest.approx(63 / 319, abs=0.04)


def test_courses_are_on_the_scale_in_time_and_begin_with_the_edss_of_the_first_scan(cohort):
    for one in cohort:
        first = one.scans[0]
        assert set(one.assessed_edss) <= SCALE
        assert one.assessed_edss[0] == first.edss
        assert one.assessed_weeks[0] == 0
        assert max(one.assessed_weeks) <= 240
        for scan in one.scans:
            assert scan.edss in SCALE
            assert 0 <= scan.edss_day - 7 * scan.week <= 183
            assert scan.edss in (first.edss, first.edss + 1, first.edss + 0.5)


def test_worsening_comes_sooner_at_a_larger_latent_sum(cohort):
    latent = np.array([one.scans[0].latent for one in cohort])
    years = np.array([one.onset_week for one in cohort]) / (365.25 / 7)
    hazard = MODEL.worsening_per_year * np.exp(MODEL.worsening_log_ratio * latent)
    assert (years * hazard).mean() == pytest.approx(1, abs=0.1)  # a unit exponential in everyone


@pytest.mark.parametrize("effect", [-1.5, 0.0, 2.0])
def test_the_field_goes_with_disability_as_strongly_as_asked(effect):
    scans = [s for i in range(PATIENTS) for s in draw_disability("none", effect, 9, i).scans]
    table = np.array(
        [[sum((s.edss >= 3) == d and (s.field_tesla < 3) == f for s in scans) for f in (0, 1)] for d in (0, 1)]
    )
    found = np.log(table[1, 1] * table[0, 0] / (table[1, 0] * table[0, 1]))
    assert found == pytest.approx(effect, abs=4 * np.sqrt((1 / table).sum()))


def test_without_a_signal_nothing_is_related_to_disability():
    patients = [draw_disability("none", 0.0, 1, index) for index in range(PATIENTS)]
    truth = [one.scans[0].edss >= 3 for one in patients]
    for name in ("age_z", "ventricle_z", "lesion_z", "stem_z"):
        assert roc_auc_score(truth, [getattr(one, name) for one in patients]) == pytest.approx(0.5, abs=0.05)
    assert len({one.scans[0].risk for one in patients}) == 1


def test_a_patient_is_the_same_whatever_the_others():
    assert draw_disability("mixed", 0.5, 4, 17) == draw_disability("mixed", 0.5, 4, 17)
    assert draw_disability("mixed", 0.5, 4, 17) != draw_disability("mixed", 0.5, 4, 18)
