"""A request takes the words that were given, and the source's own where none were."""

from pathlib import Path

import pytest

from nnunet_ms.dataset_conversion.cases import DatasetInfo
from nnunet_ms.dataset_conversion.sources.source import Request, Source

SOURCE = Source("scans", DatasetInfo("Scans"), ("flair", "t1"), "t2_lesions", find=lambda request: [])


@pytest.mark.parametrize("nothing", [None, "", [], " , "])
def test_own_channels_and_target_where_none_are_named(nothing):
    target = None if nothing is None else ""
    assert SOURCE.request("scans", nothing, target) == Request(Path("scans"), ("flair", "t1"), "t2_lesions")


@pytest.mark.parametrize(
    "channels", ["t2,flair", " t2 , flair,", ["t2", "flair"], ("t2", "flair"), iter(["t2", "flair"])]
)
def test_channels_as_a_list_or_as_text(channels):
    request = SOURCE.request(Path("scans"), channels, "new_lesions", "1", "raw", "run=1")
    assert request == Request(Path("scans"), ("t2", "flair"), "new_lesions", "1", "raw", "run=1")


def test_files_are_named_below_the_folder_or_below_the_manifests(tmp_path):
    assert SOURCE.request(tmp_path).root == tmp_path
    (tmp_path / "manifest.csv").touch()
    assert SOURCE.request(tmp_path / "manifest.csv").root == tmp_path
