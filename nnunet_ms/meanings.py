"""What one column means: its unit and a line of words."""

from dataclasses import dataclass

TEXT, FLAG, ONE = "text", "true or false", "1"


@dataclass(frozen=True)
class Meaning:
    """Unit (`text` and `true or false` for what has none, `1` for pure numbers and counts) and one line of words."""

    unit: str
    words: str


def meanings(unit: str, /, **columns: str) -> dict[str, Meaning]:
    """Columns of one unit, `table__column` for a narrower sense in one table.

    Examples
    --------
    >>> meanings("ml", volume_ml="Volume")
    {'volume_ml': Meaning(unit='ml', words='Volume')}
    """
    return {name.replace("__", "."): Meaning(unit, words) for name, words in columns.items()}
