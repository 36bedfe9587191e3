"""Trials to simulate: a small one for the demo, and four of the size and shape of published ones. Data only.

"Given" numbers are those of Krishnan et al., Sci Rep 2023;13:4102 (doi:10.1038/s41598-023-31207-5) and of its
sister paper on T1 lesions (Radiology 2022): cohort sizes, allocation, age, MRI weeks, baseline volume (mean and SD,
turned into a log-normal distribution by their moments), separation of arms in lesion volume, hazard ratios of the
multivariable Cox models, numbers of events, enhancing and new T1 lesions of OPERA II. Visits per patient fix the
discontinuation rate. "Ours" is everything else, among it the spread between patients, which no paper prints. New or
enlarging T2 lesions together: Hauser et al., N Engl J Med 2017;376:221-234 (per scan, OPERA I 1.413 and 0.323, OPERA
II 1.904 and 0.325), Montalban et al., N Engl J Med 2017;376:209-220 (ORATORIO: 3.88 and 0.31 by week 120); how many
of them are enlarging is ours, a larger share under treatment, so that the rate ratios of the three endpoints differ.
A simulated trial has the shape of its model, and is never that trial.
"""

from dataclasses import replace
from math import exp, log, log1p, sqrt

from nnunet_ms.simulation.model.presets import Arm, Covariates, Hazard, TimedTest, TrialPreset

WEEKS_PER_YEAR = 365.25 / 7


def log_normal(mean: float, sd: float) -> tuple[float, float]:
    """Median and log SD of the log-normal distribution with this mean and SD.

    Examples
    --------
    >>> median, log_sd = log_normal(mean=9.96, sd=12.8)
    >>> round(median, 2), round(log_sd, 3)
    (6.12, 0.988)
    """
    log_sd = sqrt(log1p((sd / mean) ** 2))
    return mean * exp(-(log_sd**2) / 2), log_sd


def slope_for(percent: float, week: float, slope_sd: float, visit_sd: float) -> float:
    """Slope per year of log volume whose mean percent change at `week` is `percent` (mean of a log-normal).

    Examples
    --------
    >>> slope = slope_for(-4.0, 96, slope_sd=0.0, visit_sd=0.0)
    >>> round(100 * (exp(slope * 96 / WEEKS_PER_YEAR) - 1), 6)
    -4.0
    """
    years = week / WEEKS_PER_YEAR
    return (log1p(percent / 100) - ((slope_sd * years) ** 2 + visit_sd**2) / 2) / years


DEMO = TrialPreset(
    name="demo",
    patients=40,
    grid="demo",
    arms=(
        Arm("placebo", log_tlv_slope=0.08, new_lesions=2.0, enlarging=0.8, enhancing=0.7, new_t1=0.5, relapses=0.35),
        Arm("active", log_tlv_slope=-0.05, new_lesions=0.3, enlarging=0.3, enhancing=0.1, new_t1=0.15, relapses=0.15),
    ),
    allocation=("placebo", "placebo", "active", "active"),
    mri_weeks=(0, 24, 96),
    assessment_weeks=tuple(range(0, 121, 12)),  # 24 weeks beyond the last MRI, so that its onsets can be confirmed
    tlv_median_ml=8.0,
    tlv_log_sd=0.7,
    tlv_truncation_sd=2.5,
    tlv_slope_sd=0.05,
    tlv_visit_sd=0.03,
    new_lesion_dispersion=0.8,
    enhancing_at_baseline=1.2,
    black_hole_share=0.4,
    age_mean=42.0,
    age_sd=9.0,
    age_limits=(18.0, 60.0),
    female_share=0.62,
    us_share=0.3,
    edss_levels=(1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0),
    edss_weights=(0.08, 0.14, 0.14, 0.14, 0.13, 0.11, 0.08, 0.06, 0.06, 0.06),
    discontinuations_per_year=0.08,
    edss=Hazard(0.35, log_ratio=(0.0, -0.5), per_log_tlv=(0.4, 0.4)),  # high, so that a few dozen patients have events
    edss_fluctuation=0.2,
    edss_spikes=0.05,
    t25fw=TimedTest(6.0, 0.35, noise_log_sd=0.03, worsening=1.4, hazard=Hazard(0.2, (0.0, -0.5), (0.4, 0.4))),
    nhpt=TimedTest(23.0, 0.2, noise_log_sd=0.03, worsening=1.4, hazard=Hazard(0.12, (0.0, -0.5), (0.4, 0.4))),
)

