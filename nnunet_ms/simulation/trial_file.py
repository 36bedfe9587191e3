"""A ready `trial.toml` beside a simulated trial, in the format that `nnunet-ms-endpoints init` writes."""

import json

from nnunet_ms.lesions.rims import PRL_STRATA, prl_strata
from nnunet_ms.simulation.model.presets import TrialPreset

PUBLISHED = ("opera1", "opera2", "oratorio", "olympus")  # presets that have published numbers to show
OUTCOMES = ("cdp12", "cdp24", "t25fw24", "9hpt24", "ccdp24")

RIM_LINES = (
    "",
    "[analysis]",
    'subgroups = ["sex", "region", "age_group", "edss_stratum", "prl_stratum"]  # the last: rim lesions at baseline',
    f"prl_strata = [{', '.join(map(str, PRL_STRATA))}]  # where they begin: {', '.join(prl_strata())} rim lesions",
)


def trial_file(preset: TrialPreset) -> str:
    """Return the text of the settings file; its paths are relative to the trial's folder."""
    reference, *compared = (json.dumps(arm.name) for arm in preset.arms)
    published = f'preset = "{preset.name}"  # shows published numbers beside the simulated ones'
    lines = [
        f"# Settings of the simulated trial {preset.name} for nnunet-ms-endpoints: no patient is real.",
        "",
        "[trial]",
        f'name = "simulated {preset.name}"',
        "simulated = true  # the report says everywhere that no patient is real",
        *([published] if preset.name in PUBLISHED else []),
        "",
        "[tables]  # paths are relative to this file",
        'patients = "patients.csv"',
        'visits = "visits.csv"',
        'assessments = "assessments.csv"',
        'relapses = "relapses.csv"',
        'truth = "truth.json"',
        "",
        "[arms]",
        f"reference = {reference}  # differences are compared arm minus this arm",
        f"compared = [{', '.join(compared)}]",
        "",
        "[lesions]",
        'type = "t2_lesions"',
        'zero_volume = "exclude"',
        'exposure = "years"  # new and enlarging lesions per year between scans; or per scan: "scans"',
        "",
        "[visits]  # weeks after randomisation",
        f"baseline_week = {preset.mri_weeks[0]}",
        f"weeks = [{', '.join(map(str, preset.mri_weeks[1:]))}]",
        "",
        "[disability]",
        'preset = "krishnan2023"  # what counts as progression',
        f"outcomes = [{', '.join(json.dumps(name) for name in OUTCOMES)}]",
        "",
        "[conventions]",
        'preset = "r"',
        *(RIM_LINES if preset.rims else []),
    ]
    return "\n".join(lines) + "\n"
