"""Every kind of source is in the list, is named as its module, and its own defaults are words that it knows."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from nnunet_ms.dataset_conversion.sources import all_sources
from nnunet_ms.dataset_conversion.sources.all_sources import SOURCES, check_options, kinds_that_take, source_of
from nnunet_ms.errors import ConversionError, NnunetMsError, OptionError


def test_the_list_names_every_module_that_has_a_source():
    folder = Path(all_sources.__file__).parent
    modules = {path.stem for path in folder.glob("*.py") if "\nSOURCE = " in path.read_text(encoding="utf-8")}
    assert set(SOURCES) == modules


@pytest.mark.parametrize("kind", SOURCES)
def test_a_kind_is_named_as_its_module_and_knows_its_own_defaults(kind, tmp_path):
    source = source_of(kind)
    assert find_spec(SOURCES[kind]).name.endswith(f".{source.kind}")
    assert source.kind == kind
    # an empty place is refused for its files, and not for a word
    with pytest.raises(NnunetMsError, match=r"^(?!.*--(channels|target))") as raised:
        source.find(source.request(tmp_path / "manifest.csv" if kind == "trial" else tmp_path))
    assert str(tmp_path) in str(raised.value)


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(
        OptionError, match=r"kind: expected one of 'trial', 'open_ms', .*'bids', 'folder', found 'BIDS'"
    ) as raised:
        source_of("BIDS")
    assert "Did you mean 'bids'?" in str(raised.value)


def test_who_takes_which_option():
    # by hand, from README and the command's help
    archives = ["isbi2015", "msseg2016", "msseg2_2021", "mslesseg", "shifts", "wmh2017", "open_ms_longitudinal", "bids"]
    assert kinds_that_take("rater") == ["ms3seg", *archives]
    assert kinds_that_take("variant") == ["open_ms", "ms3seg", *archives]
    assert kinds_that_take("prefer") == ["bids"]


@pytest.mark.parametrize("option", ["rater", "variant", "prefer"])
def test_an_option_that_a_kind_does_not_take_is_refused(option, tmp_path):
    source = source_of("trial")
    with pytest.raises(ConversionError, match=f"--{option} is for .*; remove it for trial"):
        check_options(source, source.request(tmp_path, **{option: "x"}))
    check_options(source, source.request(tmp_path))


def test_kinds_can_be_listed_without_importing_any_of_them():
    code = (
        "import sys; from nnunet_ms.dataset_conversion.sources.all_sources import SOURCES; "
        "print(sorted({'pandas', 'numpy', 'nibabel', *SOURCES.values()} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
