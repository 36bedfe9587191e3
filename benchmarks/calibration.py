"""Do the endpoints recover the truth? Bias, coverage, type I error and power over simulated trials.

Trials are drawn by the simulator's own generating model (`nnunet_ms.simulation.model.cohort`), once with the preset's
effects and once without any, and go through the estimators of `nnunet_ms.analysis` (`calibration_trial.py`). Truth is
what `truth.json` says.

    python benchmarks/calibration.py --trials 1000 --workers 2
    python benchmarks/calibration.py --trials 1000 --only "lesion counts"  # replaces the rows of these estimators alone
    python benchmarks/calibration.py --trials 1000 --dask tcp://scheduler:8786  # workers with this folder on PYTHONPATH

Finished chunks lie in `--work` and are not repeated; the table goes to stdout and to `--results`. Bars: 95 % intervals
cover the truth in 93.5-96.5 % of trials, without an effect 3.7-6.4 % have p < .05, the bias is below 2 % of the effect.
Each has a Monte Carlo error that the table shows: a bar is missed when the value lies outside by more than two
standard errors, "inconclusive" when it lies outside by less.

The bias of Cox estimates is seen through a control variate: the first-order part of each error has expectation 0 and
is subtracted with its regression coefficient (Glasserman, Monte Carlo Methods in Financial Engineering, 2003, 4.1).

A new endpoint is one more `Target` in `targets`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import calibration_trial as on
import numpy as np
import pandas as pd

from nnunet_ms.commands import add_parallel_options, report_failures
from nnunet_ms.outputs import whole_file
from nnunet_ms.parallel import map_cases
from nnunet_ms.simulation.model.presets import TrialPreset
from nnunet_ms.simulation.model.trial_presets import PRESETS
from nnunet_ms.simulation.truth.population import outcomes
from nnunet_ms.simulation.truth.rows import truth_rows

CHUNK = 25  # trials per file and process
COVERAGE, TYPE_I, BIAS = (0.935, 0.965), (0.037, 0.064), 0.02
PER_UNIT = {"lesion_count": 1e-5, "age_years": 1e-4}  # effects per lesion and per year are small numbers
RESULTS = Path(__file__).parent / "results" / "calibration.csv"
COUNTS = (
    *("enhancing_lesions", "new_t1_lesions"),
    *("new_t2_lesions", "enlarging_t2_lesions", "new_or_enlarging_t2_lesions"),
)
IN_DEPTH = "cdp24"  # analyses of one kind whatever the outcome are checked on this one


@dataclass(frozen=True)
class Target:
    """One number of the report: which row of the truth it estimates, on which scale, and how.

    Without `truth` it is a test, of which only the p value counts. `effect_of`: row whose size the bias is measured
    against, where the truth itself is a difference near 0.
    """

    name: str
    estimate: Callable[[on.Trial], on.Estimate]
    truth: dict[str, str] = field(default_factory=dict)
    log: bool = False  # whether the truth is a ratio
    is_effect: bool = True  # whether it is 0 without an effect, so that p and type I error mean something
    effect_of: dict[str, str] = field(default_factory=dict)
    nothing: float = 2e-3  # a true effect below this is none: p < .05 is an error then


def targets(preset: TrialPreset, only: str = "") -> list[Target]:
    """Everything that is calibrated, or those whose estimator's or own name starts with `only`."""
    progression = (target for outcome in outcomes(preset) for target in _progression(preset, outcome.name))
    everything = [*_volume(preset), *_counts(), *progression, *_in_depth(preset), *_agreement(preset)]
    return [target for target in everything if kind_of(target).startswith(only) or target.name.startswith(only)]


def _volume(preset: TrialPreset) -> Iterator[Target]:
    change, rows = {"endpoint": "t2_volume_percent_change", "arm": ""}, {"analysis": "by_visit"}
    last = str(preset.mri_weeks[-1])
    for rater in (on.REFERENCE, on.READER):
        for visit, week in enumerate(preset.mri_weeks[1:], start=1):
            truth = {**change, **rows, "stat_name": "separation", "visit": str(week)}
            name = f"T2 volume, separation at week {week}, {rater}"
            yield Target(name, partial(on.volume_separation, rater=rater, visit=visit), truth)
        truth = {**change, "analysis": "ancova", "stat_name": "difference", "visit": last}
        for robust, how in ((False, "ANCOVA"), (True, "ANCOVA with HC2 errors")):
            name = f"T2 volume, {how}, {rater}"
            yield Target(name, partial(on.volume_ancova, rater=rater, robust=robust), truth)
    yield Target("T2 volume, ranked ANCOVA, p", on.volume_ranked)
    for visit, week in enumerate(preset.mri_weeks[1:], start=1):
        truth = {**change, "analysis": "mmrm", "stat_name": "geometric_mean_ratio", "visit": str(week)}
        yield Target(f"T2 volume, MMRM at week {week}", partial(on.volume_mmrm, visit=visit), truth, log=True)


