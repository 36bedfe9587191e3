"""What may be a map in ppb, and what is refused by name: ppm, phase in the ways scanners store it, magnitude."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.errors import ImageError
from nnunet_ms.images.qsm_units import checked_qsm
from nnunet_ms.images.volumes import Grid, Volume, read_volume
from nnunet_ms.simulation.images.dipole import forward, make_dipole

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


HZ_PER_PPB, RADIANS_PER_HZ = 0.1277, 2 * np.pi * 0.02  # at 3 T, and at an echo time of 20 ms


def field_ppb(background=True, noise=4.0, shape=(40, 48, 32), head=True):
    """Field of the tissues by the forward model, and of two bodies outside, as of air in the sinuses; 0 outside."""
    rng = np.random.default_rng(0)
    tissue = ndimage.gaussian_filter(rng.normal(0, 1, shape), 2)
    found = forward((25 / tissue.std() * tissue).astype(np.float32), make_dipole(shape, (1, 1, 1))).astype(float)
    for centre, moment in [((20, 46, -14), 3e6), ((-14, 20, 10), 1e6)] if background else []:
        x, y, z = (axis - at for axis, at in zip(np.indices(shape), centre, strict=True))
        r = np.sqrt(x**2 + y**2 + z**2)
        found += moment * (3 * (z / r) ** 2 - 1) / r**3
    inside = np.sqrt(sum(((np.indices(shape)[i] - n / 2) / (n / 2.2)) ** 2 for i, n in enumerate(shape))) < 1
    return np.where(inside | (not head), found + rng.normal(0, noise, shape), 0)


@pytest.mark.parametrize("unit", ["ppb", "ppm"])
@pytest.mark.parametrize(
    "data",
    [
        field_ppb() * HZ_PER_PPB * RADIANS_PER_HZ,  # unwrapped phase
        field_ppb() * HZ_PER_PPB * RADIANS_PER_HZ + 12 * np.pi * (field_ppb() != 0),  # with whole turns left in it
        field_ppb(head=False) * HZ_PER_PPB * RADIANS_PER_HZ,  # all over the image
        field_ppb() * HZ_PER_PPB,  # a field map in Hz
        field_ppb() * HZ_PER_PPB * 2 * np.pi,  # in radians per second
        field_ppb(),  # in ppb: a field, no susceptibility
        -field_ppb() * HZ_PER_PPB,
        np.rint(100 * field_ppb() * HZ_PER_PPB),  # in whole numbers of a scanner
        field_ppb(noise=8.0) * HZ_PER_PPB,
    ],
)
def test_a_field_with_its_background_is_refused_whatever_its_unit(data, unit):
    with pytest.raises(ImageError, match=r"found (a field map or unwrapped )?phase.*Give the susceptibility map"):
        checked_qsm(volume(data), unit)


@pytest.mark.parametrize(
    ("data", "within"),
    [
        (field_ppb(background=False) * HZ_PER_PPB, r"\d\.\d"),  # a local field in Hz
        (field_ppb(background=False), r"1\d|2\d"),  # in ppb: some tens less than its sources
        (field_ppb(background=False) * HZ_PER_PPB * 2 * np.pi, r"1\d|\d\.\d"),  # radians per second
        (2 + tissue_ppb() / 30, r"\d\.\d"),  # phase of some kind, without wraps
    ],
)
def test_values_too_small_for_ppb_and_too_large_for_ppm_are_refused(data, within):
    message = rf"found 99 of 100 voxels within ({within}).*: unwrapped phase in radians, or a field in Hz or ppb\?"
    with pytest.raises(ImageError, match=message):
        checked_qsm(volume(data))


def test_small_phase_is_not_called_ppm_without_a_word():
    with pytest.raises(ImageError, match=r"this is ppm.*Phase in radians can be as small: there take the map"):
        checked_qsm(volume(field_ppb(background=False) * HZ_PER_PPB * RADIANS_PER_HZ))


@pytest.mark.parametrize("data", [wrapped(), field_ppb(), tissue_ppb() / 1000, tissue_ppb() * 1000])
def test_whoever_knows_better_says_so_as_every_refusal_tells(data):
    with pytest.raises(ImageError, match=r"A map that is right all the same passes with --qsm-unit unchecked"):
        checked_qsm(volume(data))
    assert np.array_equal(checked_qsm(volume(data), "unchecked"), np.asarray(data, dtype=np.float32))


@pytest.mark.parametrize(
    "data",
    [
        np.where(
            field_ppb() != 0, ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 300, (40, 48, 32)), 1), 0
        ),
        np.where(
            field_ppb() != 0, field_ppb(background=False) + 60 * (np.indices((40, 48, 32))[0] > 20), 0
        ),  # two tissues
        tissue_ppb() + 3 * np.indices(SHAPE)[0],  # a background that was not taken out whole
    ],
)
def test_smooth_maps_pass(data):
    assert np.array_equal(checked_qsm(volume(data)), np.asarray(data, dtype=np.float32))


@pytest.mark.parametrize("echo", [0, 1, 2])
def test_measured_phase_that_was_unwrapped_is_refused(shared, echo):
    from skimage.restoration import unwrap_phase

    stored = np.asarray(nib.load(shared / "data/qsm_crop/Phase.nii").dataobj, dtype=float)[..., echo]
    unwrapped = unwrap_phase(stored / np.abs(stored).max() * np.pi, rng=0)
    with pytest.raises(ImageError, match="found a field map or unwrapped phase"):
        checked_qsm(volume(unwrapped))


@pytest.mark.parametrize("echo", [0, 1, 2])
def test_measured_phase_is_refused_by_name(shared, tmp_path, echo):
    image = nib.load(shared / "data/qsm_crop/Phase.nii")
    path = tmp_path / "phase.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., echo], image.affine), path)
    with pytest.raises(ImageError, match="found phase"):
        checked_qsm(read_volume(path))
