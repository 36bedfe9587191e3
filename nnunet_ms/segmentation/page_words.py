"""What the page of a patient says in words and rows: numbers rounded for reading, the tables have them in full."""

import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

import pandas as pd

from nnunet_ms.segmentation.results import VisitResult

UNSURE, SURE = 0.5, 0.2  # LSU: a lesion that the samples overlap by less than half; one that they agree on
LISTED = 10  # of uncertain lesions; the table has all
PLACES = {
    "periventricular": "periventricular",
    "juxtacortical": "juxtacortical or cortical",
    "infratentorial": "infratentorial",
    "deep_white_matter": "deep white matter",
    "unknown": "not known",
}
# of the interval: how it came about, lower and upper limit
INTERVALS = {
    "calibrated": ("calibrated_lower_ml", "calibrated_upper_ml"),
    "over samples": ("volume_ml_low", "volume_ml_high"),
}


def visit_title(visit: VisitResult, number: int) -> str:
    """Such as `Visit w24, week 24, 2024-05-01`; visits without a name are counted from 1.

    Examples
    --------
    >>> from pathlib import Path
    >>> visit_title(VisitResult("w24", Path("m"), {}, pd.DataFrame(), {}, week=24.0, date="2024-05-01"), 1)
    'Visit w24, week 24, 2024-05-01'
    """
    name = visit.visit or str(number + 1)
    week = f"week {visit.week:g}" if known(visit.week) else ""
    return ", ".join(part for part in (f"Visit {name}", week, visit.date) if part)


def known(value: object) -> TypeGuard[float]:
    """Whether a number is there: neither None nor NaN nor pandas' NA.

    Examples
    --------
    >>> known(0), known(None), known(float("nan"))
    (True, False, False)
    """
    return value is not None and not bool(pd.isna(value))


def glance(visit: VisitResult) -> dict[str, str]:
    """Names and values of the numbers that stand first."""
    numbers = visit.numbers
    count = numbers.get("lesion_count", len(visit.lesions))
    shown = {
        "Lesions": f"{float(count):g}" if known(count) else "not known",
        "Lesion volume": _volume(numbers, visit.lesions),
    }
    for name, words in (("calibrated_volume_ml", "Calibrated volume"), ("expected_volume_ml", "Sum of probabilities")):
        if known(numbers.get(name)):
            shown[words] = f"{float(numbers[name]):.2f} ml"
    for how, (lower, upper) in INTERVALS.items():
        low, high = numbers.get(lower), numbers.get(upper)
        if known(low) and known(high):
            shown[f"Interval ({how})"] = (
                f"{low:.2f} to {high:.2f} ml" if math.isfinite(high) else f"{low:.2f} ml or more"
            )
    return shown


def _volume(numbers: Mapping[str, Any], lesions: pd.DataFrame) -> str:
    volume = numbers.get("volume_ml")
    if not known(volume):
        volume = float(lesions["volume_ml"].sum()) if "volume_ml" in lesions else math.nan
    return f"{float(volume):.2f} ml" if known(volume) else "not known"


def place_rows(lesions: pd.DataFrame) -> list[dict[str, str]]:
    """Lesions and volume by location class; nothing where lesions have no `location`, or there is none.

    A place without a lesion is shown where places are known, for it counts too.
    """
    if "location" not in lesions or lesions.empty:
        return []
    rows = []
    is_known = bool((lesions["location"] != "unknown").any())
    for name, words in PLACES.items():
        here = lesions[lesions["location"] == name]
        if len(here) or (is_known and name != "unknown"):
            volume = f"{here['volume_ml'].sum():.2f}"
            rows.append({"Place": words, "Lesions": str(len(here)), "Volume (ml)": volume})
    return rows


def change_words(visit: VisitResult) -> list[str]:
    """What has changed since the visit before, or why that is not known; nothing at a first visit."""
    change = visit.change
    if known(note := change.get("change_note")) and note:
        return [f"Not compared with the visit before: {note}."]
    if not known(change.get("previous_visit")) and not known(change.get("new_lesion_count")):
        return []
    kinds = ("new", "enlarging", "resolved", "shrinking")
    counts = [f"{int(change[name])} {kind}" for kind in kinds if known(change.get(name := f"{kind}_lesion_count"))]
    since = f"Since visit {change['previous_visit']}" if known(change.get("previous_visit")) else "Since the last visit"
    return [f"{since}: {', '.join(counts)} lesions."] if counts else []


def calibration_words(visit: VisitResult) -> list[str]:
    """What is to be known of the calibrated volume; nothing where there is no note."""
    note = visit.numbers.get("volume_calibration_note")
    return [f"About the calibrated volume: {note}."] if known(note) and note else []


def uncertainty_words(visit: VisitResult) -> list[str]:
    """How sure the network is, in plain words."""
    lsu = visit.lesions["uncertainty"].dropna() if "uncertainty" in visit.lesions else pd.Series(dtype=float)
    if visit.lesions.empty:
        return ["No lesion was found. That is no proof that there is none: small ones are missed most."]
    if lsu.empty:
        return ["How sure the network is of each lesion was not measured (one sample)."]
    unsure, sure = int((lsu > UNSURE).sum()), int((lsu < SURE).sum())
    said = [
        "The network was asked several times, each time a little differently: parts of it switched off, the images "
        f"mirrored, some of them left out, or another of its trainings. Of {len(lsu)} lesions {sure} came back "
        f"nearly the same each time, and {unsure} came back less than half or not at all in most answers."
    ]
    if unsure:
        said.append("Look at those first; they are listed below, the least certain ones on top.")
    if known(psu := visit.numbers.get("psu")):
        said.append(
            f"All lesions together: {1 - float(psu):.0%} of the mask and each answer's mask overlap on average."
        )
    return said


def uncertain_rows(lesions: pd.DataFrame) -> list[dict[str, str]]:
    """The least certain lesions, at most `LISTED`."""
    if lesions.empty or "uncertainty" not in lesions:  # without rows a column has no numbers to compare
        return []
    unsure = lesions[lesions["uncertainty"] > UNSURE].nlargest(LISTED, "uncertainty")
    return [
        {
            "Lesion": str(row["lesion_id"]),
            "Volume (ml)": f"{row['volume_ml']:.3f}",
            "Place (mm, right, front, head)": ", ".join(f"{row[f'{axis}_mm']:.0f}" for axis in "xyz"),
            **({"Where": str(row["location"]).replace("_", " ")} if "location" in row else {}),
            "Uncertainty, 0 to 1": f"{row['uncertainty']:.2f}",
        }
        for row in unsure.to_dict("records")
    ]


def card_parts(card: str) -> list[tuple[str, list[str]]]:
    r"""Sections of a model card: heading and paragraphs, tables as one paragraph of lines; the title is left out.

    Examples
    --------
    >>> card_parts("# X\n\n## Limits\n\nNone.\n\nAnd\nmore.\n")
    [('Limits', ['None.', 'And\nmore.'])]
    """
    parts = re.findall(r"^##+ *([^\n]+?) *\n(.*?)(?=^##|\Z)", card, flags=re.MULTILINE | re.DOTALL)
    return [(heading, [p.strip() for p in re.split(r"\n\s*\n", text) if p.strip()]) for heading, text in parts]
