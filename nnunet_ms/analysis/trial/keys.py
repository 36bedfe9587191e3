"""How weeks and contrasts are written in tables."""

from collections.abc import Iterable


def week_text(week: float) -> str:
    """Return a week as the `visit` column writes it: 96.0 -> "96", 24.5 -> "24.5"."""
    return f"{week:g}"


def week_list(weeks: Iterable[float]) -> str:
    """Return weeks for a message: [0, 24.5].

    >>> week_list([0.0, 24.5])
    '[0, 24.5]'
    """
    return f"[{', '.join(map(week_text, weeks))}]"


def contrast_text(arm: str, reference: str) -> str:
    """Return the name of a difference between arms."""
    return f"{arm} - {reference}"
