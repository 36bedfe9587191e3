import pandas as pd
import pytest

from nnunet_ms.analysis.trial.populations import Population, population_settings, split_population
from nnunet_ms.analysis.trial.settings_section import Section
from nnunet_ms.errors import SettingsError, TableError

TABLE = pd.DataFrame({"patient_id": ["A", "B", "C", "D"], "arm": list("xyxy"), "ITTFL": ["Y", "N", None, " Y "]})
ITT = Population("itt", "ITTFL", ("Y",))


def test_inside_are_those_with_one_of_the_values_spaces_apart():
    inside, outside = split_population(TABLE, ITT, "patients.csv")
    assert inside["patient_id"].tolist() == ["A", "D"]
    assert inside.index.tolist() == [0, 1]
    assert outside.to_numpy().tolist() == [
        ["itt", "B", "y", "ITTFL", "N", "ITTFL is N, not Y"],
        ["itt", "C", "x", "ITTFL", "", "ITTFL is blank, not Y"],
    ]


def test_without_a_population_everybody_is_inside():
    inside, outside = split_population(TABLE, None, "patients.csv")
    pd.testing.assert_frame_equal(inside, TABLE)
    assert outside.empty


def test_several_values():
    both = Population("known", "ITTFL", ("Y", "N"))
    inside, outside = split_population(TABLE, both, "patients.csv")
    assert inside["patient_id"].tolist() == ["A", "B", "D"]
    assert outside["reason"].tolist() == ["ITTFL is blank, not Y or N"]


def test_a_population_of_nobody_or_without_its_column_is_refused():
    with pytest.raises(TableError, match=r"patients\.csv: population safety needs column SAFFL, found .*'ITTFL'"):
        split_population(TABLE, Population("safety", "SAFFL", ("Y",)), "patients.csv")
    with pytest.raises(
        TableError, match=r"nobody is in population itt; expected one of \['1'\], found \['', 'N', 'Y'\]"
    ):
        split_population(TABLE, Population("itt", "ITTFL", ("1",)), "patients.csv")


def section(tmp_path, **values):
    return Section(tmp_path / "trial.toml", "populations", values)


def test_settings_of_populations(tmp_path):
    itt, safe = {"column": "ITTFL", "values": ["Y"]}, {"column": "SAFFL", "values": "Y"}
    found = population_settings(section(tmp_path, main="itt", beside=["safety"], itt=itt, safety=safe))
    assert (found.main, found.beside) == ("itt", ("safety",))
    assert found.defined == {"itt": ITT, "safety": Population("safety", "SAFFL", ("Y",))}
    none = population_settings(section(tmp_path))
    assert (none.main, none.beside, none.defined) == (None, (), {})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"main": "pp"}, r"\[populations\] main: expected one of \['itt'\], found 'pp'"),
        ({"beside": ["pp"]}, r"beside: expected some of the defined populations \['itt'\], found \['pp'\]"),
        ({"main": "itt", "beside": ["itt"]}, "beside: expected populations other than main"),
        ({"pp": {"values": ["Y"]}}, r"\[populations\.pp\] needs column"),
        ({"pp": {"column": "PPFL"}}, r"\[populations\.pp\] needs values"),
        ({"pp": {"column": "PPFL", "values": ["Y"], "valus": 1}}, r"\[populations\.pp\] has an unknown key 'valus'"),
    ],
)
def test_mistakes_in_the_settings_of_populations(tmp_path, values, message):
    with pytest.raises(SettingsError, match=message):
        population_settings(section(tmp_path, itt={"column": "ITTFL", "values": ["Y"]}, **values))
