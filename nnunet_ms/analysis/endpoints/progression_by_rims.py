"""Confirmed progression by arm and number of rim lesions at baseline: strata 0, 1 to 3, 4 and more, with interaction.

The strata are those of trials that report paramagnetic rim lesions (tolebrutinib's, post hoc); `[analysis] prl_strata`
changes them. The hazard ratio of the arm within each stratum is a subgroup of the forest plot (`prl_stratum`).
"""

from collections.abc import Iterator

import pandas as pd

from nnunet_ms.analysis.endpoints.progression_by_stratum import Stratified, stratum_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.rim_counts import STRATUM, counted_by
from nnunet_ms.lesions.rims import prl_strata
from nnunet_ms.tables import PRL_COUNT

ANALYSIS = "cox_by_prl_stratum"
POPULATION = "patients with the outcome derived and rim lesions counted at baseline"


def rim_statistics(trial: TrialData, outcome: str, audit: pd.DataFrame) -> Iterator[Statistic]:
    """Yield every term of the Cox model of arm, stratum and both; nothing where nobody's rim lesions are known."""
    strata = prl_strata(trial.settings.analysis.prl_strata)
    words = ("stratum of rim lesions", "a count of rim lesions")
    listing = trial.listings.get("prl_counts")
    source = "" if listing is None else counted_by(listing)
    what = Stratified(PRL_COUNT, STRATUM, strata, ANALYSIS, POPULATION, *words, source)
    yield from stratum_statistics(trial, outcome, audit, what)
