"""What several trials have in common, and what differs, by name: outcomes, raters, arms, rules, conventions."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from nnunet_ms.comparison.compared_trial import ComparedTrial
from nnunet_ms.comparison.effects import OF_LESIONS
from nnunet_ms.comparison.evaluations import MaskAgreement
from nnunet_ms.errors import SettingsError
from nnunet_ms.tables import Column, Table

# endpoints of the long table that are no effects of treatment
_NO_EFFECTS = ("disposition", "baseline", "populations", "multiplicity", "agreement", "concordance", "effect_agreement")
_APART = ("name", "simulated", "preset", "outcomes", "level")  # of the settings: said elsewhere
_WORDS = {
    "reference_arm": ("reference arm", "effects are against different treatments"),
    "compared_arms": ("compared arms", "effects are of different treatments"),
    "lesion_type": ("lesion type", "T2 volume and agreement of masks are of different lesions; labelled by trial"),
    "baseline_week": ("baseline week", "changes count from different visits"),
    "weeks": ("weeks of the visits", "effects are at each trial's own last visit"),
    "zero_volume": ("volumes of 0", "mean percent changes leave out or add to different patients"),
    "windows": ("visit windows", "scans count as a planned visit under different limits"),
    "exposure": ("exposure of lesion counts", "rates count from years in one trial, from scans in another"),
    "population": ("population", "effects are of different populations"),
    "rule": ("rule of progression", "outcomes of one name are compared although they mean different things"),
    "outcome_source": ("source of the outcomes", "derived in one trial, given in another"),
    "conventions": ("conventions of computing", "ties, weights or standard errors differ"),
}
NOT_COMPARED = "not compared"
DIFFERENCES = Table(
    "differences between trials",
    (
        Column("what"),
        Column("trial"),
        Column("has", blank=True),
        Column("consequence"),
    ),
    key=("what", "trial"),
)


def effect_endpoints(trial: ComparedTrial) -> list[str]:
    """Endpoints with an effect of treatment, in the order of the trial's table."""
    return [name for name in dict.fromkeys(trial.rows["endpoint"]) if name not in _NO_EFFECTS]


def common_endpoints(trials: Sequence[ComparedTrial]) -> list[str]:
    """Endpoints of every trial, in the order of the first.

    Raises
    ------
    SettingsError
        If there are none.
    """
    shared = _common([effect_endpoints(trial) for trial in trials])
    if not [name for name in shared if name not in OF_LESIONS or common_raters(trials)]:
        words = [f"{effect_endpoints(trial)} in {trial.folder}" for trial in trials]
        raise SettingsError(
            f"trials: expected at least one endpoint in all (those of lesions by a rater of all), found "
            f"{' and '.join(words)}. Compare trials that have one, or add it to [disability] outcomes."
        )
    return shared


def common_raters(trials: Sequence[ComparedTrial]) -> list[str]:
    """Raters of every trial, in the order of the first; none where the trials were read by different models."""
    return _common([trial.raters for trial in trials])


def differences(trials: Sequence[ComparedTrial], masks: Sequence[MaskAgreement]) -> pd.DataFrame:
    """Return everything that not all trials have alike, and what the comparison makes of it.

    Parameters
    ----------
    trials : sequence of ComparedTrial
        At least two.
    masks : sequence of MaskAgreement
        Of the trials and of further test sets.

    Returns
    -------
    pandas.DataFrame
        Columns of `DIFFERENCES`, one row per difference and trial; no row where all is alike.
    """
    names = [trial.name for trial in trials]
    rows: list[tuple[str, str, str, str]] = []
    for what, sets in {
        "endpoint": [effect_endpoints(trial) for trial in trials],
        "rater": [trial.raters for trial in trials],
        "baseline characteristic": [_characteristics(trial) for trial in trials],
    }.items():
        rows += _memberships(what, names, sets, NOT_COMPARED if what != "baseline characteristic" else "shown as –")
    masks = [one for one in masks if len(one.agreement)]
    rows += _memberships(
        "rule of detection", [one.name for one in masks], [list(dict.fromkeys(one.agreement["rule"])) for one in masks],
        "numbers of different rules do not compare; each rule has rows of its own",
    )  # fmt: skip
    if not common_raters(trials):
        of_lesions = [name for name in _common([effect_endpoints(trial) for trial in trials]) if name in OF_LESIONS]
        why = f"{NOT_COMPARED}: no rater is in all"
        rows += [(f"endpoint {name}", trial, "yes", why) for name in of_lesions for trial in names]
    without = [trial.name for trial in trials if trial.name not in {one.name for one in masks}]
    if without and len(without) < len(trials):
        rows += [
            ("agreement of masks", name, "no" if name in without else "yes", "no row in the table") for name in names
        ]
    for what, values, consequence in _settings(trials):
        rows += [(what, name, value, consequence) for name, value in zip(names, values, strict=True)]
    return pd.DataFrame(rows, columns=DIFFERENCES.names)


def _common(sets: Sequence[Sequence[str]]) -> list[str]:
    return [name for name in sets[0] if all(name in others for others in sets[1:])]


def _characteristics(trial: ComparedTrial) -> list[str]:
    """Without the levels of factors: a level that a trial lacks has no patient there."""
    baseline = trial.rows[trial.rows["endpoint"] == "baseline"]
    return list(dict.fromkeys(term.split(": ")[0] for term in baseline["term"]))


def _memberships(
    what: str, names: Sequence[str], sets: Sequence[Sequence[str]], consequence: str
) -> list[tuple[str, str, str, str]]:
    union = dict.fromkeys(item for one in sets for item in one)
    odd = [item for item in union if not all(item in one for one in sets)]
    return [
        (f"{what} {item}", name, "yes" if item in one else "no", consequence)
        for item in odd
        for name, one in zip(names, sets, strict=True)
    ]


def _settings(trials: Sequence[ComparedTrial]) -> list[tuple[str, list[str], str]]:
    """Settings that differ, also those that this module does not know by name."""
    flat = [_flattened(trial.settings) for trial in trials]
    found = []
    for key in dict.fromkeys(key for one in flat for key in one):
        values = [one.get(key) for one in flat]
        if key in _APART or all(value == values[0] for value in values[1:]):
            continue
        words = _WORDS.get(key, (key.replace("_", " "), "numbers were computed with different settings"))
        found.append((words[0], [_text(value) for value in values], words[1]))
    return found


def _flattened(settings: Mapping[str, Any]) -> dict[str, Any]:
    """With the parts of [analysis] beside the others."""
    inner = {f"[analysis] {key}": value for key, value in settings.get("analysis", {}).items()}
    return {**{key: value for key, value in settings.items() if key != "analysis"}, **inner}


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
