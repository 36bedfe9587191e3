"""Endpoints: enhancing lesions, new T1 unenhancing lesions, new and enlarging T2 lesions, over the follow-up visits.

"New or enlarging T2 lesions", the secondary endpoint of the OPERA trials [1]_, is the sum of the two before it.

.. [1] Hauser SL et al. N Engl J Med 376:221-234, 2017. doi:10.1056/NEJMoa1601277
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, not_estimable, select, spread
from nnunet_ms.analysis.trial.change_counts import CHANGE_COLUMNS, WEEKS_PER_YEAR
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.statistics.count_model import CountModel, count_model, exact_rate_ratio, rank_sum_p
from nnunet_ms.statistics.design_matrix import arms_with_patients
from nnunet_ms.statistics.percent_reduction import Reduction, crude_reduction, of_ratio
from nnunet_ms.tables import TOGETHER

BY_VISIT, NEGATIVE_BINOMIAL, POISSON, WILCOXON = "by_visit", "negative_binomial", "exact_poisson", "wilcoxon"
POPULATION = "follow-up visits read by every rater"
ALL_VISITS = "all"
NOT_READ = "not read"
UNKNOWN = (NOT_READ, "missing")  # levels that stand for a missing value: nobody's adjusted rate is theirs
REDUCTION = "percent_reduction"  # term of the rate ratio said as a reduction


@dataclass(frozen=True)
class CountEndpoint:
    """What is counted: a lesion type and the columns whose sum it is; `at_baseline`: its presence then is a covariate.

    A count of change is since the scan before and belongs to the time between; other lesions belong to the scan.
    """

    name: str
    title: str
    lesion_type: str
    columns: tuple[str, ...]
    at_baseline: bool

    @property
    def phrase(self) -> str:
        """The title within a sentence: "new T1 unenhancing lesions"."""
        return self.title[0].lower() + self.title[1:]

    @property
    def of_change(self) -> bool:
        """Whether it needs an earlier scan."""
        return set(self.columns) <= set(CHANGE_COLUMNS)


_NEW, _ENLARGING = CHANGE_COLUMNS
ENDPOINTS = (
    CountEndpoint("enhancing_lesions", "Enhancing lesions", "t1_enhancing", ("lesion_count",), at_baseline=True),
    CountEndpoint("new_t1_lesions", "New T1 unenhancing lesions", "t1_unenhancing", (_NEW,), at_baseline=False),
    CountEndpoint("new_t2_lesions", "New T2 lesions", "t2_lesions", (_NEW,), at_baseline=False),
    CountEndpoint("enlarging_t2_lesions", "Enlarging T2 lesions", "t2_lesions", (_ENLARGING,), at_baseline=False),
    CountEndpoint(
        "new_or_enlarging_t2_lesions", "New or enlarging T2 lesions", "t2_lesions", (_NEW, _ENLARGING),
        at_baseline=False,
    ),
)  # fmt: skip


def counted(trial: TrialData) -> list[CountEndpoint]:
    """Return the endpoints that have a count at a follow-up visit, of one rater at least."""
    return [e for e in ENDPOINTS if len(_follow_up(trial, e))]


def available(trial: TrialData) -> list[CountEndpoint]:
    """Return the endpoints with rows in the results: those counted, and those whose other kind of change is counted.

    A table with new lesions and no enlarging ones (as version 0.1.0 and other programs write) has rows that say so.
    """
    kinds = {e.lesion_type for e in counted(trial) if e.of_change}
    there = [e.name for e in counted(trial)]
    return [e for e in ENDPOINTS if e.name in there or (e.of_change and e.lesion_type in kinds)]


def exposure_unit(trial: TrialData, endpoint: CountEndpoint) -> str:
    """Return what the rates of an endpoint are per: "year" or "scan"."""
    return "year" if endpoint.of_change and trial.settings.exposure == "years" else "scan"


def missing_reason(trial: TrialData, endpoint: CountEndpoint, rater: str) -> str:
    """Return why a rater has no count of an endpoint at any follow-up visit; blank text where there is one."""
    if len(select(_follow_up(trial, endpoint), rater=rater)):
        return ""
    rows = _of_type(trial, endpoint)
    rows = rows[rows["rater"] == rater]
    absent = [name for name in endpoint.columns if not rows[name].notna().any()]
    names = ", ".join(path.name for path in trial.settings.tables.visits)
    if not absent:
        return f"no follow-up visit of {rater} at which {' and '.join(endpoint.columns)} are known together"
    return (
        f"{names}: no {' and no '.join(absent)} of {rater} after baseline, which nnunet-ms-measure, -evaluate and "
        "-predict write from masks"
    )


def patient_counts(trial: TrialData, endpoint: CountEndpoint, rater: str) -> pd.DataFrame:
    """Return one row per patient with a count.

    Columns: `patient_id, arm, lesions, scans, years`, `exposure` (years or scans) and the model's covariates. `years`
    is the time that the counts cover: a count after a missed scan is since the one before.
    """
    rows = select(_follow_up(trial, endpoint), rater=rater)
    table = rows.groupby(["patient_id", "arm"], as_index=False).agg(
        lesions=("count", "sum"), scans=("count", "size"), years=("years", "sum")
    )
    table["exposure"] = table["years"] if exposure_unit(trial, endpoint) == "year" else table["scans"].astype(float)
    if endpoint.at_baseline:
        table["baseline"] = table["patient_id"].map(_presence(trial, endpoint, rater)).fillna(NOT_READ)
    for name in ("edss_stratum", "region"):
        table[name] = table["patient_id"].map(trial.groups(name))
    return table


def count_factors(endpoint: CountEndpoint) -> list[str]:
    """Return the factors of the endpoint's model."""
    return [*(["baseline"] if endpoint.at_baseline else []), "edss_stratum", "region"]


