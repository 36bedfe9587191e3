from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.outcomes import PRESETS, has_worsened
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.analysis.trial.timed_tests import TRIALS, trial_listing, with_timed_means
from nnunet_ms.errors import TableError
from tests.analysis.synthetic_trial import SETTINGS, patients, timed_assessments, write_trial

PATH = Path("assessments.csv")


@pytest.mark.parametrize(
    ("baseline", "value", "expected"),
    [
        ("22.2875", "26.745", True),  # the mean of four trials, exactly 20 %
        ("22.2875", "26.7449", False),
        ("22.2875", "26.74499999", False),
        ("4.20", "5.04", True),
        ("20.125", "24.15", True),
        ("20.125", "24.149", False),
        ("18.0625", "21.675", True),
        ("18.0625", "21.6749", False),
        ("0.5", "0.6", True),
        ("250.0025", "300.003", True),
        ("5.004", "6.0", False),  # hundredths would have rounded 5.004 to 5.00
    ],
)
def test_twenty_percent_is_exact(baseline, value, expected):
    # Oracle: fractions of whole numbers, made from the text.
    assert (Fraction(value) >= Fraction(baseline) * Fraction(6, 5)) == expected
    found = has_worsened(np.array([float(value), np.inf]), float(baseline), "nhpt", PRESETS["opera"])
    assert found.tolist() == [expected, True]


def test_twenty_percent_of_random_means_is_exact():
    # Oracle: decimals. Means of four trials to the hundredth, whose threshold is met by half of the second ones.
    rng = np.random.default_rng(4)
    for _ in range(400):
        trials = [Decimal(int(t)) / 100 for t in rng.integers(1200, 6000, 4)]
        baseline = sum(trials) / 4
        value = baseline * Decimal("1.2") + Decimal(int(rng.integers(-1, 2))) / 10000
        found = has_worsened(np.array([float(value)]), float(np.mean([float(t) for t in trials])), "nhpt", None)
        assert found[0] == (value >= baseline * Decimal("1.2"))


def test_trials_are_averaged_by_hand_and_then_over_hands():
    # By hand: dominant (20 + 22) / 2 = 21, other 25 alone, mean 23; no trial of a hand, no value; two walks.
    frame = pd.DataFrame(
        {
            "patient_id": ["P1", "P2", "P3"], "week": [0.0, 0.0, 12.0],
            "nhpt_dominant_1_s": [20, 20, np.nan], "nhpt_dominant_2_s": [22, 22, np.nan],
            "nhpt_other_1_s": [25, np.nan, np.nan], "nhpt_other_2_s": [np.nan] * 3,
            "t25fw_1_s": [5.0, 6.0, np.nan], "t25fw_2_s": [6.0, 6.5, 7.5],
        }
    )  # fmt: skip
    found = with_timed_means(frame, PATH)
    assert found["nhpt_s"].tolist() == pytest.approx([23.0, np.nan, np.nan], nan_ok=True)
    assert found["t25fw_s"].tolist() == [5.5, 6.25, 7.5]
    listed = trial_listing(found)
    assert listed[["patient_id", "column", "trials"]].to_numpy().tolist() == [
        ["P3", "t25fw_s", 1], ["P1", "nhpt_s", 3], ["P2", "nhpt_s", 2],
    ]  # fmt: skip
    assert "no trial of one hand: no value; blank: nhpt_other_1_s, nhpt_other_2_s" in listed["reason"].iloc[2]
    assert trial_listing(None).empty
    assert trial_listing(frame[["patient_id", "week"]]).empty


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            ["nhpt_s", "nhpt_dominant_1_s", "nhpt_other_1_s"],
            "found both .nhpt_dominant_1_s, nhpt_other_1_s",
        ),
        (["t25fw_s", "t25fw_2_s"], "expected the mean of a visit or its trials"),
        (["nhpt_dominant_1_s", "nhpt_dominant_2_s"], "expected trials of either hand"),
        (["nhpt_other_2_s"], r"neither of \['nhpt_dominant_1_s', 'nhpt_dominant_2_s'\]"),
    ],
)
def test_columns_that_do_not_go_together_are_refused(columns, message):
    with pytest.raises(TableError, match=message):
        with_timed_means(pd.DataFrame({name: [20.0] for name in columns}), PATH)


def test_a_trial_from_its_trials_is_the_trial_from_their_means(tmp_path):
    # Oracle: the same trial with the means in the table.
    table = patients()
    means = timed_assessments(table)
    rng = np.random.default_rng(9)
    trials = means.drop(columns=["t25fw_s", "nhpt_s"])
    for column, names in (("t25fw_s", TRIALS["t25fw"][0]), ("nhpt_s", sum(TRIALS["nhpt"], ()))):
        shift = rng.integers(1, 100, len(means)) / 100
        for i, name in enumerate(names):
            trials[name] = (means[column] + (-1) ** i * shift).round(2)
    settings = SETTINGS.replace('"cdp24"', '"t25fw24", "9hpt24"')
    write_trial(tmp_path / "trials", settings, assessments=trials)
    write_trial(tmp_path / "means", settings, assessments=means)
    found, expected = (read_trial(read_settings(tmp_path / name / "trial.toml")) for name in ("trials", "means"))
    for column in ("t25fw_s", "nhpt_s"):
        assert found.assessments[column].to_numpy() == pytest.approx(expected.assessments[column].to_numpy())
    assert "timed_tests" not in found.listings
