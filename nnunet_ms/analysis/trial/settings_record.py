"""What a result must say of its trial's settings, so that it can be laid beside another trial's: plain JSON."""

from dataclasses import asdict, fields, is_dataclass
from math import isfinite
from typing import Any

from nnunet_ms.analysis.trial.settings import TrialSettings

# what no number depends on, what stands under another name, and where files are
LEFT_OUT = ("path", "tables", "name", "raters", "populations", "adam", "report", "analysis")
LEFT_OUT_OF_ANALYSIS = ("seed", "bootstrap_draws", "alpha", "sequence", "sequence_arms", "holm", "subgroups")


def settings_record(settings: TrialSettings) -> dict[str, Any]:
    """Return the settings that decide what a trial's numbers mean; no path and nothing of a patient.

    Parameters
    ----------
    settings : TrialSettings
        As read.

    Returns
    -------
    dict
        For `provenance.json`: the fields of `TrialSettings` but for `LEFT_OUT`; beside them `name` (the report's title
        where it has one), `population` (the main one), `level` (the share that every interval covers), and `analysis`.
    """
    own = {
        field.name: _plain(getattr(settings, field.name)) for field in fields(settings) if field.name not in LEFT_OUT
    }
    analysis = {key: value for key, value in _plain(settings.analysis).items() if key not in LEFT_OUT_OF_ANALYSIS}
    return {
        "name": settings.report.title or settings.name,
        **own,
        "population": settings.populations.main,
        "level": settings.analysis.confidence,
        "analysis": analysis,
    }


def _plain(value: Any) -> Any:
    """What JSON can hold: an endless limit is null."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
