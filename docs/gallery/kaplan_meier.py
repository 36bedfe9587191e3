"""Time to confirmed progression by arm in a simulated trial: curves, numbers at risk, log-rank test."""

import matplotlib.pyplot as plt
import pandas as pd

import nnunet_ms as ms

trial = ms.simulate("trial", patients=200).folder
results = ms.run_trial(trial / "trial.toml", "report")
times = results.audit["cdp24"]
curves = ms.statistics.kaplan_meier(times, "time_weeks", "event", by="arm", interval="log-log").table
test = ms.statistics.logrank(times, "time_weeks", "event", by="arm").table.iloc[0]
print(curves.groupby("term").tail(1).to_string(index=False))

figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
weeks = [0, 24, 48, 72, 96, 120]
for (arm, curve), colour, line in zip(curves.groupby("term"), ("#0072B2", "#D55E00"), ("-", "--"), strict=True):
    start = pd.DataFrame({"time": [0], "estimate": [1], "low": [1], "high": [1]})
    curve = pd.concat([start, curve])
    axes.step(curve["time"], 100 * curve["estimate"], where="post", color=colour, linestyle=line, label=arm)
    axes.fill_between(curve["time"], 100 * curve["low"], 100 * curve["high"], step="post", color=colour, alpha=0.15)
at_risk = {arm: [(part["time_weeks"] >= week).sum() for week in weeks] for arm, part in times.groupby("arm")}
labels = [f"{week}\n" + "\n".join(str(at_risk[arm][k]) for arm in at_risk) for k, week in enumerate(weeks)]
axes.set_xticks(weeks, labels)
axes.set(
    xlabel=f"weeks; below: at risk ({', '.join(at_risk)})", ylabel="free of confirmed progression, %", ylim=(0, 100)
)
axes.legend(loc="lower left", title=f"log-rank p = {test['p']:.2g}")
axes.set_title(f"CDP24, simulated trial, n = {len(times)}; bands: 95 %, log-log scale", fontsize=10)
figure.savefig("kaplan_meier.png", dpi=110)
