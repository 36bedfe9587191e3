"""Make the tables behind t2_lesion_counts.R: 80 simulated patients, new and enlarging T2 lesions, missed scans.

Run in this folder: python make_tables.py
"""

import numpy as np
import pandas as pd

WEEKS = (0, 24, 48, 96)
RATES = {"control": (1.6, 0.7), "treated": (0.4, 0.35)}  # new and enlarging lesions per year


def main() -> None:
    """Write patients.csv and visits.csv."""
    rng = np.random.default_rng(18)
    patients, visits = [], []
    for i in range(80):
        name, arm = f"N{i:02d}", ("control", "treated")[i % 2]
        edss = float(rng.choice([2.0, 3.5, 4.5, 6.0]))
        patients.append(
            (name, arm, int(rng.integers(20, 56)), "FM"[int(rng.integers(2))], ["EU", "US"][i // 3 % 2], edss)
        )
        frailty, last = rng.gamma(1.2, 1 / 1.2), 0
        for week in WEEKS:
            if week not in (0,) and rng.random() < 0.12:
                continue  # missed: the next count covers both intervals
            counts = (
                ["", ""]
                if week == 0
                else [int(rng.poisson(frailty * r * (week - last) * 7 / 365.25)) for r in RATES[arm]]
            )
            visits.append((f"{name}_{week}", name, f"w{week}", week, "reader", "t2_lesions", 12, 5.0 + i / 10, *counts))
            last = week
    columns = ["case_id", "patient_id", "visit", "week", "rater", "lesion_type", "lesion_count", "volume_ml"]
    frame = pd.DataFrame(visits, columns=[*columns, "new_lesion_count", "enlarging_lesion_count"])
    frame.to_csv("visits.csv", index=False, lineterminator="\n")
    columns = ["patient_id", "arm", "age_years", "sex", "region", "edss_baseline"]
    pd.DataFrame(patients, columns=columns).to_csv("patients.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