_SLOPE_SD, _VISIT_SD = 0.10, 0.05  # ours
_CUT_SD = 4.0  # of baseline log volume: keeps the moments, and volumes below some 300 ml

_OPERA2_MEDIAN, _OPERA2_LOG_SD = log_normal(9.96, 12.8)


def _opera_arm(volume_ml: float) -> float:
    """Log hazard ratio of the arm at this volume, in the Cox model of OPERA II's CDP24.

    Arm 1.37 where log TLV is 0, log TLV 1.49, arm x log TLV .65 (the arm is ocrelizumab: .63 at the median volume
    agrees with the trial's .60); male 1.00, US 1.63, EDSS < 4 1.29, age 1.01.
    """
    return log(1.37) + log(0.65) * log(volume_ml)


_OPERA2_RATIO = (0.0, _opera_arm(_OPERA2_MEDIAN))
_OPERA2_SLOPES = (log(1.49), log(1.49 * 0.65))

OPERA2 = TrialPreset(
    name="opera2",
    patients=798,
    grid="trial",
    arms=(
        Arm(
            "interferon",
            log_tlv_slope=slope_for(4.0, 96, _SLOPE_SD, _VISIT_SD),  # ours
            new_lesions=0.75 * 1.904 * 3 * WEEKS_PER_YEAR / 96,
            enlarging=0.25 * 1.904 * 3 * WEEKS_PER_YEAR / 96,
            enhancing=0.42,
            new_t1=1438 / 965 * 3 * WEEKS_PER_YEAR / 96,
            relapses=0.29,
        ),
        Arm(
            "ocrelizumab",
            log_tlv_slope=slope_for(-4.0, 96, _SLOPE_SD, _VISIT_SD),  # ours
            new_lesions=0.6 * 0.325 * 3 * WEEKS_PER_YEAR / 96,
            enlarging=0.4 * 0.325 * 3 * WEEKS_PER_YEAR / 96,
            enhancing=0.02,
            new_t1=504 / 1060 * 3 * WEEKS_PER_YEAR / 96,
            relapses=0.155,
        ),
    ),
    allocation=("interferon", "interferon", "ocrelizumab", "ocrelizumab"),
    mri_weeks=(0, 24, 48, 96),
    assessment_weeks=tuple(range(0, 97, 12)),
    tlv_median_ml=_OPERA2_MEDIAN,
    tlv_log_sd=_OPERA2_LOG_SD,
    tlv_truncation_sd=_CUT_SD,
    tlv_slope_sd=_SLOPE_SD,
    tlv_visit_sd=_VISIT_SD,
    new_lesion_dispersion=1.5,
    enhancing_at_baseline=1.8,
    black_hole_share=0.4,
    age_mean=37.4,
    age_sd=9.0,
    age_limits=(18.0, 55.0),
    female_share=0.66,
    us_share=0.27,
    edss_levels=(0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5),
    edss_weights=(0.03, 0.07, 0.15, 0.16, 0.14, 0.13, 0.11, 0.1, 0.05, 0.04, 0.02),
    discontinuations_per_year=0.152,  # 2839 visits of 798 patients
    edss=Hazard(0.071, _OPERA2_RATIO, _OPERA2_SLOPES),
    edss_fluctuation=0.2,
    edss_spikes=0.05,
    t25fw=TimedTest(6.0, 0.35, 0.03, 1.4, Hazard(0.06, (0.0, log(0.75)), (0.2, 0.2))),  # ours, as the next
    nhpt=TimedTest(22.0, 0.2, 0.03, 1.4, Hazard(0.03, (0.0, log(0.75)), (0.2, 0.2))),
    covariates=Covariates(male=log(1.0), us=log(1.63), edss_below_4=log(1.29), age_per_year=log(1.01)),
)

