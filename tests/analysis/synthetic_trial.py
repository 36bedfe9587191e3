"""A small trial with known numbers of patients, written as the commands write it (seeded; nobody is real)."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

WEEKS = (24, 48, 96)

SETTINGS = """
[trial]
name = "Synthetic trial"
simulated = true
preset = "opera2"
[tables]
patients = "patients.csv"
visits = "visits.csv"
assessments = "assessments.csv"
agreement = "agreement.csv"
truth = "truth.json"
[arms]
reference = "placebo"
compared = ["active"]
[lesions]
type = "t2_lesions"
zero_volume = "exclude"
[visits]
baseline_week = 0
weeks = [24, 48, 96]
[disability]
preset = "krishnan2023"
outcomes = ["cdp24"]
[conventions]
preset = "r"
[analysis]
bootstrap_draws = 20
"""


def patients(n=60, seed=1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "patient_id": [f"P{i:03d}" for i in range(n)],
            "arm": np.where(np.arange(n) % 2 == 0, "placebo", "active"),
            "age_years": rng.integers(25, 56, n),
            "sex": rng.choice(["F", "M"], n),
            "region": rng.choice(["ROW", "US"], n),
            "edss_baseline": rng.choice([2.0, 3.5, 4.0, 5.5, 6.0], n),
            "discontinued_week": "",
        }
    )


def visits(table, seed=2, raters=("reference", "model")):
    rng = np.random.default_rng(seed)
    rows = []
    for patient, arm in zip(table["patient_id"], table["arm"], strict=True):
        baseline = float(np.exp(rng.normal(1.8, 1)))
        for week in (0, *WEEKS):
            growth = (0.1 if arm == "placebo" else -0.02) * week / 96 + (week > 0) * rng.normal(0, 0.05)
            for rater in raters:
                noise = 1.0 if rater == "reference" else float(np.exp(rng.normal(0.02, 0.03)))
                volume = round(baseline * np.exp(growth) * noise, 5)
                name = f"{patient}_w{week}"
                rows.append((name, patient, f"week{week}", week, rater, "t2_lesions", 10, volume))
    columns = ["case_id", "patient_id", "visit", "week", "rater", "lesion_type", "lesion_count", "volume_ml"]
    return pd.DataFrame(rows, columns=columns)


def all_lesion_types(table, seed=4):
    """The T2 rows with new lesions, and enhancing and unenhancing T1 rows, for both raters."""
    rng = np.random.default_rng(seed)
    t2 = visits(table)
    arm = t2["patient_id"].map(table.set_index("patient_id")["arm"])
    mean = np.where(arm == "placebo", 1.2, 0.3) * rng.gamma(1, 1, len(t2))
    later = (t2["week"] > 0).to_numpy()
    frames = []
    for kind, share in (("t2_lesions", 1.5), ("t1_enhancing", 0.6), ("t1_unenhancing", 0.8)):
        drawn = rng.poisson(mean * share)
        new = pd.array(np.where(later, drawn, 0), dtype="Int64")
        frame = t2.assign(lesion_type=kind, new_lesion_count=new)
        frame.loc[~later, "new_lesion_count"] = pd.NA
        if kind == "t2_lesions":
            grown = np.where(later, np.random.default_rng(seed + 1).poisson(0.6 * mean), 0)
            frame["enlarging_lesion_count"] = pd.array(grown, dtype="Int64")
            frame.loc[~later, "enlarging_lesion_count"] = pd.NA
        if kind == "t1_enhancing":
            frame = frame.assign(lesion_count=drawn, new_lesion_count=pd.array([pd.NA] * len(frame), dtype="Int64"))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def timed_assessments(table, seed=5):
    """EDSS, walk and peg test every 12 weeks, some of which worsen for good."""
    rng = np.random.default_rng(seed)
    frame = assessments(table, seed)
    for column, base in (("t25fw_s", 6.0), ("nhpt_s", 22.0)):
        onset = frame["patient_id"].map(dict(zip(table["patient_id"], rng.exponential(200, len(table)), strict=True)))
        frame[column] = np.where(frame["week"] >= onset, base * 1.3, base)
    return frame


def assessments(table, seed=3):
    rng = np.random.default_rng(seed)
    rows = []
    for patient, baseline in zip(table["patient_id"], table["edss_baseline"], strict=True):
        onset = rng.exponential(200)
        for week in range(0, 109, 12):
            edss = min(10.0, baseline + (1.0 if week >= onset else 0.0))
            rows.append((patient, week, edss, "true"))
    return pd.DataFrame(rows, columns=["patient_id", "week", "edss", "scheduled"])


def agreement():
    rows = [
        ("model", "t2_lesions", "krishnan2023", metric, mean, "" if metric.startswith("r_") else 0.1, 60, 0)
        for metric, mean in zip(
            ("ppv", "tpr", "dice", "r_vol", "lppv", "ltpr", "lfpr", "r_count"),
            (0.7, 0.8, 0.72, 0.97, 0.88, 0.84, 0.18, 0.96),
            strict=True,
        )
    ]
    return pd.DataFrame(rows, columns=["rater", "lesion_type", "rule", "metric", "mean", "sd", "n", "n_undefined"])


def truth():
    volume = {"endpoint": "t2_volume_percent_change", "unit": "%", "how": "parameter"}
    contrast = {"contrast": "active - placebo", "visit": "96", "stat": -12.5, **volume}
    return {
        "simulated": True,
        "truth": [
            {"analysis": "by_visit", "arm": "placebo", "visit": "96", "stat_name": "mean", "stat": 10.5, **volume},
            {"analysis": "by_visit", "arm": "active", "visit": "96", "stat_name": "mean", "stat": -2.0, **volume},
            {"analysis": "by_visit", "stat_name": "separation", **contrast},
            {"analysis": "ancova", "term": "arm", "stat_name": "difference", **contrast},
            {"endpoint": "cdp24", "analysis": "cox_univariable", "term": "log_tlv", "stat_name": "hazard_ratio",
             "stat": 1.0, "unit": "", "how": "parameter"},
        ],
    }  # fmt: skip


def write_trial(folder, settings=SETTINGS, **changed) -> Path:
    """Write the trial into `folder`; `changed` gives tables to write instead. Returns the settings file."""
    folder.mkdir(parents=True, exist_ok=True)
    table = changed.get("patients", patients())
    tables = {
        "patients": table,
        "visits": changed["visits"] if "visits" in changed else visits(patients()),
        "assessments": changed["assessments"] if "assessments" in changed else assessments(patients()),
        "agreement": changed.get("agreement", agreement()),
    }
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    (folder / "truth.json").write_text(json.dumps(changed.get("truth", truth())))
    path = folder / "trial.toml"
    path.write_text(settings, encoding="utf-8")
    return path
