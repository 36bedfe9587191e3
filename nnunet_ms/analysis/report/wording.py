"""How numbers, p values and contrasts are written for people, in tables and figures alike. Only here is rounded."""

from collections.abc import Sequence

import numpy as np

MINUS = "\N{MINUS SIGN}"
_TERMS = {
    "age_years": "age (years)",
    "edss_baseline": "EDSS",
    "log_tlv": "log TLV",
    "baseline_tlv": "baseline TLV, per ml",
    "lesion_count": "lesion count",
    "age": "age",
    "edss": "EDSS < 4",
    "edss < 4": "EDSS < 4",
    "log_unenhancing_tlv": "log unenhancing TLV",
    "unenhancing_lesion_count": "unenhancing lesions",
    "enhancing_lesion_count": "enhancing lesions",
    "enhancing_present": "any enhancing lesion",
}


def number(value: float, digits: int = 1, signed: bool = False) -> str:
    """Return a rounded number with a true minus sign; a dash for NaN; never "-0.0"."""
    if np.isnan(value):
        return "–"
    rounded = round(value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{digits}f}".replace("-", MINUS)


def interval(estimate: float, low: float, high: float, digits: int = 1) -> str:
    """Return "estimate (low to high)"; without limits, the estimate alone."""
    if np.isnan(low) and np.isnan(high):
        return number(estimate, digits)
    return f"{number(estimate, digits)} ({number(low, digits)} to {number(high, digits)})"


def p_text(p: float) -> str:
    """Return a p value as reports print it: "p < .001", "p .057"."""
    return "p < .001" if p < 0.001 else f"p {p:.3f}".replace("0.", ".")


def minus(contrast: str) -> str:
    """Return a difference with a true minus sign: "active − placebo"."""
    return contrast.replace(" - ", f" {MINUS} ")


def over(contrast: str) -> str:
    """Return the name of a ratio: "active / placebo"."""
    return contrast.replace(" - ", " / ")


def joined(names: Sequence[str], word: str = "and") -> str:
    """Return "a, b and c"."""
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def term_text(term: str) -> str:
    """Return a term of a model or a level of a factor in words: "age_group: <= 45" -> "age group: ≤ 45"."""
    if term.startswith("arm:"):
        return f"arm × {term_text(term.removeprefix('arm:'))}"
    text = term.replace("edss_", "EDSS ", 1) if term.startswith("edss_") else term
    text = text.replace("prl_stratum", "PRL") if text.startswith("prl_stratum") else text
    return _TERMS.get(term, text.replace("_", " ").replace("<=", "≤").replace(">=", "≥"))
