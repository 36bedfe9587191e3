"""Notes on what is done are believed only while nothing that they follow from has changed."""

import json
import os

import pytest

from nnunet_ms.dataset_conversion.cases import Case, Mask
from nnunet_ms.dataset_conversion.resume_notes import fingerprint, recall, remember


@pytest.fixture
def case(tmp_path):
    for name in ("flair", "mask", "brain", "grid", "transform"):
        (tmp_path / name).write_text(name)
    return Case(
        "P1",
        "base",
        0.0,
        {"flair": tmp_path / "flair"},
        Mask({"t2": tmp_path / "mask"}),
        brain_mask=tmp_path / "brain",
        reference=tmp_path / "grid",
        transforms={"flair": (tmp_path / "transform",)},
    )


def test_a_note_comes_back_for_its_own_key_only(tmp_path, case):
    note, key = tmp_path / "P1.json", fingerprint(case, {"role": "train"})
    assert recall(note, key) is None
    remember(note, key, {"row": {"week": 0.0}, "files": {"a": 3}})
    assert recall(note, key) == {"row": {"week": 0.0}, "files": {"a": 3}}
    assert recall(note, fingerprint(case, {"role": "test"})) is None
    assert [path.name for path in tmp_path.glob("P1*")] == ["P1.json"]  # the partial one is gone
    assert set(json.loads(note.read_text())) == {"key", "value"}


@pytest.mark.parametrize("name", ["flair", "mask", "brain", "grid", "transform"])
def test_any_file_that_changes_changes_the_key(tmp_path, case, name):
    before = fingerprint(case, {})
    assert fingerprint(case, {}) == before
    status = (tmp_path / name).stat()
    os.utime(tmp_path / name, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = fingerprint(case, {})
    (tmp_path / name).write_text("longer than before")
    os.utime(tmp_path / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    longer = fingerprint(case, {})
    (tmp_path / name).unlink()
    assert len({before, touched, longer, fingerprint(case, {})}) == 4
