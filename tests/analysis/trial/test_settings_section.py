from pathlib import Path

import pytest

from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.analysis.trial.settings_section import Section, did_you_mean, read_sections
from nnunet_ms.errors import SettingsError
from tests.analysis.synthetic_trial import SETTINGS, write_trial

PATH = Path("trial.toml")


def section(**values):
    return Section(PATH, "visits", values)


def test_values_of_every_kind():
    found = section(name="a", names=["a", "b"], one="a", weeks=[24, 48.5], week=0, on=True, kind="r", inner={"x": 1})
    assert found.text("name") == found.optional_text("name") == "a"
    assert (found.texts("names"), found.texts("one")) == (("a", "b"), ("a",))
    assert (found.numbers("weeks"), found.numbers("week", single=True)) == ((24.0, 48.5), (0.0,))
    assert found.flag("on") is True
    assert found.choice("kind", ("r", "sas")) == "r"
    assert (found.inner("inner"), found.inner_names()) == ({"x": 1}, ["inner"])
    found.refuse_unknown()


def test_what_is_absent_and_not_required():
    found = section()
    assert found.optional_text("name") is None
    assert (found.texts("names", ("usual",)), found.texts("more", ())) == (("usual",), ())
    assert found.numbers("week", single=True, default=3.0) == (3.0,)
    assert found.choice("kind", ("r", "sas")) is None
    assert (found.inner("inner"), found.inner_names()) == ({}, [])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: s.text("key"), "text in quotes"),
        (lambda s: s.texts("key"), r'a list such as \["a", "b"\]'),
        (lambda s: s.numbers("key"), r"a list such as \[24, 48, 96\]"),
        (lambda s: s.numbers("key", single=True), "a number"),
        (lambda s: s.flag("key"), "true or false"),
        (lambda s: s.choice("key", ("r", "sas")), r"one of \['r', 'sas'\]"),
        (lambda s: s.inner("key"), r"a section \[visits\.key\]"),
    ],
    ids=["text", "texts", "numbers", "number", "flag", "choice", "inner"],
)
def test_another_kind_of_value_is_refused_and_named(ask, message):
    wrong = {"text": ["", 3], "list": [[], [3], ["a", ""]], "number": ["a", [True], [1, "b"], []]}
    kind = "text" if "quotes" in message else "list" if '"a"' in message else "number"
    for value in wrong[kind] if "one of" not in message else ["x", 3]:
        if kind == "number" and value == [] and "section" not in message:
            continue
        with pytest.raises(SettingsError, match=rf"trial\.toml: \[visits\] key: expected {message}, found"):
            ask(section(key=value))


@pytest.mark.parametrize("value", [[], 24, "24", [24, True], [24, "48"]])
def test_weeks_are_a_list_of_numbers_with_something_in_it(value):
    with pytest.raises(SettingsError, match=r"weeks: expected a list such as \[24, 48, 96\], found"):
        section(weeks=value).numbers("weeks")


@pytest.mark.parametrize("method", ["text", "texts", "numbers", "flag"])
def test_a_required_key_that_is_absent_is_named_beside_those_there(method):
    with pytest.raises(SettingsError, match=r"\[visits\] needs weeks .*found \['wekks'\]\. Add it"):
        getattr(section(wekks=[1]), method)("weeks")
    with pytest.raises(SettingsError, match=r"\[visits\] needs weeks \(one of \['a'\]\)"):
        section().choice("weeks", ("a",), required=True)


def test_a_key_that_nobody_asked_for_is_refused_with_the_nearest_known_one():
    found = section(wekks=[1], weeks=[24])
    found.numbers("weeks")
    with pytest.raises(SettingsError, match=r"unknown key 'wekks'; known are \['weeks'\]\. Did you mean weeks\?"):
        found.refuse_unknown()
    assert did_you_mean("xyz", ["weeks"]) == " Remove it."
    with pytest.raises(
        SettingsError, match=r"expected a section \[visits\], found 3\. Write \[visits\] on its own line"
    ):
        Section(PATH, "visits", 3)


def test_sections_of_a_file(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text("[visits]\nweeks = [24]\n", encoding="utf-8")
    found = read_sections(path, ["visits", "arms"])
    assert (found["visits"].numbers("weeks"), found["arms"].values) == ((24.0,), {})
    with pytest.raises(
        SettingsError, match=r"unknown section \[visits\]; known are \['visit'\]\. Did you mean visit\?"
    ):
        read_sections(path, ["visit"])
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(SettingsError, match="expected a TOML file in UTF-8, cannot read it"):
        read_sections(path, ["visits"])
    with pytest.raises(
        SettingsError, match=r"none\.toml: no such settings file\. Write one with: nnunet-ms-endpoints init"
    ):
        read_sections(tmp_path / "none.toml", ["visits"])


@pytest.mark.parametrize("key", ["strata", "subgroups", "sequence"])
def test_an_empty_list_is_an_answer_where_nothing_is_one(tmp_path, key):
    # [] is none of them, no line is the usual ones; an outcome or an arm there must be.
    path = write_trial(tmp_path, SETTINGS.replace("[analysis]", f"[analysis]\n{key} = []"))
    assert getattr(read_settings(path).analysis, key) == ()
    path.write_text(SETTINGS.replace('outcomes = ["cdp24"]', "outcomes = []"))
    with pytest.raises(SettingsError, match=r"outcomes: expected a list such as"):
        read_settings(path)
