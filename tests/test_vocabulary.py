"""One name, one meaning. Oracle: the names that the tables have, and the suffixes that carry units."""

import re

import pytest

from nnunet_ms import tables
from nnunet_ms.vocabulary import COLUMNS, meaning_of

TABLES = [value for value in vars(tables).values() if isinstance(value, tables.Table)]
SUFFIXES = {"_ml": "ml", "_mm": "mm", "_s": "seconds", "_years": "years", "_week": "weeks", "_weeks": "weeks"}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_has_words_and_a_unit(table):
    for name in table.names:
        assert table.meaning(name).words
        assert table.meaning(name).unit


def test_a_unit_in_the_name_is_the_unit_of_the_vocabulary():
    for name, meaning in COLUMNS.items():
        for suffix, unit in SUFFIXES.items():
            if name.endswith(suffix):
                assert meaning.unit == unit, name


def test_words_are_one_line_that_can_stand_in_a_table_and_ends_without_a_stop():
    for name, meaning in COLUMNS.items():
        assert not re.search(r"[\n|]|\.$", meaning.words), name
        assert meaning.words[0] == "`" or not meaning.words[0].islower(), name


def test_numbers_have_another_unit_than_text():
    for table in TABLES:
        for column in table.columns:
            is_text = table.meaning(column.name).unit == "text"
            assert is_text == (column.kind in ("text", "category", "date")), (table.name, column.name)


def test_a_name_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="hight: expected a column of the vocabulary"):
        meaning_of("hight")
