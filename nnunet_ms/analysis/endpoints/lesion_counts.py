"""Endpoints: enhancing lesions, new T1 unenhancing lesions, new or enlarging T2 lesions, over the follow-up visits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, not_estimable, spread
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.statistics.count_model import CountModel, count_model, exact_rate_ratio, rank_sum_p
from nnunet_ms.statistics.design_matrix import arms_with_patients
from nnunet_ms.statistics.percent_reduction import Reduction, crude_reduction, of_ratio

BY_VISIT, NEGATIVE_BINOMIAL, POISSON, WILCOXON = "by_visit", "negative_binomial", "exact_poisson", "wilcoxon"
POPULATION = "follow-up visits read by every rater"
ALL_VISITS = "all"
NOT_READ = "not read"
UNKNOWN = (NOT_READ, "missing")  # levels that stand for a missing value: nobody's adjusted rate is theirs
REDUCTION = "percent_reduction"  # term of the rate ratio said as a reduction


@dataclass(frozen=True)
class CountEndpoint:
    """What is counted: a lesion type and a column; `at_baseline`: its presence at baseline is a covariate."""

    name: str
    title: str
    lesion_type: str
    column: str
    at_baseline: bool

    @property
    def phrase(self) -> str:
        """The title within a sentence: "new T1 unenhancing lesions"."""
        return self.title[0].lower() + self.title[1:]


ENDPOINTS = (
    CountEndpoint("enhancing_lesions", "Enhancing lesions", "t1_enhancing", "lesion_count", at_baseline=True),
    CountEndpoint(
        "new_t1_lesions", "New T1 unenhancing lesions", "t1_unenhancing", "new_lesion_count", at_baseline=False
    ),
    CountEndpoint("new_t2_lesions", "New or enlarging T2 lesions", "t2_lesions", "new_lesion_count", at_baseline=False),
)


def available(trial: TrialData) -> list[CountEndpoint]:
    """Return the endpoints that have a count at a follow-up visit."""
    return [e for e in ENDPOINTS if len(_follow_up(trial, e))]


def patient_counts(trial: TrialData, endpoint: CountEndpoint, rater: str) -> pd.DataFrame:
    """Return one row per patient with a count: `patient_id, arm, lesions, scans` and the model's covariates."""
    rows = _follow_up(trial, endpoint)
    rows = rows[rows["rater"] == rater]
    table = rows.groupby(["patient_id", "arm"], as_index=False).agg(
        lesions=(endpoint.column, "sum"), scans=(endpoint.column, "size")
    )
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
        inside, "lesions", "scans", arms, [], factors, c.nb_covariance, c.ls_mean_weights, level, unknown=UNKNOWN
    )


def lesion_count_statistics(trial: TrialData, endpoint: CountEndpoint) -> list[Statistic]:
    """Return the rows of one endpoint for every rater."""
    rows: list[Statistic] = []
    follow_up = _follow_up(trial, endpoint)
    for rater in trial.raters:
        of_rater = follow_up[follow_up["rater"] == rater]
        base = Statistic(endpoint.name, BY_VISIT, population=POPULATION, rater=rater)
        for week in trial.settings.weeks:
            rows += _visit_rows(
                trial, endpoint, of_rater[of_rater["week"] == week], replace(base, visit=week_text(week))
            )
        rows += _visit_rows(trial, endpoint, of_rater, replace(base, visit=ALL_VISITS))
        table = patient_counts(trial, endpoint, rater)
        rows += _model_rows(
            trial, fit_counts(trial, endpoint, table), endpoint, replace(base, analysis=NEGATIVE_BINOMIAL)
        )
        rows += _beside_rows(trial, table, base)
    return rows


def _follow_up(trial: TrialData, endpoint: CountEndpoint) -> pd.DataFrame:
    counts = trial.counts
    chosen = (counts["lesion_type"] == endpoint.lesion_type) & (counts["week"] > trial.settings.baseline_week)
    return counts[chosen & counts[endpoint.column].notna()]


