"""Trials of three and more arms: every contrast has its own tests, and an arm that is not there blanks no other."""

import numpy as np
import pandas as pd
import pytest
from lifelines.statistics import logrank_test

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import reason_of, select, value_of
from nnunet_ms.analysis.report.blocks.multiplicity import multiplicity_block
from nnunet_ms.analysis.report.blocks.progression_by_arm import arm_block
from nnunet_ms.analysis.report.figures.survival_figures import km_by_arm_figure
from nnunet_ms.analysis.report.figures.treatment_figures import along_figure
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, patients, timed_assessments, write_trial

THREE = (
    SETTINGS.replace('compared = ["active"]', 'compared = ["low", "high"]')
    .replace('preset = "opera2"\n', "")
    .replace("bootstrap_draws = 20", "bootstrap_draws = 5")
    .replace('truth = "truth.json"\n', "")
)
NAMES = np.array(["placebo", "low", "high"])


def arms_of(n):
    return NAMES[np.arange(n) % 3]


def compute(folder, settings=THREE, without_scans=()):
    table = patients(90)
    table["arm"] = arms_of(90)
    masks = all_lesion_types(table)
    gone = masks["patient_id"].map(table.set_index("patient_id")["arm"]).isin(without_scans)
    write_trial(folder, settings, patients=table, visits=masks[~gone], assessments=timed_assessments(table))
    trial = read_trial(read_settings(folder / "trial.toml"))
    return trial, compute_endpoints(trial)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    more = '\nsequence = ["cdp24", "t2_volume_percent_change: high", "new_t2_lesions"]\nholm = true\n'
    return compute(tmp_path_factory.mktemp("three"), THREE + more)


def test_each_arm_has_its_log_rank_test_and_the_test_of_all_is_called_omnibus(done):
    # Oracle: lifelines' logrank_test of two arms.
    trial, results = done
    audit, rows = results.audit["cdp24"], results.endpoints
    for arm in ("low", "high"):
        a, b = (audit[audit["arm"] == name] for name in (arm, "placebo"))
        peer = logrank_test(a["time_weeks"], b["time_weeks"], a["event"], b["event"])
        keys = {"endpoint": "cdp24", "analysis": "km_by_arm", "term": "logrank", "contrast": f"{arm} - placebo"}
        assert value_of(rows, stat_name="p", **keys) == pytest.approx(peer.p_value)
        assert value_of(rows, stat_name="df", **keys) == 1
    both = select(rows, endpoint="cdp24", analysis="km_by_arm", term="logrank", contrast="", stat_name="p")
    assert "omnibus: whether any of 3 differs" in both["method"].iloc[0]
    lines = [line[0] for table in arm_block(trial, rows, "cdp24", []).tables for line in table.lines]
    assert {"log-rank test, all 3 arms (omnibus)", "log-rank test, low / placebo", "log-rank test, high / placebo"} <= {
        *lines
    }
    main = arm_block(trial, rows, "cdp24", []).main
    assert len(main) == 2
    assert main[0] != main[1].replace("high", "low")


def test_the_sequence_names_its_contrasts_and_takes_their_own_tests(done):
    trial, results = done
    rows = select(results.endpoints, endpoint="multiplicity")
    p = select(rows, stat_name="p")
    assert p[["term", "contrast"]].to_numpy().tolist() == [
        ["cdp24", "low - placebo"], ["cdp24", "high - placebo"], ["t2_volume_percent_change", "high - placebo"],
        ["new_t2_lesions", "low - placebo"], ["new_t2_lesions", "high - placebo"],
    ]  # fmt: skip
    tests = [("km_by_arm", "logrank_stratified")] * 2 + [("ancova", "arm")] + [("negative_binomial", "arm")] * 2
    for row, (analysis, term) in zip(p.itertuples(), tests, strict=True):
        keys = {"endpoint": row.term, "analysis": analysis, "term": term, "contrast": row.contrast, "stat_name": "p"}
        found = select(results.endpoints, **keys)
        assert row.stat == found[found["rater"].isin(["", "reference"])]["stat"].iloc[0]
    block = multiplicity_block(trial, results.endpoints)
    assert block.tables[0].head[:2] == ["endpoint", "contrast"]
    assert block.tables[0].lines[0][1] == "low \N{MINUS SIGN} placebo"