# Given for OPERA I: patients, allocation, visits, age, volume, enhancing and new or enlarging T2 lesions, relapses. All
# else is OPERA II's, a trial of the same protocol: no paper prints a Cox model, a separation or new T1 lesions of it.
_OPERA1_MEDIAN, _OPERA1_LOG_SD = log_normal(9.84, 12.44)
_INTERFERON, _OCRELIZUMAB = OPERA2.arms

OPERA1 = replace(
    OPERA2,
    name="opera1",
    patients=796,
    arms=(
        replace(
            _INTERFERON,
            new_lesions=_INTERFERON.new_lesions * 1.413 / 1.904,
            enlarging=_INTERFERON.enlarging * 1.413 / 1.904,
            enhancing=0.29,
            relapses=0.292,
        ),
        replace(
            _OCRELIZUMAB,
            new_lesions=_OCRELIZUMAB.new_lesions * 0.323 / 0.325,
            enlarging=_OCRELIZUMAB.enlarging * 0.323 / 0.325,
            enhancing=0.02,
            relapses=0.156,
        ),
    ),
    tlv_median_ml=_OPERA1_MEDIAN,
    tlv_log_sd=_OPERA1_LOG_SD,
    age_mean=37.2,
    discontinuations_per_year=0.1015,  # 2941 visits of 796 patients
    # the same model, whose arm and level are told at this cohort's median
    edss=replace(
        OPERA2.edss,
        per_year=OPERA2.edss.per_year * (_OPERA1_MEDIAN / _OPERA2_MEDIAN) ** _OPERA2_SLOPES[0],
        log_ratio=(0.0, _opera_arm(_OPERA1_MEDIAN)),
    ),
)

_ORATORIO_MEDIAN, _ORATORIO_LOG_SD = log_normal(11.79, 14.09)
# Cox model of 9HPT24: arm (placebo) 1.29 where log TLV is 0, log TLV 1.10, arm x log TLV 1.18
_ORATORIO_PEG = (0.0, -log(1.29) - log(1.18) * log(_ORATORIO_MEDIAN))

ORATORIO = TrialPreset(
    name="oratorio",
    patients=714,
    grid="trial",
    arms=(
        Arm(
            "placebo",
            log_tlv_slope=slope_for(11.0, 120, _SLOPE_SD, _VISIT_SD),
            new_lesions=0.75 * 3.88 * WEEKS_PER_YEAR / 120,
            enlarging=0.25 * 3.88 * WEEKS_PER_YEAR / 120,
            enhancing=0.3,  # ours, as new_t1 and relapses
            new_t1=0.6 * 3 * WEEKS_PER_YEAR / 120,
            relapses=0.1,
        ),
        Arm(
            "ocrelizumab",
            log_tlv_slope=slope_for(11.0 - 13.5, 120, _SLOPE_SD, _VISIT_SD),
            new_lesions=0.6 * 0.31 * WEEKS_PER_YEAR / 120,
            enlarging=0.4 * 0.31 * WEEKS_PER_YEAR / 120,
            enhancing=0.02,
            new_t1=0.25 * 3 * WEEKS_PER_YEAR / 120,
            relapses=0.05,
        ),
    ),
    allocation=("placebo", "placebo", *("ocrelizumab",) * 4),
    mri_weeks=(0, 24, 48, 120),
    assessment_weeks=tuple(range(0, 145, 12)),  # ours: 24 weeks beyond the last MRI
    tlv_median_ml=_ORATORIO_MEDIAN,
    tlv_log_sd=_ORATORIO_LOG_SD,
    tlv_truncation_sd=_CUT_SD,
    tlv_slope_sd=_SLOPE_SD,
    tlv_visit_sd=_VISIT_SD,
    new_lesion_dispersion=1.5,
    enhancing_at_baseline=0.9,
    black_hole_share=0.5,
    age_mean=46.2,  # before the cut at the age limits; the cohort's mean is then the given 44.5
    age_sd=8.0,
    age_limits=(18.0, 56.0),
    female_share=0.5,
    us_share=0.14,
    edss_levels=(3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5),
    edss_weights=(0.08, 0.14, 0.2, 0.11, 0.09, 0.08, 0.17, 0.13),
    discontinuations_per_year=0.101,  # 2605 visits of 714 patients
    edss=Hazard(0.155, (0.0, log(0.75)), (0.15, 0.15)),  # hazard ratio: the trial's CDP24; its level ours
    edss_fluctuation=0.2,
    edss_spikes=0.05,
    t25fw=TimedTest(9.5, 0.45, 0.03, 1.4, Hazard(0.2, (0.0, log(0.75)), (0.15, 0.15))),  # ours
    nhpt=TimedTest(28.0, 0.25, 0.03, 1.4, Hazard(0.094, _ORATORIO_PEG, (log(1.10 * 1.18), log(1.10)))),
    covariates=Covariates(male=log(1.54), us=log(1.36), edss_below_4=log(0.44), age_per_year=log(0.97)),
)

