"""One word of a few."""

import pytest

from nnunet_ms.errors import NnunetMsError, OptionError
from nnunet_ms.options import chosen, known_keywords


def test_an_allowed_word_comes_back():
    assert chosen("breslow", ("efron", "breslow"), "ties") == "breslow"


@pytest.mark.parametrize("value", ["Efron", "efron ", "", "exact", None, 1])
def test_any_other_word_is_refused_with_the_known_ones(value):
    with pytest.raises(OptionError, match="ties: expected one of 'efron', 'breslow', found") as raised:
        chosen(value, ("efron", "breslow"), "ties")
    assert repr(value) in str(raised.value)
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, NnunetMsError)


def test_the_nearest_word_is_proposed():
    with pytest.raises(OptionError, match="Did you mean 'efron'"):
        chosen("EFRON", ("efron", "breslow"), "ties")


@known_keywords
def draw(path, *, colour="black", width=1):
    """Draw a line."""
    return path, colour, width


def test_known_keywords_pass_and_the_function_looks_like_itself():
    assert draw("a", width=2) == ("a", "black", 2)
    assert (draw.__name__, draw.__doc__) == ("draw", "Draw a line.")


@pytest.mark.parametrize(("name", "hint"), [("color", r" Did you mean 'colour'\?"), ("xyz", "")])
def test_an_unknown_keyword_is_refused_with_the_known_ones(name, hint):
    with pytest.raises(TypeError, match=rf"draw: unknown argument '{name}'\.{hint} It takes path, colour, width\."):
        draw("a", **{name: 1})


def test_what_is_missing_is_said_by_python():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'path'"):
        draw(width=2)