def _counts() -> Iterator[Target]:
    for endpoint in COUNTS:
        title, truth = endpoint.replace("_", " "), {"endpoint": endpoint, "analysis": "negative_binomial"}
        truth |= {"stat_name": "rate_ratio"}
        yield Target(f"{title}, negative binomial", partial(on.negative_binomial, endpoint=endpoint), truth, log=True)
        for test in ("wilcoxon", "exact Poisson"):
            yield Target(f"{title}, {test}, p", partial(on.count_test, endpoint=endpoint, test=test))


def _progression(preset: TrialPreset, outcome: str) -> Iterator[Target]:
    ratio = {"endpoint": outcome, "stat_name": "hazard_ratio"}
    for analysis, covariate in (
        ("cox_by_arm", "arm"),
        ("cox_univariable", "log_tlv"),
        ("cox_univariable_count", "lesion_count"),
    ):
        estimate = partial(on.cox, outcome=outcome, covariate=covariate)
        nothing = PER_UNIT.get(covariate, Target.nothing)
        truth = {**ratio, "analysis": analysis}
        yield Target(f"{outcome}, Cox, {covariate}", estimate, truth, log=True, nothing=nothing)
    truth = {**ratio, "analysis": "cox_by_arm_stratified"}
    yield Target(f"{outcome}, stratified Cox, arm", partial(on.cox_stratified, outcome=outcome), truth, log=True)
    for row in truth_rows_of(preset):
        if row["endpoint"] == outcome and row["analysis"] == "cox_multivariable":
            term = str(row["term"])
            truth = {**ratio, "analysis": "cox_multivariable", "term": term}
            estimate = partial(on.cox_joint, outcome=outcome, term=term)
            nothing = PER_UNIT.get(term, Target.nothing)
            yield Target(f"{outcome}, multivariable Cox, {term}", estimate, truth, log=True, nothing=nothing)
    yield Target(f"{outcome}, log-rank, p", partial(on.logrank_test, outcome=outcome, stratified=False))
    truth = {"endpoint": outcome, "analysis": "rmst", "stat_name": "difference"}
    yield Target(f"{outcome}, restricted mean time, weeks", partial(on.mean_time, outcome=outcome), truth)


def _in_depth(preset: TrialPreset) -> Iterator[Target]:
    """What does not differ between outcomes: curves, subgroups, and tests beside the models."""
    yield Target(f"{IN_DEPTH}, stratified log-rank, p", partial(on.logrank_test, outcome=IN_DEPTH, stratified=True))
    yield Target(f"{IN_DEPTH}, proportional hazards GLOBAL, p", partial(on.ph_test, outcome=IN_DEPTH), is_effect=False)
    yield Target(f"{IN_DEPTH}, arm x region, p", partial(on.interaction_test, outcome=IN_DEPTH), is_effect=False)
    names = [arm.name for arm in preset.arms]
    for row in truth_rows_of(preset):
        keys = {key: str(row[key]) for key in ("endpoint", "analysis", "stat_name", "arm", "term", "visit")}
        if row["endpoint"] == IN_DEPTH and row["stat_name"] == "survival" and row["stat"] != 1:
            where = {"arm": names.index(keys["arm"]), "half": keys["term"], "week": float(keys["visit"])}
            label = ", ".join(filter(None, (keys["arm"], keys["term"])))
            name = f"{IN_DEPTH}, Kaplan-Meier at week {keys['visit']}, {label}"
            yield Target(name, partial(on.survival_of_group, outcome=IN_DEPTH, **where), keys, is_effect=False)
        if row["endpoint"] == IN_DEPTH and row["analysis"] == "subgroup":
            estimate = partial(on.cox_subgroup, outcome=IN_DEPTH, term=keys["term"])
            yield Target(f"{IN_DEPTH}, subgroup {keys['term']}, arm", estimate, keys, log=True)


