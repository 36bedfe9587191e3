"""Oracles: statsmodels' logistic regression, least squares by rows, sorting, and volumes that are known."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from nnunet_ms.errors import ModelError, SettingsError
from nnunet_ms.trainers.prediction.calibration_file import (
    FILE,
    ModelCalibration,
    parse_calibration,
    read_calibration,
    write_calibration,
)
from nnunet_ms.trainers.prediction.platt import LOG_ODDS, fit_platt
from nnunet_ms.trainers.prediction.volume_calibration import (
    HeldOut,
    Seen,
    fit_calibration,
    log_odds_counts,
    patients_needed,
)


def sums(truths, expected, patients=None):
    names = [f"p{n}" for n in range(len(truths))] if patients is None else patients
    return [
        HeldOut(f"c{n}", patient, Seen(x), y)
        for n, (patient, x, y) in enumerate(zip(names, expected, truths, strict=True))
    ]


def noisy(n=15, seed=0, visits=1):
    rng = np.random.default_rng(seed)
    truths = rng.lognormal(2, 1, n * visits)
    patients = [f"p{k}" for k in range(n) for _ in range(visits)]
    return sums(truths, 2 * truths**0.9 * rng.lognormal(0, 0.2, n * visits) + 1, patients)


def scan(rng, volume_ml, halo=1e-3, sharpness=0.5, voxel_ml=0.003):
    """A map whose log-odds are too large by a factor 1 / sharpness, in a brain with a faint halo; its voxels, in ml."""
    inside = rng.normal(1, 3, int(2 * volume_ml / voxel_ml))
    z = np.concatenate([inside, np.full(30_000, math.log(halo))])
    p, lesion = 1 / (1 + np.exp(-z)), np.zeros(z.size, bool)
    lesion[: inside.size] = rng.random(inside.size) < 1 / (1 + np.exp(-(sharpness * inside - 1)))
    seen = Seen(float(p.sum()) * voxel_ml, log_odds_counts(p) * voxel_ml)
    return seen, float(lesion.sum()) * voxel_ml, log_odds_counts(p, lesion) * voxel_ml


def test_counts_of_log_odds_keep_the_sum_of_probabilities():
    p = np.concatenate([np.random.default_rng(0).beta(0.1, 1, 5000), [0.0, 1.0, 1e-12, 0.5]])
    counts = log_odds_counts(p)
    assert counts.sum() == (p > 1 / (1 + math.exp(20))).sum()
    assert counts @ (1 / (1 + np.exp(-LOG_ODDS))) == pytest.approx(p.sum(), rel=1e-4)
    inside = p > 0.3
    assert log_odds_counts(p, inside).sum() == inside.sum()


def test_platt_scaling_is_statsmodels_logistic_regression():
    rng = np.random.default_rng(1)
    volumes = rng.poisson(200, LOG_ODDS.size) * np.exp(-(LOG_ODDS**2) / 50)
    lesions = volumes * rng.beta(20, 20, LOG_ODDS.size) * 2 / (1 + np.exp(-(0.4 * LOG_ODDS - 1)))
    lesions = np.minimum(lesions, volumes)
    told = sm.GLM(np.column_stack([lesions, volumes - lesions]), sm.add_constant(LOG_ODDS), sm.families.Binomial())
    expected = told.fit().params
    a, b = fit_platt(volumes, lesions)
    assert (a, b) == pytest.approx(expected, abs=1e-3)
    assert volumes @ (1 / (1 + np.exp(-(a + b * LOG_ODDS)))) == pytest.approx(lesions.sum(), rel=1e-3)


@pytest.mark.parametrize("lesions_above", [-5.0, 0.0, 3.0])
def test_perfect_predictions_have_finite_parameters(lesions_above):
    volumes = np.ones_like(LOG_ODDS)
    assert np.isfinite(fit_platt(volumes, volumes * (lesions_above < LOG_ODDS))).all()


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0, 7.0])
def test_sums_that_are_a_multiple_of_the_truth_give_the_truth(factor):
    truths = np.geomspace(0.5, 60, 12)
    found = fit_calibration(sums(truths, factor * truths), offset_ml=1e-9).apply(Seen(factor * 20))
    assert (found.volume_ml, found.lower_ml, found.upper_ml) == pytest.approx((20, 20, 20), rel=1e-6)
    assert found.note == ""


def by_rows(cases, offset):
    """Intercept and slope by least squares over rows: patients weigh the same, one row says that the slope is 1."""
    of_patient = [case.patient_id for case in cases]
    weight = [1 / math.sqrt(of_patient.count(one)) for one in of_patient]
    mean = np.average([math.log(case.seen.expected_ml + offset) for case in cases], weights=np.square(weight))
    rows = [[w, w * (math.log(case.seen.expected_ml + offset) - mean)] for w, case in zip(weight, cases, strict=True)]
    right = [w * math.log(case.reference_ml + offset) for w, case in zip(weight, cases, strict=True)]
    (level, slope), *_ = np.linalg.lstsq(np.array([*rows, [0, 1]]), np.array([*right, 1]), rcond=None)
    return level - slope * mean, slope


@pytest.mark.parametrize(("visits", "seed"), [(1, 0), (1, 3), (2, 1), (3, 2)])
def test_interval_is_the_jackknife_plus_by_its_definition(visits, seed):
    cases = noisy(12, seed, visits)
    found, new = fit_calibration(cases, measure=False).apply(Seen(25.0)), math.log(25.1)
    intercept, slope = by_rows(cases, 0.1)
    assert found.volume_ml == pytest.approx(math.exp(intercept + slope * new) - 0.1)
    lows, highs = [], []
    for case in cases:
        a, b = by_rows([one for one in cases if one.patient_id != case.patient_id], 0.1)
        error = abs(math.log(case.reference_ml + 0.1) - a - b * math.log(case.seen.expected_ml + 0.1))
        lows.append(a + b * new - error)
        highs.append(a + b * new + error)
    # patients have as many cases each: the rank is that of n + visits scores, of which `visits` lie at infinity
    rank = math.ceil(round(0.9 * (len(cases) + visits), 9))
    assert found.upper_ml == pytest.approx(math.exp(sorted(highs)[rank - 1]) - 0.1)
    assert found.lower_ml == pytest.approx(math.exp(sorted(lows, reverse=True)[rank - 1]) - 0.1)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.85])
def test_too_few_patients_give_an_infinite_limit_and_say_so(level):
    least = patients_needed(level)
    enough, few = (fit_calibration(noisy(n), level=level, measure=False) for n in (least, least - 1))
    assert math.isfinite(enough.apply(Seen(10)).upper_ml)
    found = few.apply(Seen(10))
    assert (found.lower_ml, found.upper_ml) == (0, math.inf)
    assert f"{least - 1} patients allow" in found.note
    assert f"{100 * level:g} % need {least}" in found.note


def test_visits_do_not_count_as_patients():
    assert fit_calibration(noisy(8, visits=5), measure=False).apply(Seen(10)).upper_ml == math.inf


def scans(halo):
    rng = np.random.default_rng(5)
    drawn = [scan(rng, rng.lognormal(2, 0.8), halo=halo) for _ in range(13)]
    cases = [HeldOut(f"c{n}", f"p{n}", seen, truth, lesions) for n, (seen, truth, lesions) in enumerate(drawn)]
    return cases[:-1], cases[-1]


def test_overconfidence_is_found_as_it_was_drawn():
    cases, _ = scans(halo=1e-9)
    assert fit_calibration(cases).fit.platt == pytest.approx((-1, 0.5), abs=0.02)


@pytest.mark.parametrize("halo", [1e-9, 0.001, 0.003])
def test_halo_and_overconfidence_are_taken_out(halo):
    # Truth: voxels drawn with the probabilities that a calibrated network would have said, none in the halo.
    cases, new = scans(halo)
    calibration = fit_calibration(cases)
    assert calibration.measured.error_before > 0.3
    assert calibration.measured.error_after < 0.1
    assert calibration.apply(new.seen).volume_ml == pytest.approx(new.reference_ml, rel=0.1)
    assert fit_calibration([replace(case, lesion_volumes=None) for case in cases]).fit.platt is None


def test_measured_is_of_patients_left_out():
    cases = noisy(12, visits=2)
    calibration, covered, after = fit_calibration(cases), [], []
    for patient in {case.patient_id for case in cases}:
        own = [case for case in cases if case.patient_id == patient]
        rest = fit_calibration([case for case in cases if case.patient_id != patient], measure=False)
        found = [rest.apply(case.seen) for case in own]
        pairs = list(zip(found, own, strict=True))
        covered.append(np.mean([one.lower_ml <= case.reference_ml <= one.upper_ml for one, case in pairs]))
        after.append(np.mean([abs(one.volume_ml / case.reference_ml - 1) for one, case in pairs]))
    assert calibration.measured.coverage == pytest.approx(np.mean(covered))
    assert calibration.measured.error_after == pytest.approx(np.mean(after))
    before = np.mean([abs(case.seen.expected_ml / case.reference_ml - 1) for case in cases])
    assert calibration.measured.error_before == pytest.approx(before)


def test_cases_without_lesions_are_counted_and_have_no_relative_error():
    cases = [*noisy(11), HeldOut("empty", "e", Seen(0.4), 0.0)]
    found = fit_calibration(cases)
    assert found.measured.without_lesions == 1
    assert math.isfinite(found.measured.error_after)
    assert found.apply(Seen(0.0)).lower_ml == 0


def test_volumes_outside_of_what_was_calibrated_are_named():
    calibration = fit_calibration(noisy(), measure=False)
    low, high = calibration.range_ml
    assert "calibrated on" in calibration.apply(Seen(high * 1.5)).note
    assert "calibrated on" in calibration.apply(Seen(low / 2)).note
    assert calibration.apply(Seen(high)).note == ""


@pytest.mark.parametrize(
    ("cases", "match"),
    [
        (noisy(3), "expected held-out cases of 4 patients or more, found 3"),
        (noisy(1, visits=9), "expected held-out cases of 4 patients or more, found 1"),
        (sums([0.0] * 9, [1.0] * 9), "of 3 patients with lesions or more, found 0"),
        (sums([0.0] * 8 + [1.0], [1.0] * 9), "of 3 patients with lesions or more, found 1"),
    ],
)
def test_cases_that_cannot_calibrate_are_refused(cases, match):
    with pytest.raises(SettingsError, match=f"lesion: .*{match}"):
        fit_calibration(cases)


def test_file_gives_back_what_was_written_and_names_nobody(tmp_path):
    told = ModelCalibration(
        (fit_calibration(noisy(visits=2)), fit_calibration(noisy(9), value=2)), "noise", dropout=True
    )
    written = write_calibration(told, tmp_path)
    assert read_calibration(tmp_path).labels[0] == told.labels[0]
    again = read_calibration(tmp_path)
    assert math.isnan(again.of(2).measured.coverage)  # eight patients, when one is left out
    assert (again.source, again.dropout, again.sha256) == ("noise", True, written.sha256)
    assert again.of(3) is None
    text = (tmp_path / FILE).read_text()
    assert '"p1"' not in text
    assert '"c1"' not in text
    assert again.lines()[0].startswith("volumes of lesion calibrated on 30 cases of 15 patients, 90 % intervals;")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    write_calibration(ModelCalibration((fit_calibration(noisy(9)),), "noise", None), folder)
    return (folder / FILE).read_text()


def label(told):
    return told["labels"][0]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda told: told.update(format=2), "expected format 1, found 2"),
        (lambda told: label(told).pop("fit"), "found others"),
        (lambda told: label(told).update(level=90), "level 90"),
        (lambda told: label(told).update(without=[]), "0 patients"),
        (lambda told: label(told)["fit"].update(line=[1]), "found others"),
        (lambda told: label(told)["fit"].update(line=["1", 2]), "is no number"),
        (lambda told: label(told).update(offset_ml=0), "offset 0"),
    ],
)
def test_files_that_are_no_calibration_are_refused(change, match, written):
    told = json.loads(written)
    change(told)
    with pytest.raises(ModelError, match=rf"^x\.json: .*{match}"):
        parse_calibration(json.dumps(told).encode(), "x.json")


@pytest.mark.parametrize(("data", "match"), [(b"{", "expected JSON"), (b"[]", "expected format 1, found None")])
def test_files_that_are_no_json_object_are_refused(data, match):
    with pytest.raises(ModelError, match=rf"^x\.json: .*{match}"):
        parse_calibration(data, "x.json")


def test_sums_that_scaling_makes_worse_stay_as_they_are():
    random = np.random.default_rng(3)
    truth = random.uniform(1, 30, 10)
    cases = [
        HeldOut(str(n), str(n), Seen(float(one * random.uniform(0.8, 1.25))), float(one)) for n, one in enumerate(truth)
    ]
    cases[0] = HeldOut("0", "0", Seen(6.0), 1.0)  # one far off would bend the line of all others
    found = fit_calibration(cases)
    assert "as they are" in found.method
    assert found.measured.error_after == pytest.approx(found.measured.error_before)
    assert found.apply(Seen(10.0)).volume_ml == pytest.approx(10.0)
    assert found.apply(Seen(10.0)).lower_ml < 10 < found.apply(Seen(10.0)).upper_ml
    scaled = fit_calibration([HeldOut(str(n), str(n), Seen(2.0 * n), float(n)) for n in range(1, 11)])
    assert "as they are" not in scaled.method
