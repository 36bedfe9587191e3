"""Are calibrated volumes near the truth, and do their intervals hold it? Simulated maps, or a model's held-out cases.

    python benchmarks/volume_calibration.py --repetitions 200 --out benchmarks/results/volume_calibration.csv
    python benchmarks/volume_calibration.py --model MODEL_FOLDER --references labelsTr
    python benchmarks/volume_calibration.py --model MODEL_FOLDER --predicted OUT --references labelsTs
    python benchmarks/volume_calibration.py --model MODEL_FOLDER --cases volumes.csv

Simulated: each patient has lesions of 0.5 to 60 ml (log-normal). A voxel is lesion with its true probability; the
network says log-odds that are sharper than that, shifted, and blurred, with a sharpness and a shift of each patient's
own, and a faint halo over the brain whose strength differs between patients. So the sum of probabilities is 1.1 to 10
times the truth. "voxels": with Platt scaling; "sums": from the sums alone, as a table has them. Each repetition
calibrates on n patients (one to three visits each) and looks at 40 new ones, one visit each. `coverage_sd` is over
repetitions: what one calibration differs from another. Asked for: mean error <= 25 % with voxels, coverage 85 to 95 %
where the interval is finite.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.trainers.prediction.volume_calibration import HeldOut, Seen, fit_calibration, log_odds_counts

VOXEL_ML = 0.03  # coarse, so that thousands of patients are drawn in minutes
BRAIN_ML = 1200.0
NEW = 40


def patient(rng: np.random.Generator, name: str, visits: int) -> list[HeldOut]:
    """Draw the visits of one patient."""
    volume_ml = float(np.clip(rng.lognormal(2.2, 1.0), 0.5, 60))
    sharp, shift, halo = rng.lognormal(0.5, 0.15), rng.normal(0.3, 0.25), rng.lognormal(math.log(0.004), 0.4)
    return [visit(rng, name, n, volume_ml * rng.lognormal(0, 0.1), sharp, shift, halo) for n in range(visits)]


def visit(
    rng: np.random.Generator, name: str, number: int, volume_ml: float, sharp: float, shift: float, halo: float
) -> HeldOut:
    """Draw true probabilities in and around lesions, truth from them, and what the network says."""
    near = rng.normal(0, 2.5, int(2 * volume_ml / VOXEL_ML))
    far = rng.normal(math.log(halo), 0.5, int(BRAIN_ML / VOXEL_ML))
    said = np.concatenate([sharp * near + shift + rng.normal(0, 0.5, near.size), far])
    lesion = np.zeros(said.size, bool)
    lesion[: near.size] = rng.random(near.size) < 1 / (1 + np.exp(-near))
    p = 1 / (1 + np.exp(-said))
    seen = Seen(float(p.sum()) * VOXEL_ML, log_odds_counts(p) * VOXEL_ML)
    volumes = log_odds_counts(p, lesion) * VOXEL_ML
    return HeldOut(f"{name}_{number}", name, seen, float(lesion.sum()) * VOXEL_ML, volumes)


def without_voxels(cases: list[HeldOut]) -> list[HeldOut]:
    """The same cases as a table of volumes has them."""
    return [HeldOut(c.case_id, c.patient_id, Seen(c.seen.expected_ml), c.reference_ml) for c in cases]


def repetition(rng: np.random.Generator, patients: int, level: float) -> list[dict[str, object]]:
    """Calibrate on some patients, look at others; one row per way."""
    known = [one for n in range(patients) for one in patient(rng, f"p{n}", int(rng.integers(1, 4)))]
    new = [one for n in range(NEW) for one in patient(rng, f"q{n}", 1)]
    truth = np.array([one.reference_ml for one in new])
    rows = []
    for way, cases, there in (
        ("voxels", known, new),
        ("sums", without_voxels(known), without_voxels(new)),
    ):
        calibration = fit_calibration(cases, level=level, measure=False)
        found = [calibration.apply(one.seen) for one in there]
        volumes, low, high = (
            np.array([getattr(one, name) for one in found]) for name in ("volume_ml", "lower_ml", "upper_ml")
        )
        sums = np.array([one.seen.expected_ml for one in new])
        rows.append(
            {
                "way": way,
                "patients": patients,
                "error_before": float(np.mean(abs(sums / truth - 1))),
                "error_after": float(np.mean(abs(volumes / truth - 1))),
                "bias_after": float(np.mean(volumes / truth - 1)),
                "finite": float(np.isfinite(high).all()),
                "coverage": float(np.mean((low <= truth) & (truth <= high))),
                "width": float(np.median(high / np.maximum(low, 1e-6))),
            }
        )
    return rows


def simulated(repetitions: int, seed: int, level: float) -> pd.DataFrame:
    """One row per way and number of patients, over all repetitions."""
    rows: list[dict[str, object]] = []
    for patients in (5, 9, 12, 20, 40):
        for number in range(repetitions):
            rows += repetition(np.random.default_rng([seed, patients, number]), patients, level)
    frame = pd.DataFrame(rows)
    grouped = frame.groupby(["way", "patients"], sort=False)
    table = grouped.mean()
    table.insert(0, "new_patients", grouped.size() * NEW)
    table["coverage_sd"] = grouped["coverage"].std()
    return table.reset_index()


def measured(model: Path, references: Path | None, cases: Path | None, predicted: list[Path], level: float) -> None:
    """Print what a model's own held-out cases show, each patient left out; nothing is written."""
    from nnunet_ms.trainers.calibration_cases import predicted_cases, table_cases, validation_cases
    from nnunet_ms.trainers.prediction.model import read_model

    opened = read_model(model)
    if cases is not None:
        found = table_cases(opened, cases)
    else:
        found = predicted_cases(opened, predicted, references) if predicted else validation_cases(opened, references)
    print(found.source, *found.notes, sep="\n")
    for name, value in opened.classes:
        if value in found.cases:
            here = found.cases[value]
            calibration = fit_calibration(here, label=name, value=value, level=level)
            print(f"{name}: n = {calibration.cases} cases of {calibration.patients} patients; {calibration.measured}")
            print(left_out(here, level).to_string(index=False, float_format=lambda v: f"{v:.2f}"))


