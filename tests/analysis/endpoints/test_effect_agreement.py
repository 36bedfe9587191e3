"""Oracle: the analyses themselves, which have their own oracles; and for an interval rows drawn by hand."""

import numpy as np
import pytest

from nnunet_ms.analysis.endpoints.effect_agreement import effect_agreement_statistics
from nnunet_ms.analysis.endpoints.lesion_counts import ENDPOINTS, lesion_count_statistics
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import progression_data, progression_statistics
from nnunet_ms.analysis.endpoints.progression_multivariable import multivariable_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import to_frame, value_of
from nnunet_ms.analysis.endpoints.t2_volume import changes, t2_volume_statistics
from nnunet_ms.analysis.endpoints.t2_volume_models import volume_model_statistics
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.statistics.paired_effect import draw_weights
from tests.analysis.synthetic_trial import SETTINGS, patients, visits, write_trial

CONTRAST = "active - placebo"


@pytest.fixture(scope="module")
def rows(trial):
    return to_frame(effect_agreement_statistics(trial, changes(trial)[0], [progression_data(trial, "cdp24")]))


@pytest.fixture(scope="module")
def analyses(trial):
    table, data = changes(trial)[0], progression_data(trial, "cdp24")
    found = [*t2_volume_statistics(trial, table), *volume_model_statistics(trial, table)]
    for endpoint in ENDPOINTS:
        found += lesion_count_statistics(trial, endpoint)
    return to_frame([*found, *progression_statistics(trial, data), *multivariable_statistics(trial, data)])


def same(value):
    return value


VOLUME = {"endpoint": "t2_volume_percent_change"}
COX = {"endpoint": "cdp24", "stat_name": "coefficient"}
# analysis and further keys of the comparison -> the analysis that it compares, and the scale
EFFECTS = [
    *(({"analysis": "t2_volume_separation", "visit": w},
       {**VOLUME, "analysis": "by_visit", "visit": w, "stat_name": "separation"}, same) for w in ("24", "48", "96")),
    ({"analysis": "t2_volume_ancova"}, {**VOLUME, "analysis": "ancova", "stat_name": "difference"}, same),
    ({"analysis": "t2_volume_mmrm"},
     {**VOLUME, "analysis": "mmrm", "visit": "96", "stat_name": "geometric_mean_ratio"}, np.log),
    *(({"analysis": f"{e.name}_negative_binomial"},
       {"endpoint": e.name, "analysis": "negative_binomial", "stat_name": "rate_ratio"}, np.log) for e in ENDPOINTS),
    *(({"analysis": e.name}, {"endpoint": e.name, "analysis": "exact_poisson", "stat_name": "rate_ratio"}, np.log)
      for e in ENDPOINTS),
    ({"analysis": "cdp24", "term": "log_tlv", "contrast": ""}, {**COX, "analysis": "cox_univariable"}, same),
    ({"analysis": "cdp24_multivariable", "term": "log_tlv", "contrast": ""},
     {**COX, "analysis": "cox_multivariable", "term": "log_tlv"}, same),
    ({"analysis": "cdp24_multivariable", "term": "arm:log_tlv"},
     {**COX, "analysis": "cox_multivariable", "term": "arm:log_tlv"}, same),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "of", "scale"), EFFECTS, ids=[" ".join(keys.values()) for keys, *_ in EFFECTS])
def test_effects_are_those_of_the_analyses(rows, analyses, keys, of, scale):
    keys = {"endpoint": "effect_agreement", "rater": "model", "contrast": CONTRAST, **keys}
    if keys["contrast"]:
        of = {**of, "contrast": CONTRAST}
    values = {
        name: value_of(rows, stat_name=name, **keys) for name in ("effect_reference", "effect_rater", "difference")
    }
    reference, rater = (float(scale(value_of(analyses, rater=name, **of))) for name in ("reference", "model"))
    assert values["effect_reference"] == pytest.approx(reference, rel=1e-5)
    assert values["effect_rater"] == pytest.approx(rater, rel=1e-5)
    assert values["difference"] == pytest.approx(rater - reference, rel=1e-4, abs=1e-9)
    low, high = (value_of(rows, stat_name=name, **keys) for name in ("low", "high"))
    assert low < high


def test_every_comparison_is_one_of_these(rows):
    assert set(rows["analysis"]) == {keys["analysis"] for keys, *_ in EFFECTS}
    assert set(rows["rater"]) == {"model"}


def test_interval_is_that_of_patients_drawn_within_arms(trial, rows):
    # Oracle: means of the drawn patients' rows, one draw after the other.
    table = changes(trial)[0].query("week == 96").pivot(index="patient_id", columns="rater", values="percent_change")
    arm = patients().set_index("patient_id")["arm"].loc[table.index].to_numpy(str)
    gaps = []
    for times in draw_weights(arm, 20, trial.settings.analysis.seed).astype(int):
        drawn = np.arange(60).repeat(times)
        effect = {}
        for rater in ("reference", "model"):
            values = table[rater].to_numpy()[drawn]
            effect[rater] = values[arm[drawn] == "active"].mean() - values[arm[drawn] == "placebo"].mean()
        gaps.append(effect["model"] - effect["reference"])
    keys = {"analysis": "t2_volume_separation", "visit": "96", "rater": "model"}
    found = [value_of(rows, stat_name=name, **keys) for name in ("low", "high", "se")]
    assert found == pytest.approx([*np.quantile(gaps, [0.025, 0.975]), np.std(gaps, ddof=1)])


@pytest.mark.parametrize("change", ["no reference", "one rater", "no draws"])
def test_without_two_raters_or_draws_there_is_nothing_to_compare(tmp_path, change):
    masks, text = visits(patients()), SETTINGS
    if change == "no reference":
        masks = masks.replace({"rater": {"reference": "other"}})
    elif change == "one rater":
        masks = masks[masks["rater"] == "reference"]
    else:
        text = SETTINGS.replace("draws = 20", "draws = 0")
    trial = read_trial(read_settings(write_trial(tmp_path, text, visits=masks)))
    assert list(effect_agreement_statistics(trial, changes(trial)[0], [])) == []
