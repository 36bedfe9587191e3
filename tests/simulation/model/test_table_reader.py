import numpy as np
import pytest

from nnunet_ms.simulation.model.presets import TableReader
from nnunet_ms.simulation.model.table_reader import read_counts, read_volumes

READER = TableReader(patient_log_sd=0.2, visit_log_sd=0.05, bias=0.1, missed_share=0.3, invented_share=0.2)


def test_volumes_are_off_by_a_factor_of_the_patient_and_one_of_the_visit():
    # Oracle: the variance of two independent parts, of which differences within a patient hold the second only.
    true = np.exp(np.random.default_rng(1).normal(2, 1, (20_000, 3)))
    error = np.log(read_volumes(READER, true, np.random.default_rng(2)) / true)
    assert error.mean() == pytest.approx(0.1, abs=4 * 0.2 / np.sqrt(20_000))
    assert error.var() == pytest.approx(0.2**2 + 0.05**2, rel=0.03)
    within = error[:, 1:] - error[:, :1]
    assert within.mean() == pytest.approx(0, abs=0.002)
    assert within.var() == pytest.approx(2 * 0.05**2, rel=0.03)
    assert np.corrcoef(error[:, 0], error[:, 1])[0, 1] == pytest.approx(0.2**2 / (0.2**2 + 0.05**2), abs=0.01)


def test_counts_miss_some_lesions_and_invent_others():
    # Oracle: mean and variance of a binomial and an independent Poisson number.
    true = np.full((200, 500), 20)
    found = read_counts(READER, true, np.random.default_rng(3))
    assert found.shape == true.shape
    assert found.mean() == pytest.approx(20 * 0.7 + 20 * 0.2, abs=0.05)
    assert found.var() == pytest.approx(20 * 0.7 * 0.3 + 20 * 0.2, rel=0.03)
    assert (read_counts(READER, np.zeros(1000, dtype=np.int64), np.random.default_rng(4)) == 0).all()


def test_a_perfect_reader_reads_the_truth():
    perfect = TableReader(0.0, 0.0, 0.0, 0.0, 0.0)
    volumes, counts = np.array([[1.5, 0.2]]), np.array([3, 0, 7])
    assert read_volumes(perfect, volumes, np.random.default_rng(0)).tolist() == volumes.tolist()
    assert read_counts(perfect, counts, np.random.default_rng(0)).tolist() == counts.tolist()
