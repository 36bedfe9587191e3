"""What the columns of time to confirmed progression mean: a part of the vocabulary."""

from nnunet_ms.meaning import ONE, TEXT, Meaning, meanings


def _of(table: str, unit: str, **columns: str) -> dict[str, Meaning]:
    return {f"{table}.{name}": Meaning(unit, words) for name, words in columns.items()}


_TIMES, _CURVES, _RESULTS, _RISKS = (
    *("time to progression", "survival cross-validation", "survival results", "survival predictions"),
)
_EVENT = "1 where the time ends with confirmed progression, 0 where it is censored"
_MODEL = "Strategy of a network (global, wm, ...), `cox`, or `kaplan-meier` (everybody alike)"
PROGRESSION = {
    **meanings(
        "EDSS",
        edss_baseline="At the scan: the last of the 183 days up to it, or else the first of the 183 days after it",
    ),
    **meanings(
        "weeks",
        edss_baseline_week="When that was assessed, from the scan; negative before it",
        median_weeks="First week of the curve at which the risk is one half; blank where it stays below",
    ),
    **_of(_TIMES, "weeks", time_weeks="From the scan to confirmed progression, or to its censoring"),
    **_of(_TIMES, "years", age_years="Age at the scan"),
    **_of(_TIMES, ONE, event=_EVENT),
    **_of(_TIMES, TEXT, reason="Why there is no event; blank where there is one"),
    **_of(
        _CURVES, "weeks", time_weeks="From the scan to confirmed progression, or to its censoring", week="From the scan"
    ),
    **_of(_CURVES, "years", age_years="Age at the scan"),
    **_of(
        _CURVES,
        ONE,
        event=_EVENT,
        survival="Predicted share without progression at that week",
        fold="Fold, from 0, whose patients the model had not seen",
    ),
    **_of(_CURVES, TEXT, model=_MODEL),
    **_of(_RESULTS, "weeks", week="Horizon; of a Brier score at one time that time"),
    **_of(
        _RESULTS,
        ONE,
        estimate="The measure, or the model's less that of `versus`",
        p="Of the likelihood-ratio test of what the model's log hazard adds to the covariates in `versus`",
        patients="Patients that every model has judged",
        events="Of them with progression up to the horizon",
    ),
    **_of(
        _RESULTS,
        TEXT,
        model=_MODEL,
        versus="Model that it is less, or covariates to which it adds; blank for its own measure",
        measure="`concordance_uno`, `concordance_antolini`, `brier`, `brier_integrated`, `observed_expected`, "
        "`calibration_slope`, `hazard_ratio_per_sd`",
    ),
    **_of(_RISKS, "weeks", week="From the scan"),
    **_of(_RISKS, ONE, risk="Predicted share with progression up to that week, mean of the models"),
}
