"""Do the endpoints recover the truth? Bias, coverage, type I error and power over simulated trials.

Trials are drawn by the simulator's own generating model (`nnunet_ms.simulation.cohort`), once with the preset's
effects and once without any, and go through the estimators of `nnunet_ms.analysis`. Truth is what `truth.json` says.

    python benchmarks/calibration.py --trials 1000 --workers 2

Finished chunks lie in `--work` and are not repeated; the table goes to stdout and to `--results`. Bars: 95 % intervals
cover the truth in 93.5-96.5 % of trials, without an effect 3.7-6.4 % have p < .05, the bias is below 2 % of the effect.
Each has a Monte Carlo error that the table shows: a bar is missed when the value lies outside by more than two
standard errors, "inconclusive" when it lies outside by less.

A new endpoint is one more `Target` in `targets`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms.analysis.ancova import ancova
from nnunet_ms.analysis.cox import cox_univariable
from nnunet_ms.analysis.survival import kaplan_meier, survival_at
from nnunet_ms.analysis.volume_change import separation
from nnunet_ms.outputs import whole_file
from nnunet_ms.parallel import map_cases, report_failures
from nnunet_ms.simulation import cohort, tables_reader
from nnunet_ms.simulation.presets import Hazard, TrialPreset
from nnunet_ms.simulation.trial_presets import PRESETS
from nnunet_ms.simulation.truth import observed_progression, outcomes, truth_rows

CHUNK = 25  # trials per file and process
COVERAGE, TYPE_I, BIAS = (0.935, 0.965), (0.037, 0.064), 0.02
RESULTS = Path(__file__).parent / "results" / "calibration.csv"
AGE_LIMIT_YEARS = 45


@dataclass(frozen=True)
class Estimate:
    """One estimate with its 95 % limits; ratios as logarithms. NaN where the trial could not estimate it."""

    value: float
    low: float
    high: float
    p: float = float("nan")


@dataclass(frozen=True)
class Target:
    """One number of the report: which row of the truth it estimates, on which scale, and how."""

    name: str
    truth: dict[str, str]
    estimate: Callable[["Trial"], Estimate]
    log: bool = False  # whether the truth is a ratio
    is_effect: bool = True  # whether it is 0 without an effect, so that p and type I error mean something


class Trial:
    """One simulated trial as arrays over its patients; what several targets need is computed once."""

    def __init__(self, preset: TrialPreset, rng: np.random.Generator) -> None:
        self.preset = preset
        self.arm = cohort.draw_arms(preset, preset.patients, rng)
        self.baseline = cohort.draw_baseline(preset, preset.patients, rng)
        log_tlv = cohort.draw_log_tlv(preset, self.arm, self.baseline.log_tlv, rng)
        reader = tables_reader.read_volumes(preset.reader, np.exp(log_tlv), rng)
        attended = np.array(preset.mri_weeks) <= self.baseline.discontinued_week[:, None]
        self.volume_ml = {"reference": np.exp(log_tlv), "simulated_reader": reader}
        self.attended = attended
        self.activity = cohort.draw_activity(preset, self.arm, rng)
        self.onset: dict[Hazard, np.ndarray] = {}
        for hazard in (preset.edss, preset.t25fw.hazard, preset.nhpt.hazard):
            ratio = cohort.log_hazard_ratio(preset, hazard, self.arm, self.baseline)
            self.onset[hazard] = cohort.draw_onset(hazard.per_year, ratio, rng)

    @cached_property
    def survival(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Week and event per outcome."""
        return {
            outcome.name: observed_progression(
                self.preset,
                np.minimum.reduce([self.onset[hazard] for hazard in outcome.hazards]),
                self.baseline.discontinued_week,
                outcome.confirmation_weeks,
            )
            for outcome in outcomes(self.preset)
        }

    def change(self, rater: str, visit: int) -> tuple[np.ndarray, np.ndarray]:
        """Percent change of those who attended the visit, and who they are."""
        volume, here = self.volume_ml[rater], self.attended[:, visit]
        return 100 * (volume[here, visit] / volume[here, 0] - 1), here


def volume_separation(trial: Trial, rater: str, visit: int) -> Estimate:
    """Difference of the arms' mean percent change, Welch's interval."""
    change, here = trial.change(rater, visit)
    found = separation(change[trial.arm[here] == 1], change[trial.arm[here] == 0])
    outside = not found.low <= 0 <= found.high
    return Estimate(found.estimate, found.low, found.high, 0.0 if outside else 1.0)


def volume_ancova(trial: Trial, rater: str) -> Estimate:
    """Arm effect of the ANCOVA at the last visit."""
    change, here = trial.change(rater, len(trial.preset.mri_weeks) - 1)
    names = np.array([arm.name for arm in trial.preset.arms])
    frame = pd.DataFrame(
        {
            "arm": names[trial.arm[here]],
            "percent_change": change,
            "baseline_tlv": trial.volume_ml[rater][here, 0],
            "region": np.where(trial.baseline.us[here], "US", "ROW"),
            "age_group": np.where(trial.baseline.age_years[here] > AGE_LIMIT_YEARS, "old", "young"),
        }
    )
    fit = ancova(frame, "percent_change", list(names), ["baseline_tlv"], ["region", "age_group"])
    contrast = fit.contrasts[0]
    return Estimate(contrast.estimate, contrast.low, contrast.high, contrast.p)


