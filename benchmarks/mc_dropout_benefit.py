"""Is Monte Carlo dropout any use: the mean of 10 samples against the deterministic pass, on unseen simulated patients.

    python benchmarks/mc_dropout_benefit.py --work runs/mc_dropout_benefit

The demo's trial and training data, through the demo's own commands, but a small network that is trained with dropout
(`nnUNetTrainerMSMultiArmSmallDropout`). The patients that were not trained on are predicted by `nnUNetv2_predict` and
by `nnunet-ms-predict`, both without mirroring, and evaluated by `nnunet-ms-evaluate --uncertainty`. Steps that are
done are not repeated. The table has differences with 95 % intervals from a bootstrap over patients (2000 resamples).
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.analysis.evaluation.uncertainty import UncertainCase, evaluate_case_uncertainty
from nnunet_ms.analysis.evaluation.uncertainty_curves import calibration_errors
from nnunet_ms.analysis.evaluation.uncertainty_tables import CaseUncertainty
from nnunet_ms.demo import FULL, Stage, run_stage, stages
from nnunet_ms.images.volumes import read_mask, read_volume
from nnunet_ms.statistics.bootstrap_interval import patient_interval
from nnunet_ms.tables import LESIONS, read_table

TRAINER = "nnUNetTrainerMSMultiArmSmallDropout"
RAW = "nnunet/raw/Dataset801_Demo"
MODEL = ("-d", "801", "-tr", TRAINER, "-p", "nnUNetPlansMS", "-c", "3d_fullres", "-f", "0")
RULE, REMOVED = "krishnan2023", 0.2
KINDS = ("deterministic", "probability")
Float = npt.NDArray[np.float64]


def main() -> int:
    """Run what is not done, print and store the table; exit code 1 when a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/mc_dropout_benefit"))
    parser.add_argument("--visits", type=int, default=0, help="visits per patient, from the first; 0: all")
    parser.add_argument("--patients", type=int, default=0, help="of the unseen patients, the first ones; 0: all")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "mc_dropout_benefit.csv")
    args = parser.parse_args()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    todo = [*stages(replace(FULL, trainer=TRAINER), seed=0)[:4], *further_stages(args)]
    for number, stage in enumerate(todo, start=1):
        run_stage(stage, work, f"[{number}/{len(todo)}] {stage.name}")
    table = results(work)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.results, index=False, float_format="%.5f")
    print(table.to_string(index=False, float_format="{:.4f}".format))
    return int((table["holds"] == "no").any())


def further_stages(args: argparse.Namespace) -> list[Stage]:
    """Predict both ways, tiles as in the demo, and evaluate; the images of the chosen visits are linked first."""
    choose = partial(choose_visits, patients=args.patients, visits=args.visits)
    where = ("-device", args.device)
    return [
        Stage(
            "predict without dropout",
            (
                *("nnUNetv2_predict", "-i", "images", "-o", "plain", *MODEL, *where, "--disable_tta"),
                *("-step_size", "0.8", "-npp", "1", "-nps", "1"),
            ),
            "plain/plans.json",
            choose,
        ),
        Stage(
            "predict with dropout",
            (
                *("nnunet-ms-predict", "-i", "images", "-o", "sampled", *MODEL, *where, "--no-tta", "--continue"),
                *("--step-size", "0.8", "--mc-samples", "10", "--maps", "deterministic", "--cases", "cases.csv"),
                *("--data-note", "simulated", "--no-pictures"),
            ),
            "sampled/cases.csv",
        ),
        Stage(
            "evaluate",
            (
                *("nnunet-ms-evaluate", "--predictions", "samples=sampled", "--predictions", "deterministic=plain"),
                *("--references", f"{RAW}/labelsTs", "--cases", "cases.csv", "--rules", f"{RULE},shifts2022"),
                *("--uncertainty", "sampled", "--data-note", "simulated", "-o", "evaluation"),
            ),
            "evaluation/uncertainty/uncertainty.csv",
        ),
    ]


def choose_visits(work: Path, patients: int, visits: int) -> None:
    """Link the images of the first visits of the first unseen patients, and write their table of cases."""
    cases = pd.read_csv(work / RAW / "cases.csv")
    cases = cases[cases["role"] == "test"].sort_values(["patient_id", "week"])
    cases = cases[cases["patient_id"].isin(cases["patient_id"].unique()[: patients or None])]
    cases = cases.groupby("patient_id").head(visits) if visits else cases
    cases[["case_id", "patient_id", "visit", "week", "role"]].to_csv(work / "cases.csv", index=False)
    (work / "images").mkdir(exist_ok=True)
    for case in cases["case_id"]:
        for path in (work / RAW / "imagesTs").glob(f"{case}_*.nii.gz"):
            link = work / "images" / path.name
            link.unlink(missing_ok=True)
            link.symlink_to(path)


def results(work: Path) -> pd.DataFrame:
    """All rows: without dropout, with it, the difference and its interval, and whether a claim holds."""
    patients = pd.read_csv(work / "cases.csv").set_index("case_id")["patient_id"]
    cases = read_cases(work)
    rows = [*agreement_rows(work), removal_row(cases, patients), same_masks_row(work)]
    rows += [calibration_row(cases, patients, region) for region in ("candidates", "all")]
    return pd.DataFrame(rows).assign(patients=patients.nunique(), visits=len(patients), trainer=TRAINER)


