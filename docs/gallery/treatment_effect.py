"""Effect on lesion volume: ANCOVA at the last visit and a mixed model over all visits, beside the simulated truth."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import nnunet_ms as ms

trial = ms.simulate("trial", patients=200)
visits = pd.read_csv(trial.folder / "visits.csv").query("rater == 'reference' and lesion_type == 't2_lesions'")
patients = pd.read_csv(trial.folder / "patients.csv")
frame = visits.merge(patients, on="patient_id")
baseline = frame.query("week == 0").set_index("patient_id")["volume_ml"]
frame["log_baseline"] = np.log(frame["patient_id"].map(baseline))
frame["log_ratio"] = np.log(frame["volume_ml"]) - frame["log_baseline"]
later = frame.query("week > 0")

truth = json.loads((trial.folder / "truth.json").read_text())["truth"]
truth = {row["visit"]: row["stat"] for row in truth if row["stat_name"] == "geometric_mean_ratio"}
placebo = {"arm": "placebo"}
ancova = ms.statistics.ancova(
    later.query("week == 96"), "log_ratio", "arm", ["log_baseline", "region"], reference=placebo
)
mmrm = ms.statistics.mmrm(later, "log_ratio", "patient_id", "week", "arm", ["log_baseline"], reference=placebo)
rows = [("ANCOVA", 96, ancova.table.query("kind == 'difference'").iloc[0])]
rows += [("MMRM", row["visit"], row) for _, row in mmrm.table.query("kind == 'difference'").iterrows()]

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for place, (name, week, row) in enumerate(rows):
    estimate, low, high = (100 * np.expm1(row[key]) for key in ("estimate", "low", "high"))
    axes.errorbar(estimate, place, xerr=[[estimate - low], [high - estimate]], fmt="o", color="#0072B2")
    print(f"{name} week {week}: {estimate:.1f} % ({low:.1f} to {high:.1f}), p = {row['p']:.2g}")
for place, (_, week, _) in enumerate(rows):
    axes.plot(100 * (truth[str(week)] - 1), place, "x", color="#D55E00", markersize=9)
axes.set_yticks(range(len(rows)), [f"{name}, week {week}" for name, week, _ in rows])
axes.set(xlabel="T2 lesion volume, active against placebo, % (95 % interval)", ylim=(len(rows) - 0.5, -0.5))
axes.set_title(f"Simulated trial, n = {later['patient_id'].nunique()}; orange: the truth it was made from", fontsize=10)
figure.savefig("treatment_effect.png", dpi=110)