def fit_counts(trial: TrialData, endpoint: CountEndpoint, table: pd.DataFrame) -> CountModel:
    """Fit the negative binomial model of one rater's counts."""
    factors = count_factors(endpoint)
    c = trial.settings.conventions
    arms = arms_with_patients(table, trial.settings.arms)
    level = trial.settings.analysis.confidence
    inside = table[table["arm"].isin(arms)]
    return count_model(
        inside, "lesions", "exposure", arms, [], factors, c.nb_covariance, c.ls_mean_weights, level, unknown=UNKNOWN
    )


def lesion_count_statistics(trial: TrialData, endpoint: CountEndpoint) -> list[Statistic]:
    """Return the rows of one endpoint for every rater."""
    rows: list[Statistic] = []
    follow_up = _follow_up(trial, endpoint)
    for rater in trial.raters:
        of_rater = follow_up[follow_up["rater"] == rater]
        base = Statistic(endpoint.name, BY_VISIT, population=POPULATION, rater=rater)
        if why := missing_reason(trial, endpoint, rater):
            rows += _missing_rows(trial, replace(base, analysis=NEGATIVE_BINOMIAL, term="arm"), why)
            continue
        for week in trial.settings.weeks:
            rows += _visit_rows(
                trial, endpoint, of_rater[of_rater["week"] == week], replace(base, visit=week_text(week))
            )
        rows += _visit_rows(trial, endpoint, of_rater, replace(base, visit=ALL_VISITS))
        table = patient_counts(trial, endpoint, rater)
        rows += _model_rows(
            trial, fit_counts(trial, endpoint, table), endpoint, replace(base, analysis=NEGATIVE_BINOMIAL)
        )
        rows += _beside_rows(trial, table, base, exposure_unit(trial, endpoint))
    return rows


