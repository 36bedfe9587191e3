"""One word of a few."""

import pytest

from nnunet_ms.errors import NnunetMsError, OptionError
from nnunet_ms.options import chosen


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
