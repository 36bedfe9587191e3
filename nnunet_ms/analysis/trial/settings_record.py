"""What a result must say of its trial's settings, so that it can be laid beside another trial's: plain JSON."""

from dataclasses import asdict
from typing import Any

from nnunet_ms.analysis.trial.settings import TrialSettings

# of `Analysis`: what no estimate depends on, or what stands under another name
_LEFT_OUT = ("seed", "bootstrap_draws", "alpha", "sequence", "sequence_arms", "holm", "subgroups")


def settings_record(settings: TrialSettings) -> dict[str, Any]:
    """Return the settings that decide what a trial's numbers mean; no path and nothing of a patient.

    Parameters
    ----------
    settings : TrialSettings
        As read.

    Returns
    -------
    dict
        For `provenance.json`: `level` is the share that every interval covers; `rule` is what progression is, null
        where no outcome is derived.
    """
    analysis = {name: value for name, value in asdict(settings.analysis).items() if name not in _LEFT_OUT}
    return {
        "name": settings.report.title or settings.name,
        "simulated": settings.simulated,
        "preset": settings.preset,
        "reference_arm": settings.reference_arm,
        "compared_arms": list(settings.compared_arms),
        "outcomes": list(settings.outcomes),
        "lesion_type": settings.lesion_type,
        "baseline_week": settings.baseline_week,
        "weeks": list(settings.weeks),
        "zero_volume": settings.zero_volume,
        "windows": [asdict(window) for window in settings.windows],
        "population": settings.populations.main,
        "rule": asdict(settings.rule) if settings.rule else None,
        "outcome_source": settings.outcome_source,
        "conventions": asdict(settings.conventions),
        "level": settings.analysis.confidence,
        "analysis": analysis,
    }
