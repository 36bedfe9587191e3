"""A Cox model with an interaction, beside the values that R prints for the same simulated trial of 360 patients."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import nnunet_ms as ms

folder = Path(__file__).parents[2] / "tests" / "statistics" / "oracles"
frame = pd.read_csv(folder / "patients.csv").merge(pd.read_csv(folder / "tte.csv"))
frame["log_tlv"] = np.log(frame["t2_tlv_ml_baseline"])
frame["edss_ge4"] = np.where(frame["edss_baseline"] >= 4, ">=4", "<4")
covariates = ["arm", "sex", "region", "edss_ge4", "age", "log_tlv", "arm:log_tlv"]
found = ms.statistics.cox(frame, "weeks", "event", covariates, reference={"arm": "control"}).table

r = pd.read_csv(folder / "oracles.csv")
version = r.query("analysis == 'versions'").set_index("term")["value"]
r = r.query("analysis == 'cox_multi_interaction_efron' and term != 'model'").astype({"value": float})
r = r.pivot_table(index="term", columns="stat", values="value", sort=False)
beside = pd.DataFrame({"term": found["term"], "nnunet_ms": found["estimate"], "R": r["hr"].to_numpy()})
print(beside.to_string(index=False))
print("largest relative difference:", (beside["nnunet_ms"] / beside["R"] - 1).abs().max())

rows = np.arange(len(found))
figure, axes = plt.subplots(figsize=(7.5, 4), layout="constrained")
errors = [found["estimate"] - found["low"], found["high"] - found["estimate"]]
axes.errorbar(found["estimate"], rows - 0.12, xerr=errors, fmt="o", color="#0072B2", label="nnunet_ms")
errors = [r["hr"] - r["hr_low"], r["hr_high"] - r["hr"]]
label = f"R {version['R']}, survival {version['survival']}: coxph, Efron ties"
axes.errorbar(r["hr"], rows + 0.12, xerr=errors, fmt="s", color="#D55E00", label=label)
axes.set(xscale="log", yticks=rows, yticklabels=found["term"], xlabel="hazard ratio (95 % interval)")
axes.axvline(1, color="black", linewidth=0.8)
axes.invert_yaxis()
axes.set_xticks([0.5, 1, 2], ["0.5", "1", "2"], minor=False)
axes.minorticks_off()
figure.legend(loc="outside lower center", ncols=2, fontsize=8)
events = f"n = {len(frame)}, {frame['event'].sum()} events"
axes.set_title(f"Time to confirmed progression, simulated, {events}", fontsize=10)
figure.savefig("cox_beside_r.png", dpi=110)
