"""Type I error of the tests that stand where a model comes apart: sparse lesion counts, empty arms, empty subgroups.

    python benchmarks/sparse_calibration.py --trials 2000 --out benchmarks/results/sparse_calibration.csv

Null trials of 40 to 120 patients. Counts: 0.02 to 0.1 lesions per scan, 2 to 4 scans, overdispersed, a tenth of the
patients without a baseline scan. "type_1" is of the p of the negative binomial row (`count_model`): Wald's, or where an
arm has no lesion that of patients with a lesion; "as_0_1_0" with the exact Poisson p in its place. Times: 12 to 30 %
with the event; the interaction test of arm and sex (`fit_cox(...).supremum`), and Firth's p of the arm. "odd": trials
with an empty arm, or a coefficient without end. `low`, `high`: what 95 % of such simulations give for a test of exactly
5 %. Discrete tests cannot reach 5 % where two or three patients have a lesion.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats

from nnunet_ms.statistics.count_model import count_model, exact_rate_ratio
from nnunet_ms.statistics.cox import fit_cox
from nnunet_ms.statistics.cox_firth import firth_cox, penalised_test

ALPHA = 0.05


def counts(rng: np.random.Generator, n: int, rate: float, dispersion: float) -> pd.DataFrame:
    """Draw one trial of lesion counts without an effect of the arm."""
    scans = rng.integers(2, 5, n)
    frailty = rng.gamma(1 / dispersion, dispersion, n)
    present = np.where(rng.random(n) < 0.3, "present", "absent")
    return pd.DataFrame(
        {
            "arm": np.where(np.arange(n) % 2, "active", "placebo"),
            "scans": scans,
            "lesions": rng.poisson(rate * scans * frailty),
            "baseline": np.where(rng.random(n) < 0.1, "not read", present),
            "region": rng.choice(["ROW", "US"], n),
        }
    )


def count_p(frame: pd.DataFrame) -> dict[str, float]:
    """Return the p values of one trial, and whether an arm is empty or a covariate was left out."""
    arms, factors = ["placebo", "active"], ["baseline", "region"]
    found = count_model(frame, "lesions", "scans", arms, factors=factors, unknown=["not read"])
    sums = frame.groupby("arm")[["lesions", "scans"]].sum()
    (ya, ta), (yb, tb) = sums.loc["active"], sums.loc["placebo"]
    empty = float(min(ya, yb) == 0)
    main = found.ratios[0].p if found.ratios else np.nan
    poisson = exact_rate_ratio(int(ya), ta, int(yb), tb).p if ya + yb else np.nan
    left_out = float(any(" left out (" in note for note in found.notes))
    return {"main": main, "poisson": poisson if empty else main, "empty": empty, "left_out": left_out}


def times(rng: np.random.Generator, n: int, share: float) -> dict[str, float]:
    """Return the p values of one trial of times to an event without any effect, and whether a coefficient diverges."""
    end = 96.0
    time = np.ceil(rng.exponential(-end / np.log(1 - share), n) / 12) * 12
    event, time = time <= end, np.minimum(time, end)
    arm, sex = np.arange(n) % 2.0, rng.integers(0, 2, n).astype(float)
    one = fit_cox(time, event, np.column_stack([arm, sex]), ["arm", "sex"], "efron")
    both = fit_cox(time, event, np.column_stack([arm, sex, arm * sex]), ["arm", "sex", "arm:sex"], "efron")
    chisq = max(2 * (both.supremum - one.supremum), 0.0)
    interaction = float(scipy.stats.chi2.sf(chisq, 1)) if np.isfinite(chisq) else np.nan
    firth = firth_cox(time, event, arm[:, None], ["arm"], "arm", "efron").p
    penalised = interaction
    if "no maximum" in both.problem:
        penalised = penalised_test(time, event, np.column_stack([arm, sex, arm * sex]), [2], "efron")
    return {
        "interaction": interaction,
        "interaction, penalised": penalised,
        "firth": firth,
        "diverges": float("no maximum" in both.problem),
    }


def rejected(p: pd.Series) -> float:
    """Return the share of all trials with p below 5 %: a trial without a p rejects nothing."""
    return float((p < ALPHA).mean())


def count_rows(trials: int, seed: int) -> list[dict[str, object]]:
    """Return one row per kind of trial."""
    rows, everything = [], []
    for n in (40, 80, 120):
        for rate in (0.02, 0.05, 0.1):
            for dispersion in (0.5, 3.0):
                rng = np.random.default_rng([seed, n, int(1000 * rate), int(10 * dispersion)])
                frame = pd.DataFrame([count_p(counts(rng, n, rate, dispersion)) for _ in range(trials)])
                everything.append(frame)
                rows.append(count_row(frame, f"{n} patients, {rate:g} per scan, dispersion {dispersion:g}"))
    return [*rows, count_row(pd.concat(everything), "all of these")]


def count_row(frame: pd.DataFrame, what: str) -> dict[str, object]:
    """Summarise trials of counts."""
    empty = frame[frame["empty"] == 1]
    both = {"test": "counts", "trials": len(frame), "what": what, **limits(len(frame))}
    return {
        **both, "type_1": rejected(frame["main"]), "as_0_1_0": rejected(frame["poisson"]), "odd": len(empty),
        "type_1_odd": rejected(empty["main"]), "as_0_1_0_odd": rejected(empty["poisson"]),
        "left_out": float(frame["left_out"].mean()),
    }  # fmt: skip


def time_rows(trials: int, seed: int) -> list[dict[str, object]]:
    """Return rows of the interaction test and of Firth's."""
    rows = []
    for n in (40, 80, 120):
        for share in (0.12, 0.3):
            rng = np.random.default_rng([seed, n, int(100 * share)])
            frame = pd.DataFrame([times(rng, n, share) for _ in range(trials)])
            odd = frame[frame["diverges"] == 1]
            both = {"trials": trials, "what": f"{n} patients, {share:.0%} with event", **limits(trials)}
            rows += [
                {
                    "test": test,
                    **both,
                    "type_1": rejected(frame[test]),
                    "odd": len(odd),
                    "type_1_odd": rejected(odd[test]),
                }
                for test in ("interaction", "interaction, penalised", "firth")
            ]
    return rows


def limits(trials: int) -> dict[str, float]:
    """Return between what shares 95 % of simulations of an exact test lie."""
    return {"low": scipy.stats.binom.ppf(0.025, trials, ALPHA) / trials,
            "high": scipy.stats.binom.ppf(0.975, trials, ALPHA) / trials}  # fmt: skip


def main() -> None:
    """Simulate, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    table = pd.DataFrame([*count_rows(args.trials, args.seed), *time_rows(args.trials, args.seed)])
    print(table.to_string(index=False, float_format=lambda v: f"{v:.3f}"))
    if args.out:
        table.round(4).to_csv(args.out, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
