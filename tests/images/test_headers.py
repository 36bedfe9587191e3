"""Damaged headers: named, or they mean to nnU-Net's reader what they mean to us."""

import nibabel as nib
import numpy as np
import SimpleITK

from tests.dataset_conversion.damage import FLAIR, catalogue, convert_damaged, lines_of, make, patch


def test_any_byte_of_a_header_changed_is_named_or_means_the_same_to_nnunets_reader(tmp_path, capsys):
    # Oracle: SimpleITK, by which nnU-Net reads: what is accepted must be readable, finite, and lie where we see it.
    rng = np.random.default_rng(1)
    draws = [(int(rng.integers(348)), int(rng.integers(256))) for _ in range(150)]
    damages = {f"byte-{k}": patch(FLAIR, offset, "B", value) for k, (offset, value) in enumerate(draws)}
    assert convert_damaged(make(tmp_path / "study", damages, ["whole-1", "whole-2"]), tmp_path / "raw") == 1
    lines = lines_of(capsys.readouterr().err)
    folder = tmp_path / "raw" / "Dataset005_Trial" / "imagesTr"
    kept = sorted(folder.glob("*_0000.nii.gz"))
    assert {p.name.removesuffix("_0000.nii.gz") for p in kept} | set(lines) == {
        f"{name}_v" for name in (*damages, "whole-1", "whole-2")
    }
    for path in kept:
        ours, theirs = nib.load(path), SimpleITK.ReadImage(str(path))
        assert theirs.GetSize() == ours.shape
        assert np.isfinite(SimpleITK.GetArrayViewFromImage(theirs)).all()
        corner = np.array(ours.shape) - 1.0
        point = np.array(theirs.TransformContinuousIndexToPhysicalPoint(corner.tolist())) * [-1, -1, 1]
        np.testing.assert_allclose(point, (ours.affine @ [*corner, 1])[:3], atol=0.1)


def test_damage_that_headers_show_is_named_without_reading_voxels(tmp_path, capsys):
    kinds = (
        "cut-",
        "short-",
        "magic-",
        "shape-",
        "type-flair",
        "conflict-",
        "size-",
        "shear-",
        "swapped-0",
        "grid-",
        "label-float",
    )
    damages = {n.replace("+", "p"): d for n, d in catalogue().items() if n.startswith(kinds)}
    assert (
        convert_damaged(make(tmp_path / "study", damages, ["whole-1", "whole-2"]), tmp_path / "raw", "--headers-only")
        == 1
    )
    assert {f"{name}_v" for name in damages} - set(lines_of(capsys.readouterr().err)) == set()
