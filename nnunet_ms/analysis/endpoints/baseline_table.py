"""Baseline characteristics by arm: who was randomised, and how alike the arms are.

No p values: after randomisation every difference is chance, and a test of it answers no question (CONSORT 2010, item
15). The standardised difference says how large it is, whatever the number of patients.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, not_estimable, spread
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text
from nnunet_ms.arrays import Floats

ENDPOINT, ANALYSIS = "baseline", "characteristics"
NUMBERS = {"age_years": "years", "edss_baseline": "EDSS"}
FACTORS = ("sex", "region", "age_group", "edss_stratum")
VOLUME, COUNT, ENHANCING = "t2_volume", "t2_lesion_count", "enhancing_lesions"
STANDARDISED = "standardised_difference"
NAN = float("nan")


def baseline_statistics(trial: TrialData) -> Iterator[Statistic]:
    """Yield n, mean, SD, quartiles and range (numbers) or n and percent (factors) per arm and of all patients.

    Volume and lesion counts stand once per rater, on the patients with a baseline mask of every rater. A blank `arm` is
    all patients; a standardised difference has a `contrast`.
    """
    arms = trial.patients.set_index("patient_id")["arm"]
    base = Statistic(ENDPOINT, ANALYSIS, population="all patients")
    for name, unit in NUMBERS.items():
        values = trial.patients.set_index("patient_id")[name].astype(float)
        if values.isna().all():  # ADSL has none
            continue
        yield from _number(trial, values, arms, replace(base, term=name), unit)
    settings = trial.settings.analysis
    for name in dict.fromkeys((*FACTORS, *settings.strata, *settings.subgroups)):
        yield from _factor(trial, trial.groups(name), arms, name, base)
    for rater in trial.raters:
        keys = replace(base, rater=rater, population="baseline mask of every rater")
        yield from _lesions(trial, arms, keys)


def standardised_difference(values: Floats, reference: Floats) -> tuple[float, str]:
    """Return (mean - mean of the reference) / pooled SD [1]_, and why it is NaN.

    Parameters
    ----------
    values, reference : (n,) and (m,) float arrays
        Finite.

    References
    ----------
    .. [1] Austin PC. Stat Med 28:3083-3107, 2009, equation 1. doi:10.1002/sim.3697
    """
    if min(len(values), len(reference)) < 2:
        return NAN, "fewer than two patients in an arm"
    pooled = float(np.sqrt((values.var(ddof=1) + reference.var(ddof=1)) / 2))
    gap = float(values.mean() - reference.mean())
    if pooled == 0:
        return (0.0, "") if gap == 0 else (NAN, "no spread in either arm")
    return gap / pooled, ""


def standardised_distance(levels: Sequence[str], reference: Sequence[str]) -> tuple[float, str]:
    """Return the standardised difference of a factor, >= 0 [1]_, and why it is NaN.

    Mahalanobis distance of the vectors of proportions; with two levels the absolute difference of proportions over its
    pooled SD.

    References
    ----------
    .. [1] Yang D, Dalton JE. A unified approach to measuring the effect size between two groups using SAS. SAS Global
       Forum 2012, paper 335.
    """
    if not len(levels) or not len(reference):
        return NAN, "an arm has no patient"
    names = sorted({*levels, *reference})[1:]
    if not names:
        return 0.0, ""
    shares = [np.array([np.mean([value == name for value in sample]) for name in names])
              for sample in (levels, reference)]  # fmt: skip
    covariance = sum((np.diag(p) - np.outer(p, p) for p in shares), np.zeros((len(names), len(names)))) / 2
    if np.linalg.matrix_rank(covariance) < len(names):
        return NAN, "the arms share no level"
    gap = shares[0] - shares[1]
    return float(np.sqrt(gap @ np.linalg.solve(covariance, gap))), ""


def _number(trial: TrialData, values: pd.Series, arms: pd.Series, base: Statistic, unit: str) -> Iterator[Statistic]:
    samples = {"": values.to_numpy(float)}
    samples |= {arm: values[(arms.reindex(values.index) == arm)].to_numpy(float) for arm in trial.settings.arms}
    for arm, sample in samples.items():
        note = not_estimable(f"{len(sample)} patient{'s' * (len(sample) != 1)}")
        yield from spread(replace(base, arm=arm), _summary(sample, unit), note)
    for arm in trial.settings.compared_arms:
        gap, why = standardised_difference(samples[arm], samples[trial.settings.reference_arm])
        keys = replace(
            base, contrast=contrast_text(arm, trial.settings.reference_arm), method="difference of means / SD"
        )
        yield from spread(keys, {STANDARDISED: (gap, "SD")}, not_estimable(why))


def _summary(sample: Floats, unit: str) -> dict[str, tuple[float, str]]:
    n = len(sample)
    q = np.percentile(sample, [0, 25, 50, 75, 100]) if n else np.full(5, np.nan)
    values = {"mean": sample.mean() if n else NAN, "sd": sample.std(ddof=1) if n > 1 else NAN}
    values |= dict(zip(("min", "q1", "median", "q3", "max"), q, strict=True))
    return {"n": (float(n), "patients"), **{name: (float(value), unit) for name, value in values.items()}}


def _factor(trial: TrialData, groups: pd.Series, arms: pd.Series, name: str, base: Statistic) -> Iterator[Statistic]:
    of_patient = arms.reindex(groups.index)
    samples = {"": groups} | {arm: groups[of_patient == arm] for arm in trial.settings.arms}
    for level in sorted(groups.unique()):
        for arm, sample in samples.items():
            count = int((sample == level).sum())
            share = 100 * count / len(sample) if len(sample) else NAN
            stats = {"n": (float(count), "patients"), "percent": (share, "% of the arm")}
            yield from spread(replace(base, arm=arm, term=f"{name}: {level}"), stats, not_estimable("no patient"))
    for arm in trial.settings.compared_arms:
        reference = trial.settings.reference_arm
        gap, why = standardised_distance(list(samples[arm]), list(samples[reference]))
        keys = replace(base, term=name, contrast=contrast_text(arm, reference), method="distance of proportions / SD")
        yield from spread(keys, {STANDARDISED: (gap, "SD")}, not_estimable(why))


def _lesions(trial: TrialData, arms: pd.Series, base: Statistic) -> Iterator[Statistic]:
    settings, counts = trial.settings, trial.counts
    volumes = trial.volumes
    chosen = (volumes["rater"] == base.rater) & (volumes["week"] == settings.baseline_week)
    values = volumes[chosen].set_index("patient_id")["volume_ml"].astype(float)
    if trial.has_volumes:
        yield from _number(trial, values, arms, replace(base, term=VOLUME), "ml")
    at_baseline = counts[(counts["rater"] == base.rater) & (counts["week"] == settings.baseline_week)]
    of_type = at_baseline[at_baseline["lesion_type"] == settings.lesion_type].dropna(subset="lesion_count")
    if len(of_type):
        yield from _number(
            trial, of_type.set_index("patient_id")["lesion_count"].astype(float), arms, replace(base, term=COUNT),
            "lesions",
        )  # fmt: skip
    enhancing = at_baseline[at_baseline["lesion_type"] == "t1_enhancing"].dropna(subset="lesion_count")
    if len(enhancing):
        present = enhancing.set_index("patient_id")["lesion_count"].map(lambda n: "present" if n > 0 else "absent")
        yield from _factor(trial, present, arms, ENHANCING, base)