def _missing_rows(trial: TrialData, base: Statistic, why: str) -> Iterator[Statistic]:
    for arm in trial.settings.compared_arms:
        keys = replace(base, contrast=contrast_text(arm, trial.settings.reference_arm))
        yield from spread(keys, dict.fromkeys(("rate_ratio", "low", "high", "p"), (np.nan, "")), not_estimable(why))


def _of_type(trial: TrialData, endpoint: CountEndpoint) -> pd.DataFrame:
    counts = trial.counts
    return counts[(counts["lesion_type"] == endpoint.lesion_type) & (counts["week"] > trial.settings.baseline_week)]


def _follow_up(trial: TrialData, endpoint: CountEndpoint) -> pd.DataFrame:
    """Return the follow-up visits with a count: `count` is the sum of the endpoint's columns, `years` its time."""
    rows = _of_type(trial, endpoint)
    total = rows[list(endpoint.columns)].sum(axis=1, skipna=False).astype(float)
    if endpoint.columns == CHANGE_COLUMNS and rows[TOGETHER].notna().any():  # a rater does not tell the two apart
        total = rows[TOGETHER].astype(float)
    known = rows.assign(count=total, years=rows["interval_weeks"].astype(float) / WEEKS_PER_YEAR)
    return known[total.notna()]


def _presence(trial: TrialData, endpoint: CountEndpoint, rater: str) -> pd.Series:
    counts = trial.counts
    chosen = (counts["lesion_type"] == endpoint.lesion_type) & (counts["week"] == trial.settings.baseline_week)
    baseline = counts[chosen & (counts["rater"] == rater)].set_index("patient_id")["lesion_count"]
    return baseline.map(lambda n: "present" if n > 0 else "absent")


def _visit_rows(trial: TrialData, endpoint: CountEndpoint, rows: pd.DataFrame, base: Statistic) -> Iterator[Statistic]:
    sums = {}
    for arm in trial.settings.arms:
        of_arm = rows[rows["arm"] == arm]
        values = of_arm["count"].to_numpy(float)
        grouped = of_arm.groupby("patient_id")["count"]
        sums[arm] = (grouped.sum().to_numpy(float), grouped.size().to_numpy(float))
        stats = {
            "lesions": (float(values.sum()), "lesions"),
            "patients": (float(len(sums[arm][0])), "patients"),
            "visits": (float(len(values)), "visits"),
            "mean": (float(values.mean()) if len(values) else float("nan"), "lesions per visit"),
        }
        if endpoint.of_change:
            stats["years"] = (float(of_arm["years"].sum()), "patient-years")
        yield from spread(replace(base, arm=arm, method="observed visits"), stats, not_estimable("no visit"))
    for arm in trial.settings.compared_arms:
        reference = trial.settings.reference_arm
        found = crude_reduction(*sums[arm], *sums[reference], trial.settings.analysis.confidence)
        method = "1 - ratio of means per visit, interval of the log ratio (delta method, variance between patients)"
        keys = replace(base, contrast=contrast_text(arm, reference), method=method)
        yield from spread(keys, _reduction_stats(found), not_estimable(found.problem))


def _reduction_stats(found: Reduction) -> dict[str, tuple[float, str]]:
    return {
        "percent_reduction": (found.estimate, "%"),
        "low": (found.low, "%"),
        "high": (found.high, "%"),
    }


