"""Names that become parts of file names."""

from pathlib import Path

import pytest

from nnunet_ms.errors import ModelError, SettingsError
from nnunet_ms.plain_names import plain_name


@pytest.mark.parametrize("name", ["t2_lesions", "T1 black hole", "läsion", "病灶", "FLAIR-2.0", "x" * 100, "T1 (Gd+)"])
def test_a_plain_name_stays_in_its_folder(name, tmp_path):
    path = tmp_path / f"P1_{plain_name(name, 'label')}.nii.gz"
    path.touch()  # Oracle: the file system itself.
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert path.resolve().parent == tmp_path


STRANGE = ["x/../../../../T", "..", ".", "", " ", "a/b", "a\\b", "/etc/x", "C:x", "a\nb", "a\0b", "\x1b[31m", ".hidden"]
STRANGE += ["-rf", "a*", "x" * 101, "a ", "\ud800", "a\u202eb", None, 3, ["a"], Path("a")]


@pytest.mark.parametrize("name", STRANGE, ids=lambda name: ascii(name)[:12])
def test_a_strange_name_is_refused_in_one_line(name):
    with pytest.raises(
        SettingsError, match=r"\Alabel: expected a plain name .*, found .*\. Rename it: .*\Z"
    ) as refused:
        plain_name(name, "label")
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()


def test_the_error_is_that_of_the_caller():
    with pytest.raises(ModelError, match=r"dataset\.json: channel: expected a plain name"):
        plain_name("../x", "dataset.json: channel", ModelError)