def cox(trial: Trial, outcome: str, covariate: str) -> Estimate:
    """Log hazard ratio of the arm or of log TLV."""
    time_weeks, event = trial.survival[outcome]
    x = trial.baseline.log_tlv if covariate == "log_tlv" else trial.arm.astype(float)
    fit = cox_univariable(time_weeks, event, x, "efron")
    return Estimate(fit.coefficient, float(np.log(fit.low)), float(np.log(fit.high)), fit.p)


def survival_of_half(trial: Trial, outcome: str, arm: int, high: bool, week: float) -> Estimate:
    """Kaplan-Meier estimate in the patients of one arm below or above the cohort's median volume."""
    time_weeks, event = trial.survival[outcome]
    above = trial.baseline.log_tlv > np.median(trial.baseline.log_tlv)
    group = (trial.arm == arm) & (above == high)
    curve = kaplan_meier(time_weeks[group], event[group], "log-log")
    _, value, low, top = survival_at(curve, time_weeks[group], week)
    return Estimate(value, low, top)


def targets(preset: TrialPreset) -> list[Target]:
    """Everything that is calibrated."""
    change = {"endpoint": "t2_volume_percent_change", "arm": ""}
    found = []
    for rater in ("reference", "simulated_reader"):
        for visit, week in enumerate(preset.mri_weeks[1:], start=1):
            truth = {**change, "analysis": "by_visit", "stat_name": "separation", "visit": str(week)}
            name = f"T2 volume, separation at week {week}, {rater}"
            found.append(Target(name, truth, partial(volume_separation, rater=rater, visit=visit)))
        truth = {**change, "analysis": "ancova", "stat_name": "difference"}
        found.append(Target(f"T2 volume, ANCOVA, {rater}", truth, partial(volume_ancova, rater=rater)))
    for outcome in outcomes(preset):
        for analysis, covariate in (("cox_by_arm", "arm"), ("cox_univariable", "log_tlv")):
            truth = {"endpoint": outcome.name, "analysis": analysis, "stat_name": "hazard_ratio"}
            estimate = partial(cox, outcome=outcome.name, covariate=covariate)
            found.append(Target(f"{outcome.name}, Cox, {covariate}", truth, estimate, log=True))
    return found + _survival_targets(preset)


def _survival_targets(preset: TrialPreset) -> list[Target]:
    rows = [row for row in truth_rows(preset) if row["endpoint"] == "cdp24" and row["stat_name"] == "survival"]
    names = [arm.name for arm in preset.arms]
    return [
        Target(
            f"cdp24, Kaplan-Meier at week {row['visit']}, {row['arm']}, {row['term']}",
            {key: str(row[key]) for key in ("endpoint", "analysis", "stat_name", "arm", "term", "visit")},
            partial(
                survival_of_half,
                outcome="cdp24",
                arm=names.index(str(row["arm"])),
                high=row["term"] == "tlv > median",
                week=float(row["visit"]),
            ),
            is_effect=False,
        )
        for row in rows
    ]


def without_effect(preset: TrialPreset) -> TrialPreset:
    """Return the preset with two equal arms, and no influence of lesion volume on progression."""
    same = replace(preset.arms[0], name=preset.arms[1].name)

    def flat(hazard: Hazard) -> Hazard:
        return replace(hazard, log_ratio=(0.0, 0.0), per_log_tlv=(0.0, 0.0))

    timed = {
        name: replace(test, hazard=flat(test.hazard)) for name, test in (("t25fw", preset.t25fw), ("nhpt", preset.nhpt))
    }
    return replace(preset, arms=(preset.arms[0], same), edss=flat(preset.edss), **timed)


SCENARIOS: dict[str, Callable[[TrialPreset], TrialPreset]] = {"effect": lambda preset: preset, "none": without_effect}


def run_chunk(work: Path, chunk: tuple[str, str, int]) -> None:
    """Simulate and analyse one chunk of trials; its file is complete or absent."""
    name, scenario, index = chunk
    preset = SCENARIOS[scenario](PRESETS[name])
    wanted, rows = targets(preset), []
    keys = (sorted(PRESETS).index(name), list(SCENARIOS).index(scenario), index)
    for number, seed in enumerate(np.random.SeedSequence(2023, spawn_key=keys).spawn(CHUNK)):
        trial = Trial(preset, np.random.default_rng(seed))
        for target in wanted:
            e = target.estimate(trial)
            rows.append((name, scenario, index * CHUNK + number, target.name, e.value, e.low, e.high, e.p))
    columns = ["preset", "scenario", "trial", "target", "value", "low", "high", "p"]
    with whole_file(_chunk_file(work, chunk)) as partial_path:
        pd.DataFrame(rows, columns=columns).to_csv(partial_path, index=False)


