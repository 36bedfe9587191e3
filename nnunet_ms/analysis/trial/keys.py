"""How weeks and contrasts are written in tables."""


def week_text(week: float) -> str:
    """Return a week as the `visit` column writes it: 96.0 -> "96", 24.5 -> "24.5"."""
    return f"{week:g}"


def contrast_text(arm: str, reference: str) -> str:
    """Return the name of a difference between arms."""
    return f"{arm} - {reference}"
