"""Links in a source that lead out of it are named; a folder behind one is left out and listed."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.convert import check, convert
from nnunet_ms.images.volumes import write_volume

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
NAMES = ("FLAIR", "T1w", "lesion")


def write_patient(folder, seed):
    rng = np.random.default_rng(seed)
    for name in NAMES:
        data = rng.normal(100, 20, (8, 8, 4)).astype(np.float32)
        write_volume(folder / f"{name}.nii.gz", (data > 120).astype(np.uint8) if name == "lesion" else data, AFFINE)


def write_bids(folder, patient, seed):
    write_patient(folder / "tmp", seed)
    place = folder / f"sub-{patient}" / "anat"
    place.mkdir(parents=True)
    for name in NAMES[:2]:
        (folder / "tmp" / f"{name}.nii.gz").rename(place / f"sub-{patient}_{name}.nii.gz")
    (folder / "tmp" / "lesion.nii.gz").unlink()
    (folder / "tmp").rmdir()
    return place


@pytest.fixture
def source(tmp_path):
    """Three patients in folders, and a store beside them."""
    for number in range(3):
        write_patient(tmp_path / "source" / f"P{number}", number)
    write_patient(tmp_path / "store" / "P9", 9)
    return tmp_path / "source"


def link(path, to):
    path.unlink(missing_ok=True)
    path.symlink_to(to)


def notes_of(source, kind="ms3seg"):
    return {(row.severity, row.case): row.problem for row in check(source, kind, channels="flair,t1").problems}


@pytest.mark.parametrize(("file", "number"), [("FLAIR", 1), ("T1w", 2), ("lesion", 0)])
def test_a_file_that_links_out_of_the_source_is_named(source, file, number):
    elsewhere = source.parent / "store" / "P9" / f"{file}.nii.gz"
    link(source / f"P{number}" / f"{file}.nii.gz", elsewhere)
    named = f"{file}.nii.gz is a link out of the source, to {elsewhere}"
    assert notes_of(source) == {("note", f"P{number}"): named}
    done = convert(source, "ms3seg", dataset_id=5, raw=source.parent / "raw", channels="flair,t1")
    assert done.notes == (f"P{number}: {named}",)
    assert len(done.cases) == 3


def test_a_patients_folder_that_links_out_is_named_file_by_file(source):
    (source / "P9").symlink_to(source.parent / "store" / "P9")
    ((key, named),) = notes_of(source).items()
    assert key == ("note", "P9")
    assert named.count("is a link out of the source") == 3


def test_links_inside_a_source_are_nobodys_harm(source):
    inside = source / "annex" / "x.nii.gz"
    inside.parent.mkdir()
    (source / "P1" / "FLAIR.nii.gz").rename(inside)
    link(source / "P1" / "FLAIR.nii.gz", inside)
    assert notes_of(source) == {}


def test_a_source_that_is_itself_behind_a_link(source):
    (source.parent / "alias").symlink_to(source)
    assert notes_of(source.parent / "alias") == {}


def test_links_behind_a_manifest_are_named(source):
    link(source / "P1" / "FLAIR.nii.gz", source.parent / "store" / "P9" / "FLAIR.nii.gz")
    row = {"patient_id": "P1", "visit": "base", "week": 0, "flair": "P1/FLAIR.nii.gz", "t2_lesions": "P1/lesion.nii.gz"}
    pd.DataFrame([row]).to_csv(source / "manifest.csv", index=False)
    (problem,) = check(source / "manifest.csv", channels="flair").problems
    assert (problem.severity, problem.case) == ("note", "P1_base")
    assert problem.problem.startswith("FLAIR.nii.gz is a link out of the source, to ")


def test_a_folder_behind_a_link_out_is_listed_where_a_tree_is_walked(tmp_path):
    for number in range(2):
        write_bids(tmp_path / "source", f"{number}", number)
    elsewhere = write_bids(tmp_path / "store", "9", 9).parent
    (tmp_path / "source" / "sub-9").symlink_to(elsewhere)
    (tmp_path / "source" / "again").symlink_to(tmp_path / "source")  # a circle, which is not walked
    found = check(tmp_path / "source", "bids", channels="flair,t1")
    assert found.failed == {"folder-sub-9"}
    assert found.problems[0].problem.endswith(
        "sub-9: is a link out of the source. Copy the folder, or take it out of the source."
    )
