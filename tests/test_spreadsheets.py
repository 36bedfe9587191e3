"""Tables as Excel, R, SAS and clinics save them: read as they are meant, or refused by row and column.

Oracle: the plain table of the same content, which must give the same frame.
"""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ms.dates import day_of
from nnunet_ms.errors import TableError
from nnunet_ms.table_files import as_number
from nnunet_ms.tables import ASSESSMENTS, PATIENTS, VISITS, read_table, write_table

PLAIN = """patient_id,arm,age_years,sex,region,edss_baseline,randomisation_date,discontinued_week
001,Placebo,34.5,F,NA,2.5,2021-12-31,
002,Active,41,M,EU,6,2022-01-03,30.5
003,Active,55,F,EU,0,2022-02-28,
"""


def write(folder, content, name="patients.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    return read_table(write(tmp_path_factory.mktemp("plain"), PLAIN), PATIENTS)


def commas(text):
    return text.replace(",", ";").replace("34.5", "34,5").replace("2.5", "2,5").replace("30.5", "30,5")


READ = {
    "byte order mark": "\ufeff" + PLAIN,
    "windows line ends": PLAIN.replace("\n", "\r\n"),
    "semicolons": PLAIN.replace(",", ";"),
    "decimal commas": commas(PLAIN),
    "decimal commas, mark and line ends": ("\ufeff" + commas(PLAIN)).replace("\n", "\r\n"),
    "excel's first line": "sep=;\r\n" + commas(PLAIN),
    "tabs": PLAIN.replace(",", "\t"),
    "tabs and decimal commas": commas(PLAIN).replace(";", "\t"),
    "quoted header": '"' + PLAIN.split("\n")[0].replace(",", '","') + '"\n' + PLAIN.split("\n", 1)[1],
    "everything quoted": "\n".join(",".join(f'"{c}"' for c in line.split(",")) for line in PLAIN.splitlines()),
    "trailing blanks": PLAIN.replace("Placebo", "Placebo  ").replace("arm,", "arm ,").replace("F,", " F\u00a0,"),
    "unseen characters": PLAIN.replace("Placebo", "\u200bPlacebo").replace("002", "\ufeff002"),
    "blank rows at the end": PLAIN + ",,,,,,,\n" * 3,
    "blank columns at the end": "\n".join(f"{line},,," for line in PLAIN.splitlines()),
    "R's NA": PLAIN.replace("2021-12-31,\n", "2021-12-31,NA\n").replace("2022-02-28,\n", "2022-02-28,NA\n"),
    "SAS's dot": PLAIN.replace("2021-12-31,\n", "2021-12-31,.\n"),
    "n/a, null and a dash": PLAIN.replace("31,\n", "31,n/a\n").replace("28,\n", "28,NULL\n"),
    "apostrophes that keep zeros": PLAIN.replace("002", "'002"),
    "formulas that keep zeros": PLAIN.replace("002", '"=""002"""').replace("003", '="003"'),
    "no line end at the end": PLAIN.rstrip("\n"),
}


@pytest.mark.parametrize("name", READ)
def test_what_spreadsheets_save_is_read_as_it_is_meant(name, right, tmp_path):
    pd.testing.assert_frame_equal(read_table(write(tmp_path, READ[name]), PATIENTS), right)


REFUSED = {
    "mixed decimal signs": (commas(PLAIN).replace("34,5", "34.5"), r"row 1, column age_years: expected one sign"),
    "thousands": (commas(PLAIN).replace("34,5", "1.034,5"), r"row 1, column age_years: expected .*found '1\.034,5'"),
    "decimal comma beside commas": (PLAIN.replace("34.5", '"34,5"'),
                                    r"row 1, column age_years: .*found '34,5'.*Write decimals with a point, or"),
    "a number with its unit": (PLAIN.replace("34.5", "34.5 y"), r"row 1, column age_years: .*found '34\.5 y'"),
    "a missing number": (PLAIN.replace(",41,", ",NA,"), r"row 2, column age_years: expected a number .*found 'NA'"),
    "a dot for a missing age": (PLAIN.replace(",41,", ",.,"), r"row 2, column age_years: expected .*found '\.'"),
    "an error of Excel": (PLAIN.replace(",41,", ",#VALUE!,"), r"row 2, column age_years: .*found '#VALUE!'"),
    "no sex": (PLAIN.replace(",M,", ",NA,"), r"row 2, column sex: expected text, found 'NA'"),
    "a dot for an arm": (PLAIN.replace("002,Active", "002,."), r"row 2, column arm: expected text, found '\.'"),
    "mixed case of an arm": (PLAIN.replace("002,Active", "002,ACTIVE"), r"row 3, column arm: expected one spelling"),
    "trailing blanks and case": (PLAIN.replace("002,Active", "002,active "), r"row 3, column arm: expected one"),
    "day first": (PLAIN.replace("2021-12-31", "31.12.2021"), r'row 1, column randomisation_date: .*"day-first"'),
    "slashes": (PLAIN.replace("2021-12-31", "12/31/2021"), r'row 1, column randomisation_date: .*no day is guessed'),
    "short year": (PLAIN.replace("2021-12-31", "31.12.21"), r"row 1, column randomisation_date: expected one"),
    "Excel's number of a day": (PLAIN.replace("2021-12-31", "44561"), r"row 1, column randomisation_date: expect"),
    "header in capitals": (PLAIN.replace("patient_id", "Patient ID"), r"Rename 'Patient ID' to patient_id\."),
    "header in other dashes": (PLAIN.replace("edss_baseline", "EDSS-Baseline"), r"Rename 'EDSS-Baseline' to edss_base"),
    "cells below no name": ("a,b,\n1,2,\n3,4,x\n", r"row 2, column 3: expected nothing, as the column has no n"),
    "a blank row in the middle": (PLAIN.replace("002,", ",,,,,,,\n002,"), r"row 2, column patient_id: expected"),
    "an id of zeros lost twice": (PLAIN.replace("002", "001"), r"row 2: patient_id 001 stands twice"),
    "Latin-1": (PLAIN.replace("Placebo", "Plac\u00e9bo").encode("latin-1"), "Save it as CSV UTF-8"),
    "Excel's Unicode text": (PLAIN.replace(",", "\t").encode("utf-16"), "Save it as CSV UTF-8"),
    "bars": (PLAIN.replace(",", "|"), r"needs columns .*Save the table with commas, semicolons or tabs between"),
    "a title": ("Trial X\n" + PLAIN, r"line 2: expected 1 cells as in the header, found 8\. Is line 1 a title\?"),
    "a title in a row": ("Trial X,,,,,,,\n" + PLAIN, r"row 1, column 2: expected nothing, .*Is line 1 a title\?"),
    "an id in scientific notation": (PLAIN.replace("002", "1E+05"), r"row 2, column patient_id: expected an id"),
    "semicolons in rows only": (PLAIN.replace(",", ";").replace(";", ",", 7), "line 2: expected 8"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_so_is_refused_by_row_and_column(name, tmp_path):
    content, message = REFUSED[name]
    with pytest.raises(TableError, match=message) as caught:
        read_table(write(tmp_path, content), PATIENTS)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'patients.csv'}: ")
    assert "expected" in text or "needs" in text or "stands twice" in text
    assert text.endswith((".", "?"))


@pytest.mark.parametrize(
    ("order", "text", "day"),
    [
        ("day-first", "03.04.2021", "2021-04-03"),
        ("day-first", "3/4/2021", "2021-04-03"),
        ("day-first", "3-4-2021 08:30", "2021-04-03"),
        ("month-first", "03/04/2021", "2021-03-04"),
        ("day-first", "2021-04-03", "2021-04-03"),  # ISO 8601 has one order, whatever is declared
    ],
)
def test_declared_dates_are_days(order, text, day, tmp_path):
    path = write(tmp_path, PLAIN.replace("2021-12-31", text))
    assert read_table(path, PATIENTS, order)["randomisation_date"][0] == day
    assert day_of(text, order).isoformat() == day


@pytest.mark.parametrize(
    ("order", "text"),
    [("day-first", "12/31/2021"), ("month-first", "31/12/2021"), ("day-first", "31.02.2021"), ("day-first", "1.2.21"),
     ("day-first", "1.2/2021"), ("iso", "01.02.2021")],
)  # fmt: skip
def test_a_date_that_the_declared_order_does_not_have_is_refused(order, text, tmp_path):
    path = write(tmp_path, PLAIN.replace("2021-12-31", text))
    with pytest.raises(TableError, match=r"row 1, column randomisation_date: expected one day"):
        read_table(path, PATIENTS, order)


def test_numbers_of_assessments_and_visits_may_have_decimal_commas(tmp_path):
    rows = "patient_id;week;edss;t25fw_s;scheduled\n001;0;2,5;5,25;yes\n001;12,5;NA;.;NA\n"
    found = read_table(write(tmp_path, rows.replace("NA\n", "no\n")), ASSESSMENTS)
    assert found[["week", "edss", "t25fw_s"]].to_numpy()[0].tolist() == [0.0, 2.5, 5.25]
    assert found["edss"].isna().tolist() == [False, True]
    volumes = "case_id;patient_id;visit;week;rater;lesion_type;lesion_count;volume_ml\nc;P;v;0;r;t2_lesions;3;1,234\n"
    assert read_table(write(tmp_path, volumes), VISITS)["volume_ml"].tolist() == [1.234]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_to_its_last_digit(value):
    # Oracle: Python writes the shortest text that is this float alone (PEP 3101, repr).
    assert as_number(repr(value)) == value


@given(st.text(max_size=12))
def test_a_number_is_what_python_and_a_plain_pattern_call_one(text):
    found = as_number(text)
    if not math.isnan(found):
        assert float(text) == found
        assert text.isascii()
        assert not set(text) & set("_ \t\n")


def test_written_tables_come_back_bit_by_bit(tmp_path):
    rng = np.random.default_rng(3)
    values = rng.random(2000) * 10.0 ** rng.integers(-6, 3, 2000)
    frame = pd.DataFrame({"case_id": [f"c{i}" for i in range(2000)], "patient_id": "P", "visit": "v",
                          "week": 0.0, "rater": "r", "lesion_type": "t2_lesions", "lesion_count": 1,
                          "volume_ml": values})  # fmt: skip
    write_table(frame, tmp_path / "visits.csv")
    np.testing.assert_array_equal(read_table(tmp_path / "visits.csv", VISITS)["volume_ml"], values)
