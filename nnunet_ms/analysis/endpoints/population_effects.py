"""Analysis populations in the results: who is inside, and the main results repeated in the populations beside."""

from collections.abc import Iterator
from dataclasses import replace

from nnunet_ms.analysis.endpoints.lesion_counts import NEGATIVE_BINOMIAL, available, lesion_count_statistics
from nnunet_ms.analysis.endpoints.progression_by_arm import COX, treatment_statistics
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import outcome_audit
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic
from nnunet_ms.analysis.endpoints.t2_volume import ANCOVA, changes, t2_volume_statistics
from nnunet_ms.analysis.trial.data import TrialData, read_trial
from nnunet_ms.progress import Progress, unseen

ENDPOINT = "populations"
MAIN = (ANCOVA, NEGATIVE_BINOMIAL, COX)  # the analyses whose effect of arm is repeated


def population_statistics(trial: TrialData, progress: Progress = unseen) -> Iterator[Statistic]:
    """Yield patients per arm of every population analysed, and the main effects of those beside.

    Rows have the population's name as `analysis` and the endpoint as `term`; nothing where the settings name no
    population.
    """
    settings = trial.settings.populations
    if settings.main:
        yield from _sizes(trial)
    for name in progress(settings.beside, "populations", str):
        other = read_trial(trial.settings, name)
        yield from _sizes(other)
        for row in _main_effects(other):
            yield replace(
                row, endpoint=ENDPOINT, analysis=name, term=row.endpoint, population=f"{name}: {row.population}"
            )


def _sizes(trial: TrialData) -> Iterator[Statistic]:
    name = trial.population
    population = trial.settings.populations.defined[name]
    method = f"{population.column} is {' or '.join(population.values)}"
    for arm in trial.settings.arms:
        n = int((trial.patients["arm"] == arm).sum())
        base = Statistic(ENDPOINT, name, population=name, arm=arm, term="patients", method=method)
        yield replace(base, stat_name="n", stat=float(n), unit="patients")


def _main_effects(trial: TrialData) -> Iterator[Statistic]:
    rows = list(t2_volume_statistics(trial, changes(trial)[0])) if trial.has_volumes else []
    for endpoint in available(trial) if trial.has_lesions else ():
        rows += lesion_count_statistics(trial, endpoint)
    for outcome in trial.settings.outcomes if trial.has_outcomes else ():
        rows += treatment_statistics(trial, outcome, outcome_audit(trial, outcome))
    return (row for row in rows if row.analysis in MAIN and row.term == "arm")
