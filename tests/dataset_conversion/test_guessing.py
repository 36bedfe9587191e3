"""`guess` and `manifest` on folders of small images: what they write is read back, what is not sure is said."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import convert
from nnunet_ms.dataset_conversion.guessing import guess_source, write_manifest
from nnunet_ms.dataset_conversion.sources.patterns import patterns_of
from nnunet_ms.errors import ConversionError
from tests.dataset_conversion.conftest import SHAPE, save, tree


def image(seed):
    return np.random.default_rng(seed).integers(1, 900, SHAPE).astype(np.int16)


def mask():
    data = np.zeros(SHAPE, np.uint8)
    data[3:5, 3, 2] = 1
    return data


@pytest.fixture
def scans(tmp_path):
    for number, patient in enumerate(("A1", "A2", "B1")):
        for week in (0, 24):
            place = tmp_path / "scans" / patient / f"w{week}"
            save(place / "FLAIR.nii.gz", image(100 * number + week))
            save(place / "T1_mprage.nii.gz", image(100 * number + week + 1))
            save(place / "lesion_mask.nii.gz", mask())
            save(place / "localizer.nii.gz", image(100 * number + week + 2))
    return tmp_path / "scans"


def test_what_guess_writes_converts(scans, raw, tmp_path, capsys):
    before = tree(scans)
    out = tmp_path / "patterns.toml"
    assert main(["guess", str(scans), "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "# 6 cases of 3 patients, 6 with masks" in printed
    assert "# not used: A1/w0/localizer.nii.gz" in printed
    assert patterns_of(out) == {
        "flair": ("{patient}/w{week}/FLAIR.nii.gz",),
        "t1": ("{patient}/w{week}/T1_mprage.nii.gz",),
        "t2_lesions": ("{patient}/w{week}/lesion_mask.nii.gz",),
    }
    assert main(["folder", str(scans), "--patterns", str(out), "--dataset-id", "5", "--raw", str(raw)]) == 0
    assert pd.read_csv(raw / "Dataset005_Folder" / "cases.csv")["week"].tolist() == [0, 24] * 3
    assert main(["guess", str(scans), "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["guess", str(scans), "-o", str(out), "--overwrite"]) == 0
    assert tree(scans) == before


def test_files_that_are_not_what_their_name_says(scans):
    for path in scans.rglob("lesion_mask.nii.gz"):
        save(path, image(7))
    for path in scans.rglob("T1_mprage.nii.gz"):
        save(path, mask())
    found = guess_source(scans)
    assert sorted(found.patterns) == ["flair"]
    told = " ".join(found.unsure)
    assert "A1/w0/lesion_mask.nii.gz is named like a mask and holds" in told
    assert "A1/w0/T1_mprage.nii.gz is named like t1 and holds 2 values: left out" in told


def test_what_does_not_fit_is_said(scans):
    (scans / "A2" / "w0" / "T1_mprage.nii.gz").unlink()
    save(scans / "A2" / "w24" / "FLAIR.nii.gz", image(1))
    (scans / "A1" / "w0" / "FLAIR.nii.gz").write_bytes(b"no image")
    found = guess_source(scans)
    assert (found.cases, found.masks, found.patients) == (5, 5, 3)
    told = " ".join(found.unsure)
    assert "1 cases do not fit, such as" in told
    assert "found no ['t1']" in told
    assert "A1/w0/FLAIR.nii.gz: " in told  # damaged


@pytest.mark.parametrize("names", [[], ["a.txt"], ["FLAIR.nii.gz"]])
def test_nothing_to_guess(tmp_path, names):
    for name in names:
        save(tmp_path / name, image(0)) if ".nii" in name else (tmp_path / name).touch()
    with pytest.raises(ConversionError, match="expected NIfTI images whose names tell their sequence"):
        guess_source(tmp_path)
    with pytest.raises(ConversionError, match="expected a folder, found none"):
        guess_source(tmp_path / "none")


WEEKS = {  # names of visits -> weeks, by hand
    ("w0", "w24"): (0, 24),
    ("base", "week12"): (0, 12),
    ("2020-01-01", "2020-01-15"): (0, 2),
    ("20200101", "20200104"): (0, 0.43),
    ("v1", "v2"): (None, None),
}


@pytest.mark.parametrize("visits", WEEKS)
def test_a_manifest_with_the_weeks_that_names_tell(tmp_path, raw, visits, capsys):
    for number, patient in enumerate(("A1", "B1")):
        for visit in visits:
            save(
                tmp_path / "scans" / patient / visit / "FLAIR.nii.gz",
                image(number * 10 + len(visit) + visits.index(visit)),
            )
            save(tmp_path / "scans" / patient / visit / "lesions.nii.gz", mask())
    out = tmp_path / "manifest.csv"
    assert main(["manifest", str(tmp_path / "scans"), "-o", str(out)]) == 0
    said = capsys.readouterr().err
    weeks = pd.read_csv(out)["week"]
    expected = WEEKS[visits]
    assert weeks.astype(object).where(weeks.notna(), None).tolist() == list(expected) * 2
    assert ("4 visits of 2 patients have no week" in said) == (expected[0] is None)
    done = convert(out, dataset_id=5, raw=raw, channels="flair")
    assert len(done.cases) == 4
    assert pd.read_csv(done.folder / "cases.csv")["week"].isna().all() == (expected[0] is None)


def test_a_manifest_of_patterns(scans, tmp_path, raw):
    words = {"flair": "{patient}/w{week}/FLAIR.nii.gz", "t1_enhancing": "{patient}/w{week}/lesion_mask.nii.gz"}
    out = scans.parent / "m.csv"
    assert write_manifest(scans, out, words) == []
    frame = pd.read_csv(out)
    assert frame.columns.tolist() == ["patient_id", "visit", "week", "flair", "t1_enhancing"]
    assert frame.loc[3, "flair"] == "scans/A2/w24/FLAIR.nii.gz"
    done = convert(out, dataset_id=5, raw=raw, channels="flair", target="t1_enhancing")
    assert len(done.cases) == 6


def test_manifests_that_cannot_be(scans, tmp_path):
    words = {"flair": "{patient}/w{week}/FLAIR.nii.gz"}
    (tmp_path / "other").mkdir()
    with pytest.raises(ConversionError, match="expected a place above the images"):
        write_manifest(scans, tmp_path / "other" / "m.csv", words)
    with pytest.raises(ConversionError, match="a manifest has the sequences flair, t2, t1, t1post, qsm, found stir"):
        write_manifest(scans, tmp_path / "m.csv", {"stir": words["flair"]})
    write_manifest(scans, tmp_path / "m.csv", words)
    with pytest.raises(ConversionError, match="exists already"):
        write_manifest(scans, tmp_path / "m.csv", words)
    assert write_manifest(scans, tmp_path / "m.csv", words, overwrite=True) == []
