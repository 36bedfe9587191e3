import numpy as np
import pandas as pd
import pytest
import scipy.stats
from lifelines import CoxPHFitter

from nnunet_ms.analysis.endpoints.progression_subgroups import subgroup_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import reason_of, to_frame, value_of
from tests.analysis.endpoints.test_progression_by_arm import audit
from tests.analysis.synthetic_trial import patients


@pytest.fixture(scope="module")
def frame():
    """Outcome, arm and subgroups as numbers, of the patients with an outcome."""
    people = patients()
    table = audit().assign(sex=people["sex"], old=people["age_years"] > 45).dropna(subset=["time_weeks"])
    return pd.DataFrame(
        {"time": table["time_weeks"], "event": table["event"], "arm": (table["arm"] == "active") * 1.0,
         "M": (table["sex"] == "M") * 1.0, "old": table["old"] * 1.0}
    )  # fmt: skip


@pytest.fixture(scope="module")
def rows(trial):
    return to_frame(subgroup_statistics(trial, "cdp24", audit()))


def cox(frame):
    return CoxPHFitter().fit(frame, "time", "event", fit_options={"precision": 1e-10})


def test_ratio_of_every_level_is_that_of_its_patients(rows, frame):
    # Oracle: lifelines on the subgroup alone.
    levels = {"all patients": frame["arm"] >= 0, "sex: F": frame["M"] == 0, "sex: M": frame["M"] == 1,
              "age_group: <= 45": frame["old"] == 0, "age_group: > 45": frame["old"] == 1}  # fmt: skip
    for term, inside in levels.items():
        fit = cox(frame.loc[inside, ["time", "event", "arm"]])
        found = [value_of(rows, term=term, stat_name=s) for s in ("n", "events", "coefficient", "se", "p")]
        expected = [inside.sum(), frame.loc[inside, "event"].sum(), fit.params_["arm"], fit.standard_errors_["arm"]]
        assert found == pytest.approx([*expected, fit.summary["p"]["arm"]], rel=1e-4), term
    assert set(rows["term"]) == {*levels, "sex: interaction", "age_group: interaction"}


@pytest.mark.parametrize(("name", "column"), [("sex", "M"), ("age_group", "old")])
def test_interaction_is_a_likelihood_ratio_test(rows, frame, name, column):
    # Oracle: lifelines' log-likelihoods with and without arm x subgroup.
    main = frame[["time", "event", "arm", column]]
    full = main.assign(both=main["arm"] * main[column])
    chisq = 2 * (cox(full).log_likelihood_ - cox(main).log_likelihood_)
    found = [value_of(rows, term=f"{name}: interaction", stat_name=s) for s in ("chisq", "df", "p")]
    assert found == pytest.approx([chisq, 1, scipy.stats.chi2.sf(chisq, 1)], rel=1e-5)


def test_groups_too_small_for_a_ratio_are_named(trial):
    # By hand: five events are enough, four are not; nor is a group of one arm, nor one without an event in an arm.
    people = patients()
    male = (people["sex"] == "M").to_numpy()
    active = (people["arm"] == "active").to_numpy()

    def of_men(event):
        table = audit(time_weeks=50.0 + np.arange(60) % 7, event=event)
        return to_frame(subgroup_statistics(trial, "cdp24", table))

    men = [*np.flatnonzero(male & active)[:3], *np.flatnonzero(male & ~active)[:2]]
    for count, why in ((5, ""), (4, "not estimable (4 events, needs 5)")):
        found = of_men(np.isin(np.arange(60), men[:count]))
        assert reason_of(found, term="sex: M", stat_name="hazard_ratio") == why
        assert value_of(found, term="sex: M", stat_name="events") == count
    one_arm = of_men(male & active)
    assert reason_of(one_arm, term="sex: M", stat_name="p") == "not estimable (an arm without an event)"
    assert reason_of(one_arm, term="sex: F", stat_name="p") == "not estimable (0 events, needs 5)"
    table = audit().assign(time_weeks=lambda t: t["time_weeks"].mask(male & active))
    gone = to_frame(subgroup_statistics(trial, "cdp24", table))
    assert reason_of(gone, term="sex: M", stat_name="p") == "not estimable (patients of one arm only)"
    table = audit().assign(time_weeks=lambda t: t["time_weeks"].mask(male))
    women = to_frame(subgroup_statistics(trial, "cdp24", table))
    assert reason_of(women, term="sex: interaction", stat_name="p") == "not estimable (one level only)"