def _agreement(preset: TrialPreset) -> Iterator[Target]:
    """Bootstrap of the difference between the simulated reader and the reference."""
    last = str(preset.mri_weeks[-1])
    separated = {"analysis": "by_visit", "stat_name": "separation", "visit": last}
    for analysis, adjusted in (("t2_volume_separation", False), ("t2_volume_ancova", True)):
        truth = {"endpoint": "effect_agreement", "analysis": analysis}
        estimate = partial(on.agreement_of_volume, adjusted=adjusted)
        yield Target(f"agreement of raters, {analysis}", estimate, truth, is_effect=False, effect_of=separated)
    truth = {"endpoint": IN_DEPTH, "analysis": "effect_agreement"}
    size = {"endpoint": IN_DEPTH, "analysis": "cox_univariable", "stat_name": "hazard_ratio"}
    estimate = partial(on.agreement_of_cox, outcome=IN_DEPTH)
    yield Target(f"agreement of raters, {IN_DEPTH}, log_tlv", estimate, truth, is_effect=False, effect_of=size)


@cache
def truth_rows_of(preset: TrialPreset) -> tuple[dict[str, str | float], ...]:
    """Rows of the truth, computed once."""
    return tuple(truth_rows(preset))


SCENARIOS: dict[str, Callable[[TrialPreset], TrialPreset]] = {"effect": lambda p: p, "none": on.without_effect}


def run_chunk(work: Path, only: str, chunk: tuple[str, str, int]) -> None:
    """Simulate and analyse one chunk of trials; its file is complete or absent."""
    name, scenario, index = chunk
    preset = SCENARIOS[scenario](PRESETS[name])
    wanted, rows = targets(preset, only), []
    keys = (sorted(PRESETS).index(name), list(SCENARIOS).index(scenario), index)
    for number, seed in enumerate(np.random.SeedSequence(2023, spawn_key=keys).spawn(CHUNK)):
        trial = on.Trial(preset, np.random.default_rng(seed))
        for target in wanted:
            e = target.estimate(trial)
            rows.append((name, scenario, index * CHUNK + number, target.name, e.value, e.low, e.high, e.p, e.linear))
    columns = ["preset", "scenario", "trial", "target", "value", "low", "high", "p", "linear"]
    with whole_file(_chunk_file(work, chunk)) as partial_path:
        pd.DataFrame(rows, columns=columns).to_csv(partial_path, index=False)


def _chunk_file(work: Path, chunk: tuple[str, str, int]) -> Path:
    return work / "{}_{}_{:04d}.csv".format(*chunk)


def summary(estimates: pd.DataFrame, only: str = "") -> pd.DataFrame:
    """One row per preset, scenario and target: truth, bias, coverage and rejections with their Monte Carlo errors."""
    rows: list[dict[str, Any]] = []
    for (name, scenario), part in estimates.groupby(["preset", "scenario"], sort=False):
        preset = SCENARIOS[scenario](PRESETS[name])
        of_target = dict(list(part.groupby("target", sort=False)))
        for target in targets(preset, only):
            truth = true_value(preset, target.truth, target.log)
            of, log = (
                target.effect_of or target.truth,
                target.log or target.effect_of.get("stat_name") == "hazard_ratio",
            )
            size = abs(true_value(preset, of, log))
            keys = {"preset": name, "scenario": scenario, "kind": kind_of(target), "target": target.name}
            rows.append(keys | _row(of_target[target.name], truth, size, target, scenario == "none"))
    return pd.DataFrame(rows)


def true_value(preset: TrialPreset, keys: dict[str, str], log: bool) -> float:
    """Return the one row of the truth with these keys, ratios as logarithms; NaN without keys."""
    if not keys:
        return float("nan")
    found = [row for row in truth_rows_of(preset) if all(str(row[k]) == v for k, v in keys.items())]
    (value,) = (float(row["stat"]) for row in found)
    return float(np.log(value)) if log else value


