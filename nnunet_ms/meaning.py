"""What a column means: the form in which vocabularies say it."""

from dataclasses import dataclass

TEXT, FLAG, ONE = "text", "true or false", "1"


@dataclass(frozen=True)
class Meaning:
    """Unit (`text` and `true or false` for what has none, `1` for pure numbers and counts) and one line of words."""

    unit: str
    words: str


def meanings(unit: str, /, **columns: str) -> dict[str, Meaning]:
    """Meanings of columns of one unit; `table__column` is the column in the sense of one table.

    Examples
    --------
    >>> meanings(ONE, n="Cases with a value", concordance__n="Cases with both")["concordance.n"].words
    'Cases with both'
    """
    return {name.replace("__", "."): Meaning(unit, words) for name, words in columns.items()}
