"""The simulated reader of a trial without images: volumes and counts that differ as two readers' do."""

import numpy as np

from nnunet_ms.arrays import Floats, Ints
from nnunet_ms.simulation.model.presets import TableReader

RATER = "simulated_reader"


def read_volumes(reader: TableReader, volume_ml: Floats, rng: np.random.Generator) -> Floats:
    """Volumes (n, visits) in ml: off by a factor that stays with the patient and one of every visit.

    The first cancels in a patient's percent change; the second adds its variance to it, a mean change of
    `visit_log_sd`^2 (below 0.1 %).
    """
    patient = reader.bias + reader.patient_log_sd * rng.standard_normal((len(volume_ml), 1))
    visit = reader.visit_log_sd * rng.standard_normal(volume_ml.shape)
    return np.asarray(volume_ml * np.exp(patient + visit))


def read_counts(reader: TableReader, counts: Ints, rng: np.random.Generator) -> Ints:
    """Counts of any shape: some lesions missed, others invented in proportion to the true ones."""
    seen = rng.binomial(counts, 1 - reader.missed_share)
    return np.asarray(seen + rng.poisson(reader.invented_share * counts))
