"""Volumes of 0 ml before a logarithm: what the settings say is done with them, and the listing of who it concerns.

One decision for all raters, so that they stay comparable: the constant is each rater's own, but it is added for all of
them as soon as one has a zero, and a visit left out for one is left out for all.
"""

import numpy as np
import pandas as pd

from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.errors import SettingsError

COLUMNS = ["patient_id", "arm", "rater", "week", "volume_ml", "handling"]
ADD, SET, EXCLUDE = "add_half_smallest_positive", "half_smallest_positive", "exclude"
WORDS = {
    ADD: "half the smallest positive volume of the rater added to all volumes (some are 0 ml)",
    SET: "volumes of 0 ml set to half the smallest positive one of the rater",
    EXCLUDE: "visits of 0 ml left out",
}


def zero_note(trial: TrialData, volumes: pd.DataFrame) -> str:
    """Return what was done with zeros, for `method`; blank where `volumes` (any column `volume_ml`) has none."""
    how = trial.settings.zero_volume
    return WORDS[how] if how and (volumes["volume_ml"] <= 0).any() else ""


def positive_baselines(trial: TrialData, wide: pd.DataFrame) -> pd.DataFrame:
    """Return baseline volumes that all have a logarithm; a whole row is NaN where the patient is left out.

    Parameters
    ----------
    trial : TrialData
        Gives the setting.
    wide : (n, raters) pandas.DataFrame
        Volumes in ml, one row per patient_id and one column per rater.

    Raises
    ------
    SettingsError
        If there are zeros and the settings do not say what to do.
    """
    zero = wide <= 0
    if not zero.to_numpy().any():
        return wide
    how = _decided(trial, zero.any(axis=1), "baseline volume", str(zero.any(axis=1).idxmax()))
    if how == EXCLUDE:
        return wide.mask(zero.any(axis=1))
    half = wide.mask(zero).min() / 2
    return wide.add(half, axis=1) if how == ADD else wide.mask(zero, half, axis=1)


def log_ratios(trial: TrialData, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with `log_baseline` and `log_ratio` = log(volume / baseline); the ratio is NaN where left out.

    Parameters
    ----------
    trial : TrialData
        Gives the setting; the constant is half the smallest positive volume of the rater at any visit in the table.
    table : pandas.DataFrame
        From `t2_volume.changes`: baselines > 0, of one rater or of all.

    Raises
    ------
    SettingsError
        If there are zeros and the settings do not say what to do.
    """
    volume, baseline, zero = table["volume_ml"], table["baseline_ml"], table["volume_ml"] <= 0
    if zero.any():
        how = _decided(trial, zero, "follow-up volume", str(table.loc[zero, "patient_id"].iloc[0]))
        smallest = table.assign(least=baseline.where(zero, np.minimum(volume, baseline))).groupby("rater")["least"]
        half = smallest.transform("min") / 2
        if how == EXCLUDE:
            volume = volume.mask(zero.groupby([table["patient_id"], table["week"]]).transform("any"))
        elif how == ADD:
            volume, baseline = volume + half, baseline + half
        else:
            volume = volume.mask(zero, half)
    log_baseline = np.log(baseline.to_numpy(float))
    return table.assign(log_baseline=log_baseline, log_ratio=np.log(volume.to_numpy(float)) - log_baseline)


def _decided(trial: TrialData, zero: pd.Series, what: str, first: str) -> str:
    how = trial.settings.zero_volume
    if how is None:
        raise SettingsError(
            f"{trial.settings.path}: {int(zero.sum())} patients have a {what} of 0 ml (first: {first}), which has no "
            f"logarithm. Set [lesions] zero_volume to one of {list(WORDS)}."
        )
    return how


def zero_listing(trial: TrialData) -> pd.DataFrame:
    """Return every volume of 0 ml with what is done before a logarithm."""
    zeros = trial.volumes[trial.volumes["volume_ml"] <= 0]
    handling = WORDS.get(trial.settings.zero_volume or "", "not decided")
    return zeros.assign(handling=handling)[COLUMNS].reset_index(drop=True)
