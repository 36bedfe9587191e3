"""Simulated trials at the edge of what can be estimated: what is right stands in the README of their folder."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize

from nnunet_ms.analysis.endpoints.lesion_counts import ENDPOINTS, lesion_count_statistics
from nnunet_ms.analysis.endpoints.progression_by_arm import treatment_statistics
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import outcome_audit, progression_data
from nnunet_ms.analysis.endpoints.progression_multivariable import joint_model, multivariable_statistics
from nnunet_ms.analysis.endpoints.progression_subgroups import subgroup_statistics
from nnunet_ms.analysis.endpoints.recipe import multiplicity_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import reason_of, select, to_frame, value_of
from nnunet_ms.analysis.report.blocks.progression_by_arm import arm_block
from nnunet_ms.analysis.trial.adam_settings import AdamSettings
from nnunet_ms.analysis.trial.adam_tables import adam_patients, adam_times
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.statistics.cox import derivatives, risk_sets
from nnunet_ms.statistics.cox_firth import penalised_log_likelihood
from nnunet_ms.statistics.survival import kaplan_meier, logrank, survival_at


@pytest.fixture
def edge(shared):
    """Reads one of the folders."""
    return lambda name: read_trial(read_settings(shared / "cases" / "stats" / name / "trial.toml"))


def test_counts_that_separate_are_modelled_without_the_covariate(edge):
    # R 4.2.2, MASS 7.3-58.2: glm.nb(lesions ~ arm + edss_stratum + region + offset(log(scans))), not baseline.
    rows = to_frame(lesion_count_statistics(edge("separated_counts"), ENDPOINTS[0]))
    keys = {"analysis": "negative_binomial", "term": "arm", "contrast": "B - A"}
    assert value_of(rows, stat_name="rate_ratio", **keys) == pytest.approx(0.028631, abs=5e-7)
    assert value_of(rows, stat_name="p", **keys) == pytest.approx(8.75e-07, rel=1e-3)
    assert value_of(rows, stat_name="se_log", **keys) == pytest.approx(0.72252, abs=5e-6)
    method = select(rows, stat_name="p", **keys)["method"].iloc[0]
    assert "baseline left out (with it 58 patients without a lesion would get the rate 0" in method
    rates = select(rows, analysis="negative_binomial", stat_name="rate", rater="reference").set_index("arm")["stat"]
    assert 0.4 < rates["A"] < 0.7  # crude: .567 and .017
    assert 0.01 < rates["B"] < 0.03


def test_times_from_day_one_are_at_their_visits(shared):
    # README of the folder: free of the event at weeks 24 and 48, 93.1 and 85.0 %. Without a lesion table of its own.
    folder = shared / "cases" / "stats" / "adtte_aval_plus1"
    patients = adam_patients(folder / "adsl.csv", AdamSettings(folder), None)
    times = adam_times(folder / "adtte.csv", patients, "cdp24", AdamSettings(folder))
    curve = kaplan_meier(times["time_weeks"], times["event"], "log")
    free = [100 * survival_at(curve, times["time_weeks"], week)[1] for week in (24, 48)]
    assert [round(value, 1) for value in free] == [93.1, 85.0]


def test_a_curve_that_ends_at_one_half(edge):
    # R 4.2.2, survival 3.5-3: the middle of the last step and the end of follow-up. SAS: not estimable.
    trial = edge("flat_half")
    audit = outcome_audit(trial, "cdp24")
    curves = {arm: kaplan_meier(t["time_weeks"], t["event"], "log") for arm, t in audit.groupby("arm")}
    flat = {arm: curve for arm, curve in curves.items() if abs(curve["survival"].iloc[-1] - 0.5) < 1e-12}
    assert flat
    for arm, curve in flat.items():
        first = curve.loc[curve["survival"] < 0.5 + 1e-12, "week"].iloc[0]
        for step, expected in (("midpoint", (first + curve["week"].iloc[-1]) / 2), ("between_events", np.nan)):
            conventions = replace(trial.settings.conventions, median_of_flat_step=step)
            changed = replace(trial, settings=replace(trial.settings, conventions=conventions))
            rows = to_frame(treatment_statistics(changed, "cdp24", audit))
            median = {"analysis": "km_by_arm", "arm": arm, "stat_name": "median"}
            quartile = {"analysis": "km_quartiles", "arm": arm, "term": "50 % with event", "stat_name": "time"}
            assert value_of(rows, **median) == pytest.approx(expected, nan_ok=True)
            assert value_of(rows, **quartile) == pytest.approx(expected, nan_ok=True)
        assert reason_of(rows, **median) == "not estimable (survival stays at one half to the end)"


def test_the_multivariable_model_of_an_arm_without_an_event(edge):
    # Oracle: the penalised likelihood written out (Efron), climbed by a simplex that knows no derivative.
    trial = edge("no_event_in_B")
    data = progression_data(trial, "cdp24")
    rows = to_frame(multivariable_statistics(trial, data))
    keys = {"analysis": "cox_multivariable_firth", "rater": "reference"}
    found = select(rows, stat_name="hazard_ratio", **keys)
    assert list(found["term"]) == ["arm", "sex: M", "region: US", "edss < 4", "age_years", "log_tlv", "arm:log_tlv"]
    joint = joint_model(trial, data, "reference")
    scale = joint.X.std(axis=0)
    sets = risk_sets(data.table["time_weeks"], data.table["event"], joint.X / scale)
    best = np.log(found["stat"].to_numpy()) * scale
    top = penalised_log_likelihood(sets, best, "efron")
    for step in np.vstack([np.eye(7), -np.eye(7)]) * 0.02:
        assert penalised_log_likelihood(sets, best + step, "efron") < top
    limits = [value_of(rows, term="sex: M", stat_name=name, **keys) for name in ("low", "high")]
    for limit in limits:  # the profile, by the definition
        at = np.delete(best, 1)
        peak = scipy.optimize.minimize(
            lambda free, held=limit: -penalised_log_likelihood(
                sets, np.insert(free, 1, np.log(held) * scale[1]), "efron"
            ),
            at, method="BFGS",
        )  # fmt: skip
        assert top + peak.fun == pytest.approx(1.920729, abs=1e-4)
    assert "Efron ties" in found["method"].iloc[0]


def test_an_arm_without_an_event_in_one_subgroup_has_an_interaction_test(edge):
    # Oracle: twice the difference of suprema; the likelihood far out along the infinite coefficient.
    trial = edge("separated_counts")
    audit = outcome_audit(trial, "cdp24")
    women = audit["patient_id"].map(trial.groups("sex")) == "F"
    quiet = audit.assign(event=audit["event"] & ~(women & (audit["arm"] == "B")))
    rows = to_frame(subgroup_statistics(trial, "cdp24", quiet))
    keys = {"term": "sex: interaction", "stat_name": "p"}
    assert 0 < value_of(rows, **keys) < 1
    arm, sex = (quiet["arm"] == "B").to_numpy(float), (~women).to_numpy(float)

    def height(columns):
        sets = risk_sets(quiet["time_weeks"], quiet["event"], np.column_stack(columns))
        one = np.ones(len(quiet))
        found = scipy.optimize.minimize(
            lambda b: -derivatives(sets, b, "efron", one)[0], np.zeros(len(columns)), method="Nelder-Mead",
            options={"maxiter": 20000, "xatol": 1e-9, "fatol": 1e-12},
        )  # fmt: skip
        return -found.fun

    chisq = 2 * (height([arm, sex, arm * sex]) - height([arm, sex]))
    assert value_of(rows, term="sex: interaction", stat_name="chisq") == pytest.approx(chisq, abs=1e-3)
    assert "its likelihood converges" in select(rows, **keys)["method"].iloc[0]
    assert 0 < value_of(rows, term="sex: interaction", stat_name="p_penalised") < 1
    none = quiet.assign(event=quiet["event"] & (quiet["arm"] == "A"))
    rows = to_frame(subgroup_statistics(trial, "cdp24", none))
    assert reason_of(rows, **keys) == "not estimable (an arm without an event)"


def test_a_baseline_that_the_assessments_contradict_is_said_and_listed(edge):
    # README of the folder: 60 patients whose EDSS at week 0 lies 1.5 below edss_baseline. Oracle: pandas.
    trial = edge("baseline_conflict")
    listed = trial.listings["baseline_conflicts"]
    first = trial.assessments[trial.assessments["week"] == 0].set_index("patient_id")["edss"]
    gap = trial.patients["patient_id"].map(first) - trial.patients["edss_baseline"]
    assert set(listed["patient_id"]) == set(trial.patients.loc[gap.abs() > 0, "patient_id"])
    assert len(listed) == 60
    assert set(listed["difference"]) == {-1.5}
    rows = to_frame(treatment_statistics(trial, "cdp24", outcome_audit(trial, "cdp24")))
    row = select(rows, analysis="baseline_conflicts").iloc[0]
    assert row["stat"] == 60
    assert "by up to 1.5; edss_baseline is the baseline" in row["method"]
    notes = arm_block(trial, rows, "cdp24", []).notes
    assert any(note.startswith("EDSS at week 0 differs from edss_baseline") for note in notes)
    assert "baseline_conflicts" not in edge("flat_half").listings


def test_the_sequence_of_three_arms_names_its_contrasts(edge):
    # README of the folder: the pairwise test of each arm, and not the test of both at once or of the first alone.
    trial = edge("seq_3arms")
    rows = [row for name in ("cdp24",) for row in treatment_statistics(trial, name, outcome_audit(trial, name))]
    table = to_frame(rows)
    several = to_frame(multiplicity_statistics(trial, table))
    p = select(several, stat_name="p", term="cdp24").set_index("contrast")["stat"]
    assert list(p.index) == ["B - A", "C - A"]
    audit, strata = outcome_audit(trial, "cdp24"), trial.groups("region")
    for arm in ("B", "C"):
        two = audit[audit["arm"].isin(["A", arm])]
        peer = logrank(two["time_weeks"], two["event"], two["arm"], two["patient_id"].map(strata))
        assert p[f"{arm} - A"] == pytest.approx(peer.p)
        assert value_of(table, analysis="km_by_arm", term="logrank_stratified", contrast="", stat_name="df") == 2