def _row(part: pd.DataFrame, truth: float, size: float, target: Target, none: bool) -> dict[str, Any]:
    is_test = np.isnan(truth)
    is_null = none if is_test else abs(truth) < target.nothing
    usable = part[(part["p"] if is_test else part[["low", "high"]].sum(axis=1, skipna=False)).notna()]
    n = len(usable)
    error = usable["value"] - truth
    mean, se = _bias(error.to_numpy(), usable["linear"].to_numpy()) if not is_test else (np.nan, np.nan)
    covered = float(((usable["low"] <= truth) & (truth <= usable["high"])).mean()) if not is_test else np.nan
    rejected = float((usable["p"] < 0.05).mean()) if target.is_effect or is_test else np.nan
    # tests of assumptions that hold in both scenarios have a type I error in both
    errs = (is_null and (target.is_effect or is_test)) or (is_test and not target.is_effect)
    row = {
        "trials": len(part),
        "not_estimable": len(part) - n,
        "truth": truth,
        "bias": mean,
        "bias_mc_se": se,
        "bias_in_se": mean / float(usable["value"].std(ddof=1)) if not is_test else np.nan,
        "bias_percent": 100 * mean / size if size >= target.nothing else np.nan,
        "bias_percent_mc_se": 100 * se / size if size >= target.nothing else np.nan,
        "coverage": covered,
        "coverage_mc_se": float(np.sqrt(covered * (1 - covered) / n)) if n else np.nan,
        "power": rejected if not errs else np.nan,
        "type_1_error": rejected if errs else np.nan,
        "type_1_error_mc_se": float(np.sqrt(rejected * (1 - rejected) / n)) if errs and n else np.nan,
    }
    return row | {"verdict": _verdict(row)}


def _bias(error: np.ndarray, linear: np.ndarray) -> tuple[float, float]:
    """Mean error and its Monte Carlo standard error, with the control variate where there is one."""
    if np.isfinite(linear).all() and len(linear) > 2:
        slope = np.cov(error, linear)[0, 1] / linear.var(ddof=1)
        error = error - slope * linear
    return float(error.mean()), float(error.std(ddof=1) / np.sqrt(len(error)))


def _verdict(row: dict[str, Any]) -> str:
    limit = 100 * BIAS
    checks = [
        ("coverage", row["coverage"], COVERAGE, row["coverage_mc_se"]),
        ("type I error", row["type_1_error"], TYPE_I, row["type_1_error_mc_se"]),
        ("bias", row["bias_percent"], (-limit, limit), row["bias_percent_mc_se"]),
    ]
    outside = {name: max(low - value, value - high) / se for name, value, (low, high), se in checks if se > 0}
    missed = [name for name, ses in outside.items() if ses > 2]
    unclear = [name for name, ses in outside.items() if 0 < ses <= 2]
    if missed:
        return "missed: " + ", ".join(missed)
    return "inconclusive: " + ", ".join(unclear) if unclear else "met"