def read_cases(work: Path) -> list[CaseUncertainty]:
    """Calibration sums and lesions of every case."""
    lesions = read_table(work / "sampled" / "lesions.csv", LESIONS)
    known = pd.read_csv(work / "sampled" / "cases.csv").set_index("case_id")["content_voxels"]
    jobs = [
        UncertainCase(case, work / RAW / "labelsTs" / f"{case}.nii.gz", work / "sampled", int(n))
        for case, n in known.items()
    ]
    return [evaluate_case_uncertainty(job, lesions, RULE) for job in jobs]


def row(what: str, before: float, after: float, interval: tuple[float, float], holds: str = "") -> dict[str, object]:
    """One line of the table; `holds` is yes or no for a claim, blank for a number that is only reported."""
    low, high = interval
    return {
        "what": what, "before": before, "after": after, "difference": after - before,
        "low": low, "high": high, "holds": holds,
    }  # fmt: skip


def agreement_rows(work: Path) -> list[dict[str, object]]:
    """Means over visits; the claim is that the mean of the samples is not below the deterministic pass."""
    comparison = pd.read_csv(work / "evaluation" / "comparison.csv")
    cases = pd.read_csv(work / "evaluation" / "agreement_cases.csv")
    rows = []
    for rule, metric, claimed in (
        (RULE, "dice", True), ("shifts2022", "lesion_f1", True), (RULE, "ltpr", False), (RULE, "lppv", False),
    ):  # fmt: skip
        here = cases[(cases["rule"] == rule) & (cases["metric"] == metric)]
        wide = here.pivot_table(index="case_id", columns="rater", values="value").dropna()
        (paired,) = comparison[(comparison["rule"] == rule) & (comparison["metric"] == metric)].to_dict("records")
        sign = 1 if paired["rater"] == "samples" else -1
        low, high = sorted((sign * paired["low"], sign * paired["high"]))
        before, after = wide["deterministic"].mean(), wide["samples"].mean()
        holds = ("yes" if after >= before else "no") if claimed else ""
        rows.append(row(f"{metric}, mean of visits ({rule})", before, after, (low, high), holds))
    return rows


def calibration_row(cases: list[CaseUncertainty], patients: "pd.Series[str]", region: str) -> dict[str, object]:
    """ECE of both probabilities, reported whichever is smaller; the interval resamples patients."""
    names = [patients[case.case_id] for case in cases]
    pairs = np.stack([[case.bins[kind, region] for kind in KINDS] for case in cases])  # (cases, 2, bins, 4)
    both = np.stack([pairs[[n == name for n in names]].sum(0) for name in sorted(set(names))])

    def difference(drawn: Float) -> Float:
        return np.array([ece(after) - ece(before) for before, after in drawn.reshape(-1, *both.shape[1:])])

    before, after = (ece(one) for one in both.sum(0))
    interval = patient_interval(both.reshape(len(both), -1), difference)
    return row(f"ECE, voxels: {region}", before, after, interval)


def ece(sums: Float) -> float:
    """Expected calibration error of the sums of bins."""
    return calibration_errors(sums)["ece"]


def removal_row(cases: list[CaseUncertainty], patients: "pd.Series[str]") -> dict[str, object]:
    """LPPV of all predicted lesions together, before and after the least certain fifth is removed."""
    lesions = pd.concat([case.lesions for case in cases])
    lesions = lesions.assign(patient=lesions["case_id"].map(patients)).sort_values("uncertainty", ascending=False)
    true, numbers = lesions["true"].to_numpy(float), pd.factorize(lesions["patient"])[0]

    def lppv(weights: Float, kept: float) -> float:
        """Of lesions that count `weights` times, the most certain share `kept`."""
        inside = np.diff(np.clip(np.cumsum(weights) - (1 - kept) * weights.sum(), 0, None), prepend=0)
        return float((inside * true).sum() / inside.sum())

    def gains(drawn: Float) -> Float:
        return np.array([lppv(w[numbers], 1 - REMOVED) - lppv(w[numbers], 1) for w in drawn])

    interval = patient_interval(np.eye(numbers.max() + 1), gains)
    once = np.ones(true.size)
    before, after = lppv(once, 1), lppv(once, 1 - REMOVED)
    return row(
        "LPPV, least certain 20 % of lesions removed", before, after, interval, "yes" if after > before else "no"
    )


def same_masks_row(work: Path) -> dict[str, object]:
    """Share of voxels in which our pass without dropout and nnUNetv2_predict give different masks."""
    differing = voxels = 0
    for path in sorted((work / "plain").glob("*.nii.gz")):
        plain = read_mask(path).data > 0
        differing += int(
            np.count_nonzero(plain != (read_volume(work / "sampled" / "deterministic" / path.name).data > 0.5))
        )
        voxels += int(plain.sum())
    missing = (float("nan"), float("nan"))
    return row("voxels that differ from nnUNetv2_predict, per lesion voxel", 0, differing / voxels, missing)


if __name__ == "__main__":
    sys.exit(main())
