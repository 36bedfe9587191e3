"""Which figures a trial's report has: one place that knows every drawing."""

from collections.abc import Iterator

import pandas as pd

from nnunet_ms.analysis.endpoints import effect_agreement
from nnunet_ms.analysis.endpoints.lesion_counts import counted
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import is_shown
from nnunet_ms.analysis.endpoints.recipe import Results
from nnunet_ms.analysis.report.figures import (
    patient_figures,
    rater_figures,
    survival_figures,
    t2_volume_figures,
    treatment_figures,
)
from nnunet_ms.analysis.report.figures.drawing import Drawing
from nnunet_ms.analysis.report.figures.main_estimates import main_estimates_figure
from nnunet_ms.analysis.trial.data import TrialData


def trial_drawings(trial: TrialData, results: Results) -> Iterator[Drawing]:
    """Yield every drawing of the report; what was not computed, or is not reported, is not drawn."""
    settings, raters, rows = trial.settings, trial.raters, results.endpoints
    outcomes = [outcome for outcome in settings.outcomes if (rows["endpoint"] == outcome).any()]
    if drawing := main_estimates_figure(rows, settings, raters):
        yield drawing
    yield patient_figures.flow_figure(rows, settings, outcomes)
    if trial.has_volumes:
        yield patient_figures.completeness_figure(rows, settings)
        yield t2_volume_figures.volume_figure(rows, settings, raters)
        yield t2_volume_figures.effect_figure(rows, settings, raters, trial.truth)
    for outcome in outcomes:
        yield from _outcome_drawings(trial, results, outcome)
    yield from (
        treatment_figures.count_figure(rows, settings, raters, e) for e in (counted(trial) if trial.has_lesions else ())
    )
    if (rows["endpoint"] == effect_agreement.ENDPOINT).any():
        yield rater_figures.effects_figure(rows, settings, raters)
        yield treatment_figures.agreement_figure(rows, settings)
    pairs = results.audit.get("rater_pairs", pd.DataFrame())
    if len(pairs):
        yield from rater_figures.concordance_drawings(pairs, settings)


def _outcome_drawings(trial: TrialData, results: Results, outcome: str) -> Iterator[Drawing]:
    settings, raters, rows = trial.settings, trial.raters, results.endpoints
    halves, by_arm, along = (
        results.curves.get(f"{name}_{outcome}", pd.DataFrame()) for name in ("km_curves", "km_by_arm", "arm_along_tlv")
    )
    if len(halves) and is_shown(rows, outcome):
        yield t2_volume_figures.km_figure(rows, halves, settings, raters, outcome)
    if len(by_arm):
        yield survival_figures.km_by_arm_figure(rows, by_arm, settings, outcome)
        yield from (treatment_figures.forest_figure(rows, settings, outcome, arm) for arm in settings.compared_arms)
    if len(along):
        yield treatment_figures.along_figure(rows, along, settings, raters, outcome)
