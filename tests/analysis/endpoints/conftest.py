import pytest

from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, patients, timed_assessments, write_trial


@pytest.fixture(scope="session")
def trial(tmp_path_factory):
    """The synthetic trial with every lesion type, a stratum and two subgroups; read once."""
    table = patients()
    text = SETTINGS + 'strata = ["region"]\nsubgroups = ["sex", "age_group"]\n'
    tables = {"visits": all_lesion_types(table), "assessments": timed_assessments(table)}
    return read_trial(read_settings(write_trial(tmp_path_factory.mktemp("trial"), text, **tables)))
