"""A simulated trial from its tables to its report, in which two readers tell nearly the same effects of treatment."""

import shutil

import nnunet_ms as ms

trial = ms.simulate("trial", patients=200)
results = ms.run_trial(trial.folder / "trial.toml", "report")
print(len(results.endpoints), "statistics; the page to open: report/index.html")

effects = results.endpoints.query("endpoint == 't2_volume_percent_change' and analysis == 'ancova' and term == 'arm'")
table = effects.pivot_table(index="rater", columns="stat_name", values="stat")
print(table[["difference", "low", "high", "p"]].round(4))

shutil.copy("report/figures/effects_by_rater.png", "trial_report.png")
