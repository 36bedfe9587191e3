import json

import numpy as np
import pytest
import scipy.stats

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.run_trial import run_trial
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import CONVENTIONS, read_settings
from tests.analysis.synthetic_trial import (
    SETTINGS,
    all_lesion_types,
    assessments,
    patients,
    timed_assessments,
    write_trial,
)  # fmt: skip


def trial(folder, settings=SETTINGS, conventions=None):
    table = patients()
    path = write_trial(folder, settings, visits=all_lesion_types(table), assessments=timed_assessments(table))
    return read_trial(read_settings(path, conventions))


def test_the_command_line_goes_over_the_file_and_single_choices_hold(tmp_path):
    text = SETTINGS.replace('[conventions]\npreset = "r"', '[conventions]\npreset = "r"\nkm_interval = "plain"')
    found = read_settings(write_trial(tmp_path, text), "sas").conventions
    assert (found.name, found.ties, found.nb_covariance, found.km_interval) == ("sas", "breslow", "observed", "plain")
    assert read_settings(tmp_path / "trial.toml").conventions.name == "r"


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_choice_is_in_words(name):
    words = CONVENTIONS[name].words()
    expected = {
        "r": ("“r”", "Efron", "log Kaplan-Meier", "end of follow-up", "equal weights", "expected information"),
        "sas": (
            "“sas”",
            "Breslow",
            "log-log Kaplan-Meier",
            "no event ends it",
            "equal weights",
            "observed information",
        ),
    }
    assert all(part in words for part in expected[name])


def test_the_convention_reaches_the_report_and_the_provenance(tmp_path):
    path = write_trial(tmp_path / "in", assessments=assessments(patients()))
    run_trial(path, tmp_path / "out", "sas")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Convention “sas”" in page
    assert "Breslow ties" in page
    assert "log-log Kaplan-Meier intervals" in page
    told = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert told["arguments"]["conventions"] == "sas"


def test_alpha_is_the_level_of_every_interval(tmp_path):
    # Oracle: the width of an interval is a quantile times its standard error.
    text = SETTINGS.replace("draws = 20", "draws = 20\nalpha = 0.2")
    wide = compute_endpoints(trial(tmp_path / "a")).endpoints
    found = compute_endpoints(trial(tmp_path / "b", text)).endpoints
    z = scipy.stats.norm.ppf(0.9)
    ancova = {"endpoint": "t2_volume_percent_change", "analysis": "ancova", "term": "arm", "rater": "model"}
    t = scipy.stats.t.ppf(0.9, value_of(found, stat_name="df", **ancova))
    half = t * value_of(found, stat_name="se", **ancova)
    for side, sign in (("low", -1), ("high", 1)):
        expected = value_of(found, stat_name="difference", **ancova) + sign * half
        assert value_of(found, stat_name=side, **ancova) == pytest.approx(expected)
    for keys, estimate, se in (
        ({"endpoint": "cdp24", "analysis": "cox_by_arm", "term": "arm"}, "hazard_ratio", "se"),
        ({"endpoint": "cdp24", "analysis": "cox_multivariable", "term": "log_tlv", "rater": "model"},
         "hazard_ratio", "se"),
        ({"endpoint": "new_t2_lesions", "analysis": "negative_binomial", "term": "arm", "rater": "model"},
         "rate_ratio", "se_log"),
    ):  # fmt: skip
        ratio = value_of(found, stat_name="high", **keys) / value_of(found, stat_name=estimate, **keys)
        assert np.log(ratio) == pytest.approx(z * value_of(found, stat_name=se, **keys))
    # every two-sided interval of every analysis is narrower than at 95 %
    limits = {name: select(frame, stat_name="high").set_index(KEYS)["stat"] for name, frame in
              (("wide", wide), ("narrow", found))}  # fmt: skip
    both = limits["wide"].to_frame("wide").join(limits["narrow"].rename("narrow")).dropna()
    same = both["wide"] <= both["narrow"]
    # Kaplan-Meier limits of a curve still at 1 are the same, and the agreement of masks stays at 95 %
    assert set(both[same].reset_index()["analysis"]) <= {"km_by_arm", "km_at_median_tlv", "volume_ml", "lesion_count"}
    assert len(both) > 100
    told = found["method"].str.contains("95 %") & ~found["method"].str.contains("limits of agreement")
    assert not told.any()


KEYS = ["endpoint", "analysis", "rater", "arm", "contrast", "visit", "term"]
