"""The report's blocks in their order (as ICH E3, sections 10-11): patients, effects, agreement of raters.

Rounding happens here and nowhere before. A table's columns are the raters, then the simulated truth, then published
numbers, the last two only where there are any.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from nnunet_ms.analysis.endpoints import effect_agreement, lesion_counts, rater_concordance
from nnunet_ms.analysis.report.blocks.agreement import concordance_block, effect_block, mask_block
from nnunet_ms.analysis.report.blocks.lesion_counts import count_block
from nnunet_ms.analysis.report.blocks.multiplicity import multiplicity_block
from nnunet_ms.analysis.report.blocks.patients import baseline_block, disposition_block
from nnunet_ms.analysis.report.blocks.populations import POPULATIONS, populations_block
from nnunet_ms.analysis.report.blocks.progression_by_arm import arm_block
from nnunet_ms.analysis.report.blocks.progression_by_lesions import lesion_outcome_block
from nnunet_ms.analysis.report.blocks.progression_by_t1_volume import t1_volume_block
from nnunet_ms.analysis.report.blocks.t2_volume import volume_block
from nnunet_ms.analysis.report.notes import with_source
from nnunet_ms.analysis.report.parts import Block
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.published import JOINT_T1, PUBLISHED, SOURCE
from nnunet_ms.analysis.trial.settings import TrialSettings
from nnunet_ms.analysis.trial.settings_section import did_you_mean
from nnunet_ms.errors import SettingsError


def build_blocks(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> list[Block]:
    """Return the blocks of every endpoint that was computed.

    Parameters
    ----------
    trial : TrialData
        Settings, raters and simulated truth.
    endpoints : pandas.DataFrame
        Columns of `tables.ENDPOINTS`.
    figures : sequence of str
        Stems of the drawings there are; each block takes those whose name says its endpoint.
    """
    preset = trial.settings.preset
    own = PUBLISHED[preset].trial_source if preset else ""
    return [
        *(with_source(block, trial, [SOURCE]) for block in _patients(trial, endpoints, figures)),
        *_volume(trial, endpoints, figures, [SOURCE, own] if _has_change(trial) else [SOURCE]),
        *(with_source(block, trial, [JOINT_T1, own]) for block in _counts(trial, endpoints, figures)),
        *(with_source(block, trial, [own]) for block in _arms(trial, endpoints, figures)),
        *(with_source(block, trial, [SOURCE]) for block in _lesions_and_agreement(trial, endpoints, figures)),
    ]


def chosen_blocks(blocks: Sequence[Block], settings: TrialSettings) -> list[Block]:
    """Return the blocks that `[report] blocks` names, in its order; all where it names none.

    Raises
    ------
    SettingsError
        If it names one that there is not.
    """
    asked, there = settings.report.blocks, {block.key: block for block in blocks}
    for key in asked:
        if key not in there:
            raise SettingsError(
                f"{settings.path}: [report] blocks: expected some of {list(there)}, found {key!r}."
                f"{did_you_mean(key, list(there))}"
            )
    return [there[key] for key in asked] or list(blocks)


def _has_change(trial: TrialData) -> bool:
    return bool(trial.settings.preset and PUBLISHED[trial.settings.preset].change)


def _patients(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> Iterator[Block]:
    yield disposition_block(trial, endpoints, figures)
    yield baseline_block(trial, endpoints)


def _volume(
    trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str], sources: Sequence[str]
) -> Iterator[Block]:
    if trial.has_volumes:
        yield with_source(volume_block(trial, endpoints, figures), trial, sources)


def _counts(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> Iterator[Block]:
    there = set(endpoints["endpoint"])
    for endpoint in lesion_counts.ENDPOINTS:
        if endpoint.name in there:
            yield count_block(trial, endpoints, endpoint, figures)


def _outcomes(trial: TrialData, endpoints: pd.DataFrame) -> Sequence[str]:
    there = set(endpoints["endpoint"])
    return [outcome for outcome in trial.settings.outcomes if outcome in there]


def _arms(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> Iterator[Block]:
    for outcome in _outcomes(trial, endpoints):
        yield arm_block(trial, endpoints, outcome, figures)
    if POPULATIONS in set(endpoints["endpoint"]):
        yield populations_block(trial, endpoints)
    if "multiplicity" in set(endpoints["endpoint"]):
        yield multiplicity_block(trial, endpoints)


def _lesions_and_agreement(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> Iterator[Block]:
    there = set(endpoints["endpoint"])
    for outcome in _outcomes(trial, endpoints) if trial.has_volumes else ():
        yield lesion_outcome_block(trial, endpoints, outcome, figures)
    yield from t1_volume_block(trial, endpoints)
    if effect_agreement.ENDPOINT in there:
        yield effect_block(trial, endpoints, figures)
    if rater_concordance.ENDPOINT in there:
        yield concordance_block(endpoints, figures)
    if "agreement" in there:
        yield mask_block(trial, endpoints, figures)
