"""What may be a map in ppb, and what is refused by name: ppm, phase in the ways scanners store it, magnitude."""

from pathlib import Path

import numpy as np
import pytest

from nnunet_ms.errors import ImageError
from nnunet_ms.images.qsm_units import checked_qsm
from nnunet_ms.images.volumes import Grid, Volume, read_volume

SHAPE = (24, 24, 16)


def volume(data):
    data = np.asarray(data, dtype=np.float32)
    return Volume(data, Grid(data.shape, np.eye(4)), Path("qsm.nii.gz"))


def tissue_ppb(seed=0):
    rng = np.random.default_rng(seed)
    data = rng.normal(0, 20, SHAPE)
    data[4:8, 4:8, 4:8] += 80  # deep grey matter
    data[12, 12, :] = 350  # a vein
    return data


def wrapped(cycles=2.3, noise=0.2, seed=0):
    """Phase of a field that rises along the diagonal, in -pi to pi."""
    x, y, z = np.meshgrid(*(np.linspace(0, 1, n) for n in SHAPE), indexing="ij")
    phase = 2 * np.pi * cycles * (x + 0.5 * y + 0.3 * z**2) + noise * np.random.default_rng(seed).standard_normal(SHAPE)
    return np.angle(np.exp(1j * phase))


def filtered():
    """Phase after a high pass, as for susceptibility weighting: nearly all about 0, a few voxels near a sinus wrap."""
    phase = np.random.default_rng(0).normal(0, 0.15, SHAPE)
    phase[:3, :3, :4] = np.linspace(-np.pi, np.pi, 36).reshape(3, 3, 4)
    return phase


@pytest.mark.parametrize(
    "data",
    [
        tissue_ppb(),
        np.rint(np.where(np.indices(SHAPE).sum(0) % 97 == 0, 4095, tissue_ppb())),  # whole, artefacts at 12 bits
        np.rint(tissue_ppb()),  # saved as whole numbers
        np.clip(tissue_ppb(), -60, 60),  # clipped at both ends
        np.where(np.arange(24)[:, None, None] < 4, 0, tissue_ppb()),  # 0 outside the brain
        np.where(tissue_ppb() > 60, 60, 0),  # made by hand: two values
        np.where(np.indices(SHAPE).sum(0) % 97 == 0, 4095, tissue_ppb()),  # artefacts
    ],
)
def test_a_map_in_ppb_stays_as_it_is(data):
    assert np.array_equal(checked_qsm(volume(data)), np.asarray(data, dtype=np.float32))


def test_a_map_in_ppm_is_converted_where_the_user_says_so_and_refused_otherwise():
    ppm = tissue_ppb() / 1000
    np.testing.assert_allclose(checked_qsm(volume(ppm), "ppm"), tissue_ppb(), rtol=1e-5)
    with pytest.raises(ImageError, match=r"no value beyond 0.35: this is ppm. Multiply by 1000 .*--qsm-unit ppm"):
        checked_qsm(volume(ppm))


@pytest.mark.parametrize("largest", [4.9, 0.02, 1e-6])
def test_every_map_with_no_value_of_5_is_in_ppm(largest):
    with pytest.raises(ImageError, match="this is ppm"):
        checked_qsm(volume(tissue_ppb() * largest / 350))


@pytest.mark.parametrize("artefact", [40.0, -300.0, 4095.0])
def test_a_few_artefacts_do_not_make_ppb_of_ppm(artefact):
    ppm = tissue_ppb() / 1000
    ppm[0, 0, :5] = artefact
    with pytest.raises(ImageError, match=r"no value beyond 0.35 but in 5 of 9216 voxels: this is ppm. Multiply by it"):
        checked_qsm(volume(ppm), conversion="Multiply by it")


def test_ppb_called_ppm_is_refused_too():
    with pytest.raises(ImageError, match="Is it in ppb already"):
        checked_qsm(volume(tissue_ppb()), "ppm")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (wrapped(), "radians, -pi to pi"),
        (np.random.default_rng(0).uniform(-np.pi, np.pi, SHAPE), "radians, -pi to pi"),
        (wrapped() % (2 * np.pi), "radians, 0 to 2 pi"),
        (np.rint(wrapped() / np.pi * 4095), "whole numbers, -4096 to"),
        (np.rint((wrapped() + np.pi) / (2 * np.pi) * 4095), "whole numbers, 0 to 4095"),
        (np.rint(wrapped() / np.pi * 2047), "whole numbers, -2048 to 2047"),
        (wrapped() * 1000, "of neighbouring voxels differ"),  # scaled: its wraps tell
        (wrapped() / np.pi * 180, "of neighbouring voxels differ"),  # degrees
        (wrapped() * 0.00117, "of neighbouring voxels differ"),  # a lost factor of the header
        (np.where(np.arange(24)[:, None, None] < 6, 0, wrapped()), "radians, -pi to pi"),  # 0 outside the brain
        (filtered(), "radians, -pi to pi"),
        (np.rint(filtered() / np.pi * 4095), "whole numbers, -4096 to"),
    ],
)
@pytest.mark.parametrize("unit", ["ppb", "ppm"])
def test_phase_is_refused_by_name(data, found, unit):
    with pytest.raises(ImageError, match=rf"found phase \(.*{found}.*Give the susceptibility map"):
        checked_qsm(volume(data), unit)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros(SHAPE), "found 0 in every voxel"),
        (np.full(SHAPE, 7.0), "found 7 in every voxel"),
        (1000 + 50 * np.random.default_rng(0).standard_normal(SHAPE), "a magnitude or R2. image"),
        (tissue_ppb() * 1000, "raw numbers of a scanner"),
    ],
)
def test_what_is_no_map_of_tissue_is_refused(data, message):
    with pytest.raises(ImageError, match=message):
        checked_qsm(volume(data))


@pytest.mark.parametrize("echo", [0, 1, 2])
def test_measured_phase_is_refused_by_name(shared, tmp_path, echo):
    import nibabel as nib

    image = nib.load(shared / "data/qsm_crop/Phase.nii")
    path = tmp_path / "phase.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., echo], image.affine), path)
    with pytest.raises(ImageError, match="found phase"):
        checked_qsm(read_volume(path))