def markdown(table: pd.DataFrame) -> str:
    """The table for a page, percentages with their Monte Carlo standard errors."""
    lines = [
        "| preset | scenario | target | truth | bias, % of effect (MC SE) | coverage, % (MC SE) | power "
        "| type I error, % (MC SE) | bars |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in table.to_dict("records"):
        cells = [
            r["preset"],
            r["scenario"],
            r["target"],
            _text(r["truth"], ".3f"),
            _bias_text(r),
            _with_error(r, "coverage"),
            _text(r["power"], ".2f"),
            _with_error(r, "type_1_error"),
            r["verdict"],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


KINDS = {
    "volume_separation": "T2 volume: separation by visit",
    "volume_ancova": "T2 volume: ANCOVA",
    "volume_ancova robust": "T2 volume: ANCOVA, HC2 errors",
    "volume_ranked": "T2 volume: ranked ANCOVA",
    "volume_mmrm": "T2 volume: MMRM by visit",
    "negative_binomial": "lesion counts: negative binomial",
    "count_test wilcoxon": "lesion counts: Wilcoxon",
    "count_test exact Poisson": "lesion counts: exact Poisson (no overdispersion assumed)",
    "cox arm": "progression: Cox, arm",
    "cox log_tlv": "progression: Cox, log TLV",
    "cox lesion_count": "progression: Cox, per lesion",
    "cox_stratified": "progression: stratified Cox, arm",
    "cox_joint": "progression: multivariable Cox",
    "cox_subgroup": "progression: Cox in subgroups",
    "logrank_test": "progression: log-rank",
    "mean_time": "progression: restricted mean time",
    "survival_of_group": "progression: Kaplan-Meier",
    "ph_test": "progression: proportional hazards, GLOBAL",
    "interaction_test": "progression: arm x region",
    "agreement_of_volume": "raters: difference of volume effects, bootstrap",
    "agreement_of_cox": "raters: difference of Cox effects, bootstrap",
}


def kind_of(target: Target) -> str:
    """Name of the estimator, for the short table."""
    call = target.estimate
    if not isinstance(call, partial):
        return KINDS[call.__name__]
    extra = {"volume_ancova": "robust" * bool(call.keywords.get("robust")), "count_test": call.keywords.get("test")}
    extra["cox"] = call.keywords.get("covariate")
    return KINDS[f"{call.func.__name__} {extra.get(call.func.__name__) or ''}".strip()]


def short_table(table: pd.DataFrame) -> str:
    """One line per preset and estimator: how many targets, the range of each measure, the verdicts."""
    lines = [
        "| preset | estimator | rows | bias, % of effect | coverage, % | type I error, % "
        "| met | inconclusive | missed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (preset, kind), part in table.groupby(["preset", "kind"], sort=False):
        verdict = part["verdict"].str.partition(":")[0].value_counts()
        cells = [
            str(preset),
            str(kind),
            str(len(part)),
            _range(part["bias_percent"], "+.1f"),
            _range(100 * part["coverage"], ".1f"),
            _range(100 * part["type_1_error"], ".1f"),
            *(str(verdict.get(name, 0)) for name in ("met", "inconclusive", "missed")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _range(values: pd.Series, form: str) -> str:
    known = values.dropna()
    if known.empty:
        return ""
    low, high = format(known.min(), form), format(known.max(), form)
    return low if low == high else f"{low} to {high}"


def _text(value: float, form: str) -> str:
    return "" if np.isnan(value) else format(value, form)


def _bias_text(r: dict[str, Any]) -> str:
    if np.isnan(r["bias_percent"]):
        return "" if np.isnan(r["bias"]) else f"{r['bias']:.4f} ({r['bias_mc_se']:.4f}), absolute"
    return f"{r['bias_percent']:+.2f} ({r['bias_percent_mc_se']:.2f})"


def _with_error(r: dict[str, Any], name: str) -> str:
    return "" if np.isnan(r[name]) else f"{100 * r[name]:.1f} ({100 * r[name + '_mc_se']:.1f})"


def _with_others(table: pd.DataFrame, results: Path, only: str) -> pd.DataFrame:
    """Put new rows of the estimators `only` in the place of the old ones of the table on disk."""
    if not only or not results.is_file():
        return table
    old = pd.read_csv(results)
    named = old["kind"].str.startswith(only) | old["target"].str.startswith(only)
    there = named & old["preset"].isin(table["preset"])
    parts = []
    for keys, part in old.groupby(["preset", "scenario"], sort=False):
        new = table[(table["preset"] == keys[0]) & (table["scenario"] == keys[1])]
        first = int((~there[part.index]).cumsum()[there[part.index]].min()) if there[part.index].any() else len(part)
        kept = part[~there[part.index]]
        parts += [kept.iloc[:first], new, kept.iloc[first:]]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, print and store the table; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help=f"per preset and scenario, in chunks of {CHUNK}")
    parser.add_argument("--presets", nargs="+", default=["opera2", "oratorio"], choices=sorted(PRESETS))
    parser.add_argument(
        "--only", default="", help="targets whose name or estimator starts so; the other rows stay as they are"
    )
    add_parallel_options(parser)
    parser.add_argument("--work", type=Path, default=Path("runs/calibration"), help="folder of finished chunks")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    chunks = [
        (name, scenario, index)
        for index in range(-(-args.trials // CHUNK))
        for name in args.presets
        for scenario in SCENARIOS
    ]
    missing = [chunk for chunk in chunks if not _chunk_file(args.work, chunk).is_file()]
    print(f"{len(chunks)} chunks of {CHUNK} trials, {len(missing)} to do", flush=True)
    started = time.monotonic()
    outcome = map_cases(partial(run_chunk, args.work, args.only), missing, str, "chunks of trials", args.workers)
    print(f"{(time.monotonic() - started) / 60:.1f} min, workers: {args.workers}")
    report_failures(outcome.failures, "calibration")
    estimates = pd.concat([pd.read_csv(file) for c in chunks if (file := _chunk_file(args.work, c)).is_file()])
    table = summary(estimates, args.only)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    _with_others(table, args.results, args.only).to_csv(args.results, index=False, float_format="%.6g")
    print(markdown(table))
    print(short_table(table))
    print(table["verdict"].str.partition(":")[0].value_counts().to_string())
    return int(bool(outcome.failures) or table["verdict"].str.startswith("missed").any())


if __name__ == "__main__":
    sys.exit(main())