def _model_rows(trial: TrialData, fit: CountModel, endpoint: CountEndpoint, base: Statistic) -> Iterator[Statistic]:
    covariance = trial.settings.conventions.nb_covariance
    covariates = ("baseline presence, " if endpoint.at_baseline else "") + "EDSS stratum, region"
    notes = "; ".join([*fit.notes, *(f"{name} left out (constant in the data)" for name in fit.dropped)])
    method = (
        f"{fit.family or 'negative binomial'}: arm, {covariates}; {_offset(trial, endpoint)}; {covariance} information"
    )
    gone = [arm for arm in trial.settings.arms if fit.rates and arm not in {rate.arm for rate in fit.rates}]
    left = f"left out: {', '.join(gone)} (fewer than 2 patients)" if gone else ""
    method = "; ".join(filter(None, (method, notes, left)))
    model = {"n": (float(fit.n), "patients"), "dispersion": (fit.alpha, "")}
    yield from spread(replace(base, term="model", method=method), model, not_estimable(fit.problem or fit.family))
    ratios = {r.arm: r for r in fit.ratios}
    for arm in trial.settings.compared_arms:
        r = ratios.get(arm)
        keys = replace(base, contrast=contrast_text(arm, trial.settings.reference_arm), term="arm", method=method)
        names = {"rate_ratio": "estimate", "low": "low", "high": "high", "p": "p", "se_log": "log_se"}
        stats = {key: (getattr(r, name) if r else np.nan, "") for key, name in names.items()}
        why = not_estimable((r.problem if r else "") or fit.problem or _absent(arm, gone))
        yield from spread(keys, stats, why)
        found = of_ratio(r.estimate, r.low, r.high) if r else Reduction()
        keys = replace(keys, term=REDUCTION, method=f"100 * (1 - rate ratio); {method}")
        yield from spread(keys, _reduction_stats(found), why)
    rates = {r.arm: r for r in fit.rates}
    for arm in trial.settings.arms:
        rate = rates.get(arm)
        values = (rate.estimate, rate.low, rate.high) if rate else (np.nan,) * 3
        stats = {
            name: (v, f"lesions per {exposure_unit(trial, endpoint)}")
            for name, v in zip(("rate", "low", "high"), values, strict=True)
        }
        yield from spread(
            replace(base, arm=arm, method=method), stats, not_estimable(fit.problem or _absent(arm, gone))
        )


def _offset(trial: TrialData, endpoint: CountEndpoint) -> str:
    """Say what the counts are offset by."""
    if exposure_unit(trial, endpoint) == "scan":
        return "offset log(scans)"
    return "offset log(years from the scan before each count to its own, summed)"


def _absent(arm: str, gone: Sequence[str]) -> str:
    return f"fewer than 2 patients in arm {arm}" if arm in gone else "exact bounds only"


def _beside_rows(trial: TrialData, table: pd.DataFrame, base: Statistic, unit: str) -> Iterator[Statistic]:
    reference = trial.settings.reference_arm
    b = table[table["arm"] == reference]
    for arm in trial.settings.compared_arms:
        a = table[table["arm"] == arm]
        keys = replace(base, contrast=contrast_text(arm, reference), term="arm", visit=ALL_VISITS)
        if len(a) == 0 or len(b) == 0:
            yield from spread(replace(keys, analysis=POISSON), {"p": (np.nan, "")}, not_estimable("no visit in an arm"))
            continue
        ratio = exact_rate_ratio(
            int(a["lesions"].sum()), float(a["exposure"].sum()), int(b["lesions"].sum()), float(b["exposure"].sum()),
            trial.settings.analysis.confidence,
        )  # fmt: skip
        stats = {
            "rate_ratio": (ratio.estimate, ""),
            "low": (ratio.low, ""),
            "high": (ratio.high, ""),
            "p": (ratio.p, ""),
        }
        level = trial.settings.analysis.level
        method = f"exact conditional test of Poisson rates per {unit}, Clopper-Pearson {level} interval; "
        method += "assumes no overdispersion, so p is too small where patients differ in their rates"
        yield from spread(
            replace(keys, analysis=POISSON, method=method),
            stats,
            not_estimable(ratio.problem or "no lesion in the reference arm"),
        )
        p = rank_sum_p(a["lesions"] / a["exposure"], b["lesions"] / b["exposure"])
        method = f"Wilcoxon rank-sum test of lesions per {unit}, continuity correction"
        yield from spread(
            replace(keys, analysis=WILCOXON, method=method), {"p": (p, "")}, not_estimable("all counts are the same")
        )