def _presence(trial: TrialData, endpoint: CountEndpoint, rater: str) -> pd.Series:
    counts = trial.counts
    chosen = (counts["lesion_type"] == endpoint.lesion_type) & (counts["week"] == trial.settings.baseline_week)
    baseline = counts[chosen & (counts["rater"] == rater)].set_index("patient_id")[endpoint.column]
    return baseline.map(lambda n: "present" if n > 0 else "absent")


def _visit_rows(trial: TrialData, endpoint: CountEndpoint, rows: pd.DataFrame, base: Statistic) -> Iterator[Statistic]:
    sums = {}
    for arm in trial.settings.arms:
        of_arm = rows[rows["arm"] == arm]
        values = of_arm[endpoint.column].to_numpy(float)
        grouped = of_arm.groupby("patient_id")[endpoint.column]
        sums[arm] = (grouped.sum().to_numpy(float), grouped.size().to_numpy(float))
        stats = {
            "lesions": (float(values.sum()), "lesions"),
            "patients": (float(len(sums[arm][0])), "patients"),
            "visits": (float(len(values)), "visits"),
            "mean": (float(values.mean()) if len(values) else float("nan"), "lesions per visit"),
        }
        yield from spread(replace(base, arm=arm, method="observed visits"), stats, not_estimable("no visit"))
    for arm in trial.settings.compared_arms:
        reference = trial.settings.reference_arm
        found = crude_reduction(*sums[arm], *sums[reference], trial.settings.analysis.confidence)
        method = "1 - ratio of means, interval of the log ratio (delta method, variance between patients)"
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
    method = f"{fit.family or 'negative binomial'}: arm, {covariates}; offset log(scans); {covariance} information"
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
        stats = {name: (v, "lesions per scan") for name, v in zip(("rate", "low", "high"), values, strict=True)}
        yield from spread(
            replace(base, arm=arm, method=method), stats, not_estimable(fit.problem or _absent(arm, gone))
        )


def _absent(arm: str, gone: Sequence[str]) -> str:
    return f"fewer than 2 patients in arm {arm}" if arm in gone else "exact bounds only"


def _beside_rows(trial: TrialData, table: pd.DataFrame, base: Statistic) -> Iterator[Statistic]:
    reference = trial.settings.reference_arm
    b = table[table["arm"] == reference]
    for arm in trial.settings.compared_arms:
        a = table[table["arm"] == arm]
        keys = replace(base, contrast=contrast_text(arm, reference), term="arm", visit=ALL_VISITS)
        if len(a) == 0 or len(b) == 0:
            yield from spread(replace(keys, analysis=POISSON), {"p": (np.nan, "")}, not_estimable("no visit in an arm"))
            continue
        ratio = exact_rate_ratio(
            int(a["lesions"].sum()), float(a["scans"].sum()), int(b["lesions"].sum()), float(b["scans"].sum()),
            trial.settings.analysis.confidence,
        )  # fmt: skip
        stats = {
            "rate_ratio": (ratio.estimate, ""),
            "low": (ratio.low, ""),
            "high": (ratio.high, ""),
            "p": (ratio.p, ""),
        }
        level = trial.settings.analysis.level
        method = f"exact conditional test of Poisson rates, Clopper-Pearson {level} interval; "
        method += "assumes no overdispersion, so p is too small where patients differ in their rates"
        yield from spread(
            replace(keys, analysis=POISSON, method=method),
            stats,
            not_estimable(ratio.problem or "no lesion in the reference arm"),
        )
        p = rank_sum_p(a["lesions"] / a["scans"], b["lesions"] / b["scans"])
        method = "Wilcoxon rank-sum test of lesions per scan, continuity correction"
        yield from spread(
            replace(keys, analysis=WILCOXON, method=method), {"p": (p, "")}, not_estimable("all counts are the same")
        )