def left_out(cases: list[HeldOut], level: float) -> pd.DataFrame:
    """One row per case, calibrated on the other patients."""
    rows = []
    for case in cases:
        rest = [one for one in cases if one.patient_id != case.patient_id]
        found = fit_calibration(rest, level=level, measure=False).apply(case.seen)
        volumes = {"truth_ml": case.reference_ml, "sum_ml": case.seen.expected_ml, "calibrated_ml": found.volume_ml}
        rows.append({"case": case.case_id, **volumes, "lower_ml": found.lower_ml, "upper_ml": found.upper_ml})
    return pd.DataFrame(rows)


def main() -> None:
    """Simulate, print and write the table; or measure a model."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=22)
    parser.add_argument("--level", type=float, default=0.9)
    parser.add_argument("--model", type=Path, help="folder of nnU-Net's results: its held-out cases instead")
    parser.add_argument("--references", type=Path)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--predicted", type=Path, nargs="+", default=[], help="output folders of nnunet-ms-predict")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.model is not None:
        measured(args.model, args.references, args.cases, args.predicted, args.level)
        return
    table = simulated(args.repetitions, args.seed, args.level)
    print(f"{args.repetitions} repetitions, {NEW} new patients each, level {args.level:g}")
    print(table.to_string(index=False, float_format=lambda v: f"{v:.3f}"))
    finite = table[table["finite"] == 1]
    good = ((finite["error_after"] <= 0.25) | (finite["way"] == "sums")) & finite["coverage"].between(
        args.level - 0.05, args.level + 0.05
    )
    print("met" if good.all() else f"NOT MET:\n{finite[~good].to_string(index=False)}")
    if args.out:
        table.round(4).to_csv(args.out, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
