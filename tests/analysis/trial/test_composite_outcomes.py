import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.trial.composite_outcomes import derive_outcome
from nnunet_ms.analysis.trial.outcomes import OUTCOMES, PRESETS, derive_progression


def trial(n=2000, seed=5):
    rng = np.random.default_rng(seed)
    patients = pd.DataFrame(
        {"patient_id": [f"P{i}" for i in range(n)], "arm": "x", "edss_baseline": rng.integers(2, 12, n) / 2,
         "discontinued_week": rng.choice([np.nan, 40.0], n)}
    )  # fmt: skip
    rows = []
    for name, edss in zip(patients["patient_id"], patients["edss_baseline"], strict=True):
        for week in range(0, 97, 12):
            if week and rng.random() < 0.15:
                continue
            worse = rng.random(3) < 0.05 + 0.005 * week
            walk = np.nan if rng.random() < 0.1 else 5.0 * (1.3 if week and worse[1] else 1.0)
            rows.append(
                (
                    name,
                    float(week),
                    edss + 1.0 * (week > 0 and worse[0]),
                    walk,
                    20.0 * (1.25 if week and worse[2] else 1),
                )
            )
    columns = ["patient_id", "week", "edss", "t25fw_s", "nhpt_s"]
    return patients, pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("name", ["ccdp12", "ccdp24"])
def test_composite_is_the_first_of_its_components(name, preset):
    # Oracle: the definition, by pandas, from the components, on 2,000 random patients.
    patients, visits = trial()
    rule = PRESETS[preset]
    parts = pd.concat([derive_progression(patients, visits, OUTCOMES[c], rule) for c in OUTCOMES[name].components])
    found = derive_outcome(patients, visits, OUTCOMES[name], rule).set_index("patient_id")
    events = parts[parts["event"]].groupby("patient_id")["time_weeks"].min()
    assert found.index[found["event"]].sort_values().tolist() == sorted(events.index)
    assert (found.loc[events.index, "time_weeks"] == events).all()
    last = parts.groupby("patient_id")["time_weeks"].max()
    free = found[~found["event"]]
    pd.testing.assert_series_equal(free["time_weeks"], last[free.index], check_names=False)
    which = parts[parts["event"]].set_index("patient_id")
    for patient, row in found[found["event"]].iterrows():
        mine = which.loc[[patient]]
        assert row["component"] == "+".join(mine.loc[mine["time_weeks"] == row["time_weeks"], "outcome"])


def test_a_component_without_baseline_is_named():
    patients, visits = trial(3)
    visits.loc[visits["week"] == 0, "t25fw_s"] = np.nan
    found = derive_outcome(patients, visits, OUTCOMES["ccdp12"], PRESETS["opera"])
    assert found["reason"].str.contains("t25fw12: no baseline value").all()
    assert len(found) == 3
