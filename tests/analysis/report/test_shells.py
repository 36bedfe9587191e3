"""Oracle: ICH E3's numbering, written out by hand."""

import pandas as pd
import pytest

from nnunet_ms.analysis.report.parts import Block, TextTable
from nnunet_ms.analysis.report.shells import (
    MARK,
    Around,
    aligned,
    listing_shell,
    number_listings,
    number_tables,
    table_shells,
)
from nnunet_ms.analysis.trial.report_settings import ReportSettings

LINES = [["part"], ["a", "10.5", "p .010"], ["b", "0.96 (0.62 to 1.5)", "x"]]
AROUND = Around(
    "trial",
    "Program: p 1.0, 2026-01-01",
    simulated=True,
    report=ReportSettings("Title", "ABC-1", "2025-12-31", "draft"),
)


def block(key, *stems, beside=()):
    tables = [TextTable(stem, f"Title of {stem}", ["", "x", "p"], LINES, "a note") for stem in (*stems, *beside)]
    return Block(key, key.title(), "?", "all", tables[: len(stems)], beside=tables[len(stems) :], notes=["how"])


BLOCKS = [block("disposition", "flow"), block("baseline", "age", "sex"), block("cdp24_by_arm", "km", beside=["more"])]


def test_patients_are_14_1_and_effects_14_2_whatever_their_order():
    expected = {
        "flow": "14.1.1.1", "age": "14.1.2.1", "sex": "14.1.2.2", "km": "14.2.1.1", "more": "14.2.1.2",
    }  # fmt: skip
    assert number_tables(BLOCKS) == expected
    assert number_tables([BLOCKS[2], *BLOCKS[:2]]) == expected


def test_tables_without_a_line_have_no_number():
    empty = Block("baseline", "B", "?", "all", [TextTable("none", "N", ["", "x"], [])])
    assert number_tables([empty, BLOCKS[2]]) == {"km": "14.2.1.1", "more": "14.2.1.2"}


def test_what_stands_around_a_table():
    listings = number_listings(["patients", "cdp24"])
    found = {shell.table.stem: shell for shell in table_shells(BLOCKS, listings, AROUND)}
    assert found["km"].titles == ("Table 14.2.1.1", "Title of km", "Cdp24_By_Arm", "Population: all")
    source = "Source: Listing 16.2.2, endpoints.csv"
    assert found["km"].footnotes == ("a note", "how", source, "Program: p 1.0, 2026-01-01")
    assert "Source: Listing 16.2.1, endpoints.csv" in found["flow"].footnotes
    assert found["km"].header == (MARK, "Title, Study ABC-1, Data cut 2025-12-31, DRAFT")
    assert found["km"].groups == [(0, 2)]


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("ccdp12_by_arm", "Listing 16.2.2, "),
        ("cdp12_by_arm", "Listing 16.2.1, "),
        ("cdp12", "Listing 16.2.1, "),
        ("t2_volume_percent_change", "Listing 16.2.3, "),
        ("enhancing_lesions", ""),
    ],
)
def test_the_source_is_the_listing_of_the_same_outcome_and_no_other(key, named):
    listings = number_listings(["cdp12", "ccdp12", "t2_volume_percent_change"])
    shell = table_shells([block(key, "t")], listings, AROUND)[0]
    assert f"Source: {named}endpoints.csv" in shell.footnotes


@pytest.mark.parametrize(
    ("lines", "groups"),
    [
        ([["a", "1"], ["b", "2"]], []),
        ([["p"], ["a", "1"], ["q"], ["b", "2"], ["c", "3"]], [(0, 1), (2, 4)]),
        ([["a", "1"], ["p"], ["b", "2"]], [(1, 2)]),
    ],
)
def test_a_variable_is_a_heading_and_its_rows(lines, groups):
    table = TextTable("t", "T", ["", "x"], lines)
    shell = table_shells([Block("k", "K", "?", "all", [table])], {}, AROUND)[0]
    assert shell.groups == groups


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (["10.5", "0.96 (0.62 to 1.5)"], ["10.5", "_0.96 (0.62 to 1.5)"]),
        (["−1.0", "12"], ["−1.0", "12"]),
        (["1,234", "5 (1 %)"], ["1,234", "____5 (1 %)"]),
        (["p .844", "p < .001"], ["p .844", "p < .001"]),
        (["not estimable", "–", ""], ["not estimable", "–", ""]),
        ([".5", "10"], ["__.5", "10"]),
    ],
)
def test_decimal_points_stand_below_each_other(cells, shown):
    found = aligned([["label", cell] for cell in cells])
    assert [line[1].replace("\N{FIGURE SPACE}", "_") for line in found] == shown


def test_a_listing_shows_blanks_and_six_digits():
    frame = pd.DataFrame({"patient_id": ["P1", "P2"], "week": [12.0, None], "ml": [1.23456789, 2.0]})
    shell = listing_shell("volumes", "Volumes", "16.2.3", frame, AROUND)
    assert shell.table.lines == [["P1", "12", "1.23457"], ["P2", "", "2"]]
    assert shell.titles == ("Listing 16.2.3", "Volumes")
    assert "audit/volumes.csv has all" in shell.footnotes[0]
