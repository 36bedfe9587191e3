"""Tables of the ablation's script, from tables as evaluation writes them. Oracles: sums by hand."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PARAMETERS = {"multi-arm": 10, "plain U-Net": 7}


@pytest.fixture(scope="module")
def script():
    """The script as a module; it imports the one that it belongs to by its plain name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("multi_arm_ablation_tables")
    for name in ("multi_arm_ablation_tables", "multi_arm_ablation", "ablation_commands"):
        sys.modules.pop(name, None)


def cases(values):
    """Rows of agreement_cases.csv: (variant, seed, patient) -> Dice."""
    rows = [(*key, "trial", "dice", value) for key, value in values.items()]
    return pd.DataFrame(rows, columns=["variant", "seed", "patient_id", "data", "metric", "value"])


DICE = {
    **{("multi-arm", 0, f"P{n}"): value for n, value in enumerate((0.6, 0.7, 0.8, 0.9, 0.5))},
    **{("multi-arm", 1, f"P{n}"): value for n, value in enumerate((0.8, 0.7, 0.6, 0.7, 0.7))},
    **{("plain U-Net", 0, f"P{n}"): value for n, value in enumerate((0.5, 0.6, 0.7, 0.8, 0.4))},
    **{("plain U-Net", 1, f"P{n}"): value for n, value in enumerate((0.8, 0.7, 0.6, 0.7, np.nan))},
}


def test_means_over_seeds_and_the_difference_paired_by_patient_and_seed(script):
    found = script.means(cases(DICE), PARAMETERS).set_index("variant")
    whole, plain = found.loc["multi-arm"], found.loc["plain U-Net"]
    assert (whole["mean"], whole["least_seed"], whole["greatest_seed"]) == pytest.approx((0.7, 0.7, 0.7))
    assert (plain["mean"], plain["least_seed"], plain["greatest_seed"]) == pytest.approx((0.65, 0.6, 0.7))
    # by hand: -0.1 with seed 0 in all five; 0 with seed 1 in the first four, nothing in the fifth
    assert plain["difference"] == pytest.approx((4 * -0.05 - 0.1) / 5)
    assert plain["patients"] == 5
    assert -0.1 < plain["low"] < plain["difference"] < plain["high"] < -0.05 + 1e-9
    assert whole[["difference", "low", "high", "patients"]].isna().all()
    assert (plain["seeds"], plain["parameters"], plain["kind"]) == (2, 7, "simulated")


def test_without_the_multi_arm_network_there_is_no_difference(script):
    found = script.means(cases({key: value for key, value in DICE.items() if key[0] != "multi-arm"}), PARAMETERS)
    assert found["difference"].isna().all()
    assert found["mean"].tolist() == pytest.approx([0.65])


PATIENTS = [f"P{number:03d}" for number in range(40)]  # arms by turns, the first of placebo


def visits(script, growth):
    """Rows of visits.csv: (variant, arm) -> percent change of volume; the model's rises by 0 to 3 with the patient."""
    rows = []
    for number, patient in enumerate(PATIENTS):
        for variant in ("reference", "plain U-Net"):
            change = growth[variant, script.run.arm_of(patient)]
            change += number // 2 % 4 if variant == "plain U-Net" else 0
            volumes = (10.0, 10.0 * (1 + change / 100))
            rows += [(variant, 0, patient, week, ml) for week, ml in zip(script.run.WEEKS, volumes, strict=True)]
    return pd.DataFrame(rows, columns=["variant", "seed", "patient_id", "week", "volume_ml"])


GROWTH = {
    ("reference", "placebo"): 10.0,
    ("reference", "active"): -4.0,
    ("plain U-Net", "placebo"): 7.0,
    ("plain U-Net", "active"): -1.0,
}


def test_separation_is_placebo_minus_active_in_percent_of_the_first_volume(script):
    found = script.separation(visits(script, GROWTH))
    assert found["seed"].isna().tolist() == [False, True]  # of each seed, then of the means over them
    for row in found.itertuples():
        # by hand: the reference 10 - -4; the model's numbers rise alike in both arms, so 7 - -1
        assert (row.separation_reference, row.separation_model) == pytest.approx((14.0, 8.0))
        assert row.difference == pytest.approx(-6.0)
        assert row.low < -6 < row.high
        errors = [-3 + k for k in range(4)] * 5 + [3 + k for k in range(4)] * 5
        assert row.patient_sd == pytest.approx(np.std(errors, ddof=1))
        assert row.patients == 40


def test_patients_without_a_first_volume_are_left_out_of_both(script):
    table = visits(script, GROWTH)
    table.loc[(table["patient_id"] == "P000") & (table["week"] == 0), "volume_ml"] = 0.0
    assert set(script.separation(table)["patients"]) == {39}


def test_rows_stand_in_the_order_of_the_variants_the_trial_first(script):
    names = list(script.run.VARIANTS)[:3]
    table = pd.DataFrame([(d, v, s) for d in ("ms3seg", "trial") for v in reversed(names) for s in (1, 0)])
    table.columns = ["data", "variant", "seed"]
    found = script.in_order(table)
    expected = [(d, v, s) for d in ("trial", "ms3seg") for v in names for s in (0, 1)]
    assert [*found.itertuples(index=False, name=None)] == expected


@pytest.mark.parametrize(("value", "shown"), [(0.634, ".63"), (1.0, "1.00"), (0.055, ".06"), (0.0, ".00")])
def test_numbers_have_two_digits_without_the_leading_zero(script, value, shown):
    assert script.short(value) == shown


def test_parameters_are_counted_without_memory_for_them(script):
    # Oracle: the networks themselves, whose documented sizes the page of the ablation prints.
    page = pd.read_csv(BENCHMARKS / "results" / "multi_arm_ablation_means.csv")
    for variant, count in page.groupby("variant")["parameters"].first().items():
        assert script.count_parameters(variant) == count
