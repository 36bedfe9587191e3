import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import select
from nnunet_ms.analysis.endpoints.t2_volume import changes
from nnunet_ms.analysis.endpoints.t2_volume_models import with_covariates
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError
from tests.analysis.synthetic_trial import SETTINGS, patients, visits, write_trial

WAYS = ("add_half_smallest_positive", "half_smallest_positive", "exclude")


def masks():
    """P004 has 0 ml at week 96 for the model, P006 at baseline."""
    frame = visits(patients())
    zero = (frame["patient_id"] == "P004") & (frame["week"] == 96) & (frame["rater"] == "model")
    zero |= (frame["patient_id"] == "P006") & (frame["week"] == 0) & (frame["rater"] == "model")
    return frame.assign(volume_ml=frame["volume_ml"].mask(zero, 0.0))


def trial(tmp_path, how):
    return read_trial(read_settings(write_trial(tmp_path, SETTINGS.replace("exclude", how), visits=masks())))


@pytest.mark.parametrize("how", WAYS)
def test_log_ratio_by_definition(tmp_path, how):
    # Oracle: the spec: half the smallest positive volume of the rater, added to all volumes or put in place of zeros.
    data = trial(tmp_path, how)
    table, _ = changes(data)
    found = with_covariates(data, table).set_index(["rater", "patient_id", "week"])["log_ratio"]
    volume = masks().query("patient_id != 'P006'").set_index(["rater", "patient_id", "week"])["volume_ml"]
    for rater in ("reference", "model"):
        half = volume[rater][volume[rater] > 0].min() / 2
        for patient in ("P004", "P005"):
            later, first = volume[rater, patient, 96], volume[rater, patient, 0]
            if how == "add_half_smallest_positive":
                expected = np.log((later + half) / (first + half))
            elif how == "half_smallest_positive":
                expected = np.log((later or half) / first)
            else:
                expected = np.nan if patient == "P004" else np.log(later / first)
            assert found[rater, patient, 96.0] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("how", WAYS)
def test_every_zero_is_listed_and_the_method_says_what_was_done(tmp_path, how):
    results = compute_endpoints(trial(tmp_path, how))
    listed = results.audit["zero_volumes"]
    assert listed[["patient_id", "rater", "week"]].to_numpy().tolist() == [
        ["P004", "model", 96.0],
        ["P006", "model", 0.0],
    ]
    mixed = select(results.endpoints, analysis="mmrm", term="model", stat_name="rows")
    assert len(set(mixed["stat"])) == 1  # both raters on the same visits
    words = {"add": "added to all volumes", "half": "set to half the smallest", "exclude": "left out"}
    assert mixed["method"].str.contains(words[how.split("_")[0]]).all()
    reasons = results.exclusions.set_index(["patient_id", "analysis"])["reason"].to_dict()
    assert (("P004", "mmrm") in reasons) == (how == "exclude")
    assert (("P006", "cdp24") in reasons) == (how == "exclude")


def test_no_constant_is_added_where_no_volume_is_zero(tmp_path):
    text = SETTINGS.replace("exclude", "add_half_smallest_positive")
    data = read_trial(read_settings(write_trial(tmp_path, text)))
    table, _ = changes(data)
    found = with_covariates(data, table)
    np.testing.assert_allclose(found["log_ratio"], np.log(table["volume_ml"] / table["baseline_ml"]))


def test_a_zero_at_follow_up_must_be_decided_too(tmp_path):
    frame = masks()
    frame = frame.assign(volume_ml=frame["volume_ml"].mask(frame["patient_id"] == "P006", 5.0))
    path = write_trial(tmp_path, SETTINGS.replace('zero_volume = "exclude"\n', ""), visits=pd.DataFrame(frame))
    with pytest.raises(SettingsError, match=r"1 patients have a follow-up volume of 0 ml \(first: P004\)"):
        compute_endpoints(read_trial(read_settings(path)))
