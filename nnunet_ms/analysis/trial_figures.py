"""Which figures a trial's report has: one place that knows every drawing."""

from collections.abc import Iterator

import pandas as pd

from nnunet_ms.analysis import effect_agreement, effect_figures, figures, flow_figures, rater_figures
from nnunet_ms.analysis.drawing import Drawing
from nnunet_ms.analysis.endpoints import Results
from nnunet_ms.analysis.lesion_counts import available
from nnunet_ms.analysis.report.lesion_outcome_block import is_shown
from nnunet_ms.analysis.trial_data import TrialData


def trial_drawings(trial: TrialData, results: Results) -> Iterator[Drawing]:
    """Yield every drawing of the report; what was not computed, or is not reported, is not drawn."""
    settings, raters, rows = trial.settings, trial.raters, results.endpoints
    outcomes = [outcome for outcome in settings.outcomes if (rows["endpoint"] == outcome).any()]
    yield flow_figures.flow_figure(rows, settings, outcomes)
    yield flow_figures.completeness_figure(rows, settings)
    yield figures.volume_figure(rows, settings, raters)
    yield figures.effect_figure(rows, settings, raters, trial.truth)
    for outcome in outcomes:
        yield from _outcome_drawings(trial, results, outcome)
    yield from (effect_figures.count_figure(rows, settings, raters, e) for e in available(trial))
    if (rows["endpoint"] == effect_agreement.ENDPOINT).any():
        yield rater_figures.effects_figure(rows, settings, raters)
        yield effect_figures.agreement_figure(rows, settings)
    pairs = results.audit.get("rater_pairs", pd.DataFrame())
    if len(pairs):
        yield from rater_figures.concordance_drawings(pairs, settings)


def _outcome_drawings(trial: TrialData, results: Results, outcome: str) -> Iterator[Drawing]:
    settings, raters, rows = trial.settings, trial.raters, results.endpoints
    halves, by_arm, along = (
        results.curves.get(f"{name}_{outcome}", pd.DataFrame()) for name in ("km_curves", "km_by_arm", "arm_along_tlv")
    )
    if len(halves) and is_shown(rows, outcome):
        yield figures.km_figure(rows, halves, settings, raters, outcome)
    if len(by_arm):
        yield effect_figures.km_by_arm_figure(rows, by_arm, settings, outcome)
        yield from (effect_figures.forest_figure(rows, settings, outcome, arm) for arm in settings.compared_arms)
    if len(along):
        yield effect_figures.along_figure(rows, along, settings, raters, outcome)
