"""A lesion table that counts what changed between visits and nothing else, as `nnunet-ms-predict` writes of pairs."""

import pandas as pd
import pytest

from nnunet_ms.analysis.run_trial import run_trial
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.analysis.trial.settings_init import find_tables, propose
from nnunet_ms.errors import TableError
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, patients, timed_assessments, write_trial

TEXT = SETTINGS.replace('preset = "opera2"\n', "").replace('agreement = "agreement.csv"\n', "")


def whole_table():
    frame = all_lesion_types(patients())
    return frame[(frame["lesion_type"] == "t2_lesions") & (frame["rater"] == "model")]


def change_alone(frame):
    """The same counts without the first scan, whose week is told, and without what is known of all lesions."""
    frame = frame.assign(previous_week=frame.groupby("patient_id")["week"].shift())
    return frame[frame["week"] > 0].assign(lesion_count=pd.NA, volume_ml=float("nan"))


def run(folder, visits):
    path = write_trial(folder, TEXT, visits=visits, assessments=timed_assessments(patients()))
    run_trial(path, folder / "out")
    found = pd.read_csv(folder / "out" / "endpoints.csv", dtype=str, keep_default_na=False)
    return folder / "out", found


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Results of the whole table, and of the counts of change alone."""
    root = tmp_path_factory.mktemp("change")
    return run(root / "whole", whole_table()), run(root / "alone", change_alone(whole_table()))


@pytest.mark.parametrize("endpoint", ["new_t2_lesions", "enlarging_t2_lesions", "new_or_enlarging_t2_lesions"])
def test_lesions_per_year_are_those_of_the_whole_table(both, endpoint):
    # Oracle: the same counts in a table that has the first scan and all volumes
    (_, whole), (_, alone) = both
    rows = [found[found["endpoint"] == endpoint].reset_index(drop=True) for found in (whole, alone)]
    assert len(rows[0]) > 30
    pd.testing.assert_frame_equal(rows[0], rows[1])


def test_nothing_is_said_of_volumes_and_the_rest_is_as_without_a_lesion_table(both):
    (_, whole), (out, alone) = both
    assert (whole["endpoint"] == "t2_volume_percent_change").any()
    assert not (alone["endpoint"] == "t2_volume_percent_change").any()
    assert not alone["term"].isin(["T2 volume", "log_tlv", "baseline masks"]).any()
    assert (alone["endpoint"] == "cdp24").any()
    assert "there are no volumes of lesions" in next(out.glob("*.html")).read_text(encoding="utf-8")


def test_counts_of_change_beside_volumes_of_others_are_refused(tmp_path):
    mixed = pd.concat([whole_table(), change_alone(whole_table()).assign(rater="pairs")])
    path = write_trial(tmp_path, TEXT, visits=mixed)
    with pytest.raises(TableError, match=r"found none of \['pairs'\] .* beside those of \['model'\]"):
        read_trial(read_settings(path))


@pytest.mark.parametrize("blank", [["volume_ml"], ["lesion_count"], ["volume_ml", "lesion_count"], "all"])
def test_a_blank_volume_or_count_of_a_row_that_is_not_of_change_is_an_error(tmp_path, blank):
    frame = whole_table().reset_index(drop=True).astype({"lesion_count": "Int64"})
    names = ["volume_ml", "lesion_count", "new_lesion_count", "enlarging_lesion_count"] if blank == "all" else blank
    row = 0 if blank == ["volume_ml", "lesion_count"] else 1  # the first scan has no count of change
    frame.loc[row, names] = pd.NA
    path = write_trial(tmp_path, TEXT, visits=frame)
    with pytest.raises(TableError, match=rf"row {row + 1}, column \w+: expected a number >= 0; .* found a blank"):
        read_trial(read_settings(path))


def test_proposed_settings_begin_at_the_first_scan(tmp_path):
    write_trial(tmp_path, TEXT, visits=change_alone(whole_table()))
    assert propose(find_tables(tmp_path, {}, ())).weeks == [0.0, 24.0, 48.0, 96.0]
