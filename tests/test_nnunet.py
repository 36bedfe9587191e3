"""Which nnU-Net is there: right, missing, too old, too new."""

import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from nnunet_ms import nnunet
from nnunet_ms.errors import SettingsError

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("found", ["2.8", "2.8.1", "2.9.0.dev1", "2.10.3+local"])
def test_a_version_in_the_range(monkeypatch, found):
    monkeypatch.setattr(nnunet, "version", lambda _: found)
    assert nnunet.require_nnunet() == found


@pytest.mark.parametrize("found", ["2.7.3", "1.7.1", "3.0", "3.0.0rc1", "10.2"])
def test_a_version_outside_the_range_is_named_with_what_to_install(monkeypatch, found):
    monkeypatch.setattr(nnunet, "version", lambda _: found)
    with pytest.raises(SettingsError, match=rf"expected nnunetv2 >= 2.8, < 3, found {found}. Install it: pip install"):
        nnunet.require_nnunet()


def test_no_nnunet(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(nnunet, "version", missing)
    monkeypatch.setattr(nnunet, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"found none in this Python\. Install it"):
        nnunet.require_nnunet()
    monkeypatch.setattr(nnunet, "find_spec", lambda _: object())
    assert nnunet.require_nnunet() == "unknown"


def test_the_range_is_that_of_the_package():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    oldest, before = (".".join(map(str, numbers)) for numbers in (nnunet.OLDEST, nnunet.BEFORE))
    assert f"nnunetv2>={oldest},<{before.removesuffix('.0')}" in wanted
