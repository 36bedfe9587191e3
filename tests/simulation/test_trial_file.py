"""The ready settings file, read by the program that it is for; and the paper's shape, both raters."""

import tomllib

import pandas as pd
import pytest

from nnunet_ms.analysis import endpoints_cli
from nnunet_ms.simulation.model.trial_presets import DEMO, ORATORIO, PRESETS
from nnunet_ms.simulation.trial import TrialSettings, write_trial
from nnunet_ms.simulation.trial_file import PUBLISHED, trial_file


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_text_is_toml_and_says_simulated(name):
    content = tomllib.loads(trial_file(PRESETS[name]))
    assert content["trial"]["simulated"] is True
    assert content["arms"]["reference"] == PRESETS[name].arms[0].name
    assert content["visits"]["weeks"] == list(PRESETS[name].mri_weeks[1:])
    assert content["trial"].get("preset") == (name if name in PUBLISHED else None)


def test_endpoints_run_on_a_fresh_trial(tmp_path):
    write_trial(TrialSettings(DEMO, 40, 0, "demo", images=False), tmp_path / "trial")
    assert endpoints_cli.main(["run", str(tmp_path / "trial" / "trial.toml"), "-o", str(tmp_path / "report")]) == 0
    assert (tmp_path / "report" / "index.html").is_file()


def test_oratorio_separates_the_arms_as_its_truth_says_for_both_raters(tmp_path):
    # Oracle: truth.json (closed form), within the trial's own standard error; the sign and order are the paper's.
    from nnunet_ms.statistics.change_from_baseline import percent_change, separation

    write_trial(TrialSettings(ORATORIO, 714, 1, "trial", images=False), tmp_path)
    visits = pd.read_csv(tmp_path / "visits.csv")
    arms = pd.read_csv(tmp_path / "patients.csv").set_index("patient_id")["arm"]
    truth = pd.DataFrame(pd.read_json(tmp_path / "truth.json", typ="series")["truth"])
    truth = truth[truth.stat_name == "separation"].set_index("visit")["stat"]
    t2 = visits[visits.lesion_type == "t2_lesions"].assign(arm=lambda frame: frame.patient_id.map(arms))
    for _, of_rater in t2.groupby("rater"):
        change = percent_change(of_rater, 0, [24, 48, 120])
        found = []
        for week in (24, 48, 120):
            values = change[change.week == week]
            gap = separation(
                *(values[values.arm == arm].percent_change.to_numpy() for arm in ("ocrelizumab", "placebo"))
            )
            assert abs(gap.estimate - truth[str(week)]) < 3 * gap.se
            found.append(gap.estimate)
        assert 0 > found[0] > found[1] > found[2]