def test_figures_tell_arms_apart_by_colour_and_dash(done):
    trial, results = done
    figure = km_by_arm_figure(results.endpoints, results.curves["km_by_arm_cdp24"], trial.settings, "cdp24").figure
    steps = [line for line in figure.axes[0].lines if len(line.get_xdata()) and line.get_marker() != "|"]
    assert len({line.get_color() for line in steps}) == len({line.get_linestyle() for line in steps}) == 3
    title = figure.axes[0].get_legend().get_title().get_text()
    assert [part.split(" p")[0] for part in title.split("\n")] == [
        "log-rank, all 3 arms", "log-rank, low /", "log-rank, high /",
    ]  # fmt: skip
    along = along_figure(
        results.endpoints, results.curves["arm_along_tlv_cdp24"], trial.settings, trial.raters, "cdp24"
    ).figure
    lines = [line for line in along.axes[0].lines if len(line.get_xdata()) > 2]
    assert len(lines) == 4  # two raters, two arms
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 4
    assert len({line.get_color() for line in lines}) == 4


@pytest.mark.parametrize("gone", ["low", "high"])
def test_an_arm_without_scans_does_not_blank_the_other_contrast(tmp_path, gone):
    # Oracle: the trial of the other two arms alone.
    there = "high" if gone == "low" else "low"
    _, found = compute(tmp_path / "three", without_scans=[gone])
    table = patients(90)
    table["arm"] = arms_of(90)
    table = table[table["arm"] != gone]
    masks = all_lesion_types(patients(90).assign(arm=arms_of(90)))
    write_trial(
        tmp_path / "two", THREE.replace('["low", "high"]', f'["{there}"]'), patients=table,
        visits=masks[masks["patient_id"].isin(table["patient_id"])], assessments=timed_assessments(table),
    )  # fmt: skip
    alone = compute_endpoints(read_trial(read_settings(tmp_path / "two" / "trial.toml")))
    wanted = [("t2_volume_percent_change", name) for name in ("ancova", "ancova_hc2", "ranked_ancova_locf", "mmrm")]
    wanted += [(name, "negative_binomial") for name in ("enhancing_lesions", "new_t1_lesions", "new_t2_lesions")]
    for endpoint, analysis in wanted:
        keys = {"endpoint": endpoint, "analysis": analysis, "term": "arm", "stat_name": "p", "rater": "model"}
        if endpoint == "t2_volume_percent_change":
            keys["visit"] = "96"
        p = value_of(found.endpoints, contrast=f"{there} - placebo", **keys)
        assert p == pytest.approx(value_of(alone.endpoints, contrast=f"{there} - placebo", **keys))
        reason = reason_of(found.endpoints, contrast=f"{gone} - placebo", **keys)
        assert reason == f"not estimable (fewer than 2 patients in arm {gone})"
    for contrast in ("low - placebo", "high - placebo"):
        keys = {"endpoint": "cdp24", "analysis": "cox_by_arm", "contrast": contrast, "stat_name": "hazard_ratio"}
        assert np.isfinite(value_of(found.endpoints, **keys))


def test_an_arm_that_is_none_of_the_compared_is_refused(tmp_path):
    path = write_trial(tmp_path, THREE + '\nsequence = ["cdp24: hihg"]\n')
    with pytest.raises(SettingsError, match=r"'cdp24: hihg' names the arm 'hihg'; expected one of .* 'high'"):
        read_settings(path)
    path.write_text(THREE + '\nsequence_arms = "bonferroni"\n')
    with pytest.raises(SettingsError, match=r"sequence_arms: expected one of"):
        read_settings(path)


def test_serial_gatekeeping_is_in_the_rows(tmp_path):
    _, results = compute(tmp_path, THREE + '\nsequence = ["new_t2_lesions", "cdp24"]\nsequence_arms = "holm"\n')
    rows = select(results.endpoints, endpoint="multiplicity", stat_name="tested")
    assert "by Holm's procedure" in rows["method"].iloc[0]
    first = select(rows, term="new_t2_lesions")["stat"]
    assert first.tolist() == [1, 1]  # both arms of the first endpoint, whatever the first p is
    assert isinstance(rows, pd.DataFrame)