_OLYMPUS_MEDIAN, _OLYMPUS_LOG_SD = log_normal(13.81, 15.42)
_OLYMPUS_RATIO = (0.0, log(log1p(-0.302) / log1p(-0.385)))  # CDP 30.2 % against 38.5 % at week 96

OLYMPUS = TrialPreset(
    name="olympus",
    patients=416,
    grid="trial",
    arms=(
        Arm(
            "placebo",
            log_tlv_slope=slope_for(11.0, 122, _SLOPE_SD, _VISIT_SD),  # the level is ours, the separation given
            new_lesions=1.2,  # ours, as the other counts
            enlarging=0.5,
            enhancing=0.12,
            new_t1=0.5 * 4 * WEEKS_PER_YEAR / 122,
            relapses=0.1,
        ),
        Arm(
            "rituximab",
            log_tlv_slope=slope_for(11.0 - 11.1, 122, _SLOPE_SD, _VISIT_SD),
            new_lesions=0.45,
            enlarging=0.3,
            enhancing=0.02,
            new_t1=0.25 * 4 * WEEKS_PER_YEAR / 122,
            relapses=0.06,
        ),
    ),
    allocation=("placebo", "placebo", *("rituximab",) * 4),
    mri_weeks=(0, 6, 48, 96, 122),
    assessment_weeks=(*range(0, 97, 12), 122),
    tlv_median_ml=_OLYMPUS_MEDIAN,
    tlv_log_sd=_OLYMPUS_LOG_SD,
    tlv_truncation_sd=_CUT_SD,
    tlv_slope_sd=_SLOPE_SD,
    tlv_visit_sd=_VISIT_SD,
    new_lesion_dispersion=1.5,
    enhancing_at_baseline=0.6,
    black_hole_share=0.5,
    age_mean=50.0,
    age_sd=8.5,
    age_limits=(18.0, 66.0),
    female_share=0.5,
    us_share=0.7,
    edss_levels=(2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5),
    edss_weights=(0.03, 0.04, 0.07, 0.11, 0.15, 0.08, 0.08, 0.08, 0.22, 0.14),
    discontinuations_per_year=0.155,  # 1787 visits of 416 patients
    edss=Hazard(0.26, _OLYMPUS_RATIO, (0.15, 0.15)),  # 38.5 % of placebo progressed within 96 weeks
    edss_fluctuation=0.2,
    edss_spikes=0.05,
    t25fw=TimedTest(11.0, 0.5, 0.03, 1.4, Hazard(0.25, (0.0, log(0.8)), (0.15, 0.15))),  # ours, as the next
    nhpt=TimedTest(30.0, 0.25, 0.03, 1.4, Hazard(0.1, (0.0, log(0.8)), (0.15, 0.15))),
)

PRESETS = {preset.name: preset for preset in (DEMO, OPERA1, OPERA2, ORATORIO, OLYMPUS)}
