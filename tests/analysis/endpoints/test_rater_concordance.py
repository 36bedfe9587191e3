import numpy as np
import pytest

from nnunet_ms.analysis.endpoints.rater_concordance import concordance_statistics, rater_pairs
from nnunet_ms.analysis.endpoints.statistic_rows import to_frame, value_of
from nnunet_ms.analysis.report.figures.rater_figures import concordance_drawings
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.statistics.concordance import bland_altman, bland_altman_ratio, concordance_correlation
from tests.analysis.synthetic_trial import SETTINGS, patients, visits, write_trial


def read(tmp_path, masks):
    return read_trial(read_settings(write_trial(tmp_path, SETTINGS, visits=masks)))


def masks_with_counts():
    masks = visits(patients())
    rng = np.random.default_rng(8)
    masks["lesion_count"] = rng.integers(0, 30, len(masks))
    return masks


def test_statistics_are_those_of_the_pairs_in_the_table(tmp_path):
    # Oracle: the same visits paired by pandas alone, and the tested functions of `concordance` on them.
    masks = masks_with_counts()
    pairs = rater_pairs(read(tmp_path, masks))
    rows = to_frame(concordance_statistics(pairs))
    for quantity in ("volume_ml", "lesion_count"):
        wide = masks.pivot_table(index="case_id", columns="rater", values=quantity)
        x, y = wide["reference"].to_numpy(float), wide["model"].to_numpy(float)
        keys = {"rater": "model", "analysis": quantity}
        ccc, difference, ratio = concordance_correlation(x, y), bland_altman(x, y), bland_altman_ratio(x, y)
        for term, expected in (
            ("lin_ccc", (ccc.estimate, ccc.low, ccc.high)),
            ("bias_difference", (difference.bias, difference.bias_low, difference.bias_high)),
            ("upper_limit_ratio", (ratio.upper, ratio.upper_low, ratio.upper_high)),
        ):
            found = [value_of(rows, term=term, stat_name=s, **keys) for s in ("estimate", "low", "high")]
            assert found == pytest.approx(expected)
        assert value_of(rows, term="bias_ratio", stat_name="n_left_out", **keys) == ((x == 0) | (y == 0)).sum()
    assert set(rows["unit"]) == {"", "ml", "lesions", "visits"}


def test_each_model_and_quantity_has_a_figure_that_says_what_it_is(tmp_path):
    trial = read(tmp_path, masks_with_counts())
    drawings = concordance_drawings(rater_pairs(trial), trial.settings)
    assert [d.stem for d in drawings] == ["concordance_volume_ml_1", "concordance_lesion_count_1"]
    for drawing in drawings:
        assert "n = 240 visits of 60 patients" in drawing.caption
        assert "SIMULATED" in drawing.figure.get_suptitle()


def test_one_rater_has_no_pairs(tmp_path):
    masks = visits(patients(), raters=("model",))
    pairs = rater_pairs(read(tmp_path, masks))
    assert pairs.empty
    assert list(concordance_statistics(pairs)) == []