def _chunk_file(work: Path, chunk: tuple[str, str, int]) -> Path:
    return work / "{}_{}_{:04d}.csv".format(*chunk)


def summary(estimates: pd.DataFrame) -> pd.DataFrame:
    """One row per preset, scenario and target: truth, bias, coverage and rejections with their Monte Carlo errors."""
    rows: list[dict[str, Any]] = []
    for (name, scenario), part in estimates.groupby(["preset", "scenario"], sort=False):
        preset = SCENARIOS[scenario](PRESETS[name])
        truths = pd.DataFrame(truth_rows(preset))
        for target in targets(preset):
            truth = float(truths[(truths[list(target.truth)] == pd.Series(target.truth)).all(axis=1)]["stat"].iloc[0])
            truth = float(np.log(truth)) if target.log else truth
            of_target = part[part["target"] == target.name]
            rows.append(
                {"preset": name, "scenario": scenario, "target": target.name}
                | _row(of_target, truth, target.is_effect and scenario == "none", target)
            )
    return pd.DataFrame(rows)


def _row(part: pd.DataFrame, truth: float, is_null: bool, target: Target) -> dict[str, Any]:
    usable = part[part["low"].notna() & part["high"].notna()]
    n, error = len(usable), usable["value"] - truth
    covered = float(((usable["low"] <= truth) & (truth <= usable["high"])).mean())
    rejected = float((usable["p"] < 0.05).mean()) if target.is_effect else float("nan")
    row = {
        "trials": len(part),
        "not_estimable": len(part) - n,
        "truth": truth,
        "bias": float(error.mean()),
        "bias_mc_se": float(error.std(ddof=1) / np.sqrt(n)),
        "bias_percent": float("nan") if is_null else 100 * float(error.mean()) / abs(truth),
        "coverage": covered,
        "coverage_mc_se": float(np.sqrt(covered * (1 - covered) / n)),
        "power": float("nan") if is_null else rejected,
        "type_1_error": rejected if is_null else float("nan"),
        "type_1_error_mc_se": float(np.sqrt(rejected * (1 - rejected) / n)) if is_null else float("nan"),
    }
    return row | {"verdict": _verdict(row, is_null)}


def _verdict(row: dict[str, Any], is_null: bool) -> str:
    checks = [("coverage", row["coverage"], COVERAGE, row["coverage_mc_se"])]
    if is_null:
        checks.append(("type I error", row["type_1_error"], TYPE_I, row["type_1_error_mc_se"]))
    else:
        limit = BIAS * abs(row["truth"])
        checks.append(("bias", row["bias"], (-limit, limit), row["bias_mc_se"]))
    outside = {name: max(low - value, value - high) / se for name, value, (low, high), se in checks if se > 0}
    missed = [name for name, ses in outside.items() if ses > 2]
    unclear = [name for name, ses in outside.items() if 0 < ses <= 2]
    if missed:
        return "missed: " + ", ".join(missed)
    return "inconclusive: " + ", ".join(unclear) if unclear else "met"


def markdown(table: pd.DataFrame) -> str:
    """The table for a page, percentages with their Monte Carlo standard errors."""
    lines = [
        "| preset | scenario | target | truth | bias, % of truth (MC SE) | coverage, % (MC SE) | power "
        "| type I error, % (MC SE) | bars |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in table.to_dict("records"):
        null = np.isnan(r["bias_percent"])
        bias = f"{r['bias']:.4f} ({r['bias_mc_se']:.4f})"
        if not null:
            bias = f"{r['bias_percent']:+.2f} ({100 * r['bias_mc_se'] / abs(r['truth']):.2f})"
        power = "" if np.isnan(r["power"]) else f"{r['power']:.2f}"
        size = "" if not null else f"{100 * r['type_1_error']:.1f} ({100 * r['type_1_error_mc_se']:.1f})"
        coverage = f"{100 * r['coverage']:.1f} ({100 * r['coverage_mc_se']:.1f})"
        cells = [
            r["preset"],
            r["scenario"],
            r["target"],
            f"{r['truth']:.3f}",
            bias,
            coverage,
            power,
            size,
            r["verdict"],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, print and store the table; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help=f"per preset and scenario, in chunks of {CHUNK}")
    parser.add_argument("--presets", nargs="+", default=["opera2", "oratorio"], choices=sorted(PRESETS))
    parser.add_argument("--workers", type=int, default=2)
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
    outcome = map_cases(partial(run_chunk, args.work), missing, str, "chunks of trials", args.workers)
    print(f"{(time.monotonic() - started) / 60:.1f} min, {args.workers} workers")
    report_failures(outcome.failures, "calibration")
    estimates = pd.concat([pd.read_csv(file) for c in chunks if (file := _chunk_file(args.work, c)).is_file()])
    table = summary(estimates)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.results, index=False, float_format="%.6g")
    print(markdown(table))
    return int(bool(outcome.failures) or table["verdict"].str.startswith("missed").any())


if __name__ == "__main__":
    sys.exit(main())
