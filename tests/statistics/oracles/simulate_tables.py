"""Tables of a simulated trial for the values in `oracles.csv`: seeded, no patient is real.

    python simulate_tables.py && Rscript oracles.R

`oracles.csv` was written by R 4.2.2 with survival 3.5.3, MASS 7.3.58.2, emmeans 1.8.4.1 and nlme 3.1.162.
"""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
N = 360


def tables() -> dict[str, pd.DataFrame]:
    """Return the tables by file stem."""
    rng = np.random.default_rng(20230313)
    pid = [f"S{i:04d}" for i in range(N)]
    arm = rng.permutation(np.repeat(["active", "control"], [240, 120]))
    age = np.clip(rng.normal(44.5, 8, N), 18, 56).round(1)
    sex = rng.choice(["F", "M"], N)
    region = rng.choice(["ROW", "US"], N, p=[0.86, 0.14])
    edss = np.clip(np.round(rng.normal(4.6, 1.2, N) * 2) / 2, 2, 6.5)
    log_tlv = rng.normal(1.8, 1.2, N)  # log ml
    tlv = np.exp(log_tlv).round(4)
    patients = pd.DataFrame(
        {"patient_id": pid, "arm": arm, "age": age, "age_group": np.where(age > 45, ">45", "<=45"), "sex": sex,
         "region": region, "edss_baseline": edss, "t2_tlv_ml_baseline": tlv}
    )  # fmt: skip
    rows = []
    for i in range(N):
        random_slope = rng.normal(0, 0.06)
        last = rng.choice([24, 48, 120, 999], p=[0.05, 0.07, 0.08, 0.80])
        for week, growth in ((24, 0.002), (48, 0.03), (120, 0.10)):
            if week > last:
                break
            effect = -0.9 if arm[i] == "active" else 0.0
            change = growth * (1 + effect) + random_slope * np.sqrt(week / 120) + rng.normal(0, 0.05)
            rows.append((pid[i], week, round(float(tlv[i] * np.exp(change)), 4)))
    # counts of new lesions over several scans, with gamma frailty
    scans = rng.choice([1, 2, 3], N, p=[0.08, 0.12, 0.80])
    mu = np.where(arm == "active", 0.08, 0.55) * np.exp(0.25 * (log_tlv - 1.8)) * scans
    lesions = rng.poisson(mu * rng.gamma(1 / 1.6, 1.6, N))
    enhancing = rng.choice(["absent", "present"], N, p=[0.73, 0.27])
    counts = pd.DataFrame({"patient_id": pid, "n_scans": scans, "new_lesions": lesions, "gd_baseline": enhancing})
    # time to confirmed progression, seen at visits every 12 weeks
    risk = 0.30 * (log_tlv - 1.8) + np.where(arm == "active", -0.30 - 0.15 * (log_tlv - 1.8), 0)
    risk = risk + 0.02 * (age - 44) + np.where(edss < 4, -0.3, 0)
    time = np.ceil(rng.exponential(300 / np.exp(risk)) / 12) * 12
    end = np.minimum(np.ceil(rng.uniform(60, 260, N) / 12) * 12, 120)
    times = pd.DataFrame(
        {"patient_id": pid, "weeks": np.minimum(time, end).astype(int), "event": (time <= end).astype(int)}
    )
    volumes = pd.DataFrame(rows, columns=["patient_id", "week", "t2_tlv_ml"])
    return {"patients": patients, "tlv": volumes, "counts": counts, "tte": times}


if __name__ == "__main__":
    for name, table in tables().items():
        table.to_csv(HERE / f"{name}.csv", index=False)
